import type { DatasetPage, Difference, DraftDecision, DraftLine, Relabelling, Version } from './types/catalogue.js';
import { bytes, json, path, query, text, type Transport } from './transport.js';
import type { AccessDecision, AccessRequest, Grant } from './types/access.js';
import type { Dataset } from './types/datasets.js';
import type { ExportRequest, ExportVote, Preview } from './types/exports.js';
import { asLabel, type Label } from './types/labels.js';
import type { AuditFilter, EntryDetail, EntryPage, ExportChain, TimelineOf, TimelinePage } from './types/log.js';
import type {
  Policy,
  PolicyAnswers,
  PolicyComparison,
  PolicyProposal,
  PolicyReplay,
  PolicyStanding,
  PolicyVersion
} from './types/policy.js';
import type { Me } from './types/session.js';
import type { Status, Violation } from './types/status.js';
import type { Erasure, Erasures, Reidentification, Shred, TokenValue, TwoPeopleVerdict } from './types/twoPeople.js';

export type Which = 'open' | 'all';

/** Control's public API (wire formats, section 7): what stewards, admins and auditors can ask for. */
export class ConsoleClient {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  me(): Promise<Me> {
    return this.#get('me');
  }

  async accessRequests(state: Which): Promise<readonly AccessRequest[]> {
    const answer = await this.#get<{ access_requests: AccessRequest[] }>('access-requests' + query({ state }));
    return answer.access_requests;
  }

  accessRequest(id: string): Promise<AccessRequest> {
    return this.#get(path('access-requests', id));
  }

  decide(id: string, decision: AccessDecision): Promise<AccessRequest> {
    return this.#post(path('access-requests', id, 'decision'), decision);
  }

