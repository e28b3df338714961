import { ILayoutRestorer, type JupyterFrontEnd, type JupyterFrontEndPlugin } from '@jupyterlab/application';
import { ICommandPalette } from '@jupyterlab/apputils';
import { INotebookTracker, NotebookActions } from '@jupyterlab/notebook';
import { ReactWidget, type LabIcon } from '@jupyterlab/ui-components';
import type { JSX } from 'react';
import { Boundary } from '../components/Boundary.js';
import { DatasetsPanel } from '../components/DatasetsPanel.js';
import { ExportsPanel } from '../components/ExportsPanel.js';
import { WithRevision } from '../components/LabelLine.js';
import { datasetsIcon, exportsIcon } from './icons.js';
import { CommandIDs, IEnclave, NO_ARGUMENTS } from './tokens.js';

const CATEGORY = 'Strongroom';

/** A side panel that asks the server for nothing before it is first looked at: listing work files is metered. */
class SidePanel extends ReactWidget {
  readonly #content: () => JSX.Element;
  #seen = false;

  constructor(id: string, title: string, icon: LabIcon, content: () => JSX.Element) {
    super();
    this.#content = content;
    this.id = id;
    this.title.icon = icon;
    this.title.caption = title;
    this.node.setAttribute('role', 'region');
    this.node.setAttribute('aria-label', title);
  }

  protected override onAfterShow(): void {
    this.#seen = true;
    this.update();
  }

  protected override render(): JSX.Element | null {
    this.#seen ||= this.isVisible;
    return this.#seen ? <Boundary>{this.#content()}</Boundary> : null;
  }
}

/** Put code into the active cell if it is empty, else into a new one below; false when no notebook is open. */
function insertInto(tracker: INotebookTracker, code: string): boolean {
  const notebook = tracker.currentWidget?.content;
  if (notebook === undefined) {
    return false;
  }
  const active = notebook.activeCell;
  if (active?.model.type !== 'code' || active.model.sharedModel.getSource().trim() !== '') {
    NotebookActions.insertBelow(notebook);
  }
  const cell = notebook.activeCell;
  if (cell === null) {
    return false;
  }
  cell.model.sharedModel.setSource(code);
  return true;
}

export const panelsPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-strongroom:panels',
  description: 'The side panels: datasets and access requests, exports.',
  autoStart: true,
  requires: [IEnclave, INotebookTracker],
  optional: [ICommandPalette, ILayoutRestorer],
  activate: (
    app: JupyterFrontEnd,
    { client, store }: IEnclave,
    tracker: INotebookTracker,
    palette: ICommandPalette | null,
    restorer: ILayoutRestorer | null
  ) => {
    const datasets = new SidePanel('strongroom-datasets', 'Strongroom datasets', datasetsIcon, () => (
      <WithRevision store={store} of="requests">
        {revision => (
          <DatasetsPanel client={client} revision={revision} insert={code => insertInto(tracker, code)} />
        )}
      </WithRevision>
    ));
    const exports = new SidePanel('strongroom-exports', 'Strongroom exports', exportsIcon, () => (
      <WithRevision store={store} of="exports">
        {revision => (
          <ExportsPanel
            client={client}
            revision={revision}
            notebook={() => tracker.currentWidget?.context.path ?? null}
          />
        )}
      </WithRevision>
    ));
    app.shell.add(datasets, 'left', { rank: 150 });
    app.shell.add(exports, 'left', { rank: 151 });
    restorer?.add(datasets, datasets.id);
    restorer?.add(exports, exports.id);

    app.commands.addCommand(CommandIDs.datasets, {
      label: 'Show Datasets',
      caption: 'Datasets that may be discovered, and requests for access',
      describedBy: NO_ARGUMENTS,
      execute: () => {
        app.shell.activateById(datasets.id);
      }
    });
    app.commands.addCommand(CommandIDs.exports, {
      label: 'Show Exports',
      caption: 'Ask for a release of work files, and follow its review',
      describedBy: NO_ARGUMENTS,
      execute: () => {
        app.shell.activateById(exports.id);
      }
    });
    app.commands.addCommand(CommandIDs.console, {
      label: 'Open the Console',
      caption: 'The page of stewards, admins and auditors, in a new tab',
      describedBy: NO_ARGUMENTS,
      isEnabled: () => store.snapshot().session?.console_url !== undefined,
      execute: () => {
        window.open(store.snapshot().session?.console_url, '_blank', 'noopener');
      }
    });
    store.subscribe(() => {
      app.commands.notifyCommandChanged(CommandIDs.console);
    });
    for (const command of Object.values(CommandIDs)) {
      palette?.addItem({ command, category: CATEGORY });
    }
  }
};
