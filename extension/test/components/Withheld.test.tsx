import { render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { describe, expect, it } from 'vitest';
import { EnclaveClient } from '../../src/api/enclave.js';
import type { Withheld } from '../../src/api/types/work.js';
import { KeptOutputs, WithheldOutput } from '../../src/components/Withheld.js';
import { EXPORT, refusal, World } from '../world.js';

const WITHHELD: Withheld = {
  id: 'w1',
  bytes: 65536,
  rule: 'O4 (policy.csv:72)',
  text: 'Secret data is never shown.',
  next: 'Send it to review.',
  reviewable: true
};
const SENT = 'POST withheld/review';

function card(world: World, withheld: Partial<Withheld> = {}) {
  render(<WithheldOutput client={new EnclaveClient(world.transport)} withheld={{ ...WITHHELD, ...withheld }} />);
  return userEvent.setup();
}

async function submit(user: ReturnType<typeof userEvent.setup>, words: string): Promise<void> {
  const form = screen.getByRole('form', { name: /to review$/ });
  await user.type(within(form).getByLabelText('Why it may leave'), words);
  await user.click(within(form).getByRole('button'));
}

describe('a withheld output', () => {
  it('says what happened, the rule and the size', () => {
    card(new World());
    const text = screen.getByRole('region', { name: 'Withheld: 64.0 KiB' }).textContent;
    expect(text).toContain('Secret data is never shown.');
    expect(text).toContain('O4 (policy.csv:72)');
  });

  it('tells no size where none may be told', () => {
    card(new World(), { bytes: null });
    expect(screen.getByRole('region', { name: 'Withheld' })).toBeDefined();
  });

  it('offers no review where there is nothing to review', () => {
    card(new World(), { reviewable: false });
    expect(screen.queryByText('Send to review…')).toBeNull();
  });

  it('goes to review with a justification, and is not offered twice', async () => {
    const world = new World().on(SENT, EXPORT);
    const user = card(world);
    await user.click(screen.getByText('Send to review…'));
    const button = screen.getByRole('button', { name: 'Send output w1 to review' });
    expect((button as HTMLButtonElement).disabled).toBe(true);
    await submit(user, 'A plot of yearly means.');
    expect(world.sent(SENT)).toEqual([{ ids: ['w1'], justification: 'A plot of yearly means.' }]);
    expect((await screen.findByText(/Submitted for review/)).getAttribute('role')).toBe('status');
    expect(screen.queryByRole('form')).toBeNull();
  });

  it('keeps what was written when it is refused', async () => {
    const user = card(new World().on(SENT, refusal(410, 'No longer kept')));
    await user.click(screen.getByText('Send to review…'));
    await submit(user, 'A plot of yearly means.');
    expect((await screen.findByRole('alert')).textContent).toContain('No longer kept');
    expect(screen.getByLabelText<HTMLTextAreaElement>('Why it may leave').value).toBe('A plot of yearly means.');
  });
});

describe('kept outputs', () => {
  it('are sent together, those that were picked', async () => {
    const kept = ['w1', 'w2', 'w3'].map((id, index) => ({
      id,
      entry: 40 + index,
      notebook: 'day.ipynb',
      cell: 'c',
      bytes: null,
      at: '2026-11-21T05:00:00.000Z'
    }));
    const world = new World().on('GET withheld', { withheld: kept }).on(SENT, EXPORT);
    let told = 0;
    render(
      <KeptOutputs
        client={new EnclaveClient(world.transport)}
        revision={0}
        sent={() => {
          told += 1;
        }}
      />
    );
    const user = userEvent.setup();
    await user.click(await screen.findByRole('checkbox', { name: /entry 40/ }));
    await user.click(screen.getByRole('checkbox', { name: /entry 42/ }));
    await submit(user, 'Two plots for the paper.');
    expect(world.sent(SENT)).toEqual([{ ids: ['w1', 'w3'], justification: 'Two plots for the paper.' }]);
    expect(await screen.findByText(/Submitted for review/)).toBeDefined();
    expect(told).toBe(1);
  });
});