  async grants(): Promise<readonly Grant[]> {
    return (await this.#get<{ grants: Grant[] }>('grants')).grants;
  }

  revoke(id: string, reason: string): Promise<Grant> {
    return this.#post(path('grants', id, 'revoke'), { reason });
  }

  async exports(state: Which): Promise<readonly ExportRequest[]> {
    const answer = await this.#get<{ exports: ExportRequest[] }>('exports' + query({ state }));
    return answer.exports.map(labelled);
  }

  async export(id: string): Promise<ExportRequest> {
    return labelled(await this.#get<ExportRequest>(path('exports', id)));
  }

  preview(id: string, sha256: string): Promise<Preview> {
    return this.#get(path('exports', id, 'files', sha256, 'preview'));
  }

  file(id: string, sha256: string): Promise<Blob> {
    return bytes(this.#transport, { method: 'GET', path: path('exports', id, 'files', sha256) });
  }

  async vote(id: string, vote: ExportVote): Promise<ExportRequest> {
    return labelled(await this.#post<ExportRequest>(path('exports', id, 'votes'), vote));
  }

  /** Entries before index `before` (null: the newest), newest first. Reading is itself an entry. */
  entries(filter: AuditFilter, before: number | null, limit: number): Promise<EntryPage> {
    return this.#get('audit/entries' + query({ ...filter, before, limit }));
  }

  entry(index: number): Promise<EntryDetail> {
    return this.#get(path('audit', 'entries', index));
  }

  /** A page of a timeline that ends before entry `before` (null: the newest), newest first. Not of an export. */
  timeline(of: TimelineOf, before: number | null, limit: number): Promise<TimelinePage> {
    const kind = ['audit', 'timelines', of.kind] as const;
    return of.kind === 'notebook'
      ? this.#get(path(...kind) + query({ notebook: of.name, user: of.user, project: of.project, before, limit }))
      : this.#get(path(...kind, ...of.name.split('/')) + query({ before, limit }));
  }

  /** All that led to the files of an export. */
  chain(id: string): Promise<ExportChain> {
    return this.#get(path('audit', 'timelines', 'export', id));
  }

  /** The newest signed checkpoint of the log, a C2SP signed note. */
  checkpoint(): Promise<string> {
    return text(this.#transport, { method: 'GET', path: 'audit/checkpoint' });
  }

  policy(): Promise<Policy> {
    return this.#get('policy');
  }

  whoCan(action: string, object: string, project: string): Promise<PolicyAnswers> {
    return this.#get('policy/who-can' + query({ action, object, project }));
  }

  whatCan(user: string, project: string): Promise<PolicyAnswers> {
    return this.#get('policy/what-can' + query({ user, project }));
  }

  /** Decisions in words, one for each label that the object may have. */
  async explain(user: string, action: string, object: string, project: string): Promise<readonly string[]> {
    const asked = query({ user, action, object, project });
    const answer = await this.#get<{ answers: { text: string }[] }>('policy/explain' + asked);
    return answer.answers.map(one => one.text);
  }

  /** The newest `last` decisions of the log, under the files in the policy folder. Looking is itself an entry. */
  whatIf(last: number): Promise<PolicyReplay> {
    return this.#post('policy/what-if', { last });
  }

  /** By numbers of versions; empty: what is in force, and the files in the policy folder. */
  comparePolicies(old: string, next: string): Promise<PolicyComparison> {
    return this.#get('policy/diff' + query({ old, new: next }));
  }

  /** Rows in force that nobody stood for in so many months. */
  recertify(months: number): Promise<PolicyStanding> {
    return this.#get('policy/recertify' + query({ months }));
  }

  propose(why: string): Promise<PolicyProposal> {
    return this.#post('policy/proposals', { why });
  }

  /** `digest`: of the files that the decider has looked at. */
  decidePolicy(id: string, digest: string, verdict: TwoPeopleVerdict, comment: string): Promise<PolicyProposal> {
    return this.#post(path('policy', 'proposals', id, 'decision'), { verdict, digest, comment });
  }

  putBack(number: number, why: string): Promise<PolicyVersion> {
    return this.#post('policy/rollback', { number, why });
  }

  status(): Promise<Status> {
    return this.#get('status');
  }

  /** The newest violations first, at most `limit`. */
  async violations(limit: number): Promise<readonly Violation[]> {
    return (await this.#get<{ violations: Violation[] }>('violations' + query({ limit }))).violations;
  }

  async shreds(): Promise<readonly Shred[]> {
    return (await this.#get<{ shreds: Shred[] }>('shreds')).shreds;
  }

  /** `columns` null: everything of the version. */
  askToShred(wish: {
    readonly dataset: string;
    readonly version: number;
    readonly columns: readonly string[] | null;
    readonly why: string;
  }): Promise<Shred> {
    return this.#post('shreds', wish);
  }

  decideShred(id: string, verdict: TwoPeopleVerdict, comment: string): Promise<Shred> {
    return this.#post(path('shreds', id, 'decision'), { verdict, comment });
  }

  async reidentifications(): Promise<readonly Reidentification[]> {
    return (await this.#get<{ reidentifications: Reidentification[] }>('reidentifications')).reidentifications;
  }

  /** `version` null: the newest. */
  askToReidentify(wish: {
    readonly project: string;
    readonly dataset: string;
    readonly version: number | null;
    readonly column: string;
    readonly tokens: readonly string[];
    readonly shown_to: Reidentification['shown_to'];
    readonly why: string;
  }): Promise<Reidentification> {
    return this.#post('reidentifications', wish);
  }

  decideReidentification(id: string, verdict: TwoPeopleVerdict, comment: string): Promise<Reidentification> {
    return this.#post(path('reidentifications', id, 'decision'), { verdict, comment });
  }

  /** The values, which are shown once. */
  async showReidentified(id: string): Promise<readonly TokenValue[]> {
    return (await this.#post<{ values: TokenValue[] }>(path('reidentifications', id, 'values'), {})).values;
  }

  erasures(): Promise<Erasures> {
    return this.#get('audit/erasures');
  }

  /** `person`: as the log names them, `user:NAME`. */
  askToErase(person: string, why: string): Promise<Erasure> {
    return this.#post('audit/erasures', { person, why });
  }

  decideErasure(id: string, verdict: TwoPeopleVerdict, comment: string): Promise<Erasure> {
    return this.#post(path('audit', 'erasures', id, 'decision'), { verdict, comment });
  }

  async datasets(): Promise<readonly Dataset[]> {
    const answer = await this.#get<{ datasets: Dataset[] }>('datasets');
    return answer.datasets.map(dataset => ({ ...dataset, label: asLabel(dataset.label) }));
  }

  async drafts(): Promise<readonly DraftLine[]> {
    return (await this.#get<{ drafts: DraftLine[] }>('drafts')).drafts;
  }

  datasetPage(name: string): Promise<DatasetPage> {
    return this.#get(path('datasets', ...name.split('/')));
  }

  version(name: string, version: number): Promise<Version> {
    return this.#get(path('datasets', ...name.split('/'), version));
  }

  difference(name: string, before: number, after: number): Promise<Difference> {
    return this.#get(path('datasets', ...name.split('/'), 'diff') + query({ before, after }));
  }

  decideDraft(name: string, version: number, decision: DraftDecision): Promise<Version> {
    return this.#post(path('datasets', ...name.split('/'), version, 'decision'), decision);
  }

  /** Hand a decided version to the vault once more, should that have failed. */
  releaseVersion(name: string, version: number): Promise<Version> {
    return this.#post(path('datasets', ...name.split('/'), version, 'release'), {});
  }

  retireVersion(name: string, version: number, why: string): Promise<DatasetPage> {
    return this.#post(path('datasets', ...name.split('/'), version, 'retire'), { why });
  }

  /** Let whoever may discover the dataset read its synthetic twin, or withhold it. */
  allowTwin(name: string, allowed: boolean): Promise<DatasetPage> {
    return json(this.#transport, {
      method: 'PUT',
      path: path('datasets', ...name.split('/'), 'synthetic'),
      body: { allowed }
    });
  }

  /** `broken_guards`: what the policy's guards rule out and a higher label makes possible, in sentences. */
  relabel(
    name: string,
    version: number,
    label: Label,
    why: string
  ): Promise<{ readonly state: string; readonly broken_guards?: readonly string[] }> {
    return this.#post(path('datasets', ...name.split('/'), version, 'relabel'), { label, why });
  }

  decideRelabelling(id: string, verdict: 'approve' | 'refuse'): Promise<Relabelling> {
    return this.#post(path('relabellings', id, 'decision'), { verdict });
  }

  #get<T>(path: string): Promise<T> {
    return json(this.#transport, { method: 'GET', path });
  }

  #post<T>(path: string, body: unknown): Promise<T> {
    return json(this.#transport, { method: 'POST', path, body });
  }
}

function labelled(request: ExportRequest): ExportRequest {
  return { ...request, label: asLabel(request.label) };
}
