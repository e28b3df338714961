import { render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { describe, expect, it, vi } from 'vitest';
import { EnclaveClient } from '../../src/api/enclave.js';
import { DatasetsPanel } from '../../src/components/DatasetsPanel.js';
import { ACCESS_DRAFT, DATASET, EXPORT_DRAFT, refusal, REQUEST, World } from '../world.js';

function show(world: World, insert = vi.fn(() => true)) {
  render(<DatasetsPanel client={new EnclaveClient(world.transport)} insert={insert} revision={0} />);
  return { user: userEvent.setup(), insert };
}

function world(): World {
  return new World()
    .on('GET datasets', { datasets: [DATASET] })
    .on('GET drafts', { drafts: [] })
    .on('GET access-requests', { access_requests: [] });
}

describe('DatasetsPanel', () => {
  it('says that it loads, then shows title, name, label, tags and access', async () => {
    show(world());
    expect(screen.getByText('Loading datasets…')).toBeDefined();
    const title = await screen.findByText(DATASET.title);
    const card = title.closest('details');
    expect(card).not.toBeNull();
    expect(card?.textContent).toContain('health/randhie');
    expect(card?.textContent).toContain('Label: confidential');
    expect(card?.textContent).toContain('direct-identifier');
    expect(card?.textContent).toContain('No access yet');
    expect(screen.queryByRole('button', { name: /Insert load code/ })).toBeNull();
  });

  it('says when there is nothing to discover', async () => {
    show(world().on('GET datasets', { datasets: [] }));
    expect(await screen.findByText(/Nothing here may be discovered/)).toBeDefined();
  });

  it('shows a refusal with why and next, and tries again on demand', async () => {
    const refused = world().on('GET datasets', refusal(503, 'Control is away'), { datasets: [DATASET] });
    const { user } = show(refused);
    const alert = await screen.findByRole('alert');
    expect(alert.textContent).toContain('Control is away');
    expect(alert.textContent).toContain('rule G2 (policy.csv:30)');
    expect(alert.textContent).toContain('what to do next');
    await user.click(within(alert).getByRole('button', { name: 'Try again' }));
    expect(await screen.findByText(DATASET.title)).toBeDefined();
  });

  it('keeps the request form shut until purpose, columns and duration are given', async () => {
    const asked = world().on('POST access-requests', REQUEST);
    const { user } = show(asked);
    await user.click(await screen.findByText(DATASET.title));
    await user.click(screen.getByRole('button', { name: 'Request access to health/randhie' }));
    const form = screen.getByRole('form', { name: 'Request access to health/randhie' });
    const submit = within(form).getByRole<HTMLButtonElement>('button', { name: 'Submit request' });
    expect(submit.disabled).toBe(true);

    await user.type(within(form).getByLabelText('Purpose'), 'Does cost sharing lower visits?');
    expect(submit.disabled).toBe(true);
    await user.click(within(form).getByRole('checkbox', { name: /mdvis/ }));
    await user.click(within(form).getByRole('checkbox', { name: /person_id/ }));
    expect(submit.disabled).toBe(false);
    await user.clear(within(form).getByLabelText('Duration in days'));
    expect(submit.disabled).toBe(true);
    await user.type(within(form).getByLabelText('Duration in days'), '1.5');
    expect(submit.disabled).toBe(true);
    await user.clear(within(form).getByLabelText('Duration in days'));
    await user.type(within(form).getByLabelText('Duration in days'), '90');
    await user.click(submit);

    expect(asked.sent('POST access-requests')).toEqual([
      { dataset: 'health/randhie', columns: ['person_id', 'mdvis'], purpose: 'Does cost sharing lower visits?', days: 90 }
    ]);
    // Sent: the form is gone and the lists are fetched again.
    expect(screen.queryByRole('form')).toBeNull();
    expect(asked.sent('GET access-requests')).toHaveLength(2);
  });

  it('can be asked by keyboard alone', async () => {
    const asked = world().on('POST access-requests', REQUEST);
    const { user } = show(asked);
    await user.click(await screen.findByText(DATASET.title));
    screen.getByRole('button', { name: 'Request access to health/randhie' }).focus();
    await user.keyboard('{Enter}');
    const form = screen.getByRole('form');
    within(form).getByLabelText('Purpose').focus();
    await user.keyboard('A purpose that is long enough');
    await user.tab();
    await user.keyboard(' '); // all columns
    within(form).getByRole('button', { name: 'Submit request' }).focus();
    await user.keyboard('{Enter}');
    expect(asked.sent('POST access-requests')).toEqual([
      expect.objectContaining({ columns: ['person_id', 'lncoins', 'mdvis'], days: 30 })
    ]);
  });

  it('keeps what was typed when the server refuses', async () => {
    const { user } = show(world().on('POST access-requests', refusal(422, 'Too long')));
    await user.click(await screen.findByText(DATASET.title));
    await user.click(screen.getByRole('button', { name: 'Request access to health/randhie' }));
    await user.type(screen.getByLabelText('Purpose'), 'Does cost sharing lower visits?');
    await user.click(screen.getByRole('checkbox', { name: /All 3/ }));
    await user.click(screen.getByRole('button', { name: 'Submit request' }));
    expect((await screen.findByRole('alert')).textContent).toContain('Too long');
    expect(screen.getByLabelText<HTMLTextAreaElement>('Purpose').value).toBe('Does cost sharing lower visits?');
  });

  it('offers the synthetic twin to those who have no access yet', async () => {
    const { user, insert } = show(world().on('GET datasets', { datasets: [{ ...DATASET, synthetic: true }] }));
    expect(await screen.findByText('No access yet; its synthetic twin may be read')).toBeDefined();
    await user.click(screen.getByText(DATASET.title));
    expect(screen.getByText('strongroom.open("health/randhie", synthetic=True)')).toBeDefined();
    await user.selectOptions(screen.getByRole('combobox', { name: 'Insert code for' }), 'polars');
    await user.click(screen.getByRole('button', { name: 'Insert code for the synthetic twin of health/randhie' }));
    expect(insert).toHaveBeenCalledWith(
      'import strongroom\ndf = strongroom.open("health/randhie", synthetic=True).to_polars()'
    );
    expect(screen.getByText(/loads the synthetic twin of health\/randhie/)).toBeDefined();
  });

  it('says nothing of a twin where none may be read', async () => {
    const { user } = show(world().on('GET datasets', { datasets: [{ ...DATASET, synthetic: false }] }));
    await user.click(await screen.findByText(DATASET.title));
    expect(screen.queryByText('Synthetic twin')).toBeNull();
  });

  it('asks for the profile and the checks when they are wanted, and shows what the label lets be told', async () => {
    const told = {
      dataset: 'health/randhie',
      version: 1,
      label: 'confidential',
      profile: { label: 'confidential', columns: { mdvis: { missing: 0.12, different: 60, quantiles: { '0.5': 3 } } } },
      quality: { checks: 3, passed: 2, failed: null }
    };
    const asked = world().on('GET datasets/health/randhie/profile', told);
    const { user } = show(asked);
    await user.click(await screen.findByText(DATASET.title));
    expect(asked.sent('GET datasets/health/randhie/profile')).toEqual([]);
    await user.click(screen.getByRole('button', { name: 'Show profile and checks of health/randhie' }));
    const section = await screen.findByRole('region', { name: 'Profile and checks of health/randhie' });
    expect(await within(section).findByText('12 % missing, 60 different')).toBeDefined();
    expect(section.textContent).toContain('rounded, without extremes and rare values');
    expect(section.textContent).toContain('half below 3');
    expect(section.textContent).toContain('2 of 3 declared checks passed. The label lets no more be told.');
  });

  it('shows the checks that failed where the label lets them be told, and a refusal in words', async () => {
    const failed = { kind: 'range', severity: 'warn', state: 'failed', text: "range 'age': 1 value(s) are not", why: 'typos' };
    const told = { profile: null, quality: { checks: 1, passed: 0, failed: [failed] } };
    const { user } = show(world().on('GET datasets/health/randhie/profile', refusal(503, 'Control is away'), told));
    await user.click(await screen.findByText(DATASET.title));
    await user.click(screen.getByRole('button', { name: /^Show profile/ }));
    await user.click(await screen.findByRole('button', { name: 'Try again' }));
    expect(await screen.findByText(/range 'age'/)).toBeDefined();
    expect(screen.getByText('(typos)')).toBeDefined();
    expect(screen.getByText(/There is no profile/)).toBeDefined();
  });

  it('inserts the code that loads a readable dataset, or says what is missing', async () => {
    const readable = {
      ...DATASET,
      access: { read: true, columns: ['lncoins', 'mdvis'], masked: { mdvis: 'hash' }, until: null, request: null }
    };
    const insert = vi.fn(() => true).mockReturnValueOnce(false);
    const { user } = show(world().on('GET datasets', { datasets: [readable] }), insert);
    await user.click(await screen.findByText(DATASET.title));
    const button = screen.getByRole('button', { name: 'Insert load code for health/randhie' });
    await user.click(button);
    expect(screen.getByText(/Open a notebook first/)).toBeDefined();
    await user.click(button);
    expect(insert).toHaveBeenLastCalledWith('import strongroom\ndf = strongroom.open("health/randhie").to_pandas()');
    expect(screen.getByText(/is in your notebook/)).toBeDefined();
    expect(screen.getByText(/You may read 2 of 3 columns \(1 masked\)/)).toBeDefined();
  });

  it('finds by column and tag', async () => {
    const { user } = show(world());
    await screen.findByText(DATASET.title);
    await user.type(screen.getByRole('searchbox'), 'DIRECT');
    expect(screen.getByText(DATASET.title)).toBeDefined();
    await user.type(screen.getByRole('searchbox'), 'x');
    expect(screen.queryByText(DATASET.title)).toBeNull();
  });

  it('lists my requests with their state and lets an open one be withdrawn', async () => {
    const withdrawn = world()
      .on(
        'GET access-requests',
        { access_requests: [REQUEST] },
        { access_requests: [{ ...REQUEST, state: 'withdrawn', turn: 'nobody' }] }
      )
      .on('POST access-requests/a1/withdraw', REQUEST);
    const { user } = show(withdrawn);
    expect(await screen.findByText('waiting for a steward')).toBeDefined();
    await user.click(screen.getByRole('button', { name: 'Withdraw the request for health/randhie' }));
    expect(await screen.findByText('withdrawn')).toBeDefined();
    expect(screen.queryByRole('button', { name: /Withdraw/ })).toBeNull();
  });

  it('shows what code prepared, and sends it only when the person says so', async () => {
    const prepared = world()
      .on('GET drafts', { drafts: [ACCESS_DRAFT, EXPORT_DRAFT] }, { drafts: [EXPORT_DRAFT] })
      .on('POST access-requests', REQUEST);
    const { user } = show(prepared);
    const list = await screen.findByRole('list', { name: 'Prepared by code, not sent' });
    expect(within(list).getAllByRole('listitem')).toHaveLength(1);
    expect(list.textContent).toContain('access to health/randhie, 1 column, for 90 days');
    expect(list.textContent).toContain('day.ipynb (entry 41)');
    expect(prepared.sent('POST access-requests')).toEqual([]);
    await user.click(await screen.findByRole('button', { name: /Review and submit/ }));
    const purpose = within(list).getByLabelText<HTMLTextAreaElement>('Purpose');
    expect(purpose.value).toBe(ACCESS_DRAFT.purpose);
    await user.type(purpose, ' In table 2.');
    await user.click(within(list).getByRole('checkbox', { name: /lncoins/ }));
    await user.click(within(list).getByRole('button', { name: 'Submit request' }));
    expect(prepared.sent('POST access-requests')).toEqual([
      {
        dataset: 'health/randhie',
        columns: ['lncoins', 'mdvis'],
        purpose: 'Does cost sharing lower visits? In table 2.',
        days: 90,
        draft: 'd1'
      }
    ]);
    expect(screen.queryByRole('list', { name: 'Prepared by code, not sent' })).toBeNull();
  });

  it('discards what code prepared', async () => {
    const prepared = world()
      .on('GET drafts', { drafts: [ACCESS_DRAFT] }, { drafts: [] })
      .on('POST drafts/d1/discard', {});
    const { user } = show(prepared);
    await user.click(await screen.findByRole('button', { name: /Discard: access to health/ }));
    expect(prepared.sent('POST drafts/d1/discard')).toHaveLength(1);
    expect(screen.queryByText(/Prepared by code/)).toBeNull();
  });

  it('ticks the columns that code has used', async () => {
    const { user } = show(world().on('GET datasets', { datasets: [{ ...DATASET, used: ['mdvis'] }] }));
    await user.click(await screen.findByText(DATASET.title));
    await user.click(screen.getByRole('button', { name: 'Request access to health/randhie' }));
    expect(screen.getByText(/Ticked are the 1 column of 3/)).toBeDefined();
    expect(screen.getByRole<HTMLInputElement>('checkbox', { name: /mdvis/ }).checked).toBe(true);
    expect(screen.getByRole<HTMLInputElement>('checkbox', { name: /lncoins/ }).checked).toBe(false);
  });

  it('inserts code for the library that is chosen', async () => {
    const readable = { ...DATASET, access: { read: true, columns: ['lncoins'], masked: {}, until: null, request: null } };
    const { user, insert } = show(world().on('GET datasets', { datasets: [readable] }));
    await user.click(await screen.findByText(DATASET.title));
    for (const [habit, words] of [
      ['polars', '.to_polars()'],
      ['duckdb', 'duckdb.sql('],
      ['arrow', '.arrow()']
    ] as const) {
      await user.selectOptions(screen.getByLabelText('Insert code for'), habit);
      await user.click(screen.getByRole('button', { name: 'Insert load code for health/randhie' }));
      expect(insert).toHaveBeenLastCalledWith(expect.stringContaining(words));
    }
  });

  it('tells units, codes and where a dataset comes from, and asks for no access to a derived one', async () => {
    const column = { name: 'smoker', type: 'Int64', description: 'Status', unit: '', codes: { '0': 'no', '1': 'yes' }, tags: [] };
    const derived = {
      ...DATASET,
      name: 'cardio/cohort1',
      title: 'Cohort',
      columns: [column, { name: 'weight', type: 'Float64', description: '', unit: 'kg', tags: [] }],
      sources: ['health/randhie@1'],
      used_by: ['cardio/cohort2@1'],
      derived: { project: 'cardio', user: 'analyst', quiet: false, entry: 7 }
    };
    const { user } = show(world().on('GET datasets', { datasets: [derived] }));
    const title = await screen.findByText('Cohort');
    await user.click(title);
    const card = title.closest('details');
    for (const words of ['Status · codes: 0 = no, 1 = yes', 'in kg', 'health/randhie@1', 'cardio/cohort2@1']) {
      expect(card?.textContent).toContain(words);
    }
    expect(screen.queryByRole('button', { name: /Request access/ })).toBeNull();
  });
});
