import { screen, within } from '@testing-library/react';
import { describe, expect, it } from 'vitest';
import type { Policy, PolicyProposal, PolicyResults } from '../../src/api/types/policy.js';
import { openConsole } from '../openConsole.js';
import { refusal, STEWARD, World } from '../world.js';

const ADMIN = { ...STEWARD, user: 'admin', can: { ...STEWARD.can, administer: true } };
const AUDITOR = { ...STEWARD, user: 'auditor', can: { ...STEWARD.can, audit: true } };
const RESULTS: PolicyResults = {
  notes: ['policy.csv:9: R9 ended at 2026-01-01 00:00 UTC'],
  tests: 4,
  guards: [{ name: 'secret-by-two', kind: 'at-least', why: 'two people answer' }],
  rows: 10,
  untested: ['policy.csv:7'],
  changes: {}
};
const CHANGES = {
  changed: true,
  complete: true,
  changes: [{ kind: 'may', text: 'user:analyst may now read health/randhie in cardio (rule I7, policy.csv:41)' }],
  changes_in_all: 1
};
const PROPOSAL: PolicyProposal = {
  id: 'x1',
  state: 'open',
  digest: 'd'.repeat(64),
  version: 'dddddddddddd',
  base: 'bbbbbbbbbbbb',
  author: 'operator',
  why: 'the contract begins',
  at: '2026-11-21T05:00:00.000Z',
  results: { ...RESULTS, changes: CHANGES },
  decided_by: null,
  decided_at: null,
  comment: '',
  may: { decide: true, withdraw: false }
};
const POLICY: Policy = {
  version: 'bbbbbbbbbbbb',
  loaded_at: '2026-11-21T04:00:00.000Z',
  state: 'in-force',
  problems: [],
  files: [{ name: 'policy.csv', text: 'p, a\np, b\n' }],
  activation: 'file',
  checks: RESULTS,
  draft: { version: 'bbbbbbbbbbbb', differs: false, problems: [] },
  proposals: [],
  versions: [
    {
      number: 2, version: 'bbbbbbbbbbbb', at: '2026-11-21T04:00:00.000Z', actor: 'user:admin', why: 'new project',
      source: 'files', entry: 12, changes: CHANGES, in_force: true
    },
    {
      number: 1, version: 'aaaaaaaaaaaa', at: '2026-11-20T04:00:00.000Z', actor: 'system:control', why: 'the files',
      source: 'first-start', entry: 1, changes: {}, in_force: false
    }
  ]
};

function show(policy: Partial<Policy>, me: typeof ADMIN = ADMIN) {
  const world = new World().on('GET me', me).on('GET policy', { ...POLICY, ...policy });
  return { world, user: openConsole(world, '#/policy') };
}

describe('the policy', () => {
  it('a refused one names file and line beside the text that stays in force', async () => {
    show({
      state: 'refused',
      problems: [
        { file: 'policy.csv', line: 2, message: 'no such label' },
        { file: 'labels.toml', line: 0, message: 'is missing' }
      ]
    });
    expect(await screen.findByText('policy.csv:2')).toBeDefined();
    expect(screen.getByText('labels.toml')).toBeDefined();
    expect(screen.getByText(/The last good version stays in force/)).toBeDefined();
    expect(screen.getByText('p, b').dataset.line).toBe('2');
  });

  it('tells tests, guards, rows without a test and notes of the one in force', async () => {
    show({});
    expect(await screen.findByText('4 tests, all pass')).toBeDefined();
    expect(screen.getByText('9 of 10 rows reached by a test')).toBeDefined();
    expect(screen.getByText('policy.csv:7')).toBeDefined();
    expect(screen.getByText('secret-by-two')).toBeDefined();
    expect(screen.getByText(/R9 ended/)).toBeDefined();
    expect(screen.queryByRole('heading', { name: 'In the policy folder' })).toBeNull();
  });

  it('says how many guards grants broke before', async () => {
    show({ checks: { ...RESULTS, guards_broken: 1 } });
    expect(await screen.findByText('1 guard, 1 broken by grants, as before (see the notes)')).toBeDefined();
  });

  it('says where the folder’s files were set aside', async () => {
    show({ draft: { version: 'cccccccccccc', differs: true, problems: [] } });
    expect(await screen.findByText(/They wait until somebody edits them/)).toBeDefined();
    expect(screen.queryByRole('button', { name: 'Propose these files' })).toBeNull();
  });
});

