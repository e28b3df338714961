/** RFC 9457 problem details with *why* and *next*: the one error shape of the product. */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  /** The rules with file and line, or the check that failed. */
  readonly why: readonly string[];
  readonly next: string;
}

/** A refusal or failure in words for people. */
export class ProblemError extends Error {
  readonly problem: Problem;

  constructor(problem: Problem) {
    super(`${problem.title}: ${problem.detail}`);
    this.name = 'ProblemError';
    this.problem = problem;
  }
}

const TYPE_PREFIX = 'urn:strongroom:problem:';

function words(value: unknown, otherwise: string): string {
  return typeof value === 'string' && value !== '' ? value : otherwise;
}

/** Rebuild a problem from an answer's body; what is no problem object becomes one that names the status. */
export function problemFrom(status: number, body: string): Problem {
  let parsed: unknown = null;
  try {
    parsed = JSON.parse(body);
  } catch {
    // A proxy answers in HTML; the status has to speak for it.
  }
  const fields = (typeof parsed === 'object' && parsed !== null ? parsed : {}) as Record<string, unknown>;
  if (typeof fields.title !== 'string') {
    return withoutBody(status);
  }
  return {
    type: words(fields.type, TYPE_PREFIX + 'unknown'),
    title: fields.title,
    status,
    detail: words(fields.detail, ''),
    why: Array.isArray(fields.why) ? fields.why.map(String) : [],
    next: words(fields.next, '')
  };
}

function withoutBody(status: number): Problem {
  // A redirect to the log-in page, which is never followed in the background, arrives as status 0.
  if (status === 0 || status === 401 || status === 403) {
    return {
      type: TYPE_PREFIX + 'not-logged-in',
      title: 'You are not logged in, or not allowed here',
      status: status === 0 ? 401 : status,
      detail: 'The server refused the call and gave no reason.',
      why: [],
      next: 'Reload the page and log in again. If that does not help, ask your administrator.'
    };
  }
  return {
    type: TYPE_PREFIX + 'no-reason',
    title: 'The server could not answer',
    status,
    detail: `It answered with status ${status} and gave no reason.`,
    why: [],
    next: 'Try again in a moment. If it stays, tell your administrator the time and what you did.'
  };
}

/** The problem behind anything that was thrown: a call that never got an answer is one, too. */
export function asProblem(error: unknown): Problem {
  if (error instanceof ProblemError) {
    return error.problem;
  }
  return {
    type: TYPE_PREFIX + 'no-answer',
    title: 'Strongroom does not answer',
    status: 0,
    detail: error instanceof Error ? error.message : String(error),
    why: [],
    next: 'Nothing was changed. Check your connection and try again.'
  };
}
