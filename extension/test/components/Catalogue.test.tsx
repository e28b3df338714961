import { screen, within } from '@testing-library/react';
import { describe, expect, it } from 'vitest';
import { openConsole } from '../openConsole.js';
import { DATASET, refusal, STEWARD, World } from '../world.js';

const LINE = {
  name: 'health/visits',
  version: 2,
  state: 'loaded',
  label: 'internal',
  rows: 120,
  created: '2026-11-21T05:00:00.000Z',
  activated: null,
  retained_until: null,
  retired: null,
  retired_by: null,
  retired_why: null,
  failed_checks: 1
};
const VERSION = {
  ...LINE,
  title: 'Visits',
  description: 'One row per visit.',
  owner: 'steward',
  stewards: ['steward'],
  source: '',
  licence: '',
  legal_basis: 'Consent',
  consent_column: null,
  contact: '',
  sources: ['health/raw@1'],
  columns: [
    { name: 'mail', type: 'String', tags: [], unit: '', codes: {}, nullable: false },
    { name: 'sex', type: 'Int64', tags: [], unit: '', codes: { '1': 'female' } },
    { name: 'weight', type: 'Float64', tags: [], unit: 'kg', codes: {} }
  ],
  decided: null,
  profile: {
    label: 'confidential',
    columns: {
      weight: { missing: 0.12, different: 60, histogram: { edges: [50, 90], shares: [0.1, 0.8, null], open: true } }
    }
  },
  undecided: ['mail', 'sex'],
  raises_label: true,
  proposals: {
    columns: {
      mail: { tags: ['direct-identifier'], evidence: [{ kind: 'pattern', text: 'all of its values have the form of e-mail addresses' }] },
      sex: { tags: ['quasi-identifier'], evidence: [{ kind: 'name', text: 'its name suggests a sex or gender' }] }
    },
    groups: [{ columns: ['sex'], smallest: 1, alone: 0.25, small: 0.5, exact: true }],
    label: { label: 'confidential', evidence: ['it names people directly: mail'] }
  },
  quality: [{ kind: 'unique', severity: 'warn', state: 'failed', text: "unique 'mail': 1 value(s) are not, in rows 7", why: '' }],
  notes: ['The workbook has 2 sheets; the first was taken.']
};
const PAGE = {
  name: 'health/visits',
  title: 'Visits',
  dataset: { ...DATASET, name: 'health/visits', title: 'Visits' },
  versions: [{ ...LINE, state: 'active' }, { ...LINE, version: 1, state: 'retired', retired_why: 'Replaced.' }],
  grants: [],
  relabellings: [],
  used_by: ['cardio/cohort@1'],
  twin: null
};
const AT = 'datasets/health/visits';

function world(): World {
  return new World().on('GET me', STEWARD);
}

describe('the list of datasets', () => {
  it('finds by words, also by a column, and leads to what waits', async () => {
    const draft = { ...LINE, title: 'Visits', waits_for: ['mail', 'sex'] };
    const other = { ...DATASET, name: 'public/penguins', title: 'Penguins', columns: [] };
    const user = openConsole(world().on('GET datasets', { datasets: [DATASET, other] }).on('GET drafts', { drafts: [draft] }), '#/datasets');
    const link = await screen.findByRole('link', { name: 'Visits, version 2' });
    expect(link.getAttribute('href')).toBe('#/datasets/health%2Fvisits%402');
    expect(screen.getByText('you decide on mail, sex')).toBeDefined();
    await user.type(screen.getByRole('searchbox', { name: 'Find' }), 'MDVIS conf');
    expect(screen.queryByText('Penguins')).toBeNull();
    expect(screen.getByText(DATASET.title)).toBeDefined();
    await user.type(screen.getByRole('searchbox', { name: 'Find' }), ' nothing');
    expect(screen.getByText('No dataset fits these words.')).toBeDefined();
  });

  it('does not ask for drafts where one decides on none', async () => {
    const me = { ...STEWARD, can: { ...STEWARD.can, approve_access: false } };
    const asked = new World().on('GET me', me).on('GET datasets', { datasets: [] });
    openConsole(asked, '#/datasets');
    await screen.findByText('There are no datasets that you may see.');
    expect(asked.sent('GET drafts')).toEqual([]);
  });
});

