import { describe, expect, it, vi } from 'vitest';
import { EnclaveClient } from '../../src/api/enclave.js';
import { EnclaveStore } from '../../src/api/store.js';
import { refusal, SESSION, World } from '../world.js';

describe('EnclaveStore', () => {
  it('a label that rises while the session is being fetched is not overwritten by the older answer', async () => {
    const raised = { ...SESSION, label: 'confidential' as const };
    let store: EnclaveStore | null = null;
    const world = new World().on(
      'GET session',
      () => {
        store?.update({ label: 'confidential' });
        return SESSION;
      },
      raised
    );
    store = new EnclaveStore(new EnclaveClient(world.transport));
    await store.refresh();
    expect(store.snapshot().session?.label).toBe('confidential');
    expect(world.calls).toHaveLength(2);
  });

  it('knows no label when the server refuses the session', async () => {
    const world = new World().on('GET session', SESSION, refusal(503, 'Control is away'));
    const store = new EnclaveStore(new EnclaveClient(world.transport));
    await store.refresh();
    await store.refresh();
    expect(store.snapshot()).toMatchObject({ session: null, problem: { title: 'Control is away' } });
  });

  it('asks for everything anew after a gap in the stream', async () => {
    const world = new World().on('GET session', SESSION, { ...SESSION, label: 'secret' });
    const store = new EnclaveStore(new EnclaveClient(world.transport));
    await store.refresh();
    store.connected(false);
    expect(store.snapshot().lost).toBe(true);
    store.connected(true);
    await vi.waitFor(() => {
      expect(store.snapshot().session?.label).toBe('secret');
    });
    expect(store.snapshot()).toMatchObject({ lost: false, requests: 1, exports: 1 });
  });

  it('tells its listeners, until they leave', async () => {
    const store = new EnclaveStore(new EnclaveClient(new World().on('GET session', SESSION).transport));
    const listener = vi.fn();
    const leave = store.subscribe(listener);
    await store.refresh();
    expect(listener).toHaveBeenCalledTimes(1);
    leave();
    store.moved('exports');
    expect(listener).toHaveBeenCalledTimes(1);
  });
});
