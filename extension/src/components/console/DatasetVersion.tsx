import { useId, useState, type JSX } from 'react';
import type { Version } from '../../api/types/catalogue.js';
import type { ConsoleClient } from '../../api/console.js';
import { LABELS, type Label } from '../../api/types/labels.js';
import { Await, Button, Day, Facts, LabelBadge, Moment, ProblemView, StateBadge } from '../basics.js';
import { personName } from '../format.js';
import { useAction, useLoad } from '../hooks.js';
import { ColumnsTable } from './Columns.js';
import { DraftForm, Groups } from './DraftForm.js';
import { LabelChoice } from './LabelChoice.js';
import { Page } from './Page.js';
import { ProfileTable } from './ProfileTable.js';
import { href } from './route.js';

/** One version: what is told about it, what was found in it, and what its steward can do with it. */
export function VersionPage({
  client,
  name,
  version
}: {
  readonly client: ConsoleClient;
  readonly name: string;
  readonly version: number;
}): JSX.Element {
  const loaded = useLoad(() => client.version(name, version), `${name}@${version}`);
  const shown = loaded.value;
  return (
    <Page
      title={
        <>
          {shown?.title ?? name}, version {version}
          {shown !== null && <LabelBadge label={shown.label} />}
          {shown !== null && <StateBadge state={shown.state} />}
        </>
      }
      intro={
        <>
          <code>
            {name}@{version}
          </code>
          {shown?.state === 'loaded' && ' Nobody sees it before you have decided on it.'}
        </>
      }
      back={{ href: href('datasets', name), text: name }}
    >
      <Await loaded={loaded} what="the version">
        {one => (
          <>
            {one.state === 'loaded' && <DraftForm client={client} version={one} done={loaded.reload} />}
            {one.state === 'signed' && <Release client={client} version={one} done={loaded.reload} />}
            <Found version={one} />
            <section className="sr-Section" aria-label="About">
              <p>{one.description}</p>
              <VersionFacts version={one} />
            </section>
            <h2>Columns</h2>
            <ColumnsTable name={name} columns={one.columns} />
            {one.profile !== null && <ProfileTable profile={one.profile} />}
            {one.state === 'active' && <Change client={client} version={one} done={loaded.reload} />}
            {(one.state === 'active' || one.state === 'retired') && (
              <p>
                <a href={href('shreddings', `${name}@${version}`)}>Have columns or all of it destroyed for good</a>
              </p>
            )}
          </>
        )}
      </Await>
    </Page>
  );
}

function VersionFacts({ version }: { readonly version: Version }): JSX.Element {
  const decided = version.decided;
  return (
    <Facts
      facts={[
        ['Rows', version.rows?.toLocaleString() ?? null],
        ['Owner', version.owner],
        ['Stewards', version.stewards.join(', ')],
        ['Contact', version.contact],
        ['Source', version.source],
        ['Licence', version.licence],
        ['Legal basis', version.legal_basis],
        ['Consent stands in', version.consent_column],
        ['Kept until', version.retained_until === null ? null : <Day key="until" time={version.retained_until} />],
        ['Made from', version.sources.join(', ')],
        [
          'Decided',
          decided === null ? null : (
            <span key="decided">
              by {personName(decided.by)}, <Moment time={decided.at} />
              {decided.comment !== '' && `: ${decided.comment}`}
            </span>
          )
        ],
        ['Retired', version.retired_why === null ? null : `by ${version.retired_by ?? ''}: ${version.retired_why}`]
      ]}
    />
  );
}

function Found({ version }: { readonly version: Version }): JSX.Element | null {
  const failed = version.quality.filter(one => one.state !== 'passed');
  const passed = version.quality.length - failed.length;
  if (version.notes.length === 0 && version.quality.length === 0 && version.proposals === null) {
    return null;
  }
  return (
    <section className="sr-Section" aria-label="What was found">
      <h2>What was found</h2>
      {version.notes.length > 0 && (
        <ul className="sr-Plain">
          {version.notes.map(note => (
            <li key={note}>{note}</li>
          ))}
        </ul>
      )}
      {version.quality.length > 0 && (
        <>
          <p>
            {passed} of {version.quality.length} declared checks passed.
          </p>
          <ul className="sr-Plain">
            {failed.map(one => (
              <li key={one.text}>
                <StateBadge state={one.state} /> {one.text}
                {one.why !== '' && <span className="sr-Quiet"> ({one.why})</span>}
              </li>
            ))}
          </ul>
        </>
      )}
      {version.proposals !== null && <Groups groups={version.proposals.groups} />}
    </section>
  );
}

function Release({
  client,
  version,
  done
}: {
  readonly client: ConsoleClient;
  readonly version: Version;
  readonly done: () => void;
}): JSX.Element {
  const release = useAction(async () => {
    await client.releaseVersion(version.name, version.version);
    done();
  });
  return (
    <section className="sr-Section" aria-label="Decided, not visible yet">
      <p>It is decided on and signed, but the vault did not have it yet when that was done.</p>
      {release.problem !== null && <ProblemView problem={release.problem} />}
      <div className="sr-Actions">
        <Button tone="primary" busy={release.busy} onClick={() => void release.run()}>
          Make it visible
        </Button>
      </div>
    </section>
  );
}

function Change({
  client,
  version,
  done
}: {
  readonly client: ConsoleClient;
  readonly version: Version;
  readonly done: () => void;
}): JSX.Element {
  const id = useId();
  const [label, setLabel] = useState<Label>(version.label);
  const [why, setWhy] = useState('');
  const [said, setSaid] = useState<readonly string[]>([]);
  const relabel = useAction(async () => {
    const { state, broken_guards: broken = [] } = await client.relabel(version.name, version.version, label, why.trim());
    setSaid([
      state === 'open' ? 'Proposed: another steward has to agree before the label comes down.' : 'The label is changed.',
      ...broken.map(guard => `Tell an administrator: now ${guard}`)
    ]);
    done();
  });
  const retire = useAction(async () => {
    await client.retireVersion(version.name, version.version, why.trim());
    done();
  });
  const lower = LABELS.indexOf(label) < LABELS.indexOf(version.label);
  const problem = relabel.problem ?? retire.problem;
  const busy = relabel.busy || retire.busy;
  const silent = why.trim() === '';
  return (
    <form
      className="sr-Section sr-Form"
      aria-label="Change this version"
      onSubmit={event => {
        event.preventDefault();
        if (!silent && label !== version.label) {
          void relabel.run();
        }
      }}
    >
      <h2>Change this version</h2>
      <label htmlFor={`${id}-why`}>Why</label>
      <input
        id={`${id}-why`}
        className="sr-Input"
        value={why}
        onChange={event => {
          setWhy(event.target.value);
        }}
      />
      <label htmlFor={`${id}-label`}>Label</label>
      <LabelChoice id={`${id}-label`} describedBy={`${id}-note`} label={label} choose={setLabel} />
      <p id={`${id}-note`} className="sr-Quiet">
        {lower
          ? 'A lower label needs a second steward. What was read before keeps its label.'
          : 'A higher label acts at once, also on every workspace that has read this version.'}
      </p>
      {problem !== null && <ProblemView problem={problem} />}
      <div role="status">
        {said.map(line => (
          <p key={line}>{line}</p>
        ))}
      </div>
      <div className="sr-Actions">
        <Button submit tone="primary" busy={busy} disabled={silent || label === version.label}>
          {lower ? 'Propose the label' : 'Change the label'}
        </Button>
        <Button tone="danger" busy={busy} disabled={silent} onClick={() => void retire.run()}>
          Retire this version
        </Button>
      </div>
    </form>
  );
}
