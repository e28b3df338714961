import { screen, within } from '@testing-library/react';
import { describe, expect, it } from 'vitest';
import { openConsole } from '../openConsole.js';
import { refusal, STEWARD, World } from '../world.js';

const AT = '2026-11-21T05:00:00.000Z';
const SHRED = {
  id: 's1',
  state: 'open',
  dataset: 'health/randhie',
  version: 1,
  columns: ['mdvis'],
  why: 'The consent was withdrawn.',
  asked_by: 'user:steward2',
  asked_at: AT,
  entry: 51,
  decided_by: null,
  decided_at: null,
  decided_entry: null,
  done_entry: null,
  proof: null,
  may: { decide: true, withdraw: false }
};
const DECIDED = { decided_by: 'user:steward', decided_at: AT, decided_entry: 52, may: { decide: false, withdraw: false } };
const GONE = {
  ...SHRED,
  ...DECIDED,
  state: 'done',
  done_entry: 53,
  proof: { removed: ['table:mdvis', 'synthetic:mdvis'], order: 'ab'.repeat(32) }
};
const ERASURE = {
  id: 'e1',
  state: 'open',
  person: 'user:analyst',
  why: 'Asked for under Art. 17.',
  asked_by: 'user:auditor',
  asked_at: AT,
  entry: 61,
  decided_by: null,
  decided_at: null,
  done_entry: null,
  cleared_at: null,
  may: { decide: true, withdraw: false }
};
const ADMIN = { ...STEWARD, user: 'admin', can: { ...STEWARD.can, approve_access: false, administer: true } };
const WHAT = 'the shredding of mdvis of health/randhie@1';

const WISH = {
  id: 'r1',
  state: 'open',
  project: 'cardio',
  dataset: 'health/randhie',
  version: 1,
  column: 'person',
  tokens: ['Qxe-7318', 'Lmo-0042'],
  shown_to: 'asker',
  why: 'A finding that the person should know of.',
  asked_by: 'user:analyst',
  asked_at: AT,
  entry: 71,
  decided_by: null,
  decided_at: null,
  decided_entry: null,
  until: null,
  shown_at: null,
  shown_entry: null,
  may: { decide: true, withdraw: false, show: false }
};
const GRANTED = {
  ...WISH,
  state: 'approved',
  decided_by: 'user:steward',
  decided_at: AT,
  decided_entry: 72,
  until: '2026-11-22T05:00:00.000Z',
  may: { decide: false, withdraw: false, show: true }
};
const SEEN = { ...GRANTED, state: 'shown', shown_at: AT, shown_entry: 73, may: { decide: false, withdraw: false, show: false } };
const TURNED = 'the re-identification of 2 tokens of person in health/randhie@1';

