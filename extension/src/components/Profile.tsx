import type { JSX } from 'react';
import type { ColumnProfile, Profile } from '../api/types/catalogue.js';

/** How much of the data a profile tells. */
export function ProfileNote({ profile }: { readonly profile: Profile }): JSX.Element {
  return (
    <p className="sr-Quiet">
      As much as <strong>{profile.label}</strong> lets be told
      {profile.label === 'public' || profile.label === 'internal' ? '.' : ': rounded, without extremes and rare values.'}
    </p>
  );
}

/** The values of one column in words and bars, as far as the label lets them be told. */
export function ProfileValues({ profile }: { readonly profile: ColumnProfile }): JSX.Element {
  return (
    <>
      <Values profile={profile} />
      <Bars profile={profile} />
    </>
  );
}

export function missingWord(profile: ColumnProfile): string {
  return `${(100 * profile.missing).toFixed(0)} %`;
}

function Values({ profile }: { readonly profile: ColumnProfile }): JSX.Element | null {
  const parts: string[] = [];
  if (profile.min !== undefined && profile.min !== null) {
    parts.push(`from ${profile.min} to ${profile.max ?? ''}`);
  }
  const middle = profile.quantiles?.['0.5'];
  if (middle !== undefined && middle !== null) {
    const [low, high] = [profile.quantiles?.['0.1'], profile.quantiles?.['0.9']];
    parts.push(`half below ${middle}, four fifths between ${low ?? ''} and ${high ?? ''}`);
  }
  for (const [value, count] of profile.values ?? []) {
    parts.push(`${value === null ? '' : String(value)}: ${count < 1 ? `${Math.round(100 * count)} %` : count.toLocaleString()}`);
  }
  return parts.length === 0 ? null : <span className="sr-Block">{parts.join(' · ')}</span>;
}

const WIDTH = 12;
const HEIGHT = 28;

function Bars({ profile }: { readonly profile: ColumnProfile }): JSX.Element | null {
  const histogram = profile.histogram;
  if (histogram === undefined) {
    return null;
  }
  const shares = histogram.shares.map(share => share ?? 0);
  const most = Math.max(...shares, 0.01);
  const first = histogram.edges[0] ?? '';
  const last = histogram.edges[histogram.edges.length - 1] ?? '';
  const words = `${histogram.open ? 'Bars around and beyond' : 'Bars'} ${first} to ${last}: ${histogram.shares
    .map(share => (share === null ? 'too few' : `${Math.round(100 * share)} %`))
    .join(', ')}`;
  return (
    <svg className="sr-Bars" role="img" aria-label={words} width={WIDTH * shares.length} height={HEIGHT}>
      {shares.map((share, at) => {
        const height = Math.max((share / most) * HEIGHT, 1);
        return <rect key={at} x={at * WIDTH + 1} y={HEIGHT - height} width={WIDTH - 2} height={height} />;
      })}
    </svg>
  );
}