describe('questions', () => {
  it('who can: people, rules and what they owe', async () => {
    const { world, user } = show({});
    world.on('GET policy/who-can?action=read&object=health%2Frandhie%23age&project=cardio', {
      answers: [
        {
          who: ['user:analyst', 'user:b', 'user:c', 'user:d', 'user:e'],
          action: 'read',
          objects: ['health/randhie#age (confidential)'],
          project: 'cardio',
          rules: [{ name: 'I7 (policy.csv:41)', text: 'allows read', why: '' }],
          owing: { mask: { value: 'hash', rule: 'O15 (policy.csv:94)' } }
        }
      ],
      answers_in_all: 3
    });
    const ask = await screen.findByRole('form', { name: 'Ask the policy' });
    expect(within(ask).getByRole('button', { name: 'Ask' })).toHaveProperty('disabled', true);
    await user.type(within(ask).getByLabelText('Action'), 'read');
    await user.type(within(ask).getByLabelText('Object'), 'health/randhie#age');
    await user.type(within(ask).getByLabelText('Project (optional)'), 'project:cardio');
    await user.click(within(ask).getByRole('button', { name: 'Ask' }));
    const table = await screen.findByRole('table', { name: 'Who may do what' });
    expect(within(table).getByText('user:analyst, user:b, user:c, user:d and 1 more')).toBeDefined();
    expect(within(table).getByText('I7 (policy.csv:41)')).toBeDefined();
    expect(table.textContent).toContain('mask hash by O15 (policy.csv:94)');
    expect(screen.getByText(/2 more lines/)).toBeDefined();
  });

  it('why: the decision in its own words; a question that is none says so', async () => {
    const { world, user } = show({});
    const path = 'GET policy/explain?user=analyst&action=read&object=policy';
    world.on(path, refusal(422, 'This is no question'), { answers: [{ text: 'DENY: user:analyst read policy' }] });
    await user.selectOptions(await screen.findByLabelText('Question'), 'explain');
    await user.type(screen.getByLabelText('User'), 'user:analyst');
    await user.type(screen.getByLabelText('Action'), 'read');
    await user.type(screen.getByLabelText('Object'), 'policy');
    await user.click(screen.getByRole('button', { name: 'Ask' }));
    expect((await screen.findByRole('alert')).textContent).toContain('This is no question');
    await user.click(screen.getByRole('button', { name: 'Ask' }));
    expect(await screen.findByText('DENY: user:analyst read policy')).toBeDefined();
    expect(screen.queryByRole('alert')).toBeNull();
  });

  it('nobody is an answer', async () => {
    const { world, user } = show({});
    world.on('GET policy/what-can?user=nobody', { answers: [], answers_in_all: 0 });
    await user.selectOptions(await screen.findByLabelText('Question'), 'what-can');
    await user.type(screen.getByLabelText('User'), 'nobody');
    await user.click(screen.getByRole('button', { name: 'Ask' }));
    expect(await screen.findByText(/Nobody may/)).toBeDefined();
  });
});

