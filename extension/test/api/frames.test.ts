import { describe, expect, it } from 'vitest';
import { FramePace, frameWord, HIGHEST, LOWEST } from '../../src/api/frames.js';

describe('frameWord', () => {
  it('hears that a frame is ready, and how high it is', () => {
    expect(frameWord({ strongroom: 'ready', more: 'x' })).toEqual({ ready: true });
    expect(frameWord({ strongroom: 'height', height: 120.2, more: 'x' })).toEqual({ height: 121 });
  });

  it('keeps heights within measure', () => {
    expect(frameWord({ strongroom: 'height', height: 1e12 })).toEqual({ height: HIGHEST });
    expect(frameWord({ strongroom: 'height', height: -5 })).toEqual({ height: LOWEST });
  });

  it.each([
    null,
    undefined,
    'ready',
    7,
    [],
    {},
    { strongroom: 'show' },
    { height: 9 },
    { strongroom: 'height' },
    { strongroom: 'height', height: '9' },
    { strongroom: 'height', height: NaN },
    { strongroom: 'height', height: Infinity },
    { strongroom: 'height', height: [9] }
  ])('hears nothing else: %j', data => {
    expect(frameWord(data)).toBeNull();
  });
});

describe('FramePace', () => {
  it('lets a hundred messages a second through, and no more', () => {
    const pace = new FramePace();
    const taken = Array.from({ length: 150 }, (_, n) => pace.take(5000 + n));
    expect(taken.filter(Boolean)).toHaveLength(100);
    expect(pace.take(6200)).toBe(true);
  });
});
