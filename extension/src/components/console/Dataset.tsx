import { useId, useState, type JSX } from 'react';
import type { DatasetPage as Shape, Difference, Relabelling, Twin, VersionLine } from '../../api/types/catalogue.js';
import type { ConsoleClient } from '../../api/console.js';
import { Await, Button, Day, Empty, Facts, LabelBadge, ProblemView, StateBadge } from '../basics.js';
import { personName } from '../format.js';
import { useAction, useLoad } from '../hooks.js';
import { DatasetFacts } from './Datasets.js';
import { Unread } from './Grants.js';
import { Page, Table } from './Page.js';
import { href } from './route.js';
import { timelineHref } from './Timelines.js';

const BACK = { href: href('datasets'), text: 'All datasets' };

/** One dataset as its stewards see it. */
export function DatasetPage({ client, name }: { readonly client: ConsoleClient; readonly name: string }): JSX.Element {
  const loaded = useLoad(() => client.datasetPage(name), name);
  return (
    <Page
      title={loaded.value?.title ?? name}
      intro={<code>{name}</code>}
      back={BACK}
      actions={<a href={timelineHref({ kind: 'dataset', name })}>Timeline of this dataset</a>}
    >
      <Await loaded={loaded} what="the dataset">
        {page => (
          <>
            <Relabellings client={client} all={page.relabellings} done={loaded.reload} />
            {page.dataset !== null && (
              <section className="sr-Section" aria-label="About">
                <p>{page.dataset.description}</p>
                <DatasetFacts dataset={page.dataset} />
                {page.used_by.length > 0 && <Facts facts={[['Used by', page.used_by.join(', ')]]} />}
              </section>
            )}
            <Versions versions={page.versions} />
            {page.versions.length > 1 && <Compare client={client} name={name} versions={page.versions} />}
            {page.twin !== null && <TwinSection client={client} name={name} twin={page.twin} done={loaded.reload} />}
            <Readers page={page} />
          </>
        )}
      </Await>
    </Page>
  );
}

function Versions({ versions }: { readonly versions: readonly VersionLine[] }): JSX.Element {
  return (
    <>
      <h2>Versions</h2>
      <Table caption="Versions" head={['Version', 'State', 'Label', 'Rows', 'Visible since', 'Kept until', 'Checks']}>
        {versions.map(one => (
          <tr key={one.version}>
            <th scope="row">
              <a href={href('datasets', `${one.name}@${one.version}`)}>Version {one.version}</a>
            </th>
            <td>
              <StateBadge state={one.state} />
              {one.retired_why !== null && <span className="sr-Quiet sr-Block">{one.retired_why}</span>}
            </td>
            <td>
              <LabelBadge label={one.label} />
            </td>
            <td>{one.rows?.toLocaleString() ?? '—'}</td>
            <td>
              <Day time={one.activated} />
            </td>
            <td>
              <Day time={one.retained_until} />
            </td>
            <td>{one.failed_checks === 0 ? 'fine' : `${one.failed_checks} failed`}</td>
          </tr>
        ))}
      </Table>
    </>
  );
}

/** Whether there is a synthetic twin, who reads it, and what one should know before letting it be read. */
function TwinSection({
  client,
  name,
  twin,
  done
}: {
  readonly client: ConsoleClient;
  readonly name: string;
  readonly twin: Twin;
  readonly done: () => void;
}): JSX.Element {
  const id = useId();
  const allow = useAction(async (allowed: boolean) => {
    await client.allowTwin(name, allowed);
    done();
  });
  return (
    <section className="sr-Section" aria-labelledby={id}>
      <h2 id={id}>
        Synthetic twin <StateBadge state={twin.allowed ? (twin.rows === null ? 'none' : 'readable') : 'withheld'} />
      </h2>
      {twin.rows === null ? (
        <p>{twin.why}</p>
      ) : (
        <>
          <Facts
            facts={[
              ['Of', `version ${twin.version}`],
              ['Made', <Day key="made" time={twin.made} />],
              ['Rows', `${twin.rows.toLocaleString()}, all made up`],
              ['Method', 'noisy counts of common values, joined along a tree of the strongest pairs of columns'],
              ['Read by', twin.allowed ? 'whoever may discover the dataset, without a grant' : 'nobody'],
              ['Why so', twin.decided ? 'a steward or the operator decided it' : 'by its label; nobody has decided']
            ]}
          />
          <p id={`${id}-limits`} className="sr-Quiet">
            It keeps shares, medians and common values of single columns, and pairs of columns roughly; no row of the
            data, no extremes, no category that fewer than 20 rows have, no identifiers and no free text. That is no
            anonymity by proof: what is true of a whole group of 20 or more is true in the twin, and twins of many versions
            average the noise away. Reading it raises no label, and what is made of it leaves without a review of its
            sources: opening it is a release.
          </p>
        </>
      )}
      {allow.problem !== null && <ProblemView problem={allow.problem} />}
      {twin.may_decide && (twin.rows !== null || twin.allowed) && (
        <div className="sr-Actions">
          <Button
            tone={twin.allowed ? 'danger' : 'primary'}
            busy={allow.busy}
            {...(twin.rows === null ? {} : { describedBy: `${id}-limits` })}
            onClick={() => void allow.run(!twin.allowed)}
          >
            {twin.allowed ? 'Withhold the twin' : 'Open the twin'}
          </Button>
        </div>
      )}
    </section>
  );
}

