import type { Transport } from './transport.js';

const XSRF_COOKIE = '_strongroom_xsrf';

/** The value of the anti-forgery cookie, or an empty string: the server then refuses the write and says so. */
export function xsrfToken(cookies: string): string {
  for (const cookie of cookies.split('; ')) {
    const [name, ...value] = cookie.split('=');
    if (name === XSRF_COOKIE) {
      return decodeURIComponent(value.join('='));
    }
  }
  return '';
}

/** Calls from the console's page, with its session cookie; `root` ends in a slash. */
export function pageTransport(root: URL, cookies: () => string = () => document.cookie): Transport {
  return call =>
    fetch(new URL(call.path, root), {
      method: call.method,
      credentials: 'same-origin',
      cache: 'no-store',
      // A lost session redirects to the hub's log-in page: not an answer to follow in the background.
      redirect: 'manual',
      ...(call.method === 'POST'
        ? {
            headers: { 'Content-Type': 'application/json', 'X-XSRFToken': xsrfToken(cookies()) },
            body: JSON.stringify(call.body)
          }
        : {})
    });
}
