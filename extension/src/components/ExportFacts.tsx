import type { JSX } from 'react';
import type { ExportFile, ExportVerdict, Finding, Vote } from '../api/types/exports.js';
import { Moment } from './basics.js';
import { formatBytes } from './format.js';

const SEVERITY_WORDS: Readonly<Record<Finding['severity'], string>> = {
  block: 'Blocks',
  warn: 'Look here',
  pass: 'Passed'
};

const VERDICT_WORDS: Readonly<Record<ExportVerdict, string>> = {
  approve: 'approved',
  reject: 'rejected',
  changes: 'asked for changes'
};

/** The automatic checks' findings on one file, the gravest first. */
export function Findings({ file }: { readonly file: ExportFile }): JSX.Element {
  const order: readonly Finding['severity'][] = ['block', 'warn', 'pass'];
  const sorted = file.findings.toSorted((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity));
  return (
    <ul className="sr-Findings" aria-label={`Findings on ${file.name}`}>
      {sorted.map((finding, index) => (
        <li key={index} data-severity={finding.severity}>
          <span className="sr-Severity" data-severity={finding.severity}>
            {SEVERITY_WORDS[finding.severity]}
          </span>
          <span>
            <span className="sr-Quiet">{finding.check.replaceAll('-', ' ')}:</span> {finding.text}
          </span>
        </li>
      ))}
    </ul>
  );
}

/** What a file is, and which bytes an approval is bound to. */
export function FileLine({ file }: { readonly file: ExportFile }): JSX.Element {
  return (
    <p className="sr-File">
      <span className="sr-Quiet">
        {file.type !== null && `${file.type}, `}
        {formatBytes(file.bytes)}
      </span>
      <span className="sr-Hash">sha256 {file.sha256}</span>
    </p>
  );
}

export function Votes({ votes, needed }: { readonly votes: readonly Vote[]; readonly needed: number }): JSX.Element {
  return (
    <>
      <p>
        {votes.filter(vote => vote.valid && vote.verdict === 'approve').length} of {needed} needed approvals
      </p>
      {votes.length > 0 && (
        <ul className="sr-List">
          {votes.map(vote => (
            <li key={`${vote.reviewer} ${vote.at}`}>
              <strong>{vote.reviewer}</strong> {VERDICT_WORDS[vote.verdict]}, <Moment time={vote.at} />
              {!vote.valid && ' (void: files, policy or checks have changed since)'}
              {vote.comment !== '' && <blockquote>{vote.comment}</blockquote>}
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