function Readers({ page }: { readonly page: Shape }): JSX.Element {
  return (
    <>
      <h2>Who may read it</h2>
      {page.grants.length === 0 ? (
        <Empty>Nobody holds a grant on it.</Empty>
      ) : (
        <Table caption="Grants" head={['Who', 'Columns', 'Until']}>
          {page.grants.map(grant => (
            <tr key={grant.id}>
              <th scope="row">
                {grant.user}
                <span className="sr-Quiet sr-Block">{grant.project}</span>
              </th>
              <td>
                {grant.columns.join(', ')}
                <Unread grant={grant} />
              </td>
              <td>
                <Day time={grant.until} />
              </td>
            </tr>
          ))}
        </Table>
      )}
    </>
  );
}

function Relabellings({
  client,
  all,
  done
}: {
  readonly client: ConsoleClient;
  readonly all: readonly Relabelling[];
  readonly done: () => void;
}): JSX.Element {
  const decide = useAction(async (id: string, verdict: 'approve' | 'refuse') => {
    await client.decideRelabelling(id, verdict);
    done();
  });
  return (
    <>
      {all
        .filter(one => one.state === 'open')
        .map(one => (
          <section key={one.id} className="sr-Section" aria-label="A lower label is proposed">
            <h2>A lower label is proposed</h2>
            <p>
              {personName(one.proposed_by)} proposes that version {one.version} comes down from <LabelBadge label={one.before} /> to{' '}
              <LabelBadge label={one.after} />: “{one.why}”
            </p>
            {decide.problem !== null && <ProblemView problem={decide.problem} />}
            {one.may_approve ? (
              <div className="sr-Actions">
                <Button tone="primary" busy={decide.busy} onClick={() => void decide.run(one.id, 'approve')}>
                  Agree
                </Button>
                <Button busy={decide.busy} onClick={() => void decide.run(one.id, 'refuse')}>
                  Keep the label
                </Button>
              </div>
            ) : (
              <p className="sr-Quiet">Another steward has to agree.</p>
            )}
          </section>
        ))}
    </>
  );
}

function Compare({
  client,
  name,
  versions
}: {
  readonly client: ConsoleClient;
  readonly name: string;
  readonly versions: readonly VersionLine[];
}): JSX.Element {
  const id = useId();
  const [before, setBefore] = useState(versions[1]?.version ?? 1);
  const [after, setAfter] = useState(versions[0]?.version ?? 1);
  const [found, setFound] = useState<Difference | null>(null);
  const compare = useAction(async () => {
    setFound(await client.difference(name, before, after));
  });
  const picker = (label: string, value: number, set: (version: number) => void): JSX.Element => (
    <label>
      {label}{' '}
      <select
        className="sr-Input"
        value={value}
        onChange={event => {
          set(Number(event.target.value));
        }}
      >
        {versions.map(one => (
          <option key={one.version} value={one.version}>
            {one.version}
          </option>
        ))}
      </select>
    </label>
  );
  return (
    <form
      className="sr-Section"
      aria-labelledby={id}
      onSubmit={event => {
        event.preventDefault();
        void compare.run();
      }}
    >
      <h2 id={id}>Compare two versions</h2>
      <div className="sr-Actions">
        {picker('From', before, setBefore)}
        {picker('to', after, setAfter)}
        <Button submit busy={compare.busy}>
          Compare
        </Button>
      </div>
      {compare.problem !== null && <ProblemView problem={compare.problem} />}
      {found !== null && <Changes found={found} />}
    </form>
  );
}

function Changes({ found }: { readonly found: Difference }): JSX.Element {
  const { before, after } = found;
  const lines = [
    ...(before.label === after.label ? [] : [`label: ${before.label} → ${after.label}`]),
    ...(before.rows === after.rows ? [] : [`rows: ${before.rows ?? '—'} → ${after.rows ?? '—'}`]),
    ...found.added.map(column => `${column}: new`),
    ...found.removed.map(column => `${column}: gone`),
    ...found.changed.flatMap(one =>
      one.fields.map(field => `${one.name}, ${field}: ${told(one.before[field])} → ${told(one.after[field])}`)
    ),
    ...found.missing.map(one => `${one.name}, missing: ${share(one.before)} → ${share(one.after)}`)
  ];
  return (
    <ul className="sr-Plain" aria-live="polite">
      {lines.length === 0 ? <li>Nothing that may be told differs.</li> : lines.map(line => <li key={line}>{line}</li>)}
    </ul>
  );
}

function told(value: unknown): string {
  if (Array.isArray(value)) {
    return value.length === 0 ? 'none' : value.join(', ');
  }
  return typeof value === 'string' ? value || 'none' : JSON.stringify(value);
}

function share(value: number | null): string {
  return value === null ? '—' : `${(100 * value).toFixed(1)} %`;
}