describe('a draft', () => {
  it('is published by keyboard once every column is decided, with evidence before one’s eyes', async () => {
    const asked = world().on(`GET ${AT}/2`, VERSION, { ...VERSION, state: 'active', undecided: [] });
    asked.on(`POST ${AT}/2/decision`, VERSION);
    const user = openConsole(asked, '#/datasets/health%2Fvisits%402');
    const form = await screen.findByRole('form', { name: 'Decide on this draft' });
    expect(within(form).getByText('all of its values have the form of e-mail addresses')).toBeDefined();
    expect(within(form).getByText('Still open: mail, sex')).toBeDefined();
    const publish = screen.getByRole('button', { name: 'Decide and publish' });
    expect((publish as HTMLButtonElement).disabled).toBe(true);
    within(screen.getByRole('group', { name: 'Tags of mail' })).getByRole('radio', { name: 'Accept' }).focus();
    await user.keyboard(' ');
    await user.click(within(screen.getByRole('group', { name: 'Tags of sex' })).getByRole('radio', { name: 'Change' }));
    const tags = screen.getByRole('textbox', { name: 'Other tags of sex' });
    await user.type(tags, ', sensitive');
    expect(screen.getByRole<HTMLSelectElement>('combobox', { name: 'Label of the version' }).value).toBe('confidential');
    await user.type(screen.getByRole('textbox', { name: /Comment/ }), 'Looked at.{Enter}');
    expect(asked.sent(`POST ${AT}/2/decision`)).toEqual([
      {
        columns: {
          mail: { verdict: 'accept', tags: [] },
          sex: { verdict: 'change', tags: ['quasi-identifier', 'sensitive'] }
        },
        label: 'confidential',
        comment: 'Looked at.'
      }
    ]);
    expect(await screen.findByRole('form', { name: 'Change this version' })).toBeDefined();
  });

  it('shows what was found, and what a refusal says', async () => {
    const asked = world().on(`GET ${AT}/2`, { ...VERSION, undecided: [] });
    asked.on(`POST ${AT}/2/decision`, refusal(422, 'This dataset cannot be catalogued so'));
    const user = openConsole(asked, '#/datasets/health%2Fvisits%402');
    expect(await screen.findByText("unique 'mail': 1 value(s) are not, in rows 7")).toBeDefined();
    expect(screen.getByText('25.0 % of rows')).toBeDefined();
    expect(screen.getByText('in kg')).toBeDefined();
    expect(screen.getByText('never missing')).toBeDefined();
    expect(screen.getByRole('img', { name: 'Bars around and beyond 50 to 90: 10 %, 80 %, too few' })).toBeDefined();
    await user.click(screen.getByRole('button', { name: 'Decide and publish' }));
    expect((await screen.findByRole('alert')).textContent).toContain('rule G2 (policy.csv:30)');
  });

  it('that is decided but not at the vault can be released again', async () => {
    const asked = world().on(`GET ${AT}/2`, { ...VERSION, state: 'signed' }).on(`POST ${AT}/2/release`, VERSION);
    const user = openConsole(asked, '#/datasets/health%2Fvisits%402');
    await user.click(await screen.findByRole('button', { name: 'Make it visible' }));
    expect(asked.sent(`POST ${AT}/2/release`)).toEqual([{}]);
  });
});

describe('a version that people see', () => {
  const active = { ...VERSION, state: 'active', label: 'confidential', undecided: [], raises_label: false };

  it('gets a lower label only by a proposal, and is retired with a reason', async () => {
    const asked = world().on(`GET ${AT}/2`, active);
    asked.on(`POST ${AT}/2/relabel`, { state: 'open' }).on(`POST ${AT}/2/retire`, PAGE);
    const user = openConsole(asked, '#/datasets/health%2Fvisits%402');
    const retire = await screen.findByRole('button', { name: 'Retire this version' });
    expect((retire as HTMLButtonElement).disabled).toBe(true);
    await user.type(screen.getByRole('textbox', { name: 'Why' }), 'Aggregated');
    await user.selectOptions(screen.getByRole('combobox', { name: 'Label' }), 'internal');
    expect(screen.getByText(/needs a second steward/)).toBeDefined();
    await user.click(screen.getByRole('button', { name: 'Propose the label' }));
    expect(asked.sent(`POST ${AT}/2/relabel`)).toEqual([{ label: 'internal', why: 'Aggregated' }]);
    expect(await screen.findByText(/another steward has to agree/)).toBeDefined();
    await user.click(screen.getByRole('button', { name: 'Retire this version' }));
    expect(asked.sent(`POST ${AT}/2/retire`)).toEqual([{ why: 'Aggregated' }]);
  });

  it('says which guards a higher label breaks', async () => {
    const asked = world().on(`GET ${AT}/2`, active);
    const broken_guards = ['guards.toml:2: the guard no-training is broken: user:analyst may train health/visits (secret)'];
    asked.on(`POST ${AT}/2/relabel`, { state: 'done', broken_guards });
    const user = openConsole(asked, '#/datasets/health%2Fvisits%402');
    await user.type(await screen.findByRole('textbox', { name: 'Why' }), 'It names people');
    await user.selectOptions(screen.getByRole('combobox', { name: 'Label' }), 'secret');
    await user.click(screen.getByRole('button', { name: 'Change the label' }));
    expect((await screen.findByText(/no-training is broken/)).textContent).toContain('Tell an administrator: now guards.toml:2');
  });
});

