import { Token } from '@lumino/coreutils';
import type { EnclaveClient } from '../api/enclave.js';
import type { EnclaveStore } from '../api/store.js';

/** The connection to this server's enclave, for the other plugins. */
export interface IEnclave {
  readonly client: EnclaveClient;
  readonly store: EnclaveStore;
}

export const IEnclave = new Token<IEnclave>(
  'jupyter-strongroom:IEnclave',
  'The label, sources and display budget of this workspace, and the calls of the Strongroom panels.'
);

export const CommandIDs = {
  datasets: 'strongroom:show-datasets',
  exports: 'strongroom:show-exports',
  console: 'strongroom:open-console',
  limits: 'strongroom:show-limits'
} as const;

export const NO_ARGUMENTS = { args: { type: 'object', properties: {}, additionalProperties: false } } as const;
