import { useId, useState, type JSX } from 'react';
import type { ConsoleClient } from '../../api/console.js';
import type { PolicyChanges, PolicyProposal, PolicyResults, PolicyVersion } from '../../api/types/policy.js';
import type { Me } from '../../api/types/session.js';
import { Button, Empty, Facts, Moment, ProblemView, StateBadge } from '../basics.js';
import { count, personName } from '../format.js';
import { useAction } from '../hooks.js';
import { Table } from './Page.js';
import { href } from './route.js';
import { VerdictForm } from './VerdictForm.js';

const SHOWN = 20;
const SOURCES: Readonly<Record<string, string>> = {
  'first-start': 'first start',
  files: 'files',
  proposal: 'proposal',
  rollback: 'put back'
};

/** Make a proposal of what stands in the policy folder. */
export function ProposeForm({
  client,
  version,
  done
}: {
  readonly client: ConsoleClient;
  readonly version: string | null;
  readonly done: () => void;
}): JSX.Element {
  const id = useId();
  const [why, setWhy] = useState('');
  const propose = useAction(async () => {
    await client.propose(why.trim());
    setWhy('');
    done();
  });
  return (
    <form
      className="sr-Form"
      aria-label="Propose"
      onSubmit={event => {
        event.preventDefault();
        void propose.run();
      }}
    >
      <p>
        The policy folder holds {version === null ? 'files that cannot be read' : <code>{version}</code>}, which is not in
        force. Another administrator has to approve it.
      </p>
      <label htmlFor={`${id}-why`}>Why this change?</label>
      <textarea
        id={`${id}-why`}
        className="sr-Input"
        rows={2}
        value={why}
        onChange={event => {
          setWhy(event.target.value);
        }}
      />
      {propose.problem !== null && <ProblemView problem={propose.problem} />}
      <div className="sr-Actions">
        <Button submit tone="primary" busy={propose.busy} disabled={why.trim() === ''}>
          Propose these files
        </Button>
      </div>
    </form>
  );
}

/** One proposal: what it changes, what the checks say, and the verdict of somebody else. */
export function ProposalSection({
  proposal,
  client,
  me,
  decided
}: {
  readonly proposal: PolicyProposal;
  readonly client: ConsoleClient;
  readonly me: Me;
  readonly decided: () => void;
}): JSX.Element {
  const heading = useId();
  return (
    <section className="sr-Section" aria-labelledby={heading}>
      <h2 id={heading}>
        Proposal {proposal.version} <StateBadge state={proposal.state} />
      </h2>
      <blockquote>{proposal.why}</blockquote>
      <Facts
        facts={[
          ['By', personName(proposal.author)],
          ['At', <Moment key="at" time={proposal.at} />],
          ['Compared with', <code key="base">{proposal.base}</code>]
        ]}
      />
      <h3>What it changes</h3>
      <Changes changes={proposal.results.changes} />
      <h3>Checks</h3>
      <Results results={proposal.results} />
      {proposal.state === 'open' && me.can.administer && (
        <VerdictForm
          what={`proposal ${proposal.version}`}
          may={proposal.may}
          own="This is your own proposal: another administrator has to decide."
          hint="Approving brings exactly these files into force at once."
          decide={async (verdict, comment) => {
            await client.decidePolicy(proposal.id, proposal.digest, verdict, comment);
            decided();
          }}
        />
      )}
    </section>
  );
}

/** What no change of the rules may allow. */
export function Guards({ guards }: { readonly guards: PolicyResults['guards'] }): JSX.Element {
  return (
    <ul className="sr-Plain" aria-label="Guards">
      {guards.map(guard => (
        <li key={guard.name}>
          <code>{guard.name}</code> <span className="sr-Quiet">{guard.why}</span>
        </li>
      ))}
    </ul>
  );
}

