import { vi } from 'vitest';
import proven from '../../tests/vectors/proof-v1.json' with { type: 'json' };
import type { InclusionProof } from '../src/api/proof.js';
import type { Call, Transport } from '../src/api/transport.js';
import type { AccessRequest } from '../src/api/types/access.js';
import type { Dataset } from '../src/api/types/datasets.js';
import type { ExportRequest } from '../src/api/types/exports.js';
import type { Entry } from '../src/api/types/log.js';
import type { AccessDraft, ExportDraft } from '../src/api/types/requests.js';
import type { Me, Session } from '../src/api/types/session.js';

export type Answer = { readonly status: number; readonly body: unknown } | (() => unknown);

/** A server in memory: answers by method and path, and remembers what it was asked. */
export class World {
  readonly calls: Call[] = [];
  readonly #answers = new Map<string, Answer[]>();

  /** The next answers to `METHOD path`; the last one stays. */
  on(call: string, ...answers: readonly unknown[]): this {
    this.#answers.set(
      call,
      answers.map(body => (isAnswer(body) ? body : { status: 200, body }))
    );
    return this;
  }

  readonly transport: Transport = async call => {
    this.calls.push(call);
    const answers = this.#answers.get(`${call.method} ${call.path}`);
    const answer = answers !== undefined && answers.length > 1 ? answers.shift() : answers?.[0];
    if (answer === undefined) {
      throw new Error(`nobody answers ${call.method} ${call.path}`);
    }
    const { status, body } = typeof answer === 'function' ? { status: 200, body: await answer() } : answer;
    return new Response(typeof body === 'string' ? body : JSON.stringify(body), { status });
  };

  /** The bodies that were sent to `METHOD path`. */
  sent(call: string): unknown[] {
    return this.calls.filter(made => `${made.method} ${made.path}` === call).map(made => made.body);
  }
}

function isAnswer(body: unknown): body is Answer {
  return typeof body === 'function' || (typeof body === 'object' && body !== null && 'status' in body && 'body' in body);
}

export function refusal(status: number, title: string): Answer {
  return {
    status,
    body: {
      type: 'urn:strongroom:problem:test',
      title,
      status,
      detail: 'what happened',
      why: ['rule G2 (policy.csv:30)'],
      next: 'what to do next'
    }
  };
}

export const DATASET: Dataset = {
  name: 'health/randhie',
  version: 1,
  title: 'RAND Health Insurance Experiment',
  description: 'Visits to physicians.',
  label: 'confidential',
  rows: 20190,
  owner: 'cardiology',
  stewards: ['steward'],
  source: 'statsmodels',
  licence: 'public domain',
  columns: [
    { name: 'person_id', type: 'String', description: 'synthetic', tags: ['direct-identifier'] },
    { name: 'lncoins', type: 'Float64', description: '', tags: [] },
    { name: 'mdvis', type: 'Int64', description: '', tags: ['sensitive'] }
  ],
  access: { read: false, columns: [], masked: {}, until: null, request: null }
};

export const REQUEST: AccessRequest = {
  id: 'a1',
  state: 'submitted',
  user: 'analyst',
  project: 'cardio',
  dataset: 'health/randhie',
  version_at_request: 1,
  columns: ['person_id', 'lncoins', 'mdvis'],
  purpose: 'Does cost sharing lower visits?',
  days: 90,
  submitted_at: '2026-11-21T05:00:00.000Z',
  decided_at: null,
  decided_by: null,
  comment: null,
  grant: null,
  turn: 'steward',
  context: {
    project: { name: 'cardio', title: 'Cardiovascular outcomes', purpose: 'care', until: null },
    member: true,
    dataset: DATASET,
    earlier_requests: [],
    policy: [
      { column: 'person_id', tags: ['direct-identifier'], readable_now: false, mask: 'hash', why: [] },
      { column: 'lncoins', tags: [], readable_now: false, mask: null, why: [] },
      { column: 'mdvis', tags: ['sensitive'], readable_now: false, mask: null, why: [] }
    ]
  }
};

export const ACCESS_DRAFT: AccessDraft = {
  id: 'd1',
  kind: 'access-request',
  notebook: 'day.ipynb',
  entry: 41,
  at: '2026-11-21T05:00:00.000Z',
  dataset: 'health/randhie',
  columns: ['mdvis'],
  purpose: 'Does cost sharing lower visits?',
  days: 90,
  used: ['mdvis']
};

export const EXPORT_DRAFT: ExportDraft = {
  id: 'd2',
  kind: 'export',
  notebook: 'day.ipynb',
  entry: 42,
  at: '2026-11-21T05:00:00.000Z',
  paths: ['out/table.csv'],
  justification: 'Means by group for table 2.'
};

export const EXPORT: ExportRequest = {
  id: 'e1',
  state: 'in_review',
  user: 'analyst',
  project: 'cardio',
  label: 'confidential',
  justification: 'Means by group for table 2.',
  submitted_at: '2026-11-21T05:00:00.000Z',
  files: [
    {
      index: 0,
      name: 'table.csv',
      sha256: 'ab'.repeat(32),
      bytes: 412,
      type: 'csv',
      findings: [
        { check: 'type', severity: 'pass', text: 'A CSV table.' },
        { check: 'small-counts', severity: 'warn', text: 'Row 7: a count of 4.' }
      ]
    }
  ],
  sources: [{ dataset: 'health/randhie', version: 1 }],
  cells: [{ entry: 41, time: '2026-11-21T05:00:00.000Z', notebook: 'day.ipynb', code: 'table.to_csv("table.csv")' }],
  votes: [],
  reviewers_needed: 1,
  turn: 'steward',
  may: { vote: true, withdraw: true, download: false },
  released_at: null
};

export const STEWARD: Me = {
  user: 'steward',
  full_name: 'Ida Steward',
  can: { approve_access: true, approve_exports: true, administer: false, audit: false }
};

export const SESSION: Session = {
  user: 'analyst',
  project: { name: 'cardio', title: 'Cardiovascular outcomes', purpose: 'care', until: null },
  label: 'public',
  sources: [],
  display: { allowed: true, cell_bytes: null, day_bytes_left: null, image_bytes: null, rule: '', text: 'no limit' },
  policy_version: 'p1',
  mode: 'one-uid',
  console_url: '/services/control/'
};

/** An entry of the log in tests/vectors/log-v1, with its proof. */
export const PROVEN = proven as { readonly entry: Entry; readonly proof: InclusionProof; readonly file: string };

/** Looks on what is handed to the browser to save from now on; answers with the name and text of the last such file. */
export function savedFile(): () => Promise<readonly [string, string]> {
  const files: Blob[] = [];
  const names: string[] = [];
  URL.createObjectURL = file => `blob:${files.push(file as Blob)}`; // jsdom has none
  URL.revokeObjectURL = () => undefined;
  vi.spyOn(HTMLAnchorElement.prototype, 'click').mockImplementation(function (this: HTMLAnchorElement) {
    names.push(this.download);
  });
  return () =>
    new Promise((resolve, reject) => {
      const reader = new FileReader();
      reader.onload = () => {
        resolve([names.at(-1) ?? '', reader.result as string]);
      };
      reader.onerror = reject;
      reader.readAsText(files.at(-1) ?? new Blob());
    });
}
