import { ProblemError, problemFrom } from './problem.js';

export interface Call {
  readonly method: 'GET' | 'POST' | 'PUT';
  /** Relative to the API's root, without a leading slash. */
  readonly path: string;
  readonly body?: unknown;
}

/** How calls reach a server: JupyterLab's ServerConnection or the page's fetch. */
export type Transport = (call: Call) => Promise<Response>;

/** The answer's JSON. Throws ProblemError on every refusal. */
export async function json<T>(transport: Transport, call: Call): Promise<T> {
  const response = await accepted(transport, call);
  return (await response.json()) as T;
}

/** The answer's text. Throws ProblemError on every refusal. */
export async function text(transport: Transport, call: Call): Promise<string> {
  return (await accepted(transport, call)).text();
}

/** The answer's bytes. Throws ProblemError on every refusal, so a refusal is never saved as the file. */
export async function bytes(transport: Transport, call: Call): Promise<Blob> {
  return (await accepted(transport, call)).blob();
}

async function accepted(transport: Transport, call: Call): Promise<Response> {
  const response = await transport(call);
  if (!response.ok) {
    throw new ProblemError(problemFrom(response.status, await response.text()));
  }
  return response;
}

/** A path of escaped segments: no name can leave its place in the address. */
export function path(...segments: readonly (string | number)[]): string {
  return segments.map(segment => encodeURIComponent(segment)).join('/');
}

/** A query string, without the parameters that are empty. */
export function query(parameters: Readonly<Record<string, string | number | null>>): string {
  const given = new URLSearchParams();
  for (const [name, value] of Object.entries(parameters)) {
    if (value !== null && value !== '') {
      given.set(name, String(value));
    }
  }
  const encoded = given.toString();
  return encoded === '' ? '' : '?' + encoded;
}
