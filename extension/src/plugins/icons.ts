import { LabIcon } from '@jupyterlab/ui-components';

const frame = (paths: string): string =>
  `<svg xmlns="http://www.w3.org/2000/svg" width="16" viewBox="0 0 24 24" fill="none"><g class="jp-icon3" stroke="#616161" stroke-width="1.8" stroke-linecap="round" stroke-linejoin="round">${paths}</g></svg>`;

/** A vault's door: a ring with its bolts. */
export const datasetsIcon = new LabIcon({
  name: 'jupyter-strongroom:datasets',
  svgstr: frame('<rect x="3" y="3" width="18" height="18" rx="3"/><circle cx="12" cy="12" r="4.5"/><path d="M12 7.5v-1.5M12 18v-1.5M7.5 12H6M18 12h-1.5"/>')
});

/** A door with an arrow that leaves. */
export const exportsIcon = new LabIcon({
  name: 'jupyter-strongroom:exports',
  svgstr: frame('<path d="M13 3H6a2 2 0 0 0-2 2v14a2 2 0 0 0 2 2h7"/><path d="M10 12h11M17 8l4 4-4 4"/>')
});
