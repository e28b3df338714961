import { act, cleanup, screen, within } from '@testing-library/react';
import { describe, expect, it, vi } from 'vitest';
import { href, parseRoute } from '../../src/components/console/route.js';
import { openConsole } from '../openConsole.js';
import { EXPORT, PROVEN, refusal, REQUEST, savedFile, STEWARD, World } from '../world.js';

function world(): World {
  return new World().on('GET me', STEWARD);
}

describe('routes', () => {
  it.each(['a1', 'a/b', '100%', 'ä'])('carry the identifier %j unchanged', id => {
    expect(parseRoute(href('access', id))).toEqual({ page: 'access', id });
  });

  it('a broken escape is an identifier, not an error', () => {
    expect(parseRoute('#/access/%')).toEqual({ page: 'access', id: '%' });
  });
});

describe('the console', () => {
  it('opens only the pages of one’s roles', async () => {
    openConsole(world(), '#/policy');
    expect(await screen.findByText(/not among what your roles open/)).toBeDefined();
    const names = within(screen.getByRole('navigation')).getAllByRole('link').map(link => link.textContent);
    expect(names).toEqual([
      'Overview',
      'Access requests',
      'Grants',
      'Exports',
      'Datasets',
      'Shreddings',
      'Re-identifications',
      'Audit log',
      'Timelines'
    ]);
  });

  it('offers to log in when the session is over', async () => {
    openConsole(new World().on('GET me', refusal(401, 'Your session is over')), '');
    expect((await screen.findByRole('alert')).textContent).toContain('Your session is over');
    expect(screen.getByRole('button', { name: 'Log in' })).toBeDefined();
  });

  it('says so when it cannot make sense of an answer, instead of going blank', async () => {
    vi.spyOn(console, 'error').mockImplementation(() => undefined);
    openConsole(world().on('GET grants', { grants: [{}] }), '#/grants');
    expect((await screen.findByRole('alert')).textContent).toContain('This cannot be shown');
    expect(screen.getByRole('navigation')).toBeDefined();
  });

  it('moves the focus to the heading of the page that opens', async () => {
    openConsole(world().on('GET grants', { grants: [] }).on('GET datasets', { datasets: [] }), '#/grants');
    await screen.findByText(/Nobody holds a grant/);
    act(() => {
      window.location.hash = '#/datasets';
    });
    const heading = await screen.findByRole('heading', { name: 'Datasets', level: 1 });
    expect(document.activeElement).toBe(heading);
  });
});