describe('what if', () => {
  const change = {
    entry: 41, time: '2026-11-21T05:00:00.000Z', user: 'analyst', project: 'cardio', action: 'read',
    was: true, would_be: false,
    differs: ['health/randhie#age would be denied: rule STOP (policy.csv:99)', 'b', 'c', 'd', 'e', 'f', 'g']
  };

  it('decides the newest once more, by keyboard, and shows what would be otherwise and why', async () => {
    const { world, user } = show({});
    const masked = { ...change, entry: 40, project: '', would_be: true, differs: ['open/data#x: mask none would be redact'] };
    world.on('POST policy/what-if', { version: 'cccccccccccc', looked_at: 7, not_by_rules: 3, changes: [change, masked] });
    const form = await screen.findByRole('form', { name: 'What if' });
    const field = within(form).getByLabelText('Newest (1 to 2,000)');
    expect(field).toHaveProperty('value', '100');
    await user.clear(field);
    await user.type(field, '500{Enter}');
    const table = await screen.findByRole('table', { name: 'Decisions that would be others' });
    expect(world.sent('POST policy/what-if')).toEqual([{ last: 500 }]);
    expect(screen.getByText(/^2 of 7 decisions would be others under/).textContent).toContain(
      'cccccccccccc. 3 more were not decided by rules.'
    );
    const [denied, other] = within(table).getAllByRole('row').slice(1).map(row =>
      within(row).getAllByRole('cell').map(cell => cell.textContent)
    );
    expect(denied?.slice(1, 6)).toEqual(['analyst', 'read', 'cardio', 'allowed', 'denied']);
    expect(denied?.[6]).toContain('rule STOP (policy.csv:99)');
    expect(denied?.[6]).toContain('and 2 more lines');
    expect(other?.slice(3, 6)).toEqual(['outside projects', 'allowed', 'allowed otherwise']);
    expect(within(table).getByRole('link', { name: '41' }).getAttribute('href')).toBe('#/audit/41');
  });

  it('tells once what would be otherwise in the same way, with every entry', async () => {
    const { world, user } = show({});
    const changes = [50, 49, 48, 47, 46, 45, 44, 43].map(entry => ({ ...change, entry, time: `2026-11-21T05:00:0${entry % 10}.000Z` }));
    world.on('POST policy/what-if', { version: 'cccccccccccc', looked_at: 9, not_by_rules: 0, changes: [...changes, { ...change, user: 'ann' }] });
    await user.click(await screen.findByRole('button', { name: 'Decide once more' }));
    const table = await screen.findByRole('table', { name: 'Decisions that would be others' });
    const [first, second] = within(table).getAllByRole('rowheader').map(cell => cell.textContent);
    expect(first).toBe('50and 49, 48, 47, 46, 45 and 2 more');
    expect(second).toBe('41');
    expect(screen.getByText(/^9 of 9 decisions would be others/)).toBeDefined();
    expect(within(table).getByRole('link', { name: '45' }).getAttribute('href')).toBe('#/audit/45');
  });

  it('asks about nothing by itself, and about no number that the service would refuse', async () => {
    const { world, user } = show({});
    const form = await screen.findByRole('form', { name: 'What if' });
    const field = within(form).getByLabelText('Newest (1 to 2,000)');
    for (const wrong of ['0', '2001', '1.5', '-3']) {
      await user.clear(field);
      await user.type(field, `${wrong}{Enter}`);
      expect(within(form).getByRole('button', { name: 'Decide once more' })).toHaveProperty('disabled', true);
      expect(field.getAttribute('aria-invalid')).toBe('true');
    }
    await user.clear(field);
    await user.keyboard('{Enter}');
    expect(world.sent('POST policy/what-if')).toEqual([]);
  });

  it('takes an earlier answer away when the folder’s files are refused', async () => {
    const { world, user } = show({});
    world.on(
      'POST policy/what-if',
      { version: 'cccccccccccc', looked_at: 1, not_by_rules: 0, changes: [] },
      refusal(422, 'This cannot come into force')
    );
    const form = await screen.findByRole('form', { name: 'What if' });
    await user.click(within(form).getByRole('button', { name: 'Decide once more' }));
    expect(await screen.findByText(/^0 of 1 decision would be others under/)).toBeDefined();
    expect(screen.queryByRole('table', { name: 'Decisions that would be others' })).toBeNull();
    await user.click(within(form).getByRole('button', { name: 'Decide once more' }));
    expect((await screen.findByRole('alert')).textContent).toContain('This cannot come into force');
    expect(screen.queryByText(/would be others under/)).toBeNull();
  });

  it('says so where the log holds nothing to decide once more', async () => {
    const { world, user } = show({});
    world.on('POST policy/what-if', { version: 'cccccccccccc', looked_at: 0, not_by_rules: 0, changes: [] });
    await user.click(await screen.findByRole('button', { name: 'Decide once more' }));
    expect(await screen.findByText(/^The log holds no reading, output or export yet/)).toBeDefined();
    expect(screen.queryByText(/would be others under/)).toBeNull();
  });

  it('says how many it does not list', async () => {
    const { world, user } = show({});
    const changes = Array.from({ length: 103 }, (_, index) => ({ ...change, entry: 1000 - index, differs: [`a${index}`] }));
    world.on('POST policy/what-if', { version: 'cccccccccccc', looked_at: 300, not_by_rules: 0, changes });
    await user.click(await screen.findByRole('button', { name: 'Decide once more' }));
    expect(await screen.findByText(/3 more lines/)).toBeDefined();
    expect(screen.getByText('901')).toBeDefined();
    expect(screen.queryByText('898')).toBeNull();
  });
});

