import type { EnclaveClient } from './enclave.js';
import { asProblem, type Problem } from './problem.js';
import type { Session } from './types/session.js';

/** What the badges show. Without a session the label is unknown, and unknown counts as secret. */
export interface EnclaveState {
  readonly session: Session | null;
  readonly problem: Problem | null;
  /** The event stream is lost: what is shown may be out of date. */
  readonly lost: boolean;
  /** Count up whenever requests and exports have changed on the server. */
  readonly requests: number;
  readonly exports: number;
}

/** The one place in the page that knows the session; snapshots are immutable, as React's external stores want them. */
export class EnclaveStore {
  readonly #client: EnclaveClient;
  readonly #listeners = new Set<() => void>();
  #state: EnclaveState = { session: null, problem: null, lost: false, requests: 0, exports: 0 };
  #changes = 0;

  constructor(client: EnclaveClient) {
    this.#client = client;
  }

  readonly snapshot = (): EnclaveState => this.#state;

  readonly subscribe = (listener: () => void): (() => void) => {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  };

  /**
   * Ask the server anew: at the start, and after each gap in the event stream.
   *
   * An answer that a streamed change has overtaken may still carry the lower label, so it is asked for again.
   */
  async refresh(): Promise<void> {
    try {
      let session: Session;
      let changes: number;
      do {
        changes = this.#changes;
        session = await this.#client.session();
      } while (changes !== this.#changes);
      this.#set({ session, problem: null });
    } catch (error) {
      this.#set({ session: null, problem: asProblem(error) });
    }
  }

  /** Take over a change that the stream reported; before the first answer there is nothing to change. */
  update(change: Partial<Session>): void {
    this.#changes += 1;
    if (this.#state.session !== null) {
      this.#set({ session: { ...this.#state.session, ...change } });
    }
  }

  /** Something was asked for, decided or withdrawn. */
  moved(what: 'requests' | 'exports'): void {
    this.#set({ [what]: this.#state[what] + 1 });
  }

  /** The stream broke, or came (back) up; after a gap everything is asked for anew. */
  connected(connected: boolean): void {
    const wasLost = this.#state.lost;
    this.#set({ lost: !connected });
    if (connected) {
      void this.refresh();
      if (wasLost) {
        this.moved('requests');
        this.moved('exports');
      }
    }
  }

  #set(change: Partial<EnclaveState>): void {
    this.#state = { ...this.#state, ...change };
    for (const listener of this.#listeners) {
      listener();
    }
  }
}