describe('an access request', () => {
  const open = (): World => world().on('GET access-requests/a1', REQUEST);

  it('is approved with the chosen columns, days, masks and comment', async () => {
    const decided = { ...REQUEST, state: 'approved', turn: 'nobody', decided_by: 'steward' };
    const asked = open()
      .on('GET access-requests/a1', REQUEST, decided)
      .on('POST access-requests/a1/decision', decided);
    const user = openConsole(asked, '#/access/a1');
    const form = await screen.findByRole('form', { name: 'Decision' });
    await user.selectOptions(within(form).getByLabelText('Mask for person_id'), 'hash');
    await user.selectOptions(within(form).getByLabelText('Mask for mdvis'), 'redact');
    await user.click(within(form).getByRole('checkbox', { name: 'Grant mdvis' }));
    await user.clear(within(form).getByLabelText('Days'));
    await user.type(within(form).getByLabelText('Days'), '30');
    await user.type(within(form).getByLabelText('Comment'), 'Fine for cardio.');
    await user.click(within(form).getByRole('button', { name: 'Approve' }));
    // A mask on a column that is not granted would be refused: it is left out.
    expect(asked.sent('POST access-requests/a1/decision')).toEqual([
      { verdict: 'approve', days: 30, columns: ['person_id', 'lncoins'], masks: { person_id: 'hash' }, comment: 'Fine for cardio.' }
    ]);
    expect(await screen.findByText('steward', { selector: 'dd' })).toBeDefined();
    expect(screen.queryByRole('button', { name: 'Approve' })).toBeNull();
  });

  it('an undone mask is not sent', async () => {
    const asked = open().on('POST access-requests/a1/decision', REQUEST);
    const user = openConsole(asked, '#/access/a1');
    await user.selectOptions(await screen.findByLabelText('Mask for person_id'), 'null');
    await user.selectOptions(screen.getByLabelText('Mask for person_id'), '');
    await user.click(screen.getByRole('button', { name: 'Approve' }));
    expect(asked.sent('POST access-requests/a1/decision')).toEqual([expect.objectContaining({ masks: {} })]);
  });

  it('offers the masks that suit a column, with their parameter', async () => {
    const asked = open().on('POST access-requests/a1/decision', REQUEST);
    const user = openConsole(asked, '#/access/a1');
    const text = await screen.findByLabelText<HTMLSelectElement>('Mask for person_id');
    const number = screen.getByLabelText<HTMLSelectElement>('Mask for lncoins');
    const offered = (select: HTMLSelectElement): string[] => [...select.options].map(option => option.value);
    expect(offered(text)).toEqual(['', 'hash', 'token', 'redact', 'null', 'prefix']);
    const others = ['redact', 'null', 'generalise', 'round', 'topcode', 'bottomcode'];
    expect(offered(number)).toEqual(['', 'hash', 'token', ...others]);
    await user.selectOptions(number, 'generalise');
    await user.selectOptions(text, 'prefix');
    const width = screen.getByLabelText('Width of a class for lncoins');
    const approve = screen.getByRole<HTMLButtonElement>('button', { name: 'Approve' });
    await user.clear(width);
    expect(approve.disabled).toBe(true);
    await user.type(width, '2.5');
    await user.click(approve);
    expect(asked.sent('POST access-requests/a1/decision')).toEqual([
      expect.objectContaining({ masks: { person_id: 'prefix(3)', lncoins: 'generalise(width=2.5)' } })
    ]);
  });

  it('names the mask that the policy lays on a column anyway', async () => {
    openConsole(open(), '#/access/a1');
    const select = await screen.findByLabelText<HTMLSelectElement>('Mask for person_id');
    expect(select.selectedOptions[0]?.textContent).toBe('By policy: pseudonyms');
  });

  it('says what of the last grant was never read, and that code filled the request in', async () => {
    const grant = {
      id: 'g1',
      state: 'expired',
      user: 'analyst',
      project: 'cardio',
      dataset: 'health/randhie',
      columns: ['person_id', 'lncoins', 'mdvis'],
      masks: {},
      since: '2026-01-21T05:00:00.000Z',
      until: '2026-04-21T05:00:00.000Z',
      request: 'a0',
      revoked_by: null,
      reason: null,
      unread: ['person_id', 'lncoins']
    };
    const renewal = { ...REQUEST, prepared: 41, context: { ...REQUEST.context, last_grant: grant } };
    openConsole(open().on('GET access-requests/a1', renewal), '#/access/a1');
    expect(await screen.findByText(/Of 3 granted columns 2 were never read: person_id, lncoins/)).toBeDefined();
    expect(screen.getByText(/code of the cell with entry 41; submitted by analyst/)).toBeDefined();
  });

  it('is denied only with a comment', async () => {
    const asked = open().on('POST access-requests/a1/decision', REQUEST);
    const user = openConsole(asked, '#/access/a1');
    const deny = await screen.findByRole<HTMLButtonElement>('button', { name: 'Deny' });
    expect(deny.disabled).toBe(true);
    await user.type(screen.getByLabelText('Comment'), '   ');
    expect(deny.disabled).toBe(true);
    await user.type(screen.getByLabelText('Comment'), 'Too many columns.');
    await user.click(deny);
    expect(asked.sent('POST access-requests/a1/decision')).toEqual([
      expect.objectContaining({ verdict: 'deny', comment: 'Too many columns.' })
    ]);
  });

  it('cannot be approved without columns or with a foolish duration', async () => {
    const user = openConsole(open(), '#/access/a1');
    const approve = await screen.findByRole<HTMLButtonElement>('button', { name: 'Approve' });
    expect(approve.disabled).toBe(false);
    await user.clear(screen.getByLabelText('Days'));
    expect(approve.disabled).toBe(true);
    await user.type(screen.getByLabelText('Days'), '10');
    for (const name of REQUEST.columns) {
      await user.click(screen.getByRole('checkbox', { name: `Grant ${name}` }));
    }
    expect(approve.disabled).toBe(true);
  });

  it('one’s own is not decidable, and says so', async () => {
    openConsole(world().on('GET access-requests/a1', { ...REQUEST, user: 'steward' }), '#/access/a1');
    const approve = await screen.findByRole<HTMLButtonElement>('button', { name: 'Approve' });
    const deny = screen.getByRole<HTMLButtonElement>('button', { name: 'Deny' });
    expect(approve.disabled && deny.disabled).toBe(true);
    expect(screen.getByText(/This is your own request/)).toBeDefined();
    expect(screen.getByLabelText('Comment').closest('fieldset')?.disabled).toBe(true);
  });

  it('shows the refusal of a second decision', async () => {
    const user = openConsole(open().on('POST access-requests/a1/decision', refusal(409, 'This request is decided')), '#/access/a1');
    await user.click(await screen.findByRole('button', { name: 'Approve' }));
    expect((await screen.findByRole('alert')).textContent).toContain('This request is decided');
  });

  it('is sent once, however often one clicks', async () => {
    const asked = open().on('POST access-requests/a1/decision', () => new Promise(() => undefined));
    const user = openConsole(asked, '#/access/a1');
    await user.dblClick(await screen.findByRole('button', { name: 'Approve' }));
    expect(asked.sent('POST access-requests/a1/decision')).toHaveLength(1);
  });
});

