import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { isCodeCellModel, type Cell, type ICellModel } from '@jupyterlab/cells';
import { INotebookTracker, type NotebookPanel } from '@jupyterlab/notebook';
import type { Kernel } from '@jupyterlab/services';
import { ReactWidget } from '@jupyterlab/ui-components';
import type { PanelLayout } from '@lumino/widgets';
import type { JSX } from 'react';
import { verifyRun } from '../api/run.js';
import { asLabel } from '../api/types/labels.js';
import { CellEntryLine, type CellOrigin, type CellSeal, type Check } from '../components/CellEntryLine.js';
import { IEnclave } from './tokens.js';

class EntryWidget extends ReactWidget {
  readonly #check: Check;
  #origin: CellOrigin | null = null;

  constructor(check: Check) {
    super();
    this.#check = check;
    this.addClass('sr-CellEntry');
  }

  /** Null: there is nothing to say. */
  set origin(origin: CellOrigin | null) {
    this.#origin = origin;
    this.setHidden(origin === null);
    this.update();
  }

  protected override render(): JSX.Element {
    return this.#origin === null ? <></> : <CellEntryLine origin={this.#origin} check={this.#check} />;
  }
}

/** The gate's mark in a reply's metadata; null where there is none: the cell was not recorded, so it did not run. */
function sealOf(metadata: unknown): CellSeal | null {
  const { strongroom = null } = metadata as { strongroom?: CellSeal };
  // Where the kernel died there is no more than the entry.
  return strongroom?.label === undefined ? strongroom : { ...strongroom, label: asLabel(strongroom.label) };
}

/**
 * Which of one notebook's cells ran here, shown below each cell and kept out of the file.
 *
 * It comes from the gate's replies to this page and from what this server remembers, never from the file: anybody can
 * write anything into a file. An outgoing `execute_request` names its cell, the reply carries the entry. The line is a
 * display; the log is the truth.
 */
class NotebookEntries {
  readonly #panel: NotebookPanel;
  readonly #enclave: IEnclave;
  readonly #seals = new Map<string, CellSeal>();
  /** Those whose output came while this page looked on. A model that is made anew has its output from elsewhere. */
  readonly #seen = new WeakSet<ICellModel>();
  readonly #widgets = new WeakMap<Cell, EntryWidget>();
  readonly #watched = new WeakSet<Cell>();
  readonly #asked = new Map<string, string>();
  /** Whether the server has said which cells it ran; null while it is asked. */
  #recalled: boolean | null = null;

  constructor(panel: NotebookPanel, enclave: IEnclave) {
    this.#panel = panel;
    this.#enclave = enclave;
    const { sessionContext, content } = panel;
    sessionContext.session?.kernel?.anyMessage.connect(this.#message);
    sessionContext.kernelChanged.connect((_, { oldValue, newValue }) => {
      oldValue?.anyMessage.disconnect(this.#message);
      newValue?.anyMessage.connect(this.#message);
      this.#forgetAsked();
    });
    sessionContext.statusChanged.connect((_, status) => {
      if (status === 'restarting' || status === 'autorestarting' || status === 'dead') {
        this.#forgetAsked();
      }
    });
    // A cell that moves or comes back by undo is a new widget.
    content.model?.cells.changed.connect(() => {
      requestAnimationFrame(this.#decorate);
    });
  }

  /** Ask the server for the runs that this page did not see: those of before it was loaded. */
  async recall(): Promise<void> {
    try {
      for (const { cell, ...seal } of await this.#enclave.client.cells(this.#panel.context.path)) {
        if ((this.#seals.get(cell)?.entry ?? -1) < seal.entry) {
          this.#seals.set(cell, seal);
        }
      }
      this.#recalled = true;
    } catch {
      this.#recalled = false;
    }
    this.#decorate();
  }

  /** No reply comes any more to what a kernel that is gone was asked. Its cells may have begun: the server knows. */
  #forgetAsked(): void {
    if (this.#asked.size > 0) {
      this.#asked.clear();
      void this.recall();
    }
  }

  readonly #message = (_: Kernel.IKernelConnection, { msg, direction }: Kernel.IAnyMessageArgs): void => {
    if (direction === 'send' && msg.header.msg_type === 'execute_request') {
      const { cellId } = msg.metadata as { cellId?: unknown };
      if (typeof cellId === 'string') {
        this.#asked.set(msg.header.msg_id, cellId);
        const cell = this.#cell(cellId);
        if (cell !== undefined) {
          this.#seen.add(cell.model);
          void this.#show(cell);
        }
      }
    } else if (direction === 'recv' && msg.header.msg_type === 'execute_reply' && 'msg_id' in msg.parent_header) {
      const cellId = this.#asked.get(msg.parent_header.msg_id);
      this.#asked.delete(msg.parent_header.msg_id);
      if (cellId !== undefined) {
        this.#replied(cellId, sealOf(msg.metadata));
      }
    }
  };

  #replied(cellId: string, seal: CellSeal | null): void {
    if (seal === null) {
      // What stands in the cell now is the gate's refusal, of no run.
      this.#seals.delete(cellId);
    } else {
      this.#seals.set(cellId, seal);
    }
    if (this.#recalled === false) {
      void this.recall();
    }
    this.#decorate();
  }

  #cell(id: string): Cell | undefined {
    return this.#panel.content.widgets.find(({ model }) => model.id === id);
  }

  readonly #decorate = (): void => {
    if (this.#panel.isDisposed) {
      return;
    }
    for (const cell of this.#panel.content.widgets) {
      const { model } = cell;
      if (isCodeCellModel(model)) {
        if (!this.#watched.has(cell)) {
          this.#watched.add(cell);
          model.outputs.changed.connect(() => {
            void this.#show(cell);
          });
        }
        void this.#show(cell);
      }
    }
  };

  #originOf(cell: Cell): CellOrigin | null {
    const { model } = cell;
    const seal = this.#seals.get(model.id);
    const bare = !isCodeCellModel(model) || model.outputs.length === 0;
    if ([...this.#asked.values()].includes(model.id)) {
      return { kind: 'running' };
    }
    if (seal !== undefined) {
      return { kind: bare || this.#seen.has(model) ? 'ran' : 'restored', seal };
    }
    if (bare || this.#recalled === null) {
      return null;
    }
    return { kind: this.#recalled ? 'not-run' : 'unknown' };
  }

  async #show(cell: Cell): Promise<void> {
    if (this.#originOf(cell) === null && !this.#widgets.has(cell)) {
      return;
    }
    // Cells outside the view have no inner widgets yet.
    await cell.ready;
    if (cell.isDisposed) {
      return;
    }
    let widget = this.#widgets.get(cell);
    if (widget === undefined) {
      widget = new EntryWidget(seal => {
        const { client, store } = this.#enclave;
        return verifyRun(client, store.snapshot().session, { cell: cell.model.id, ...seal });
      });
      this.#widgets.set(cell, widget);
      const layout = cell.layout as PanelLayout;
      layout.insertWidget(layout.widgets.length - 1, widget);
    }
    widget.origin = this.#originOf(cell);
  }
}

export const cellsPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-strongroom:cells',
  description: 'Shows below each cell which audit entry its run made, checks it on click, and marks what was not run here.',
  autoStart: true,
  requires: [IEnclave, INotebookTracker],
  activate: (_: JupyterFrontEnd, enclave: IEnclave, tracker: INotebookTracker) => {
    tracker.widgetAdded.connect((_sender, panel) => {
      void panel.revealed.then(() => new NotebookEntries(panel, enclave).recall());
    });
  }
};
