import type { ToldProfile } from './types/catalogue.js';
import type { RunProof } from './proof.js';
import { bytes, json, path, query, type Transport } from './transport.js';
import type { AccessRequest } from './types/access.js';
import type { Dataset } from './types/datasets.js';
import type { ExportRequest } from './types/exports.js';
import { asLabel } from './types/labels.js';
import type { ExportChain, TimelinePage } from './types/log.js';
import type { Draft } from './types/requests.js';
import type { Session } from './types/session.js';
import type { CellEntry, KeptOutput, WorkFolder } from './types/work.js';

/** The single-user server's REST API (wire formats, section 6): what one analyst can ask for in one project. */
export class EnclaveClient {
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
  }

  async session(): Promise<Session> {
    const session = await json<Session>(this.#transport, { method: 'GET', path: 'session' });
    return { ...session, label: asLabel(session.label) };
  }

  async datasets(): Promise<readonly Dataset[]> {
    const answer = await json<{ datasets: Dataset[] }>(this.#transport, { method: 'GET', path: 'datasets' });
    return answer.datasets.map(dataset => ({ ...dataset, label: asLabel(dataset.label) }));
  }

  /** What the label of a dataset lets be told of its data and of its checks. */
  profile(name: string): Promise<ToldProfile> {
    return json(this.#transport, { method: 'GET', path: path('datasets', ...name.split('/'), 'profile') });
  }

  async accessRequests(): Promise<readonly AccessRequest[]> {
    const answer = await json<{ access_requests: AccessRequest[] }>(this.#transport, {
      method: 'GET',
      path: 'access-requests'
    });
    return answer.access_requests;
  }

  requestAccess(request: {
    dataset: string;
    columns: readonly string[];
    purpose: string;
    days: number;
    /** The draft that this is, where code prepared it. */
    draft?: string;
  }): Promise<AccessRequest> {
    return json(this.#transport, { method: 'POST', path: 'access-requests', body: request });
  }

  /** What code prepared and nobody has submitted. */
  async drafts(): Promise<readonly Draft[]> {
    const answer = await json<{ drafts: Draft[] }>(this.#transport, { method: 'GET', path: 'drafts' });
    return answer.drafts;
  }

  async discardDraft(id: string): Promise<void> {
    await json(this.#transport, { method: 'POST', path: path('drafts', id, 'discard'), body: {} });
  }

  withdrawAccessRequest(id: string): Promise<AccessRequest> {
    return json(this.#transport, { method: 'POST', path: path('access-requests', id, 'withdraw'), body: {} });
  }

  /** Names and sizes in the work folder; each call is metered like output. */
  work(folder: string): Promise<WorkFolder> {
    return json(this.#transport, { method: 'GET', path: 'work' + query({ path: folder }) });
  }

  async exports(): Promise<readonly ExportRequest[]> {
    const answer = await json<{ exports: ExportRequest[] }>(this.#transport, { method: 'GET', path: 'exports' });
    return answer.exports.map(labelled);
  }

  async requestExport(request: {
    paths: readonly string[];
    justification: string;
    draft?: string;
  }): Promise<ExportRequest> {
    return labelled(await json<ExportRequest>(this.#transport, { method: 'POST', path: 'exports', body: request }));
  }

  /** Outputs that were withheld and that the server still keeps. */
  async withheld(): Promise<readonly KeptOutput[]> {
    const answer = await json<{ withheld: KeptOutput[] }>(this.#transport, { method: 'GET', path: 'withheld' });
    return answer.withheld;
  }

  /** An export whose files are withheld outputs. */
  async reviewWithheld(request: { ids: readonly string[]; justification: string }): Promise<ExportRequest> {
    return labelled(
      await json<ExportRequest>(this.#transport, { method: 'POST', path: 'withheld/review', body: request })
    );
  }

  async withdrawExport(id: string): Promise<ExportRequest> {
    return labelled(
      await json<ExportRequest>(this.#transport, { method: 'POST', path: path('exports', id, 'withdraw'), body: {} })
    );
  }

  /** All that led to the files of an own export, as far as its author may be told. */
  exportHistory(id: string): Promise<ExportChain> {
    return json(this.#transport, { method: 'GET', path: path('exports', id, 'history') });
  }

  /** How a notebook ran, newest first; `before`: the entry to go on from. */
  notebookHistory(notebook: string, before: number | null): Promise<TimelinePage> {
    return json(this.#transport, { method: 'GET', path: 'history' + query({ notebook, before }) });
  }

  /** The release: a zip of the approved bytes with their signed manifest. */
  download(id: string): Promise<Blob> {
    return bytes(this.#transport, { method: 'GET', path: path('exports', id, 'download') });
  }

  async cells(notebook: string): Promise<readonly CellEntry[]> {
    const answer = await json<{ cells: CellEntry[] }>(this.#transport, {
      method: 'GET',
      path: 'cells' + query({ notebook })
    });
    return answer.cells;
  }

  /** That the log holds a run, and that it goes on from the log of `since` entries. Looking is itself recorded. */
  cellProof(entry: number, since: number | null): Promise<RunProof> {
    const asked = since === null ? '' : query({ since: String(since) });
    return json(this.#transport, { method: 'GET', path: path('cells', String(entry), 'proof') + asked });
  }
}

function labelled(request: ExportRequest): ExportRequest {
  return { ...request, label: asLabel(request.label) };
}