/** What tests, guards and notes say about a policy. */
export function Results({ results }: { readonly results: PolicyResults }): JSX.Element {
  const reached = results.rows - results.untested.length;
  return (
    <>
      <Facts
        facts={[
          ['Tests', `${count(results.tests, 'test')}, all pass`],
          ['Guards', guardsLine(results)],
          ['Coverage', `${reached.toLocaleString()} of ${count(results.rows, 'row')} reached by a test`],
          ['Not reached', results.untested.slice(0, SHOWN).join(', ')]
        ]}
      />
      {results.notes.length > 0 && (
        <ul className="sr-Plain" aria-label="Notes">
          {results.notes.slice(0, SHOWN).map(note => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      )}
    </>
  );
}

function guardsLine({ guards, guards_broken: broken = 0 }: PolicyResults): string {
  if (guards.length === 0) {
    return 'none';
  }
  const stand = broken === 0 ? 'all hold' : `${broken.toLocaleString()} broken by grants, as before (see the notes)`;
  return `${count(guards.length, 'guard')}, ${stand}`;
}

export function Changes({ changes }: { readonly changes: PolicyChanges | Readonly<Record<string, never>> }): JSX.Element {
  if (!isChanges(changes)) {
    return <p className="sr-Quiet">There was no policy before.</p>;
  }
  const shown = changes.changes.slice(0, SHOWN);
  const more = changes.changes_in_all - shown.length;
  return (
    <>
      {shown.length === 0 ? (
        <p className="sr-Quiet">No decision and no obligation.</p>
      ) : (
        <ul className="sr-Plain">
          {shown.map((change, index) => (
            <li key={index}>{change.text}</li>
          ))}
        </ul>
      )}
      {more > 0 && <p className="sr-Hint">… and {count(more, 'more change')}.</p>}
      {!changes.complete && <p className="sr-Hint">It touches more than one comparison asks about: there may be more.</p>}
    </>
  );
}

function isChanges(changes: PolicyChanges | Readonly<Record<string, never>>): changes is PolicyChanges {
  return 'changes' in changes;
}

/** Every policy that came into force; an earlier one can be put back. */
export function HistorySection({
  versions,
  client,
  me,
  changed
}: {
  readonly versions: readonly PolicyVersion[];
  readonly client: ConsoleClient;
  readonly me: Me;
  readonly changed: () => void;
}): JSX.Element {
  const heading = useId();
  const [back, setBack] = useState<PolicyVersion | null>(null);
  return (
    <section className="sr-Section" aria-labelledby={heading}>
      <h2 id={heading}>History</h2>
      {back !== null && (
        <BackForm
          key={back.number}
          version={back}
          client={client}
          done={really => {
            setBack(null);
            if (really) {
              changed();
            }
          }}
        />
      )}
      {versions.length === 0 ? (
        <Empty>No policy has come into force yet.</Empty>
      ) : (
        <Table caption="Versions" head={['Version', 'Since', 'Who', 'What it changed', 'Entry', 'Put back']}>
          {versions.map(version => (
            <tr key={version.number}>
              <th scope="row">
                {version.number}
                <span className="sr-Quiet sr-Block">
                  <code>{version.version}</code>
                </span>
              </th>
              <td>
                <Moment time={version.at} />
              </td>
              <td>
                {personName(version.actor)}
                <span className="sr-Quiet sr-Block">
                  {SOURCES[version.source] ?? version.source}: {version.why}
                </span>
              </td>
              <td>
                <Changes changes={version.changes} />
              </td>
              <td>
                <a href={href('audit', version.entry)}>{version.entry}</a>
              </td>
              <td>
                {version.in_force ? (
                  'in force'
                ) : (
                  <Button
                    disabled={!me.can.administer}
                    name={`Put version ${version.number} back`}
                    onClick={() => {
                      setBack(version);
                    }}
                  >
                    Put back
                  </Button>
                )}
              </td>
            </tr>
          ))}
        </Table>
      )}
    </section>
  );
}

function BackForm({
  version,
  client,
  done
}: {
  readonly version: PolicyVersion;
  readonly client: ConsoleClient;
  readonly done: (really: boolean) => void;
}): JSX.Element {
  const id = useId();
  const [why, setWhy] = useState('');
  const back = useAction(async () => {
    await client.putBack(version.number, why.trim());
    done(true);
  });
  return (
    <form
      className="sr-Form"
      aria-label={`Put version ${version.number} back`}
      onSubmit={event => {
        event.preventDefault();
        void back.run();
      }}
    >
      <label htmlFor={`${id}-why`}>Why put version {version.number} back?</label>
      <textarea
        id={`${id}-why`}
        className="sr-Input"
        rows={2}
        value={why}
        aria-describedby={`${id}-hint`}
        onChange={event => {
          setWhy(event.target.value);
        }}
      />
      <p className="sr-Hint" id={`${id}-hint`}>
        It was in force before, so no second person is asked. It is recorded with your name and this reason. The files in the
        policy folder stay as they are.
      </p>
      {back.problem !== null && <ProblemView problem={back.problem} />}
      <div className="sr-Actions">
        <Button submit tone="danger" busy={back.busy} disabled={why.trim() === ''}>
          Put it into force
        </Button>
        <Button
          onClick={() => {
            done(false);
          }}
        >
          Cancel
        </Button>
      </div>
    </form>
  );
}
