import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Notification } from '@jupyterlab/apputils';
import { URLExt } from '@jupyterlab/coreutils';
import { ServerConnection } from '@jupyterlab/services';
import { cookieValue } from '../api/cookie.js';
import { EnclaveClient } from '../api/enclave.js';
import { EnclaveStore } from '../api/store.js';
import { listen } from '../api/stream.js';
import { query, type Call, type Transport } from '../api/transport.js';
import type { StateChange } from '../api/types/requests.js';
import { CommandIDs, IEnclave } from './tokens.js';

const ROOT = 'strongroom/api';

/** Calls through Lab's own connection, which knows the base address and the anti-forgery cookie. */
function labTransport(settings: ServerConnection.ISettings): Transport {
  return ({ method, path, body }: Call) =>
    ServerConnection.makeRequest(
      URLExt.join(settings.baseUrl, ROOT, '/') + path,
      { method, ...(method !== 'GET' ? { body: JSON.stringify(body) } : {}) },
      settings
    );
}

/** What a person should be told when it happens; all else is quiet. */
const REQUEST_NEWS: Readonly<Record<string, string>> = {
  approved: 'Your access request was approved.',
  denied: 'Your access request was denied.'
};
const EXPORT_NEWS: Readonly<Record<string, string>> = {
  approved: 'Your export is approved.',
  released: 'Your export is released: you can download it.',
  rejected: 'Your export was rejected.',
  returned: 'A reviewer asks for changes to your export.'
};

const DRAFT_NEWS: Readonly<Record<string, string>> = {
  'access-request': 'Code prepared an access request. Nothing is sent until you submit it.',
  export: 'Code prepared an export. Nothing is sent until you submit it.'
};

function tell(app: JupyterFrontEnd, news: Readonly<Record<string, string>>, change: StateChange, command: string): void {
  const text = news[change.state];
  if (text !== undefined) {
    Notification.info(text, {
      autoClose: false,
      actions: [{ label: 'Show', callback: () => void app.commands.execute(command) }]
    });
  }
}

export const enclavePlugin: JupyterFrontEndPlugin<IEnclave> = {
  id: 'jupyter-strongroom:enclave',
  description: 'Follows the label of this workspace and reports what was withheld or decided.',
  autoStart: true,
  provides: IEnclave,
  activate: app => {
    const settings = app.serviceManager.serverSettings;
    const client = new EnclaveClient(labTransport(settings));
    const store = new EnclaveStore(client);
    void store.refresh();
    // An EventSource cannot send the anti-forgery header that the server wants of every scripted request.
    const open = (): EventSource =>
      new EventSource(
        URLExt.join(settings.baseUrl, ROOT, 'stream') + query({ _xsrf: cookieValue(document.cookie, '_xsrf') })
      );
    const stop = listen(open, {
      label: state => {
        store.update(state);
      },
      notice: notice => {
        Notification.warning(notice.text, { autoClose: 10_000 });
      },
      request: change => {
        store.moved('requests');
        tell(app, REQUEST_NEWS, change, CommandIDs.datasets);
      },
      export: change => {
        store.moved('exports');
        tell(app, EXPORT_NEWS, change, CommandIDs.exports);
      },
      draft: change => {
        store.moved('requests');
        store.moved('exports');
        const command = change.state === 'export' ? CommandIDs.exports : CommandIDs.datasets;
        tell(app, DRAFT_NEWS, change, command);
      },
      connected: connected => {
        store.connected(connected);
      }
    });
    window.addEventListener('pagehide', stop);
    return { client, store };
  }
};