describe('compare', () => {
  it('what is in force with the folder, without proving it; or two versions', async () => {
    const { world, user } = show({});
    world.on('GET policy/diff', { old: 'bbbbbbbbbbbb', new: 'cccccccccccc', ...CHANGES });
    world.on('GET policy/diff?old=1&new=2', { old: 'aaaaaaaaaaaa', new: 'bbbbbbbbbbbb', ...CHANGES, changed: false, changes: [], changes_in_all: 0 });
    const form = await screen.findByRole('form', { name: 'Compare' });
    await user.click(within(form).getByRole('button', { name: 'Compare' }));
    const section = screen.getByRole('region', { name: 'Compare' });
    expect(await within(section).findByText('user:analyst may now read health/randhie in cardio (rule I7, policy.csv:41)')).toBeDefined();
    expect(within(section).getByText('cccccccccccc')).toBeDefined();
    await user.selectOptions(within(form).getByLabelText('From'), '1');
    await user.selectOptions(within(form).getByLabelText('To'), '2');
    expect(within(section).queryByText('cccccccccccc')).toBeNull();
    await user.click(within(form).getByRole('button', { name: 'Compare' }));
    expect(await within(section).findByText('No decision and no obligation.')).toBeDefined();
  });

  it('shows a refusal', async () => {
    const { world, user } = show({});
    world.on('GET policy/diff', refusal(422, 'These files cannot come into force'));
    await user.click(await screen.findByRole('button', { name: 'Compare' }));
    expect((await screen.findByRole('alert')).textContent).toContain('These files cannot come into force');
  });
});

describe('recertify', () => {
  it('lists old rows to their owners', async () => {
    const { world, user } = show({}, AUDITOR);
    const row = (place: string, owner: string, on: string | null) => ({ place, owner, on, text: `${place}: N since ${on ?? '?'}`, says: 'p, N' });
    world.on('GET policy/recertify?months=6', {
      months: 6,
      rows: 12,
      overdue: [row('policy.csv:9', 'user:dora', '2026-01-02'), row('policy.csv:3', 'nobody', null), row('policy.csv:11', 'user:dora', '2026-01-02')]
    });
    const form = await screen.findByRole('form', { name: 'Recertify' });
    const field = within(form).getByLabelText('Months (1 to 1,200)');
    expect(field).toHaveProperty('value', '12');
    await user.clear(field);
    await user.type(field, '6{Enter}');
    expect(await screen.findByText('3 of 12 rows are older than 6 months.')).toBeDefined();
    const of = (owner: string) =>
      within(screen.getByRole('region', { name: `Rows of ${owner}` })).getAllByRole('listitem').map(item => item.textContent);
    expect(of('user:dora')).toEqual(['policy.csv:9: N since 2026-01-02p, N', 'policy.csv:11: N since 2026-01-02p, N']);
    expect(of('nobody')).toEqual(['policy.csv:3: N since ?p, N']);
    expect(screen.getByRole('heading', { name: 'dora' })).toBeDefined();
  });

  it('says so where none is old, and shows a refusal', async () => {
    const { world, user } = show({});
    world.on(
      'GET policy/recertify?months=12',
      { months: 12, rows: 12, overdue: [] },
      refusal(409, 'No policy is in force')
    );
    const button = await screen.findByRole('button', { name: 'List old rows' });
    await user.click(button);
    expect(await screen.findByText('None of 12 rows is older than 12 months.')).toBeDefined();
    await user.click(button);
    expect((await screen.findByRole('alert')).textContent).toContain('No policy is in force');
    expect(screen.queryByText(/None of 12 rows/)).toBeNull();
  });
});

