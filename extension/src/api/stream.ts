import { asLabel, type LabelState, type Notice } from './types/labels.js';
import type { StateChange } from './types/requests.js';

/** What the single-user server reports while it happens (wire formats, section 6, `stream`). */
export interface StreamHandlers {
  readonly label: (state: LabelState) => void;
  readonly notice: (notice: Notice) => void;
  readonly request: (change: StateChange) => void;
  readonly export: (change: StateChange) => void;
  readonly draft: (change: StateChange) => void;
  /** Called on each (re)connection and each loss: between the two, changes may have been missed. */
  readonly connected: (connected: boolean) => void;
}

/** The part of EventSource that is used, so that tests can stand in for it. */
export interface Source {
  onopen: ((event: Event) => void) | null;
  onerror: ((event: Event) => void) | null;
  addEventListener(type: string, listener: (event: MessageEvent<string>) => void): void;
  close(): void;
}

const FIRST_WAIT = 1_000;
const LONGEST_WAIT = 30_000;

/**
 * Listen to the server's events until the returned function is called.
 *
 * EventSource gives up for good on an HTTP error, which a restarting server answers, so the connection is remade here,
 * with waits that double from one second to thirty.
 */
export function listen(open: () => Source, handlers: StreamHandlers): () => void {
  let source: Source | null = null;
  let timer: ReturnType<typeof setTimeout> | undefined;
  let wait = FIRST_WAIT;
  let ended = false;

  const connect = (): void => {
    const current = open();
    source = current;
    current.onopen = () => {
      wait = FIRST_WAIT;
      handlers.connected(true);
    };
    current.onerror = () => {
      current.close();
      if (ended || source !== current) {
        return;
      }
      source = null;
      handlers.connected(false);
      timer = setTimeout(connect, wait);
      wait = Math.min(wait * 2, LONGEST_WAIT);
    };
    on(current, 'label', data => {
      const state = data as LabelState;
      handlers.label({ ...state, label: asLabel(state.label) });
    });
    on(current, 'notice', data => {
      handlers.notice(data as Notice);
    });
    on(current, 'request', data => {
      handlers.request(data as StateChange);
    });
    on(current, 'export', data => {
      handlers.export(data as StateChange);
    });
    on(current, 'draft', data => {
      handlers.draft(data as StateChange);
    });
  };

  connect();
  return () => {
    ended = true;
    clearTimeout(timer);
    source?.close();
  };
}

function on(source: Source, type: string, handle: (data: unknown) => void): void {
  source.addEventListener(type, event => {
    handle(JSON.parse(event.data));
  });
}
