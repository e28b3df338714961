import { render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { EnclaveClient } from '../../src/api/enclave.js';
import { ExportsPanel } from '../../src/components/ExportsPanel.js';
import { save } from '../../src/components/save.js';
import { ACCESS_DRAFT, EXPORT, EXPORT_DRAFT, refusal, World } from '../world.js';

vi.mock('../../src/components/save.js', () => ({ save: vi.fn() }));

const FOLDER = {
  path: '',
  entries: [
    { name: 'table.csv', type: 'file', bytes: 412, modified: null },
    { name: 'link', type: 'other', bytes: null, modified: null },
    { name: 'out', type: 'directory', bytes: null, modified: null }
  ],
  truncated: false
};

function world(): World {
  return new World()
    .on('GET work', FOLDER)
    .on('GET work?path=out', { path: 'out', entries: [{ name: 'a b.csv', type: 'file', bytes: 1, modified: null }], truncated: true })
    .on('GET withheld', { withheld: [] })
    .on('GET drafts', { drafts: [] })
    .on('GET exports', { exports: [] });
}

let open: string | null = null;

function show(world: World) {
  render(<ExportsPanel client={new EnclaveClient(world.transport)} revision={0} notebook={() => open} />);
  return userEvent.setup();
}

describe('ExportsPanel', () => {
  afterEach(() => {
    vi.mocked(save).mockReset();
  });

  it('submits what was picked, across folders and by name, once there is a justification', async () => {
    const asked = world().on('POST exports', EXPORT);
    const user = show(asked);
    await user.click(await screen.findByRole('checkbox', { name: /table\.csv/ }));
    await user.click(screen.getByRole('button', { name: 'Open folder out' }));
    await user.click(await screen.findByRole('checkbox', { name: /a b\.csv/ }));
    expect(screen.getByText(/more files here than may be listed/)).toBeDefined();
    await user.type(screen.getByLabelText('Or by name'), 'deep/figure.png');
    await user.click(screen.getByRole('button', { name: 'Add the named file' }));
    await user.click(screen.getByRole('button', { name: 'Do not export table.csv' }));
    const submit = screen.getByRole<HTMLButtonElement>('button', { name: 'Submit for review' });
    expect(submit.disabled).toBe(true);
    await user.type(screen.getByLabelText('Justification'), 'Means by group for table 2.');
    expect(submit.disabled).toBe(false);
    await user.click(submit);
    expect(asked.sent('POST exports')).toEqual([
      { paths: ['out/a b.csv', 'deep/figure.png'], justification: 'Means by group for table 2.' }
    ]);
    expect(await screen.findByText(/Submitted for review/)).toBeDefined();
    expect(asked.sent('GET exports')).toHaveLength(2);
  });

  it('does not let a link be picked', async () => {
    show(world());
    expect((await screen.findByRole<HTMLInputElement>('checkbox', { name: /link/ })).disabled).toBe(true);
  });

  it('a withheld list leaves the way by name open', async () => {
    const user = show(world().on('GET work', refusal(403, 'The list of work files is withheld')));
    expect((await screen.findByRole('alert')).textContent).toContain('withheld');
    await user.type(screen.getByLabelText('Or by name'), 'table.csv');
    await user.click(screen.getByRole('button', { name: 'Add the named file' }));
    expect(within(screen.getByRole('list', { name: 'Picked files' })).getByText('table.csv')).toBeDefined();
  });

  it('shows findings gravest first, and votes with their comments', async () => {
    const voted = {
      ...EXPORT,
      votes: [{ reviewer: 'steward', verdict: 'changes', comment: 'Drop row 7.', at: '2026-11-21T06:00:00.000Z', valid: true }]
    };
    const user = show(world().on('GET exports', { exports: [voted] }));
    await user.click(await screen.findByText('table.csv', { selector: '.sr-Card-title' }));
    const findings = within(screen.getByRole('list', { name: 'Findings on table.csv' })).getAllByRole('listitem');
    expect(findings.map(finding => finding.textContent)).toEqual([
      expect.stringContaining('Row 7: a count of 4.'),
      expect.stringContaining('A CSV table.')
    ]);
    expect(screen.getByText('Drop row 7.')).toBeDefined();
  });

  it('downloads what may be downloaded; a refusal is read, not saved', async () => {
    const released = { ...EXPORT, state: 'released', may: { vote: false, withdraw: false, download: true } };
    const user = show(
      world()
        .on('GET exports', { exports: [released] })
        .on('GET exports/e1/download', refusal(409, 'The approval is void'), 'zip')
    );
    await user.click(await screen.findByText('table.csv', { selector: '.sr-Card-title' }));
    const button = screen.getByRole('button', { name: 'Download table.csv' });
    await user.click(button);
    expect((await screen.findByRole('alert')).textContent).toContain('The approval is void');
    expect(save).not.toHaveBeenCalled();
    await user.click(button);
    expect(save).toHaveBeenCalledWith(expect.anything(), 'strongroom-export-e1.zip');
  });

  it('offers neither download nor withdrawal that may not be', async () => {
    const closed = { ...EXPORT, may: { vote: false, withdraw: false, download: false } };
    show(world().on('GET exports', { exports: [closed] }));
    await screen.findByText('table.csv', { selector: '.sr-Card-title' });
    expect(screen.queryByRole('button', { name: /Download|Withdraw/ })).toBeNull();
  });

  it('fills in what code prepared, and sends it only when the person says so', async () => {
    const prepared = world()
      .on('GET drafts', { drafts: [ACCESS_DRAFT, EXPORT_DRAFT] }, { drafts: [ACCESS_DRAFT] })
      .on('POST exports', EXPORT);
    const user = show(prepared);
    await user.click(await screen.findByRole('button', { name: 'Review and submit: an export of out/table.csv' }));
    expect(prepared.sent('POST exports')).toEqual([]);
    expect(screen.getByLabelText<HTMLTextAreaElement>('Justification').value).toBe(EXPORT_DRAFT.justification);
    await user.click(screen.getByRole('button', { name: 'Submit for review' }));
    expect(prepared.sent('POST exports')).toEqual([
      { paths: ['out/table.csv'], justification: 'Means by group for table 2.', draft: 'd2' }
    ]);
    expect(screen.queryByText(/Prepared by code/)).toBeNull();
  });

  it('shows all that led to an own export, when asked', async () => {
    const entry = { index: 3, time: '2026-11-21T05:00:00.000Z', action: 'control:export:submit', actor: 'user:analyst', object: 'export:e1', label: 'secret', sources: [], detail: {}, narrowed: true, text: null };
    const asked = world()
      .on('GET exports', { exports: [EXPORT] })
      .on('GET exports/e1/history', { export: {}, entries: [entry], left_out: true });
    const user = show(asked);
    const button = await screen.findByRole('button', { name: 'Show all that led to table.csv' });
    expect(asked.calls.some(call => call.path.includes('history'))).toBe(false);
    await user.click(button);
    const list = await screen.findByRole('list', { name: 'All that led to table.csv' });
    expect(within(list).getByText('analyst submitted the export for review')).toBeDefined();
    expect(screen.getByText(/auditors see all/)).toBeDefined();
  });

  it('shows how the open notebook ran, from its beginning, and says when none is open', async () => {
    const cell = (index: number) => ({ index, time: '2026-11-21T05:00:00.000Z', action: 'server:cell:begin', actor: 'user:analyst', object: 'day.ipynb', label: 'public', sources: [], detail: {}, text: { payload: `code ${index}`, payload_state: 'shown' } });
    const asked = world()
      .on('GET history?notebook=day.ipynb', { entries: [cell(9), cell(8)], next: 8 })
      .on('GET history?notebook=day.ipynb&before=8', { entries: [cell(4)], next: null });
    const user = show(asked);
    await user.click(await screen.findByRole('button', { name: 'Show how the open notebook ran' }));
    expect(screen.getByText('Open a notebook first.')).toBeDefined();
    open = 'day.ipynb';
    await user.click(screen.getByRole('button', { name: 'Show how the open notebook ran' }));
    await user.click(await screen.findByRole('button', { name: 'Earlier' }));
    const list = await screen.findByRole('list', { name: 'How day.ipynb ran' });
    expect(await within(list).findByText('code 4')).toBeDefined();
    expect(within(list).getAllByText(/^Entry/).map(line => line.textContent)).toEqual(['Entry 4', 'Entry 8', 'Entry 9']);
    expect(screen.queryByRole('button', { name: 'Earlier' })).toBeNull();
  });
});
