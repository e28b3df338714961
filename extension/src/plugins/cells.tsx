import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import type { Cell } from '@jupyterlab/cells';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { PanelLayout } from '@lumino/widgets';
import type { JSX } from 'react';
import type { EnclaveClient } from '../api/enclave.js';
import { asLabel } from '../api/types.js';
import { CellEntryLine, type CellSeal } from '../components/CellEntryLine.js';
import { IEnclave } from './tokens.js';

class EntryWidget extends ReactWidget {
  #seal: CellSeal;

  constructor(seal: CellSeal) {
    super();
    this.#seal = seal;
    this.addClass('sr-CellEntry');
  }

  set seal(seal: CellSeal) {
    this.#seal = seal;
    this.update();
  }

  protected override render(): JSX.Element {
    return <CellEntryLine seal={this.#seal} />;
  }
}

/** The gate's mark in a reply's metadata; null for what is none. */
function sealOf(metadata: unknown): CellSeal | null {
  const { strongroom } = metadata as { strongroom?: { entry?: unknown; label?: unknown; shown?: unknown; withheld?: unknown } };
  return typeof strongroom?.entry === 'number'
    ? {
        entry: strongroom.entry,
        label: asLabel(strongroom.label),
        shown: Number(strongroom.shown ?? 0),
        withheld: Number(strongroom.withheld ?? 0)
      }
    : null;
}

/**
 * The entries of one notebook's cells, shown below each cell and kept out of the file.
 *
 * An outgoing `execute_request` names its cell, the reply carries the entry. The badge is a display; the log is the truth.
 */
class NotebookEntries {
  readonly #panel: NotebookPanel;
  readonly #seals = new Map<string, CellSeal>();
  readonly #widgets = new WeakMap<Cell, EntryWidget>();
  readonly #asked = new Map<string, string>();

  constructor(panel: NotebookPanel) {
    this.#panel = panel;
    const { sessionContext, content } = panel;
    sessionContext.session?.kernel?.anyMessage.connect(this.#message);
    sessionContext.kernelChanged.connect((_, { oldValue, newValue }) => {
      oldValue?.anyMessage.disconnect(this.#message);
      newValue?.anyMessage.connect(this.#message);
      this.#asked.clear();
    });
    // A cell that moves or comes back by undo is a new widget.
    content.model?.cells.changed.connect(() => {
      requestAnimationFrame(this.#decorate);
    });
  }

  /** Entries of this server's life, for cells that ran before the page was loaded. */
  async recall(client: EnclaveClient): Promise<void> {
    for (const { cell, entry } of await client.cells(this.#panel.context.path)) {
      if (!this.#seals.has(cell)) {
        this.#seals.set(cell, { entry });
      }
    }
    this.#decorate();
  }

  readonly #message = (_: Kernel.IKernelConnection, { msg, direction }: Kernel.IAnyMessageArgs): void => {
    if (direction === 'send' && msg.header.msg_type === 'execute_request') {
      const { cellId } = msg.metadata as { cellId?: unknown };
      if (typeof cellId === 'string') {
        this.#asked.set(msg.header.msg_id, cellId);
      }
    } else if (direction === 'recv' && msg.header.msg_type === 'execute_reply' && 'msg_id' in msg.parent_header) {
      const cellId = this.#asked.get(msg.parent_header.msg_id);
      this.#asked.delete(msg.parent_header.msg_id);
      const seal = sealOf(msg.metadata);
      if (cellId !== undefined && seal !== null) {
        this.#seals.set(cellId, seal);
        this.#decorate();
      }
    }
  };

  readonly #decorate = (): void => {
    if (this.#panel.isDisposed) {
      return;
    }
    for (const cell of this.#panel.content.widgets) {
      const seal = this.#seals.get(cell.model.id);
      if (seal !== undefined) {
        void this.#show(cell, seal);
      }
    }
  };

  async #show(cell: Cell, seal: CellSeal): Promise<void> {
    // Cells outside the view have no inner widgets yet.
    await cell.ready;
    if (cell.isDisposed) {
      return;
    }
    const shown = this.#widgets.get(cell);
    if (shown !== undefined) {
      shown.seal = seal;
      return;
    }
    const widget = new EntryWidget(seal);
    this.#widgets.set(cell, widget);
    const layout = cell.layout as PanelLayout;
    layout.insertWidget(layout.widgets.length - 1, widget);
  }
}

export const cellsPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-strongroom:cells',
  description: 'Shows below each cell which audit entry its run made.',
  autoStart: true,
  requires: [IEnclave, INotebookTracker],
  activate: (_: JupyterFrontEnd, { client }: IEnclave, tracker: INotebookTracker) => {
    tracker.widgetAdded.connect((_sender, panel) => {
      void panel.revealed.then(async () => {
        const entries = new NotebookEntries(panel);
        try {
          await entries.recall(client);
        } catch {
          // Without the earlier entries the badges start with the next run; the log has them all.
        }
      });
    });
  }
};
