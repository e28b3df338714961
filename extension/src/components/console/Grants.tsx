import { useId, useState, type JSX } from 'react';
import type { ConsoleClient } from '../../api/console.js';
import type { Grant } from '../../api/types/access.js';
import { Await, Button, Day, Empty, ProblemView, StateBadge } from '../basics.js';
import { count, maskWord } from '../format.js';
import { useAction, useLoad } from '../hooks.js';
import { Page, Table } from './Page.js';

export function GrantsPage({ client }: { readonly client: ConsoleClient }): JSX.Element {
  const grants = useLoad(() => client.grants(), 'grants');
  const [revoking, setRevoking] = useState<Grant | null>(null);
  return (
    <Page
      title="Grants"
      intro="Who may read what, until when. A revoked grant ends with the next read and the next display, not with the next login."
    >
      {revoking !== null && (
        <RevokeForm
          key={revoking.id}
          grant={revoking}
          client={client}
          done={changed => {
            setRevoking(null);
            if (changed) {
              grants.reload();
            }
          }}
        />
      )}
      <Await loaded={grants} what="grants">
        {all =>
          all.length === 0 ? (
            <Empty>Nobody holds a grant on your datasets.</Empty>
          ) : (
            <Table caption="Grants" head={['Who', 'Dataset', 'Columns', 'Until', 'State', 'Revoke']}>
              {all.map(grant => (
                <tr key={grant.id}>
                  <th scope="row">
                    {grant.user}
                    <span className="sr-Quiet sr-Block">{grant.project}</span>
                  </th>
                  <td>
                    <code>{grant.dataset}</code>
                  </td>
                  <td>
                    {grant.columns
                      .map(name => {
                        const mask = grant.masks[name];
                        return mask === undefined ? name : `${name} (${maskWord(mask)})`;
                      })
                      .join(', ')}
                    <Unread grant={grant} />
                  </td>
                  <td>
                    <Day time={grant.until} />
                  </td>
                  <td>
                    <StateBadge state={grant.state} />
                    {grant.revoked_by !== null && <span className="sr-Quiet sr-Block">by {grant.revoked_by}</span>}
                  </td>
                  <td>
                    {grant.state === 'active' && (
                      <Button
                        tone="danger"
                        name={`Revoke the grant of ${grant.user} on ${grant.dataset}`}
                        onClick={() => {
                          setRevoking(grant);
                        }}
                      >
                        Revoke
                      </Button>
                    )}
                  </td>
                </tr>
              ))}
            </Table>
          )
        }
      </Await>
    </Page>
  );
}

/** What a renewal need not hold. */
export function Unread({ grant }: { readonly grant: Grant }): JSX.Element | null {
  const unread = grant.unread ?? [];
  return unread.length === 0 ? null : (
    <span className="sr-Quiet sr-Block">
      Of {count(grant.columns.length, 'granted column')} {unread.length} {unread.length === 1 ? 'was' : 'were'} never read:{' '}
      {unread.join(', ')}
    </span>
  );
}

function RevokeForm({
  grant,
  client,
  done
}: {
  readonly grant: Grant;
  readonly client: ConsoleClient;
  readonly done: (changed: boolean) => void;
}): JSX.Element {
  const id = useId();
  const [reason, setReason] = useState('');
  const revoke = useAction(async () => {
    await client.revoke(grant.id, reason.trim());
    done(true);
  });
  return (
    <form
      className="sr-Form sr-Section"
      aria-label="Revoke a grant"
      onSubmit={event => {
        event.preventDefault();
        if (reason.trim() !== '') {
          void revoke.run();
        }
      }}
    >
      <label htmlFor={`${id}-reason`}>
        Why does {grant.user} lose access to {grant.dataset}?
      </label>
      <input
        id={`${id}-reason`}
        className="sr-Input"
        value={reason}
        // The form opens because its button was pressed: the next thing to do is to type here.
        autoFocus
        onChange={event => {
          setReason(event.target.value);
        }}
      />
      {revoke.problem !== null && <ProblemView problem={revoke.problem} />}
      <div className="sr-Actions">
        <Button submit tone="danger" busy={revoke.busy} disabled={reason.trim() === ''}>
          Revoke now
        </Button>
        <Button
          disabled={revoke.busy}
          onClick={() => {
            done(false);
          }}
        >
          Keep the grant
        </Button>
      </div>
    </form>
  );
}
