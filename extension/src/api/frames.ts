/** What a frame of an interactive output may say to the page: that it is ready, and how high it is. Nothing else is heard. */
export type FrameWord = { readonly ready: true } | { readonly height: number };

export const LOWEST = 24;
export const HIGHEST = 4000;
const MOST_WORDS = 100;
const WINDOW_MS = 1000;

/** Reads a frame's message, which may hold anything; null for what is none of the two. */
export function frameWord(data: unknown): FrameWord | null {
  if (typeof data !== 'object' || data === null) {
    return null;
  }
  const { strongroom, height } = data as { readonly strongroom?: unknown; readonly height?: unknown };
  if (strongroom === 'ready') {
    return { ready: true };
  }
  if (strongroom === 'height' && typeof height === 'number' && Number.isFinite(height)) {
    return { height: Math.min(HIGHEST, Math.max(LOWEST, Math.ceil(height))) };
  }
  return null;
}

/** Counts a frame's messages: one that floods the page is to be taken away. */
export class FramePace {
  #since = -Infinity;
  #count = 0;

  /** Whether a message at `now` (milliseconds) is still within measure. */
  take(now: number): boolean {
    if (now - this.#since > WINDOW_MS) {
      this.#since = now;
      this.#count = 0;
    }
    this.#count += 1;
    return this.#count <= MOST_WORDS;
  }
}
