import { render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { describe, expect, it, vi } from 'vitest';
import { EnclaveClient } from '../../src/api/enclave.js';
import { DatasetsPanel } from '../../src/components/DatasetsPanel.js';
import { DATASET, refusal, REQUEST, World } from '../world.js';

function show(world: World, insert = vi.fn(() => true)) {
  render(<DatasetsPanel client={new EnclaveClient(world.transport)} insert={insert} revision={0} />);
  return { user: userEvent.setup(), insert };
}

function world(): World {
  return new World().on('GET datasets', { datasets: [DATASET] }).on('GET access-requests', { access_requests: [] });
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
});
