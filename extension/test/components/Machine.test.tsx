import { render, screen, within } from '@testing-library/react';
import { describe, expect, it } from 'vitest';
import { ConsoleClient } from '../../src/api/console.js';
import { MachinePage } from '../../src/components/console/Machine.js';
import { World } from '../world.js';

const CHECKS = [
  { name: 'Landlock', state: 'fine', text: 'Version 7.', next: '' },
  { name: 'User namespaces', state: 'broken', text: 'Forbidden by AppArmor.', next: 'Give bwrap a profile.' },
  { name: 'Swap', state: 'weaker', text: 'Not encrypted.', next: 'Turn it off.' }
];

function show(machine: unknown, violations: unknown): void {
  const world = new World()
    .on('GET status', { mode: 'one-uid', weaker: [], log: { size: 1 }, machine, violations: {} })
    .on('GET violations?limit=100', { violations });
  render(<MachinePage client={new ConsoleClient(world.transport)} />);
}

describe('the machine page', () => {
  it('puts first what is broken, and says how to mend it', async () => {
    show(CHECKS, []);
    const lines = (await screen.findAllByRole('listitem')).map(line => line.textContent);
    expect(lines[0]).toBe('brokenUser namespaces: Forbidden by AppArmor.Give bwrap a profile.');
    expect(lines[1]).toContain('weaker');
    expect(lines[2]).toContain('fine');
  });

  it('says so when the hub has not reported', async () => {
    show(undefined, []);
    expect(await screen.findByText(/has not reported/)).toBeDefined();
  });

  it('lists who tried what, with the entry that proves it', async () => {
    show(CHECKS, [
      {
        entry: 77,
        time: '2026-11-21T05:00:00.000Z',
        user: 'analyst',
        project: 'cardio',
        kernel: 'k1',
        kind: 'syscall',
        counts: { ptrace: 12 },
        text: 'The kernel made forbidden system calls.'
      }
    ]);
    const row = within(await screen.findByRole('table')).getAllByRole('row')[1];
    expect(row?.textContent).toContain('ptrace ×12');
    expect(screen.getByRole('link', { name: '77' }).getAttribute('href')).toBe('#/audit/77');
  });
});
