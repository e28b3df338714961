import type { JSX } from 'react';
import type { ColumnProfile, Profile } from '../../api/catalogue.js';
import { Table } from './Page.js';

/** What the label of a version lets be told of its data. */
export function ProfileTable({ profile }: { readonly profile: Profile }): JSX.Element {
  return (
    <>
      <h2>Profile</h2>
      <p className="sr-Quiet">
        As much as <strong>{profile.label}</strong> lets be told
        {profile.label === 'public' || profile.label === 'internal' ? '.' : ': rounded, without extremes and rare values.'}
      </p>
      <Table caption="Profile" head={['Column', 'Missing', 'Different', 'Values']}>
        {Object.entries(profile.columns).map(([name, one]) => (
          <tr key={name}>
            <th scope="row">
              <code>{name}</code>
            </th>
            <td>{(100 * one.missing).toFixed(0)} %</td>
            <td>{one.different ?? '—'}</td>
            <td>
              <Values profile={one} />
              <Bars profile={one} />
            </td>
          </tr>
        ))}
      </Table>
    </>
  );
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
