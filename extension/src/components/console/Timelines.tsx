import { useId, useState, type JSX } from 'react';
import type { ConsoleClient } from '../../api/console.js';
import type { TimelineOf } from '../../api/types/log.js';
import { Await, Button, Empty, Facts, StateBadge } from '../basics.js';
import { useLoad } from '../hooks.js';
import { Timeline } from '../Timeline.js';
import { Page } from './Page.js';
import { Paging, useTrail } from './Paging.js';
import { href } from './route.js';

const PAGE = 50;
const KINDS = ['person', 'dataset', 'notebook', 'export'] as const;
const EXAMPLES = {
  person: 'analyst',
  dataset: 'health/randhie',
  notebook: 'analysis/day.ipynb',
  export: 'the number of an export'
} as const;
const BACK = { href: href('timelines'), text: 'Timelines' };

/** The address of a timeline: kind and name, of a notebook also whose and in which project. */
export function timelineHref(of: TimelineOf): string {
  return href('timelines', of.kind === 'notebook' ? `notebook:${of.user}/${of.project}/${of.name}` : `${of.kind}:${of.name}`);
}

/** Null for an address that names none. */
export function timelineOf(id: string): TimelineOf | null {
  const at = id.indexOf(':');
  const kind = KINDS.find(one => one === id.slice(0, at));
  const name = id.slice(at + 1);
  if (kind === undefined || name === '') {
    return null;
  }
  if (kind !== 'notebook') {
    return { kind, name };
  }
  const [user = '', project = '', ...path] = name.split('/');
  return path.length === 0 ? null : { kind, user, project, name: path.join('/') };
}

export function TimelinesPage({ client, id }: { readonly client: ConsoleClient; readonly id: string | null }): JSX.Element {
  const of = id === null ? null : timelineOf(id);
  if (of === null) {
    return <ChooseTimeline />;
  }
  return of.kind === 'export' ? <ExportChain client={client} id={of.name} /> : <PagedTimeline key={id} client={client} of={of} />;
}

/** Looking is an entry, so nothing loads before it is asked for. */
function ChooseTimeline(): JSX.Element {
  const id = useId();
  const [kind, setKind] = useState<(typeof KINDS)[number]>('person');
  const [name, setName] = useState('');
  const [user, setUser] = useState('');
  const [project, setProject] = useState('');
  return (
    <Page
      title="Timelines"
      intro="What a person did, what became of a dataset, how a notebook ran, and all that led to a file that left. That you look is recorded as well."
    >
      <form
        className="sr-Filter"
        aria-label="Choose a timeline"
        onSubmit={event => {
          event.preventDefault();
          if (name.trim() !== '') {
            const chosen = name.trim();
            window.location.hash = timelineHref(
              kind === 'notebook' ? { kind, name: chosen, user: user.trim(), project: project.trim() } : { kind, name: chosen }
            );
          }
        }}
      >
        <p>
          <label htmlFor={`${id}-kind`}>Of a</label>
          <select
            id={`${id}-kind`}
            className="sr-Input"
            value={kind}
            onChange={event => {
              setKind(KINDS.find(one => one === event.target.value) ?? 'person');
            }}
          >
            {KINDS.map(one => (
              <option key={one}>{one}</option>
            ))}
          </select>
        </p>
        <Field id={`${id}-name`} label="Name" example={EXAMPLES[kind]} value={name} change={setName} />
        {kind === 'notebook' && (
          <>
            <Field id={`${id}-user`} label="Whose" example="analyst" value={user} change={setUser} />
            <Field id={`${id}-project`} label="In project" example="cardio" value={project} change={setProject} />
          </>
        )}
        <div className="sr-Actions">
          <Button submit tone="primary" disabled={name.trim() === ''}>
            Show
          </Button>
        </div>
      </form>
    </Page>
  );
}

function Field({
  id,
  label,
  example,
  value,
  change
}: {
  readonly id: string;
  readonly label: string;
  readonly example: string;
  readonly value: string;
  readonly change: (value: string) => void;
}): JSX.Element {
  return (
    <p>
      <label htmlFor={id}>{label}</label>
      <input
        id={id}
        className="sr-Input"
        placeholder={example}
        value={value}
        onChange={event => {
          change(event.target.value);
        }}
      />
    </p>
  );
}

/** As the page's heading. */
function titleOf(of: TimelineOf): string {
  switch (of.kind) {
    case 'person':
      return `What ${of.name} did`;
    case 'notebook':
      return `How ${of.name} ran`;
    default:
      return `What became of ${of.name}`;
  }
}

function introOf(of: TimelineOf): string {
  if (of.kind !== 'notebook') {
    return 'The newest first, as far as you may see it.';
  }
  const whose = of.user === '' ? 'Whoever ran it' : `Run by ${of.user}`;
  return `${whose}${of.project === '' ? '' : `, project ${of.project}`}. In the order of the runs; what its kernels did in between stands between them.`;
}

function PagedTimeline({ client, of }: { readonly client: ConsoleClient; readonly of: TimelineOf }): JSX.Element {
  const trail = useTrail();
  const loaded = useLoad(() => client.timeline(of, trail.before, PAGE), `${of.kind} ${of.name} ${String(trail.before)}`);
  return (
    <Page
      title={titleOf(of)}
      intro={introOf(of)}
      back={BACK}
    >
      <Await loaded={loaded} what="the timeline">
        {page => (
          <>
            {page.entries.length === 0 && page.next !== null && (
              <Empty>Nothing that you may see among the newest; look at older ones.</Empty>
            )}
            {(page.entries.length > 0 || page.next === null) && (
              <Timeline
                name={`Timeline of ${of.name}`}
                entries={of.kind === 'notebook' ? [...page.entries].reverse() : page.entries}
                href={index => href('audit', index)}
              />
            )}
            <Paging trail={trail} next={page.next} />
          </>
        )}
      </Await>
    </Page>
  );
}

function ExportChain({ client, id }: { readonly client: ConsoleClient; readonly id: string }): JSX.Element {
  const loaded = useLoad(() => client.chain(id), `chain ${id}`);
  return (
    <Page
      title="All that led to this file"
      intro="From the data to the release, the oldest first. Each step is an entry of the log and can be proved; tables that say something else than the log are an error here, not a step."
      back={BACK}
    >
      <Await loaded={loaded} what="the chain">
        {chain => (
          <>
            <Facts
              facts={[
                ['Export', <code key="id">{chain.export.id}</code>],
                ['Asked for by', chain.export.user],
                ['Project', chain.export.project],
                ['State', <StateBadge key="state" state={chain.export.state} />]
              ]}
            />
            {chain.left_out && <p className="sr-Note">Some steps are not open to you. Auditors see all of them.</p>}
            <Timeline name="Steps" entries={chain.entries} href={index => href('audit', index)} />
          </>
        )}
      </Await>
    </Page>
  );
}
