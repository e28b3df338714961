import { describe, expect, it, vi } from 'vitest';
import { ConsoleClient } from '../../src/api/console.js';
import { EnclaveClient } from '../../src/api/enclave.js';
import { cookieValue } from '../../src/api/cookie.js';
import { pageTransport } from '../../src/api/page.js';
import { asProblem, ProblemError, problemFrom } from '../../src/api/problem.js';
import { path, query } from '../../src/api/transport.js';
import { asLabel } from '../../src/api/types/labels.js';
import { DATASET, EXPORT, refusal, SESSION, World } from '../world.js';

describe('problems', () => {
  it('a refusal arrives as its problem, with why and next', async () => {
    const world = new World().on('GET datasets', refusal(403, 'No grant'));
    const error: unknown = await new EnclaveClient(world.transport).datasets().catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ProblemError);
    expect(asProblem(error)).toMatchObject({
      title: 'No grant',
      status: 403,
      why: ['rule G2 (policy.csv:30)'],
      next: 'what to do next'
    });
  });

  it('a refused download is never handed on as bytes', async () => {
    const world = new World().on('GET exports/e1/download', refusal(409, 'Not released'));
    await expect(new EnclaveClient(world.transport).download('e1')).rejects.toThrow('Not released');
  });

  it.each(['<html>Bad gateway</html>', '', '[]', 'null', '{"detail": 1}'])('a body %j is put into words', body => {
    const problem = problemFrom(502, body);
    expect(problem.status).toBe(502);
    expect(problem.title).not.toBe('');
    expect(problem.next).not.toBe('');
  });

  it.each([0, 401])('status %d without a body means: log in', status => {
    expect(problemFrom(status, '')).toMatchObject({ status: 401, type: 'urn:strongroom:problem:not-logged-in' });
  });

  it('a call that never got an answer is a problem, too', () => {
    expect(asProblem(new TypeError('Failed to fetch'))).toMatchObject({ status: 0, detail: 'Failed to fetch' });
  });
});

describe('addresses', () => {
  it('no identifier leaves its place in the path', () => {
    expect(path('exports', '../../me?x#y', 'votes')).toBe('exports/..%2F..%2Fme%3Fx%23y/votes');
  });

  it('leaves out empty parameters and encodes the others', () => {
    expect(query({ actor: 'a&b', action: '', before: 0, project: null })).toBe('?actor=a%26b&before=0');
    expect(query({ action: '' })).toBe('');
  });
});

describe('labels', () => {
  it.each(['top-secret', '', null, undefined, 3])('%j counts as secret', value => {
    expect(asLabel(value)).toBe('secret');
  });

  it('what the server calls by an unknown name is secret in every answer', async () => {
    const odd = { label: 'restricted' };
    const world = new World()
      .on('GET session', { ...SESSION, ...odd })
      .on('GET datasets', { datasets: [{ ...DATASET, ...odd }] })
      .on('GET exports', { exports: [{ ...EXPORT, ...odd }] });
    const client = new EnclaveClient(world.transport);
    expect((await client.session()).label).toBe('secret');
    expect((await client.datasets())[0]?.label).toBe('secret');
    expect((await client.exports())[0]?.label).toBe('secret');
  });
});

describe('the page', () => {
  it('sends the anti-forgery cookie as a header on writes, and on writes alone', async () => {
    const fetched = vi.spyOn(globalThis, 'fetch').mockImplementation(() => Promise.resolve(new Response('{}')));
    const client = new ConsoleClient(
      pageTransport(new URL('https://host/services/control/api/v1/'), () => 'a=b; _strongroom_xsrf=t%3D1; c=d')
    );
    await client.revoke('g1', 'left');
    await client.me();
    const [write, read] = fetched.mock.calls;
    expect(write?.[0]).toEqual(new URL('https://host/services/control/api/v1/grants/g1/revoke'));
    expect(new Headers(write?.[1]?.headers).get('X-XSRFToken')).toBe('t=1');
    expect(write?.[1]?.body).toBe('{"reason":"left"}');
    expect(new Headers(read?.[1]?.headers).has('X-XSRFToken')).toBe(false);
  });

  it('finds no token in a cookie whose name only ends like it', () => {
    expect(cookieValue('other_strongroom_xsrf=1', '_strongroom_xsrf')).toBe('');
  });
});
