import { screen, within } from '@testing-library/react';
import { describe, expect, it } from 'vitest';
import type { Me } from '../../src/api/types/session.js';
import type { LogStatus, Witness } from '../../src/api/types/status.js';
import { openConsole } from '../openConsole.js';
import { STEWARD, World } from '../world.js';

const NOBODY = { approve_access: false, approve_exports: false, administer: false, audit: false };
const AUDITOR: Me = { ...STEWARD, user: 'auditor', can: { ...NOBODY, audit: true } };
const ADMIN: Me = { ...STEWARD, user: 'admin', can: { ...NOBODY, administer: true } };
const HERE: Witness = { witness: 'this machine', state: 'fine', text: '', size: 0, at: null };
const OUTSIDE: Witness = {
  witness: 'witness.example', state: 'fine', text: '', size: 41, at: '2026-11-21T05:00:00.000Z'
};
const LOG: LogStatus = { size: 42, alarms: [], witnesses: [HERE, OUTSIDE], push: null };

function overview(log: Partial<LogStatus>, me = AUDITOR): void {
  const world = new World()
    .on('GET me', me)
    .on('GET policy', { state: 'in-force', version: 'p1', loaded_at: '2026-11-21T04:00:00.000Z', problems: [] })
    .on('GET status', { mode: 'one-uid', weaker: ['All under one.'], log: { ...LOG, ...log }, machine: [], violations: {} });
  openConsole(world);
}

async function witnesses(): Promise<(string | null)[]> {
  const list = await screen.findByRole('list', { name: 'Witnesses' });
  return within(list).getAllByRole('listitem').map(line => line.textContent);
}

describe('the overview, on the log', () => {
  it('says who vouches for it, up to where', async () => {
    overview({});
    const [here, outside] = await witnesses();
    expect(here).toContain('finethis machine');
    expect(outside).toContain('finewitness.exampleco-signed 41 entries, ');
    expect(screen.getByText(/The log holds 42 entries/)).toBeDefined();
    expect(screen.queryByRole('alert')).toBeNull();
    expect(screen.queryByText(/No witness on another machine/)).toBeNull();
    expect(screen.queryByText(/SIEM/)).toBeNull();
    expect(screen.queryByRole('heading', { name: 'Installation' })).toBeNull();
  });

  it('raises its alarms, each once, in their own words', async () => {
    const words = 'has seen 50 entries, and there are 42';
    overview({
      alarms: [`witness.example: ${words}`],
      witnesses: [HERE, { ...OUTSIDE, state: 'rolled-back', text: words }]
    });
    const alert = await screen.findByRole('alert');
    expect(alert.textContent).toContain('1 alarm about the log');
    expect(screen.getAllByText(new RegExp(words))).toHaveLength(1);
    expect(screen.getByText('rolled-back').dataset.severity).toBe('block');
  });

  it('tells what troubles a witness before it is an alarm', async () => {
    overview({ witnesses: [HERE, { ...OUTSIDE, state: 'waiting', size: 0, at: null, text: 'does not answer: timeout' }] });
    const [, outside] = await witnesses();
    expect(outside).toBe('waitingwitness.example: does not answer: timeouthas not co-signed yet');
    expect(screen.queryByRole('alert')).toBeNull();
  });

  it('says so where nobody elsewhere vouches for it; administrators see the installation, too', async () => {
    overview({ witnesses: [HERE] }, ADMIN);
    expect(await screen.findByText(/No witness on another machine co-signs it/)).toBeDefined();
    expect(screen.getByRole('heading', { name: 'Installation' })).toBeDefined();
    expect(screen.getByText('All under one.')).toBeDefined();
  });

  it.each([
    [{ next: 42, waiting: 0, state: 'fine', text: '' }, 'Entries are sent on to the SIEM. None waits.'],
    [{ next: 41, waiting: 1, state: 'fine', text: '' }, 'Entries are sent on to the SIEM. Waiting: 1 entry.'],
    [
      { next: 2, waiting: 40, state: 'failing', text: 'ConnectionRefusedError: refused' },
      'Sending entries on to the SIEM fails: ConnectionRefusedError: refused. Waiting: 40 entries.'
    ]
  ] as const)('says how far entries were sent on: %j', async (push, words) => {
    overview({ push });
    expect(await screen.findByText(words)).toBeDefined();
  });
});

describe('an entry', () => {
  const begin = {
    index: 7, v: 1, time: '2026-11-21T05:00:00.123Z', action: 'server:cell:begin', actor: 'user:analyst',
    project: 'cardio', server: 's1', kernel: 'k1', object: 'day.ipynb', label: 'public', sources: [], detail: {}
  };
  const missing = { state: 'missing', entry: null, why: 'Its kernel died or was restarted.' };
  const running = { state: 'running', entry: null, why: '' };
  const ended = { state: 'ended', entry: 9, why: '' };

  function entry(told: Record<string, unknown>): void {
    const whole = { ...begin, payload: null, payload_state: 'none', erased: null, ...told };
    const world = new World().on('GET me', AUDITOR).on('GET audit/entries/7', whole);
    openConsole(world, '#/audit/7');
  }

  it('without an end is marked in the list, with why; one that ended is not', async () => {
    const entries = [
      { ...begin, index: 8, end: ended },
      { ...begin, index: 7, end: missing },
      { ...begin, index: 6, end: running },
      { ...begin, index: 5, action: 'hub:user:login' }
    ];
    const world = new World()
      .on('GET me', AUDITOR)
      .on('GET audit/checkpoint', 'note')
      .on('GET audit/entries?limit=50', { entries, next: null, size: 9 });
    openConsole(world, '#/audit');
    const table = await screen.findByRole('table', { name: 'Entries' });
    const actions = within(table).getAllByRole('row').slice(1).map(row => within(row).getAllByRole('cell')[2]?.textContent);
    expect(actions).toEqual([
      'server:cell:begin',
      'server:cell:beginno end Its kernel died or was restarted.',
      'server:cell:beginstill runs',
      'hub:user:login'
    ]);
  });

  it('that ended leads to the entry that says how', async () => {
    entry({ end: ended });
    expect((await screen.findByRole('link', { name: 'entry 9' })).getAttribute('href')).toBe('#/audit/9');
    expect(screen.queryByRole('heading', { name: 'What was written' })).toBeNull();
  });

  it('without an end says why on its page', async () => {
    entry({ end: missing });
    expect(await screen.findByText('Its kernel died or was restarted.')).toBeDefined();
  });

  it('whose text was erased says when, by whom and by which entry', async () => {
    entry({ payload_state: 'erased', erased: { entry: 12, time: '2026-11-22T06:00:00.000Z', actor: 'user:dora' } });
    const note = await screen.findByText(/^Erased on/);
    expect(note.textContent).toContain('Erased on 2026-11-22 06:00:00.000 by entry 12 (dora).');
    expect(within(note).getByRole('link').getAttribute('href')).toBe('#/audit/12');
  });

  it.each([
    ['not-yours', /Only auditors and whoever wrote it/],
    ['unreadable', /no entry says that it was erased/]
  ])('whose text is %s says so', async (payload_state, words) => {
    entry({ payload_state });
    expect(await screen.findByText(words)).toBeDefined();
  });

  it('whose text is empty shows an empty text, not a complaint', async () => {
    entry({ payload_state: 'shown', payload: '' });
    expect(await screen.findByRole('region', { name: 'Text of entry 7' })).toBeDefined();
    expect(screen.queryByText(/cannot be read/)).toBeNull();
  });
});
