import { act, render, screen, within } from '@testing-library/react';
import userEvent from '@testing-library/user-event';
import { describe, expect, it, vi } from 'vitest';
import { EnclaveClient } from '../../src/api/enclave.js';
import { EnclaveStore } from '../../src/api/store.js';
import { LabelBanner, LabelStatus } from '../../src/components/LabelLine.js';
import { LimitsView } from '../../src/components/Limits.js';
import { refusal, SESSION, World } from '../world.js';

function store(world: World): EnclaveStore {
  return new EnclaveStore(new EnclaveClient(world.transport));
}

describe('LabelBanner', () => {
  it('says that the label is unknown until the server has answered, then says it in text', async () => {
    const enclave = store(new World().on('GET session', SESSION));
    render(<LabelBanner store={enclave} />);
    const banner = screen.getByRole('status');
    expect(banner.textContent).toContain('label unknown');
    expect(banner.dataset.label).toBe('unknown');
    await act(() => enclave.refresh());
    expect(banner.textContent).toContain('Label: public');
    expect(banner.textContent).toContain('nothing read yet');
  });

  it('follows a rise and names its sources', async () => {
    const enclave = store(new World().on('GET session', SESSION));
    render(<LabelBanner store={enclave} />);
    await act(() => enclave.refresh());
    act(() => {
      enclave.update({ label: 'confidential', sources: [{ dataset: 'health/randhie', version: 1 }] });
    });
    expect(screen.getByRole('status').textContent).toContain('Label: confidential');
    expect(screen.getByRole('status').textContent).toContain('health/randhie v1');
  });

  it('shows no earlier label once the server refuses to say', async () => {
    const enclave = store(new World().on('GET session', SESSION, refusal(503, 'Control is away')));
    render(<LabelBanner store={enclave} />);
    await act(() => enclave.refresh());
    await act(() => enclave.refresh());
    expect(screen.getByRole('status').textContent).toContain('label unknown');
    expect(screen.getByRole('status').textContent).toContain('Control is away');
  });

  it('says that it may be out of date while the stream is lost', async () => {
    const enclave = store(new World().on('GET session', SESSION));
    render(<LabelBanner store={enclave} />);
    await act(() => enclave.refresh());
    act(() => {
      enclave.connected(false);
    });
    expect(screen.getByRole('status').textContent).toContain('may be out of date');
  });
});

const PROFILE = {
  name: 'standard',
  title: 'Standard',
  sandbox: 'bubblewrap',
  memory_bytes: 4 * 2 ** 30,
  cpus: 2,
  processes: 512,
  file_bytes: 2 ** 31,
  work_bytes: 4 * 2 ** 30,
  work_files: 100000
};

describe('the limits', () => {
  it('are named in the status bar and open from there', async () => {
    const enclave = store(new World().on('GET session', { ...SESSION, profile: PROFILE }));
    const showLimits = vi.fn();
    render(<LabelStatus store={enclave} showLimits={showLimits} />);
    await act(() => enclave.refresh());
    const button = screen.getByRole('button', { name: 'Limits of the kernels here' });
    expect(button.textContent).toBe('Standard');
    await userEvent.click(button);
    expect(showLimits).toHaveBeenCalledOnce();
  });

  it('say what a kernel may use, and what is weaker here', () => {
    render(<LimitsView session={{ ...SESSION, profile: PROFILE, weaker: ['The disk is not limited.'] }} />);
    expect(screen.getByText('Memory of a kernel').nextSibling?.textContent).toBe('4.0 GiB');
    expect(within(screen.getByRole('list')).getByText('The disk is not limited.')).toBeDefined();
  });

  it('say so when the server has not told them', () => {
    render(<LimitsView session={SESSION} />);
    expect(screen.getByText(/has not said which limits/)).toBeDefined();
    expect(screen.queryByText('Weaker on this machine')).toBeNull();
  });
});
