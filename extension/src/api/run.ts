import type { EnclaveClient } from './enclave.js';
import { asProblem } from './problem.js';
import { checkRun, sizeOf, type RunVerdict } from './proof.js';
import type { Session } from './types/session.js';
import type { CellEntry } from './types/work.js';

/** What control says where its log lacks the entry, or where what is stored does not fit the log's own tree. */
const ALARMS = ['unknown-entry', 'audit-altered'];

/** Ask for the proof of a run, and check it here. Never rejects: what cannot be asked is not known. */
export async function verifyRun(client: EnclaveClient, session: Session | null, run: CellEntry): Promise<RunVerdict> {
  if (session === null) {
    return { state: 'unknown', why: 'The notebook server has not said who you are. Reload the page.' };
  }
  const { entry, checkpoint, cell } = run;
  const shown = { entry, checkpoint, cell, user: session.user, project: session.project.name };
  try {
    const told = await client.cellProof(entry, checkpoint === null ? null : sizeOf(checkpoint));
    return await checkRun(shown, told, session.log_key ?? '');
  } catch (error) {
    const problem = asProblem(error);
    return ALARMS.some(slug => problem.type.endsWith(`:${slug}`))
      ? { state: 'failed', why: problem.detail }
      : { state: 'unknown', why: `It cannot be checked now. ${problem.title}: ${problem.detail} ${problem.next}` };
  }
}