describe('shreddings', () => {
  it('are approved by a second person, and the proof is shown', async () => {
    const world = new World().on('GET me', STEWARD).on('GET shreds', { shreds: [SHRED] }, { shreds: [GONE] });
    const user = openConsole(world.on('POST shreds/s1/decision', GONE), '#/shreddings');
    const form = await screen.findByRole('form', { name: `Verdict on ${WHAT}` });
    expect(screen.getByText(/at once and for good/)).toBeDefined();
    expect(screen.getByRole<HTMLButtonElement>('button', { name: `Reject ${WHAT}` }).disabled).toBe(true);
    await user.click(within(form).getByRole('button', { name: `Approve ${WHAT}` }));
    expect(world.sent('POST shreds/s1/decision')).toEqual([{ verdict: 'approve', comment: '' }]);
    expect(await screen.findByText('No shredding waits for a decision.')).toBeDefined();
    await user.click(screen.getByRole('radio', { name: 'All' }));
    expect(screen.getByText('table:mdvis, synthetic:mdvis')).toBeDefined();
    expect(screen.getByText('ab'.repeat(32))).toBeDefined();
    const links = [...document.querySelectorAll('main a')].map(link => link.getAttribute('href'));
    expect(links).toEqual(['#/audit/51', '#/audit/52', '#/audit/53']);
    expect(screen.queryByRole('form', { name: /Verdict/ })).toBeNull();
  });

  it('are taken back by who asked, who decides on nothing', async () => {
    const own = { ...SHRED, may: { decide: false, withdraw: true } };
    const world = new World().on('GET me', STEWARD).on('GET shreds', { shreds: [own] });
    const user = openConsole(world.on('POST shreds/s1/decision', own), '#/shreddings');
    await user.click(await screen.findByRole('button', { name: `Take back ${WHAT}` }));
    expect(world.sent('POST shreds/s1/decision')).toEqual([{ verdict: 'withdraw', comment: '' }]);
    expect(screen.queryByRole('button', { name: /Approve/ })).toBeNull();
  });

  it('say that the vault was away, and are carried out again', async () => {
    const approved = { ...SHRED, ...DECIDED, state: 'approved', may: { decide: true, withdraw: false } };
    const world = new World().on('GET me', STEWARD).on('GET shreds', { shreds: [SHRED] }, { shreds: [approved] });
    world.on('POST shreds/s1/decision', refusal(503, 'The vault cannot be asked now'), GONE);
    const user = openConsole(world, '#/shreddings');
    await user.click(await screen.findByRole('button', { name: `Approve ${WHAT}` }));
    expect((await screen.findByRole('alert')).textContent).toContain('The vault cannot be asked now');
    await user.click(await screen.findByRole('button', { name: `Carry out ${WHAT}` }));
    expect(world.sent('POST shreds/s1/decision')).toHaveLength(2);
    expect(screen.queryByRole('button', { name: /^Reject/ })).toBeNull();
  });

  it('are asked for from the page of a version, with columns or without', async () => {
    const world = new World().on('GET me', STEWARD).on('GET shreds', { shreds: [] }).on('POST shreds', SHRED);
    const user = openConsole(world, '#/shreddings/health%2Frandhie%401');
    const ask = await screen.findByRole<HTMLButtonElement>('button', { name: 'Ask to shred the whole version' });
    expect(screen.getByLabelText<HTMLInputElement>('Version').value).toBe('health/randhie@1');
    expect(ask.disabled).toBe(true);
    await user.type(screen.getByLabelText('Why'), 'The consent was withdrawn.');
    await user.click(ask);
    await user.type(screen.getByLabelText('Why'), 'The consent was withdrawn.');
    await user.type(screen.getByLabelText('Columns or files'), 'mdvis, lncoins');
    await user.click(screen.getByRole('button', { name: 'Ask to shred mdvis, lncoins' }));
    const wish = { dataset: 'health/randhie', version: 1, why: 'The consent was withdrawn.' };
    expect(world.sent('POST shreds')).toEqual([
      { ...wish, columns: null },
      { ...wish, columns: ['mdvis', 'lncoins'] }
    ]);
    await user.clear(screen.getByLabelText('Version'));
    await user.type(screen.getByLabelText('Version'), 'health/randhie');
    await user.type(screen.getByLabelText('Why'), 'The consent was withdrawn.');
    expect(screen.getByRole<HTMLButtonElement>('button', { name: /^Ask to shred/ }).disabled).toBe(true);
  });
});

describe('erasures', () => {
  it('are approved by a second person', async () => {
    const done = { ...ERASURE, state: 'done', decided_by: 'user:admin', decided_at: AT, done_entry: 62, may: DECIDED.may };
    const world = new World().on('GET me', ADMIN).on('POST audit/erasures/e1/decision', done);
    world.on(
      'GET audit/erasures',
      { setting: 'two-person', erasures: [ERASURE] },
      { setting: 'two-person', erasures: [done] }
    );
    const user = openConsole(world, '#/erasures');
    await user.click(await screen.findByRole('button', { name: 'Approve the erasure of what analyst typed' }));
    expect(world.sent('POST audit/erasures/e1/decision')).toEqual([{ verdict: 'approve', comment: '' }]);
    await user.click(screen.getByRole('radio', { name: 'All' }));
    expect(screen.getByText(/its leavings still hold the key/)).toBeDefined();
    expect(screen.getByRole('link', { name: 'entry 62 of the log' }).getAttribute('href')).toBe('#/audit/62');
  });

  it('are not decided by the person concerned', async () => {
    const mine = { ...ERASURE, may: { decide: false, withdraw: false } };
    openConsole(new World().on('GET me', ADMIN).on('GET audit/erasures', { setting: 'two-person', erasures: [mine] }), '#/erasures');
    expect(await screen.findByText('These are your own texts: two others decide.')).toBeDefined();
    expect(screen.queryByRole('button', { name: /Approve|Take back/ })).toBeNull();
  });

  it('are asked for by login name; where they are off, it says what would allow them', async () => {
    const world = new World().on('GET me', ADMIN).on('POST audit/erasures', ERASURE);
    world.on('GET audit/erasures', { setting: 'two-person', erasures: [] }, { setting: 'off', erasures: [] });
    const user = openConsole(world, '#/erasures');
    await user.type(await screen.findByLabelText('Person'), 'analyst');
    await user.type(screen.getByLabelText('Why'), 'Art. 17');
    await user.click(screen.getByRole('button', { name: 'Ask to erase' }));
    expect(world.sent('POST audit/erasures')).toEqual([{ person: 'user:analyst', why: 'Art. 17' }]);
    expect(await screen.findByText(/the operator sets/)).toBeDefined();
    expect(screen.queryByRole('button', { name: 'Ask to erase' })).toBeNull();
  });

  it('are no page for stewards', async () => {
    openConsole(new World().on('GET me', STEWARD), '#/erasures');
    expect(await screen.findByText(/is not among what your roles open/)).toBeDefined();
  });
});

