import type { JSX } from 'react';
import type { Entry, TimelineEntry } from '../api/types/log.js';
import { asLabel } from '../api/types/labels.js';
import { Code, Empty, LabelBadge } from './basics.js';
import { count, formatBytes } from './format.js';

const ROLES: Readonly<Record<string, string>> = {
  data: 'The data',
  access: 'Access',
  read: 'Read',
  cell: 'Cell',
  export: 'The export'
};

/** Entries one under the other, each in words, with its number: by that it can be looked up and proved. */
export function Timeline({
  entries,
  name,
  href
}: {
  readonly entries: readonly TimelineEntry[];
  /** The accessible name of the list. */
  readonly name: string;
  /** Where an entry's own page is; null where there is none. */
  readonly href: ((index: number) => string) | null;
}): JSX.Element {
  if (entries.length === 0) {
    return <Empty>The log holds nothing of this that you may see.</Empty>;
  }
  return (
    <ol className="sr-Timeline" aria-label={name}>
      {entries.map(entry => (
        <li key={entry.index} data-tone={tone(entry)}>
          <p className="sr-Timeline-head">
            {href === null ? <span>Entry {entry.index}</span> : <a href={href(entry.index)}>Entry {entry.index}</a>}
            <time dateTime={entry.time}>{utc(entry)}</time>
            {entry.role !== undefined && <span className="sr-Tag">{ROLES[entry.role] ?? entry.role}</span>}
            {entry.label !== null && <LabelBadge label={asLabel(entry.label)} />}
          </p>
          <p className="sr-Timeline-words">{words(entry)}</p>
          {facts(entry).map(line => (
            <p key={line} className="sr-Quiet">
              {line}
            </p>
          ))}
          {entry.text?.payload != null && (
            <details>
              <summary>What was written</summary>
              <Code name={`Text of entry ${entry.index}`}>{entry.text.payload}</Code>
            </details>
          )}
          {entry.text?.payload_state === 'erased' && <p className="sr-Quiet">What was written was erased.</p>}
        </li>
      ))}
    </ol>
  );
}

/** Always UTC. What code in a kernel may have timed is told its author to the second. */
function utc(entry: Entry): string {
  const whole = entry.time.replace('T', ' ').replace('Z', '');
  return `${entry.narrowed === true ? whole.slice(0, 19) : whole} UTC`;
}

function tone(entry: Entry): string {
  if (/:(deny|violation|limit|block|reject|refuse[a-z-]*|revoke|void|alarm)$/.test(entry.action) || entry.end?.state === 'missing') {
    return 'bad';
  }
  return /:(approve|release|activate)$/.test(entry.action) ? 'good' : 'plain';
}

