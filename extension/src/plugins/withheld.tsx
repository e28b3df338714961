import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IRenderMimeRegistry, type IRenderMime } from '@jupyterlab/rendermime';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { JSX } from 'react';
import type { EnclaveClient } from '../api/enclave.js';
import type { Withheld } from '../api/types/work.js';
import { WithheldOutput } from '../components/Withheld.js';
import { IEnclave } from './tokens.js';

const MIME = 'application/vnd.strongroom.withheld+json';

/** Reads a notice as the gate wrote it; one out of a file may hold anything, and what is not a notice says so. */
function asWithheld(data: unknown): Withheld {
  const { id, bytes, rule, text, next, reviewable } = (data ?? {}) as Readonly<Record<keyof Withheld, unknown>>;
  return {
    id: typeof id === 'string' ? id : '',
    bytes: typeof bytes === 'number' ? bytes : null,
    rule: typeof rule === 'string' ? rule : '',
    text: typeof text === 'string' ? text : 'An output was withheld.',
    next: typeof next === 'string' ? next : '',
    reviewable: reviewable === true && typeof id === 'string'
  };
}

class WithheldWidget extends ReactWidget implements IRenderMime.IRenderer {
  readonly #client: EnclaveClient;
  #withheld: Withheld | null = null;

  constructor(client: EnclaveClient) {
    super();
    this.#client = client;
    this.addClass('sr-Panel');
    this.addClass('sr-Panel-inline');
  }

  renderModel(model: IRenderMime.IMimeModel): Promise<void> {
    this.#withheld = asWithheld(model.data[MIME]);
    this.update();
    return Promise.resolve();
  }

  protected override render(): JSX.Element | null {
    return this.#withheld === null ? null : <WithheldOutput client={this.#client} withheld={this.#withheld} />;
  }
}

export const withheldPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-strongroom:withheld',
  description: 'Shows what was withheld from a cell, and sends it to review from there.',
  autoStart: true,
  requires: [IEnclave, IRenderMimeRegistry],
  activate: (_: JupyterFrontEnd, { client }: IEnclave, registry: IRenderMimeRegistry) => {
    registry.addFactory({ safe: true, mimeTypes: [MIME], createRenderer: () => new WithheldWidget(client) }, 0);
  }
};
