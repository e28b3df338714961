import { screen, within } from '@testing-library/react';
import { describe, expect, it } from 'vitest';
import type { TimelineEntry } from '../../src/api/types/log.js';
import { timelineHref, timelineOf } from '../../src/components/console/Timelines.js';
import { openConsole } from '../openConsole.js';
import { EXPORT, refusal, STEWARD, World } from '../world.js';

const ENTRY: TimelineEntry = {
  index: 7,
  v: 1,
  time: '2026-11-21T05:00:00.123Z',
  action: 'server:cell:begin',
  actor: 'user:analyst',
  project: 'cardio',
  server: 's1',
  kernel: 'k1',
  object: 'day.ipynb',
  label: 'public',
  sources: [],
  detail: { cell: 'c1' },
  text: { payload: 'print(1)', payload_state: 'shown' }
};
const READ = { ...ENTRY, index: 8, action: 'control:read:allow', object: 'health/randhie@1', label: 'confidential' as const, detail: { columns: ['age'] }, text: null };
const END = { ...ENTRY, index: 9, action: 'server:cell:end', detail: { begin: 7, status: 'ok', shown: 12, withheld: 2048 }, text: null };
const NARROWED = { ...END, index: 11, time: '2026-11-21T05:00:09.000Z', detail: { begin: 10, status: 'ok', shown: 0 }, narrowed: true };

function world(): World {
  return new World().on('GET me', { ...STEWARD, can: { ...STEWARD.can, audit: true } });
}

describe('the address of a timeline', () => {
  it.each([
    [{ kind: 'person', name: 'analyst' }],
    [{ kind: 'dataset', name: 'health/randhie' }],
    [{ kind: 'export', name: 'e1' }],
    [{ kind: 'notebook', name: 'analysis/a:b/day.ipynb', user: 'analyst', project: 'cardio' }],
    [{ kind: 'notebook', name: 'day.ipynb', user: '', project: '' }]
  ] as const)('of %o leads there and back', of => {
    expect(timelineOf(decodeURIComponent(timelineHref(of).replace('#/timelines/', '')))).toEqual(of);
  });

  it.each(['', 'person', 'person:', 'planet:mars', 'notebook:day.ipynb'])('%s names none', id => {
    expect(timelineOf(id)).toBeNull();
  });
});

describe('a timeline', () => {
  it('is asked for by kind and name, and not before', async () => {
    const asked = world().on('GET audit/timelines/dataset/health/randhie?limit=50', { entries: [READ], next: null });
    const user = openConsole(asked, '#/timelines');
    await user.selectOptions(await screen.findByLabelText('Of a'), 'dataset');
    expect(screen.queryByLabelText('Whose')).toBeNull();
    await user.type(screen.getByLabelText('Name'), 'health/randhie');
    expect(asked.calls.filter(call => call.path.startsWith('audit'))).toHaveLength(0);
    await user.keyboard('{Enter}');
    expect(await screen.findByRole('heading', { name: 'What became of health/randhie' })).toBeDefined();
    const list = await screen.findByRole('list', { name: 'Timeline of health/randhie' });
    expect(within(list).getByText('analyst read health/randhie@1')).toBeDefined();
    expect(within(list).getByText('Columns: age')).toBeDefined();
    expect(within(list).getByRole('link', { name: 'Entry 8' }).getAttribute('href')).toBe('#/audit/8');
  });

  it('of a notebook is in the order of the runs, with the code, page by page', async () => {
    const address = 'GET audit/timelines/notebook?notebook=day.ipynb&user=analyst&project=cardio';
    const asked = world()
      .on(`${address}&limit=50`, { entries: [END, READ, ENTRY], next: 7 })
      .on(`${address}&before=7&limit=50`, { entries: [], next: 3 });
    const user = openConsole(asked, timelineHref({ kind: 'notebook', name: 'day.ipynb', user: 'analyst', project: 'cardio' }));
    const list = await screen.findByRole('list', { name: 'Timeline of day.ipynb' });
    expect(within(list).getAllByRole('link').map(link => link.textContent)).toEqual(['Entry 7', 'Entry 8', 'Entry 9']);
    expect(within(list).getByText('print(1)')).toBeDefined();
    expect(within(list).getByText('12 B shown, 2.0 KiB withheld')).toBeDefined();
    await user.click(screen.getByRole('button', { name: 'Older' }));
    expect(await screen.findByText(/look at older ones/)).toBeDefined();
  });

  it('of oneself shows narrowed entries to the second, and says nothing of what is left out', async () => {
    openConsole(world().on('GET audit/timelines/person/analyst?limit=50', { entries: [NARROWED], next: null }), timelineHref({ kind: 'person', name: 'analyst' }));
    const list = await screen.findByRole('list', { name: 'Timeline of analyst' });
    expect(within(list).getByText('2026-11-21 05:00:09 UTC')).toBeDefined();
    expect(within(list).getByText('0 B shown')).toBeDefined();
  });

  it('says why it is not open', async () => {
    openConsole(world().on('GET audit/timelines/person/other?limit=50', refusal(403, 'The timeline of another person is not open to you')), timelineHref({ kind: 'person', name: 'other' }));
    expect((await screen.findByRole('alert')).textContent).toContain('not open to you');
  });
});

describe('all that led to a file', () => {
  const file = { name: 'table.csv', sha256: 'ab'.repeat(32), bytes: 9 };
  const steps: TimelineEntry[] = [
    { ...READ, role: 'read' },
    { ...ENTRY, role: 'cell' },
    { ...ENTRY, index: 12, action: 'control:export:draft', object: 'export:e1', role: 'export', sources: ['health/randhie@1'], detail: { files: [file], cells: [7] }, text: { payload: 'For the report.', payload_state: 'shown' } },
    { ...ENTRY, index: 13, action: 'control:export:release', object: 'export:e1', role: 'export', detail: { files: [file], reviewers: ['steward'] }, text: null }
  ];
  const chain = { export: { id: 'e1', user: 'analyst', project: 'cardio', state: 'released' }, entries: steps, left_out: false };

  it('is one chain from the data to the release, reached from the export', async () => {
    const asked = world().on('GET exports/e1', EXPORT).on('GET audit/timelines/export/e1', chain)
      .on(`GET exports/e1/files/${'ab'.repeat(32)}/preview`, { kind: 'text', text: 'x', truncated: false });
    const user = openConsole(asked, '#/exports/e1');
    await user.click(await screen.findByRole('link', { name: 'All that led to these files' }));
    const list = await screen.findByRole('list', { name: 'Steps' });
    expect(within(list).getAllByRole('link').map(link => link.textContent)).toEqual(['Entry 8', 'Entry 7', 'Entry 12', 'Entry 13']);
    expect(within(list).getAllByText(`table.csv, 9 B, SHA-256 ${'ab'.repeat(32)}`)).toHaveLength(2);
    expect(within(list).getByText('Made from health/randhie@1')).toBeDefined();
    expect(within(list).getByText('Approved by steward')).toBeDefined();
    expect(screen.queryByText(/not open to you/)).toBeNull();
  });

  it('says where steps are left out', async () => {
    openConsole(world().on('GET audit/timelines/export/e1', { ...chain, left_out: true }), '#/timelines/export%3Ae1');
    expect(await screen.findByText(/Some steps are not open to you/)).toBeDefined();
  });
});