describe('the page of a dataset', () => {
  it('lists versions, compares two and shows what uses it', async () => {
    const difference = {
      before: { version: 1, label: 'internal', rows: 100 },
      after: { version: 2, label: 'internal', rows: 120 },
      added: ['weight'],
      removed: [],
      changed: [{ name: 'sex', fields: ['tags'], before: { tags: [] }, after: { tags: ['quasi-identifier'] } }],
      missing: [{ name: 'sex', before: 0.1, after: null }]
    };
    const asked = world().on(`GET ${AT}`, PAGE).on(`GET ${AT}/diff?before=1&after=2`, difference);
    const user = openConsole(asked, '#/datasets/health%2Fvisits');
    expect(await screen.findByText('Replaced.')).toBeDefined();
    expect(screen.getByText('cardio/cohort@1')).toBeDefined();
    await user.click(screen.getByRole('button', { name: 'Compare' }));
    const lines = (await screen.findByText('weight: new')).closest('ul');
    expect([...(lines?.querySelectorAll('li') ?? [])].map(line => line.textContent)).toEqual([
      'rows: 100 → 120',
      'weight: new',
      'sex, tags: none → quasi-identifier',
      'sex, missing: 10.0 % → —'
    ]);
  });

  it('shows the synthetic twin with its limits, and lets a steward withhold and open it', async () => {
    const twin = { version: 2, rows: 119, made: LINE.created, why: '', allowed: true, decided: false, may_decide: true };
    const withheld = { ...PAGE, twin: { ...twin, allowed: false, decided: true } };
    const asked = world().on(`GET ${AT}`, { ...PAGE, twin }, withheld).on(`PUT ${AT}/synthetic`, withheld);
    const user = openConsole(asked, '#/datasets/health%2Fvisits');
    const section = await screen.findByRole('region', { name: /^Synthetic twin/ });
    expect(section.textContent).toContain('119, all made up');
    expect(section.textContent).toContain('by its label; nobody has decided');
    const button = within(section).getByRole('button', { name: 'Withhold the twin' });
    const limits = document.getElementById(button.getAttribute('aria-describedby') ?? '');
    expect(limits?.textContent).toContain('no anonymity by proof');
    await user.click(button);
    expect(asked.sent(`PUT ${AT}/synthetic`)).toEqual([{ allowed: false }]);
    await user.click(await within(section).findByRole('button', { name: 'Open the twin' }));
    expect(asked.sent(`PUT ${AT}/synthetic`)).toEqual([{ allowed: false }, { allowed: true }]);
  });

  it('says why there is no twin, and offers nothing to who has no say', async () => {
    const none = { version: 2, rows: null, made: null, why: 'Too few rows.', allowed: true, decided: false, may_decide: false };
    openConsole(world().on(`GET ${AT}`, { ...PAGE, twin: none }), '#/datasets/health%2Fvisits');
    const section = await screen.findByRole('region', { name: /^Synthetic twin/ });
    expect(section.textContent).toContain('Too few rows.');
    expect(within(section).queryByRole('button')).toBeNull();
  });

  it('lets a second person agree to a lower label, and nobody else', async () => {
    const open = {
      id: 'r1',
      state: 'open',
      dataset: 'health/visits',
      version: 2,
      before: 'confidential',
      after: 'internal',
      why: 'Aggregated',
      proposed_by: 'user:steward2',
      at: LINE.created,
      decided_by: null,
      may_approve: true
    };
    const asked = world().on(
      `GET ${AT}`,
      { ...PAGE, relabellings: [open] },
      { ...PAGE, relabellings: [{ ...open, may_approve: false }] }
    );
    asked.on('POST relabellings/r1/decision', open);
    const user = openConsole(asked, '#/datasets/health%2Fvisits');
    await user.click(await screen.findByRole('button', { name: 'Agree' }));
    expect(asked.sent('POST relabellings/r1/decision')).toEqual([{ verdict: 'approve' }]);
    expect(await screen.findByText('Another steward has to agree.')).toBeDefined();
    expect(screen.queryByRole('button', { name: 'Agree' })).toBeNull();
  });
});