describe('two people', () => {
  const two = { activation: 'two-person', draft: { version: 'dddddddddddd', differs: true, problems: [] } } as const;

  it('one proposes what is in the folder, and says why', async () => {
    const { world, user } = show(two);
    world.on('POST policy/proposals', PROPOSAL);
    const button = await screen.findByRole('button', { name: 'Propose these files' });
    expect(button).toHaveProperty('disabled', true);
    await user.type(screen.getByLabelText('Why this change?'), ' the contract begins ');
    await user.click(button);
    expect(world.sent('POST policy/proposals')).toEqual([{ why: 'the contract begins' }]);
  });

  it('another one sees what it changes and approves exactly those files', async () => {
    const { world, user } = show({ activation: 'two-person', proposals: [PROPOSAL] });
    world.on('POST policy/proposals/x1/decision', { ...PROPOSAL, state: 'activated' });
    const section = (await screen.findByText('the contract begins')).closest('section');
    expect(section?.textContent).toContain('user:analyst may now read health/randhie in cardio');
    expect(section?.textContent).toContain('waiting for a second person');
    expect(screen.getByRole('button', { name: 'Reject proposal dddddddddddd' })).toHaveProperty('disabled', true);
    await user.type(screen.getByLabelText('Comment'), 'fine');
    await user.click(screen.getByRole('button', { name: 'Approve proposal dddddddddddd' }));
    expect(world.sent('POST policy/proposals/x1/decision')).toEqual([
      { verdict: 'approve', digest: PROPOSAL.digest, comment: 'fine' }
    ]);
  });

  it('nobody decides on their own', async () => {
    const own = { ...PROPOSAL, author: 'user:admin', may: { decide: false, withdraw: true } };
    const { world, user } = show({ activation: 'two-person', proposals: [own] });
    world.on('POST policy/proposals/x1/decision', { ...own, state: 'withdrawn' });
    expect(await screen.findByText(/This is your own proposal/)).toBeDefined();
    expect(screen.queryByRole('button', { name: /^Approve/ })).toBeNull();
    await user.click(screen.getByRole('button', { name: 'Take back proposal dddddddddddd' }));
    expect(world.sent('POST policy/proposals/x1/decision')).toEqual([
      { verdict: 'withdraw', digest: PROPOSAL.digest, comment: '' }
    ]);
  });

  it('auditors look and decide nothing', async () => {
    show({ ...two, proposals: [PROPOSAL] }, AUDITOR);
    expect(await screen.findByText('the contract begins')).toBeDefined();
    expect(screen.queryByRole('button', { name: /^(Approve|Reject|Propose)/ })).toBeNull();
    expect(screen.getByRole('button', { name: 'Put version 1 back' })).toHaveProperty('disabled', true);
  });
});

describe('the history', () => {
  it('says what each version changed, and puts one back with a reason', async () => {
    const { world, user } = show({});
    world.on('POST policy/rollback', refusal(422, 'A reason is needed'), POLICY.versions[1]);
    const table = await screen.findByRole('table', { name: 'Versions' });
    expect(within(table).getByText(/may now read health\/randhie/)).toBeDefined();
    expect(within(table).getByText('There was no policy before.')).toBeDefined();
    expect(within(table).getByRole('link', { name: '12' }).getAttribute('href')).toBe('#/audit/12');
    await user.click(screen.getByRole('button', { name: 'Put version 1 back' }));
    const form = screen.getByRole('form', { name: 'Put version 1 back' });
    await user.type(within(form).getByRole('textbox'), 'too wide');
    await user.click(within(form).getByRole('button', { name: 'Put it into force' }));
    expect((await within(form).findByRole('alert')).textContent).toContain('A reason is needed');
    await user.click(within(form).getByRole('button', { name: 'Put it into force' }));
    expect(world.sent('POST policy/rollback')).toEqual([
      { number: 1, why: 'too wide' },
      { number: 1, why: 'too wide' }
    ]);
  });
});
