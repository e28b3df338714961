import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import { listen, type Source, type StreamHandlers } from '../../src/api/stream.js';

class FakeSource implements Source {
  onopen: ((event: Event) => void) | null = null;
  onerror: ((event: Event) => void) | null = null;
  closed = false;
  readonly #listeners = new Map<string, (event: MessageEvent<string>) => void>();

  addEventListener(type: string, listener: (event: MessageEvent<string>) => void): void {
    this.#listeners.set(type, listener);
  }

  close(): void {
    this.closed = true;
  }

  emit(type: string, data: unknown): void {
    this.#listeners.get(type)?.(new MessageEvent(type, { data: JSON.stringify(data) }));
  }
}

function setUp() {
  const sources: FakeSource[] = [];
  const handlers = {
    label: vi.fn(),
    notice: vi.fn(),
    request: vi.fn(),
    export: vi.fn(),
    draft: vi.fn(),
    connected: vi.fn()
  } satisfies StreamHandlers;
  const stop = listen(() => {
    const source = new FakeSource();
    sources.push(source);
    return source;
  }, handlers);
  return { sources, handlers, stop };
}

describe('listen', () => {
  beforeEach(() => {
    vi.useFakeTimers();
  });
  afterEach(() => {
    vi.useRealTimers();
  });

  it('hands on each event by its kind; an unknown label is secret', () => {
    const { sources, handlers } = setUp();
    sources[0]?.emit('label', { label: 'odd', sources: [], display: {} });
    sources[0]?.emit('notice', { kernel: 'k', rule: 'O5', text: 'cut', bytes: 2 });
    sources[0]?.emit('request', { id: 'a1', state: 'approved' });
    sources[0]?.emit('export', { id: 'e1', state: 'released' });
    sources[0]?.emit('draft', { id: 'd1', state: 'export' });
    expect(handlers.label).toHaveBeenCalledWith({ label: 'secret', sources: [], display: {} });
    expect(handlers.notice).toHaveBeenCalledWith({ kernel: 'k', rule: 'O5', text: 'cut', bytes: 2 });
    expect(handlers.request).toHaveBeenCalledWith({ id: 'a1', state: 'approved' });
    expect(handlers.export).toHaveBeenCalledWith({ id: 'e1', state: 'released' });
    expect(handlers.draft).toHaveBeenCalledWith({ id: 'd1', state: 'export' });
  });

  it('comes back after each loss, waiting longer every time, and at once-again first after a success', () => {
    const { sources, handlers } = setUp();
    sources[0]?.onopen?.(new Event('open'));
    for (const wait of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
      const before = sources.length;
      sources.at(-1)?.onerror?.(new Event('error'));
      vi.advanceTimersByTime(wait - 1);
      expect(sources).toHaveLength(before);
      vi.advanceTimersByTime(1);
      expect(sources).toHaveLength(before + 1);
    }
    sources.at(-1)?.onopen?.(new Event('open'));
    const before = sources.length;
    sources.at(-1)?.onerror?.(new Event('error'));
    vi.advanceTimersByTime(1_000);
    expect(sources).toHaveLength(before + 1);
    expect(handlers.connected.mock.calls.filter(([connected]) => connected === true)).toHaveLength(2);
  });

  it('opens nothing more once stopped', () => {
    const { sources, stop } = setUp();
    sources[0]?.onerror?.(new Event('error'));
    stop();
    vi.advanceTimersByTime(60_000);
    expect(sources).toHaveLength(1);
    expect(sources[0]?.closed).toBe(true);
  });
});
