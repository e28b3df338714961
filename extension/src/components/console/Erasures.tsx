import { useState, type JSX } from 'react';
import type { ConsoleClient, Which } from '../../api/console.js';
import type { Erasure } from '../../api/types/twoPeople.js';
import { Await, Moment } from '../basics.js';
import { personName } from '../format.js';
import { useLoad } from '../hooks.js';
import { Page, WhichPicker } from './Page.js';
import { AskForm, Case, Cases, Field } from './TwoPeople.js';
import { VerdictForm } from './VerdictForm.js';

/** Characters of a reason, as the service takes them. */
const WHY = [1, 2000] as const;

/** Erasing what one person typed: what was asked for, who agreed, and the entry that says it was done. */
export function ErasuresPage({ client }: { readonly client: ConsoleClient }): JSX.Element {
  const [which, setWhich] = useState<Which>('open');
  const loaded = useLoad(() => client.erasures(), 'erasures');
  return (
    <Page
      title="Erasures"
      intro="The key to all that one person typed in the log is deleted; entries stay, and the log verifies as before. Two people decide, neither of them that person. Backups, and what requests and exports say, are not reached."
      actions={<WhichPicker value={which} pick={setWhich} />}
    >
      <Await loaded={loaded} what="erasures">
        {({ setting, erasures }) => (
          <>
            {setting === 'off' && (
              <p className="sr-Note">
                This instance keeps what people typed as long as the log. To allow erasing, the operator sets{' '}
                <code>erasure = &quot;two-person&quot;</code> in the table <code>[audit]</code> of instance.toml.
              </p>
            )}
            {(setting !== 'off' || erasures.length > 0) && (
              <Cases
                all={erasures.filter(one => which === 'all' || one.state === 'open')}
                none={which === 'all' ? 'Nothing was ever asked to be erased.' : 'No erasure waits for a decision.'}
                show={erasure => <ErasureCase key={erasure.id} erasure={erasure} client={client} decided={loaded.reload} />}
              />
            )}
            {setting !== 'off' && <AskToErase client={client} done={loaded.reload} />}
          </>
        )}
      </Await>
    </Page>
  );
}

function ErasureCase({
  erasure,
  client,
  decided
}: {
  readonly erasure: Erasure;
  readonly client: ConsoleClient;
  readonly decided: () => void;
}): JSX.Element {
  const what = `what ${personName(erasure.person)} typed`;
  return (
    <Case
      one={erasure}
      title={`What ${personName(erasure.person)} typed`}
      doneAt={erasure.done_entry}
      more={[
        [
          'Database cleared',
          erasure.state !== 'done' ? null : erasure.cleared_at === null ? (
            'not yet: its leavings still hold the key, and are cleared as soon as nobody reads them'
          ) : (
            <Moment key="cleared" time={erasure.cleared_at} />
          )
        ]
      ]}
    >
      {erasure.state === 'open' && (
        <VerdictForm
          what={`the erasure of ${what}`}
          may={erasure.may}
          own={
            erasure.may.withdraw
              ? 'You asked for it: another person who looks after the enclave has to decide.'
              : 'These are your own texts: two others decide.'
          }
          hint="Approving erases all of these texts at once and for good."
          decide={async (verdict, comment) => {
            await client.decideErasure(erasure.id, verdict, comment);
            decided();
          }}
        />
      )}
    </Case>
  );
}

function AskToErase({ client, done }: { readonly client: ConsoleClient; readonly done: () => void }): JSX.Element {
  const [person, setPerson] = useState('');
  return (
    <AskForm
      title="Ask for an erasure"
      ready={person.trim() !== ''}
      length={WHY}
      whyHint="It stays in the log for ever, so name no private matter."
      action="Ask to erase"
      ask={async why => {
        await client.askToErase(`user:${person.trim()}`, why);
        setPerson('');
        done();
      }}
    >
      <Field
        label="Person"
        value={person}
        change={setPerson}
        hint="The login name. All code, justifications and comments of that person become unreadable."
      />
    </AskForm>
  );
}
