import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { Dialog, IToolbarWidgetRegistry } from '@jupyterlab/apputils';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ReactWidget } from '@jupyterlab/ui-components';
import { LabelBanner, LabelStatus, LiveLabel } from '../components/LabelLine.js';
import { LimitsView } from '../components/Limits.js';
import { CommandIDs, IEnclave, NO_ARGUMENTS } from './tokens.js';

export const labelPlugin: JupyterFrontEndPlugin<void> = {
  id: 'jupyter-strongroom:label',
  description: 'Shows the label: a banner over the application, a badge in each notebook, an item in the status bar.',
  autoStart: true,
  requires: [IEnclave],
  optional: [IToolbarWidgetRegistry, IStatusBar],
  activate: (
    app: JupyterFrontEnd,
    { store }: IEnclave,
    toolbars: IToolbarWidgetRegistry | null,
    statusBar: IStatusBar | null
  ) => {
    app.commands.addCommand(CommandIDs.limits, {
      label: 'Show Limits',
      caption: 'What a kernel here may use, and what this machine lacks',
      describedBy: NO_ARGUMENTS,
      execute: () =>
        new Dialog({
          title: 'Limits of the kernels here',
          body: ReactWidget.create(<LimitsView session={store.snapshot().session} />),
          buttons: [Dialog.okButton({ label: 'Close' })]
        }).launch()
    });
    const banner = ReactWidget.create(<LabelBanner store={store} />);
    banner.id = 'strongroom-banner';
    banner.addClass('sr-Banner');
    app.shell.add(banner, 'header');

    toolbars?.addFactory('Notebook', 'strongroom-label', () => {
      const badge = ReactWidget.create(<LiveLabel store={store} />);
      badge.addClass('sr-Toolbar');
      return badge;
    });

    if (statusBar !== null) {
      const item = ReactWidget.create(<LabelStatus store={store} showLimits={() => void app.commands.execute(CommandIDs.limits)} />);
      item.addClass('sr-Status');
      statusBar.registerStatusItem('jupyter-strongroom:label', { item, align: 'left', rank: 0, isActive: () => true });
    }
  }
};
