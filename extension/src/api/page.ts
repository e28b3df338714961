import { cookieValue } from './cookie.js';
import type { Transport } from './transport.js';

/** Without it the server refuses every write, and says so. */
const XSRF_COOKIE = '_strongroom_xsrf';

/** Calls from the console's page, with its session cookie; `root` ends in a slash. */
export function pageTransport(root: URL, cookies: () => string = () => document.cookie): Transport {
  return call =>
    fetch(new URL(call.path, root), {
      method: call.method,
      credentials: 'same-origin',
      cache: 'no-store',
      // A lost session redirects to the hub's log-in page: not an answer to follow in the background.
      redirect: 'manual',
      ...(call.method !== 'GET'
        ? {
            headers: { 'Content-Type': 'application/json', 'X-XSRFToken': cookieValue(cookies(), XSRF_COOKIE) },
            body: JSON.stringify(call.body)
          }
        : {})
    });
}