const WORDS: Readonly<Record<string, (entry: Entry) => string>> = {
  'hub:user:login': () => 'logged in',
  'hub:user:refuse-login': () => 'was refused a login',
  'hub:user:logout': () => 'logged out',
  'hub:server:spawn': () => 'started a notebook server',
  'hub:server:stop': () => 'stopped the notebook server',
  'server:kernel:start': entry => `started the kernel of ${thing(entry)}`,
  'server:kernel:stop': () => 'stopped a kernel',
  'server:kernel:violation': () => 'ran code that tried what is not allowed',
  'server:kernel:limit': () => 'ran code that met a limit',
  'server:cell:begin': entry => `ran a cell of ${thing(entry)}`,
  'server:cell:end': entry => `saw the end of entry ${text(entry, 'begin')}: ${text(entry, 'status')}`,
  'server:completion:request': entry => `asked for a completion in ${thing(entry)}`,
  'server:inspection:request': entry => `asked for an inspection in ${thing(entry)}`,
  'server:comm:message': entry => `used a widget of ${thing(entry)}`,
  'server:input:reply': entry => `answered a question of ${thing(entry)}`,
  'server:file:save': entry => `saved ${thing(entry)}`,
  'server:display:show': () => 'was shown output',
  'control:read:allow': entry => `read ${thing(entry)}`,
  'control:read:deny': entry => `was refused ${entry.object ?? 'a dataset'}`,
  'control:read:end': entry => `ended the read of entry ${text(entry, 'read')}`,
  'control:label:raise': entry => `raised the workspace’s label from ${text(entry, 'from')} to ${text(entry, 'to')}`,
  'control:access-request:submit': entry => `asked for access to ${thing(entry)}`,
  'control:access-request:approve': entry => `approved the access of ${text(entry, 'requester')} to ${thing(entry)}`,
  'control:access-request:deny': entry => `denied the access of ${text(entry, 'requester')} to ${thing(entry)}`,
  'control:access-request:withdraw': entry => `withdrew the request for ${thing(entry)}`,
  'control:grant:create': entry => `granted ${text(entry, 'user')} access to ${thing(entry)} until ${text(entry, 'until').slice(0, 10)}`,
  'control:grant:revoke': entry => `revoked the access of ${text(entry, 'user')} to ${thing(entry)}`,
  'control:grant:expire': entry => `ended the access of ${text(entry, 'user')} to ${thing(entry)}: its time is over`,
  'control:export:draft': () => 'laid files before the airlock',
  'control:export:submit': () => 'submitted the export for review',
  'control:export:block': () => 'blocked the export by automatic checks',
  'control:export:vote': entry => `voted: ${text(entry, 'verdict')}`,
  'control:export:approve': () => 'approved the export with that vote',
  'control:export:reject': () => 'rejected the export',
  'control:export:withdraw': () => 'withdrew the export',
  'control:export:release': () => 'released the export: it is signed',
  'control:export:download': () => 'downloaded the export',
  'control:export:view': entry => (entry.detail?.file == null ? 'looked at the export' : 'opened a file of the export'),
  'control:export:void': () => 'sent the export back: approvals do not hold any more',
  'control:dataset:publish': entry => `published ${thing(entry)} (${text(entry, 'stage')})`,
  'control:dataset:relabel': entry => `label of ${thing(entry)}: ${text(entry, 'before')} to ${text(entry, 'after')} (${text(entry, 'stage')})`,
  'control:dataset:retire': entry => `retired ${thing(entry)}`,
  'control:dataset:save': entry => `saved a table as ${thing(entry)}`,
  'control:dataset:refuse-save': () => 'was refused to save a table',
  'control:log:read': () => 'read the log'
};

/** What the entry says, as a sentence; one of an action that has no words here as its name. */
function words(entry: Entry): string {
  const who = entry.actor.replace(/^user:/, '').replace(/^system:/, '');
  const known = WORDS[entry.action];
  return known === undefined ? `${who}: ${entry.action}${entry.object === null ? '' : ` ${entry.object}`}` : `${who} ${known(entry)}`;
}

function thing(entry: Entry): string {
  return entry.object ?? 'a notebook without a name';
}

function text(entry: Entry, name: string): string {
  const value = entry.detail?.[name];
  return typeof value === 'string' || typeof value === 'number' ? String(value) : '?';
}

interface FileTold {
  readonly name?: string;
  readonly sha256?: string;
  readonly bytes?: number;
}

function facts(entry: Entry): readonly string[] {
  const detail = entry.detail ?? {};
  const lines: string[] = [];
  const { columns, shown, withheld, files, reviewers, sources } = { ...detail, sources: entry.sources } as Readonly<Record<string, unknown>>;
  if (Array.isArray(columns)) {
    lines.push(`Columns: ${columns.join(', ')}`);
  }
  if (entry.action === 'server:cell:end' && typeof shown === 'number') {
    const held = typeof withheld === 'number' && withheld > 0 ? `, ${formatBytes(withheld)} withheld` : '';
    lines.push(`${formatBytes(shown)} shown${held}`);
  }
  if (Array.isArray(files)) {
    for (const file of files as readonly (FileTold | string)[]) {
      if (typeof file !== 'string' && file.name !== undefined) {
        lines.push(`${file.name}, ${formatBytes(file.bytes ?? 0)}, SHA-256 ${file.sha256 ?? ''}`);
      }
    }
  }
  if (Array.isArray(reviewers) && reviewers.length > 0) {
    lines.push(`Approved by ${reviewers.join(', ')}`);
  }
  if (entry.action === 'control:export:draft' && Array.isArray(sources) && sources.length > 0) {
    lines.push(`Made from ${sources.join(', ')}`);
  }
  if (entry.action === 'control:export:draft' && Array.isArray(detail.cells)) {
    lines.push(`Names ${count(detail.cells.length, 'cell')}`);
  }
  if (entry.end?.state === 'missing') {
    lines.push(`No end. ${entry.end.why}`);
  }
  return lines;
}