describe('an export', () => {
  const address = `GET exports/e1/files/${'ab'.repeat(32)}/preview`;
  const open = (request = EXPORT): World =>
    world()
      .on('GET exports/e1', request)
      .on(address, { kind: 'table', columns: ['lncoins', 'n'], rows: [[0, 9012], [3.26, null]], truncated: true });

  it('shows the file, its findings and the code that made it', async () => {
    openConsole(open(), '#/exports/e1');
    const table = await screen.findByRole('table', { name: 'Preview of table.csv' });
    expect(within(table).getByText('9012')).toBeDefined();
    expect(screen.getByText(/Row 7: a count of 4/)).toBeDefined();
    expect(screen.getByText('table.to_csv("table.csv")')).toBeDefined();
  });

  it('shows what a file holds as text, never as markup', async () => {
    const evil = open().on(address, { kind: 'text', text: '<img src=x onerror=alert(1)>', truncated: false });
    openConsole(evil, '#/exports/e1');
    expect(await screen.findByText('<img src=x onerror=alert(1)>')).toBeDefined();
    expect(document.querySelector('img')).toBeNull();
  });

  it('does not count a void approval', async () => {
    const vote = { reviewer: 'steward2', verdict: 'approve' as const, comment: '', at: '2026-11-21T06:00:00.000Z' };
    openConsole(open({ ...EXPORT, votes: [{ ...vote, valid: false }] }), '#/exports/e1');
    expect(await screen.findByText('0 of 1 needed approvals')).toBeDefined();
    expect(screen.getByText(/\(void: files, policy or checks have changed since\)/)).toBeDefined();
  });

  it('approves without words, rejects only with a reason', async () => {
    const asked = open().on('POST exports/e1/votes', EXPORT);
    const user = openConsole(asked, '#/exports/e1');
    const reject = await screen.findByRole<HTMLButtonElement>('button', { name: 'Reject' });
    expect(reject.disabled).toBe(true);
    await user.click(screen.getByRole('button', { name: 'Approve' }));
    expect(asked.sent('POST exports/e1/votes')).toEqual([{ verdict: 'approve', comment: '' }]);
  });

  it.each([
    ['one’s own', { ...EXPORT, user: 'steward' }, /your own export/],
    ['one already voted on', { ...EXPORT, may: { ...EXPORT.may, vote: false }, votes: [{ reviewer: 'steward', verdict: 'approve' as const, comment: '', at: '2026-11-21T06:00:00.000Z', valid: true }] }, /have given your verdict/],
    ['a decided one', { ...EXPORT, may: { ...EXPORT.may, vote: false }, turn: 'nobody' as const }, /does not wait/],
    ['another steward’s', { ...EXPORT, may: { ...EXPORT.may, vote: false } }, /not a reviewer/]
  ])('%s takes no verdict and says why', async (_, request, why) => {
    openConsole(open(request), '#/exports/e1');
    expect(await screen.findByText(why)).toBeDefined();
    for (const name of ['Approve', 'Ask for changes', 'Reject']) {
      expect(screen.getByRole<HTMLButtonElement>('button', { name }).disabled).toBe(true);
    }
  });
});

