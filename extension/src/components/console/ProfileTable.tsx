import type { JSX } from 'react';
import type { Profile } from '../../api/types/catalogue.js';
import { missingWord, ProfileNote, ProfileValues } from '../Profile.js';
import { Table } from './Page.js';

/** What the label of a version lets be told of its data. */
export function ProfileTable({ profile }: { readonly profile: Profile }): JSX.Element {
  return (
    <>
      <h2>Profile</h2>
      <ProfileNote profile={profile} />
      <Table caption="Profile" head={['Column', 'Missing', 'Different', 'Values']}>
        {Object.entries(profile.columns).map(([name, one]) => (
          <tr key={name}>
            <th scope="row">
              <code>{name}</code>
            </th>
            <td>{missingWord(one)}</td>
            <td>{one.different ?? '—'}</td>
            <td>
              <ProfileValues profile={one} />
            </td>
          </tr>
        ))}
      </Table>
    </>
  );
}