describe('re-identifications', () => {
  it('are decided by a steward, who is told who sees the values and is shown none', async () => {
    const elsewhere = { ...GRANTED, may: { decide: false, withdraw: false, show: false } };
    const world = new World().on('GET me', STEWARD);
    world.on('GET reidentifications', { reidentifications: [WISH] }, { reidentifications: [elsewhere] });
    const user = openConsole(world.on('POST reidentifications/r1/decision', elsewhere), '#/reidentifications');
    await screen.findByText(/lets who asked see these values once/);
    expect(screen.getByText('Qxe-7318, Lmo-0042')).toBeDefined();
    await user.click(screen.getByRole('button', { name: `Approve ${TURNED}` }));
    expect(world.sent('POST reidentifications/r1/decision')).toEqual([{ verdict: 'approve', comment: '' }]);
    expect(await screen.findByText('It is approved; who asked can see it.')).toBeDefined();
    expect(screen.queryByRole('button', { name: /Show/ })).toBeNull();
  });

  it('are shown once, and stay on the page until it is left', async () => {
    const world = new World().on('GET me', { ...STEWARD, can: { ...STEWARD.can, approve_access: false } });
    world.on('GET reidentifications', { reidentifications: [GRANTED] }, { reidentifications: [SEEN] });
    const values = [
      { token: 'Qxe-7318', value: 'Ann-0042' },
      { token: 'Lmo-0042', value: null }
    ];
    const user = openConsole(world.on('POST reidentifications/r1/values', { ...SEEN, values }), '#/reidentifications');
    await user.click(await screen.findByRole('button', { name: `Show the values of 2 tokens of person in health/randhie@1` }));
    expect(await screen.findByText('Ann-0042')).toBeDefined();
    expect(screen.getByText('no value of this version, as you read it in this project')).toBeDefined();
    expect(screen.getByText(/gone when you leave/)).toBeDefined();
    expect(screen.queryByRole('button', { name: /Show/ })).toBeNull();
    expect(world.sent('POST reidentifications/r1/values')).toHaveLength(1);
  });

  it('say why they cannot be shown', async () => {
    const world = new World().on('GET me', STEWARD).on('GET reidentifications', { reidentifications: [GRANTED] });
    world.on('POST reidentifications/r1/values', refusal(403, 'You may not have tokens of this column turned back'));
    const user = openConsole(world, '#/reidentifications');
    await user.click(await screen.findByRole('button', { name: /^Show the values/ }));
    expect((await screen.findByRole('alert')).textContent).toContain('You may not have tokens');
    expect(screen.queryByRole('table')).toBeNull();
  });

  it('are asked for with project, column, tokens, who sees them and why', async () => {
    const world = new World().on('GET me', STEWARD).on('GET reidentifications', { reidentifications: [] });
    const user = openConsole(world.on('POST reidentifications', WISH), '#/reidentifications');
    const ask = await screen.findByRole<HTMLButtonElement>('button', { name: 'Ask to turn tokens back' });
    expect(ask.disabled).toBe(true);
    await user.type(screen.getByLabelText('Project'), 'cardio');
    await user.type(screen.getByLabelText('Dataset'), 'health/randhie@1');
    await user.type(screen.getByLabelText('Column'), 'person');
    await user.type(screen.getByLabelText('Tokens'), 'Qxe-7318\n\nLmo-0042\nQxe-7318\n');
    await user.selectOptions(screen.getByLabelText('Who sees the values'), 'steward');
    await user.type(screen.getByLabelText('Why'), WISH.why);
    await user.click(screen.getByRole('button', { name: 'Ask to turn back 2 tokens' }));
    expect(world.sent('POST reidentifications')).toEqual([
      {
        project: 'cardio',
        dataset: 'health/randhie',
        version: 1,
        column: 'person',
        tokens: ['Qxe-7318', 'Lmo-0042'],
        shown_to: 'steward',
        why: WISH.why
      }
    ]);
  });
});