describe('the audit log', () => {
  const auditor = { ...STEWARD, can: { ...STEWARD.can, audit: true } };
  const entry = {
    index: 7,
    v: 1,
    time: '2026-11-21T05:00:00.123Z',
    action: 'server:cell:begin',
    actor: 'analyst',
    project: 'cardio',
    server: 's1',
    kernel: 'k1',
    object: 'day.ipynb',
    label: 'public',
    sources: [],
    detail: { cell: 'c1' }
  };

  it('fetches by filter only when asked to, and pages backwards', async () => {
    const asked = world()
      .on('GET me', auditor)
      .on('GET audit/checkpoint', 'note')
      .on('GET audit/entries?limit=50', { entries: [entry], next: 7, size: 8 })
      .on('GET audit/entries?before=7&limit=50', { entries: [], next: null, size: 8 })
      .on('GET audit/entries?actor=user%3Aanalyst&limit=50', { entries: [entry], next: null, size: 8 });
    const user = openConsole(asked, '#/audit');
    expect(await screen.findByText('2026-11-21 05:00:00.123')).toBeDefined();
    await user.click(screen.getByRole('button', { name: 'Older' }));
    expect(await screen.findByText('No entry matches.')).toBeDefined();
    const before = asked.calls.length;
    await user.type(screen.getByLabelText('Actor'), 'analyst');
    expect(asked.calls).toHaveLength(before);
    await user.keyboard('{Enter}');
    expect(await screen.findByRole('link', { name: '7' })).toBeDefined();
    expect(asked.calls.at(-1)?.path).toBe('audit/entries?actor=user%3Aanalyst&limit=50');
  });

  it('shows one entry with its code', async () => {
    openConsole(
      world()
        .on('GET me', auditor)
        .on('GET audit/entries/7', { ...entry, payload: 'print(1)', payload_state: 'shown', erased: null }),
      '#/audit/7'
    );
    expect(await screen.findByText('print(1)')).toBeDefined();
    expect(screen.getByText('c1')).toBeDefined();
  });

  it('verifies an entry on click, and says so when something else is shown', async () => {
    const { entry: leaf, proof, file } = PROVEN;
    const held = { ...leaf, payload: null, payload_state: 'none', erased: null };
    const asked = world().on('GET me', auditor).on('GET audit/entries/2', { ...held, proof });
    const user = openConsole(asked, '#/audit/2');
    await user.click(await screen.findByRole('button', { name: 'Verify in this browser' }));
    expect(await screen.findByText(/^Verified: this entry is in the log of 5 entries/)).toBeDefined();
    const saved = savedFile();
    await user.click(screen.getByRole('button', { name: 'Save the proof of entry 2' }));
    expect(await saved()).toEqual(['entry-2.tlog-proof', file]);
    cleanup();
    openConsole(world().on('GET me', auditor).on('GET audit/entries/2', { ...held, object: 'other.ipynb', proof }), '#/audit/2');
    await user.click(await screen.findByRole('button', { name: 'Verify in this browser' }));
    expect(await screen.findByText(/^NOT VERIFIED\. What is shown is not what the log holds \(object\)/)).toBeDefined();
    expect(screen.queryByRole('button', { name: /Save the proof/ })).toBeNull();
  });

  it('says where something is left out, and that such an entry is verified by its hash', async () => {
    const { entry: leaf, proof } = PROVEN;
    const bytes = Uint8Array.from(`\0${atob(proof.leaf ?? '')}`, letter => letter.charCodeAt(0));
    const digest = new Uint8Array(await crypto.subtle.digest('SHA-256', bytes));
    const bare = { index: proof.index, size: proof.size, hashes: proof.hashes, checkpoint: proof.checkpoint };
    const held = { ...leaf, detail: {}, narrowed: true, payload: null, payload_state: 'none', erased: null };
    const told = { ...held, proof: { ...bare, leaf_hash: btoa(String.fromCharCode(...digest)) } };
    const user = openConsole(world().on('GET me', auditor).on('GET audit/entries/2', told), '#/audit/2');
    expect(await screen.findByText(/is not shown to its author/)).toBeDefined();
    await user.click(await screen.findByRole('button', { name: 'Verify in this browser' }));
    expect(await screen.findByText(/^Verified: an entry with this number and hash .* neither be compared nor saved/)).toBeDefined();
    expect(screen.queryByRole('button', { name: /Save the proof/ })).toBeNull();
  });
});
