import { render, screen, waitFor } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { describe, expect, it, vi } from 'vitest';
import runs from '../../../tests/vectors/run-proof-v1.json' with { type: 'json' };
import { EnclaveClient } from '../../src/api/enclave.js';
import { verifyRun } from '../../src/api/run.js';
import type { Session } from '../../src/api/types/session.js';
import { CellEntryLine, type CellSeal } from '../../src/components/CellEntryLine.js';
import { SESSION, savedFile } from '../world.js';

const [told] = runs.good.slice(2);
if (told === undefined) {
  throw new Error('no vectors');
}
const TIME = new Date().toISOString();
const SEAL: CellSeal = { entry: runs.run.entry, time: TIME, checkpoint: told.checkpoint };
const session: Session = {
  ...SESSION,
  user: runs.run.user,
  project: { ...SESSION.project, name: runs.run.project },
  log_key: runs.vkey
};

/** The line as in Lab, with a server that answers so. */
function show(answer: Response | Error, who: Session | null = session): readonly string[] {
  const asked: string[] = [];
  const client = new EnclaveClient(({ path }) => {
    asked.push(path);
    return answer instanceof Error ? Promise.reject(answer) : Promise.resolve(answer);
  });
  render(
    <CellEntryLine
      origin={{ kind: 'ran', seal: SEAL }}
      check={seal => verifyRun(client, who, { cell: runs.run.cell, ...seal })}
    />
  );
  return asked;
}

const answered = (status: number, body: object): Response => new Response(JSON.stringify(body), { status });
const button = (): HTMLElement => screen.getByRole('button', { name: /Audit entry 4 · / });

describe('CellEntryLine', () => {
  it('says entry, label and what was withheld', () => {
    const seal: CellSeal = { ...SEAL, label: 'confidential', shown: 65536, withheld: 2048 };
    const { container } = render(<CellEntryLine origin={{ kind: 'ran', seal }} check={vi.fn()} />);
    expect(container.textContent).toMatch(
      /^Audit entry 4 · .+Label: confidential64\.0 KiB shown2\.0 KiB withheld$/
    );
    expect(container.querySelector('time')?.dateTime).toBe(TIME);
  });

  it('checks on Enter what the server tells, and says what was checked', async () => {
    const asked = show(answered(200, told));
    expect(asked).toEqual([]);
    button().focus();
    await userEvent.keyboard('{Enter}');
    await waitFor(() => {
      expect(button().textContent).toContain('verified');
    });
    expect(asked).toEqual(['cells/4/proof?since=6']);
    expect(button().getAttribute('aria-expanded')).toBe('true');
    const said = screen.getByRole('status').textContent;
    expect(said).toContain('The audit log holds this run as entry 4');
    expect(said).toContain('11 entries');
    expect(said).toContain('goes on from the one of 6 entries');
    expect(said).toContain('strongroom.example/log/00c0ffee');
    await userEvent.click(button());
    expect(button().getAttribute('aria-expanded')).toBe('false');
    expect(button().textContent).toContain('verified');
  });

  it('saves the proof that it has checked', async () => {
    show(answered(200, told));
    await userEvent.click(button());
    const saved = savedFile();
    await userEvent.click(await screen.findByRole('button', { name: 'Save the proof of entry 4' }));
    expect(await saved()).toEqual(['entry-4.tlog-proof', told.file]);
  });

  it.each([
    ['a proof of another history', () => answered(200, runs.rewritten), 'history was changed'],
    ['another leaf', () => answered(200, { ...told, proof: { ...told.proof, leaf: runs.neighbour.leaf } }), 'not what the log holds'],
    ['no such entry', () => answered(404, { type: 'urn:strongroom:problem:unknown-entry', title: 'None', detail: 'No.' }), 'No.'],
    ['a changed log', () => answered(500, { type: 'urn:strongroom:problem:audit-altered', title: 'Altered', detail: '!' }), '!']
  ])('raises the alarm over %s', async (_, answer, words) => {
    show(answer());
    await userEvent.click(button());
    const alarm = await screen.findByRole('alert');
    expect(alarm.textContent).toContain('The log does not show this run.');
    expect(alarm.textContent).toContain(words);
    expect(alarm.textContent).toContain('tell your auditor');
    expect(button().textContent).toContain('NOT VERIFIED');
    expect(screen.queryByRole('button', { name: /Save the proof/ })).toBeNull();
  });

  it.each([
    ['a service that is away', () => answered(503, { title: 'Away', detail: 'Wait.' }), session, 'Away'],
    ['a login that ended', () => answered(403, {}), session, 'not logged in'],
    ['no answer', () => new Error('refused'), session, 'refused'],
    ['a server that does not know the key', () => answered(200, told), { ...session, log_key: '' }, 'public key'],
    ['a session that is not known', () => answered(200, told), null, 'who you are']
  ] as const)('neither vouches nor alarms over %s', async (_, answer, who, words) => {
    show(answer(), who);
    await userEvent.click(button());
    await waitFor(() => {
      expect(button().textContent).toContain('not checked');
    });
    expect(screen.getByRole('status').textContent).toContain(words);
    expect(screen.queryByRole('alert')).toBeNull();
    expect(screen.queryByRole('button', { name: /Save the proof/ })).toBeNull();
  });

  it.each([
    [{ kind: 'not-run' } as const, 'not run here', 'came with the notebook file'],
    [{ kind: 'unknown' } as const, 'not known whether it ran here', 'did not say'],
    [{ kind: 'restored', seal: SEAL } as const, 'output was put back', 'Run the cell again']
  ])('marks what did not come from here: $kind', async (origin, words, why) => {
    render(<CellEntryLine origin={origin} check={vi.fn()} />);
    await userEvent.click(screen.getByText(words));
    expect(screen.getByText(new RegExp(why))).toBeTruthy();
  });

  it('says of what still runs no more than that', () => {
    const { container } = render(<CellEntryLine origin={{ kind: 'running' }} check={vi.fn()} />);
    expect(container.textContent).toBe('Running…');
  });
});
