import type { JupyterFrontEnd, JupyterFrontEndPlugin } from '@jupyterlab/application';
import { IToolbarWidgetRegistry } from '@jupyterlab/apputils';
import { IStatusBar } from '@jupyterlab/statusbar';
import { ReactWidget } from '@jupyterlab/ui-components';
import { LabelBanner, LabelStatus, LiveLabel } from '../components/LabelLine.js';
import { IEnclave } from './tokens.js';

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
      const item = ReactWidget.create(<LabelStatus store={store} />);
      item.addClass('sr-Status');
      statusBar.registerStatusItem('jupyter-strongroom:label', { item, align: 'left', rank: 0, isActive: () => true });
    }
  }
};
