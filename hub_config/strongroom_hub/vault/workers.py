"""Disposable worker processes: each does one job on somebody's bytes and ends. If it dies, the vault says so and lives.

Each is in a box of its own from its first step (`confine.py`), which knows nothing of the job yet: workers that write
get an empty folder, their desk, which the vault puts in its place when the job is known; files that they read come one
by one, as descriptors.

A job and its keys travel over a socket pair (never arguments, never environment), memory files ride along. Spares are
started ahead, so a read does not wait for an interpreter.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from strongroom_hub import frames
from strongroom_hub.problems import Problem

MAX_JOB = 16 << 20  # bytes of one job or its answer as JSON
AWAIT_QUIET = 0.3
"""Seconds without a job after which a new spare is started: a starting interpreter slows down a job, and whoever looks
at what came of it. Where no spare is left, it waits no longer than that for the end of the jobs that run."""
LINGER = 0.05
"""Seconds for which a worker that did its job is left alone: giving back its memory takes a processor, which whoever
waits for the answer can use."""
_PROGRAM = ("-m", "strongroom_hub.vault.boxed")
_ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


Job = dict[str, Any]


class _Worker:
    process: subprocess.Popen[bytes]

    def __init__(
        self, sees: Path | None, desk: Path | None, writes: Sequence[Path] = (), *, ahead: bool = False
    ) -> None:
        """`ahead`: nobody waits for it yet, so it rehearses."""
        self.desk = desk
        ours, theirs = socket.socketpair()
        folders = [*(() if sees is None else ("--reads", sees)), *(() if desk is None else ("--writes", desk))]
        folders += [argument for folder in writes for argument in ("--writes", folder)]
        rehearses = ["--rehearses"] if ahead else []
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-I", *_PROGRAM, *folders, *rehearses],
                stdin=theirs.fileno(),
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # a dying parser's last words may quote data
                env=_ENVIRONMENT,
                cwd="/",
            )
        self.socket = ours

    def wait_ready(self, seconds: float) -> bool:
        """Wait until it waits for its job; whether it does."""
        return bool(select.select([self.socket], [], [], seconds)[0]) or self.process.poll() is not None

    def end(self) -> int:
        """Close, kill what still runs, collect; the exit status."""
        self.socket.close()
        if self.process.poll() is None:
            self.process.kill()
        status = self.process.wait()
        if self.desk is not None:
            shutil.rmtree(self.desk, ignore_errors=True)  # unless a job has taken it elsewhere
        return status


class Conversation:
    """What is said to and by one worker in the course of a long job."""

    def __init__(self, worker: _Worker, deadline: float, ended: Callable[[], None]) -> None:
        self._worker = worker
        self._deadline = deadline
        self._ended: Callable[[], None] | None = ended
        self._lock = threading.Lock()
        worker.socket.settimeout(deadline)

    def hear(self) -> tuple[dict[str, Any], list[int]]:
        """What it says next, and the memory files that came with it, which the caller closes. Raises Problem."""
        try:
            return frames.receive(self._worker.socket, max_fds=1, limit=MAX_JOB)
        except TimeoutError as error:
            raise _died(f"It said nothing for {self._deadline:.0f} seconds.") from error
        except (OSError, frames.FrameError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._worker.process.wait(timeout=2)
            raise _died(_last_words(self._worker.end())) from error

    def receive(self) -> tuple[dict[str, Any], list[int]]:
        """As `hear`; a problem that it tells is raised."""
        message, fds = self.hear()
        if message.get("ok") is not True:
            raise Problem.from_json(message.get("problem", {}))
        return message, fds

    def send(self, message: dict[str, Any]) -> None:
        """Raises Problem where it is gone."""
        try:
            frames.send(self._worker.socket, message, limit=MAX_JOB)
        except OSError as error:
            raise _died(_last_words(self._worker.end())) from error

    def encourage(self) -> None:
        """Say that there is room for one more. It may have made its last and be gone: what it said is still heard."""
        with contextlib.suppress(OSError):
            frames.send(self._worker.socket, {"more": True})

    def end(self) -> None:
        """End it, whatever it does."""
        with self._lock:
            ended, self._ended = self._ended, None
        if ended is not None:
            with contextlib.suppress(OSError):
                self._worker.socket.shutdown(socket.SHUT_RDWR)  # whoever waits for its word stops waiting
            self._worker.end()
            ended()


class Workers:
    """Runs jobs, at most `limit` at a time, each at most `deadline` seconds."""

    def __init__(
        self,
        *,
        sees: Path | None = None,
        desk: Callable[[], Path] | None = None,
        limit: int = 4,
        deadline: float = 300.0,
        spares: int = 2,
        memory: int = 0,
        held: int = 0,
    ) -> None:
        """`sees`: the folder that all of them may read. `desk`: makes a folder in which one of them may write.
        `spares`: processes that are started ahead, about 100 MB each. `memory`: bytes that one may allocate, beside
        the memory file that it fills; 0: half of what the machine has. `held`: workers that are spoken with at a time.
        """
        self._sees = sees
        self._desk = desk
        self._memory = memory or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
        self._deadline = deadline
        self._slots = threading.BoundedSemaphore(limit)
        self._held = threading.Semaphore(held)
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._spares: deque[_Worker] = deque()
        self._done: list[_Worker] = []
        self._wanted = spares
        self._closed = False
        self._keeper: threading.Thread | None = None
        self.busy: set[int] = set()
        """Process ids of the workers that have a job now."""

    def start(self) -> None:
        """Start the spare workers ahead of the first job."""
        self._refill()
        self._keeper = threading.Thread(target=self._keep, name="workers", daemon=True)
        self._keeper.start()

    def wait_ready(self, seconds: float = 30.0) -> bool:
        """Wait until all spare workers wait for their jobs; whether they do."""
        last = time.monotonic() + seconds
        with self._changed:
            complete = self._changed.wait_for(lambda: self._closed or len(self._spares) >= self._wanted, seconds)
            spares = list(self._spares)
        return complete and all(spare.wait_ready(max(0.0, last - time.monotonic())) for spare in spares)

    def close(self) -> None:
        """End the spare workers; jobs that run are finished by their callers."""
        with self._lock:
            self._closed = True
            spares, self._spares = list(self._spares), deque()
            self._changed.notify_all()
        for spare in spares:
            spare.end()
        if self._keeper is not None:
            self._keeper.join()

    @property
    def deadline(self) -> float:
        """Seconds that a job may take."""
        return self._deadline

    def run(self, job: Job, fds: Sequence[int] = (), *, writes: Sequence[Path] = ()) -> Job:
        """The worker's answer to `job`. Raises the Problem it answered with, or one that says how it died.

        `writes`: folders that this job changes; a worker is started for it, because spares change none.
        """
        return self._on_a_worker(lambda _: job, fds, writes=writes)

    def run_at_desk(self, begin: Callable[[Path], Job], opener: Callable[[int], int]) -> Job:
        """As `run`; `begin` takes the worker's desk where it belongs and says what the job is, `opener` opens the
        numbered pieces of the file that it asks for.
        """

        def job(worker: _Worker) -> Job:
            assert worker.desk is not None  # noqa: S101 - these workers have one
            return begin(worker.desk)

        return self._on_a_worker(job, (), opener)

    def _on_a_worker(
        self,
        job: Callable[[_Worker], Job],
        fds: Sequence[int],
        opener: Callable[[int], int] | None = None,
        *,
        writes: Sequence[Path] = (),
    ) -> Job:
        if not self._slots.acquire(timeout=self._deadline):
            raise Problem(
                503, "vault-busy", "The vault is busy", "No worker became free in time.", next="Try again in a minute."
            )
        try:
            worker = self._take(writes)
            try:
                return self._run_on(worker, job, fds, opener)
            finally:
                self._let_go_of(worker)
        finally:
            self._slots.release()

    def open(self, job: Job, *, writes: Sequence[Path] = ()) -> Conversation:
        """A worker that does one long job and is spoken with meanwhile; `writes` as for `run`.

        Raises Problem where too many do.
        """
        if not self._held.acquire(blocking=False):
            raise Problem(
                503,
                "vault-busy",
                "The vault streams as much as it can",
                "No worker is free for another stream.",
                why=("each stream keeps a process of the vault waiting (vault.toml, streams)",),
                next="Try again in a minute; if it stays so, tell an operator.",
            )
        try:
            worker = self._take(writes)
            held = Conversation(worker, self._deadline, lambda: self._let_go(worker.process.pid))
        except BaseException:
            self._held.release()
            raise
        with self._lock:
            self.busy.add(worker.process.pid)
            self._changed.notify_all()
        try:
            held.hear()
            held.send({**job, "memory": self._memory, "seconds": int(self._deadline)})
        except BaseException:
            held.end()
            raise
        return held

    def _let_go(self, pid: int) -> None:
        with self._lock:
            self.busy.discard(pid)
            self._changed.notify_all()
        self._held.release()

    def _run_on(
        self,
        worker: _Worker,
        job: Callable[[_Worker], Job],
        fds: Sequence[int],
        opener: Callable[[int], int] | None,
    ) -> Job:
        pid = worker.process.pid
        with self._lock:
            self.busy.add(pid)
            self._changed.notify_all()
        try:
            last = time.monotonic() + self._deadline
            worker.socket.settimeout(self._deadline)
            frames.receive(worker.socket)  # it says when it has started, in its box
            frames.send(worker.socket, {**job(worker), "memory": self._memory}, fds, limit=MAX_JOB)
            answer, _ = frames.receive(worker.socket, limit=MAX_JOB)
            while opener is not None and "piece" in answer:
                _send_piece(worker.socket, opener, answer["piece"])
                worker.socket.settimeout(max(0.001, last - time.monotonic()))
                answer, _ = frames.receive(worker.socket, limit=MAX_JOB)
        except TimeoutError as error:
            raise _died(f"It did not finish within {self._deadline:.0f} seconds.") from error
        except (OSError, frames.FrameError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(timeout=2)
            raise _died(_last_words(worker.end())) from error
        finally:
            with self._lock:
                self.busy.discard(pid)
                self._changed.notify_all()
        if answer.get("ok") is not True:
            raise Problem.from_json(answer.get("problem", {}))
        return answer

    def _let_go_of(self, worker: _Worker) -> None:
        """End a worker that did its job. Whoever waits for the answer does not wait for the end of a process."""
        if worker.desk is None and self._keeper is not None:
            with self._lock:
                if not self._closed:
                    self._done.append(worker)
                    self._changed.notify_all()
                    return
        worker.end()

    def _keep(self) -> None:
        """End what is done and keep spares at hand, beside the jobs."""
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closed or self._done or len(self._spares) < self._wanted)
                if self._done:
                    self._changed.wait_for(lambda: self._closed, LINGER)
                done, self._done = self._done, []
            for worker in done:
                worker.end()
            with self._changed:
                if self._closed and not self._done:
                    return
                self._await_quiet()
                if self._done:
                    continue
            self._refill()

    def _await_quiet(self) -> None:
        """Wait for the moment to start a spare; less, where there is something else to do."""

        def called() -> bool:
            return self._closed or bool(self._done)

        while self._spares and not called():
            if not self._changed.wait_for(lambda: called() or self.busy or not self._spares, AWAIT_QUIET):
                return
            self._changed.wait_for(lambda: called() or not (self.busy and self._spares))
        self._changed.wait_for(lambda: called() or not self.busy, AWAIT_QUIET)

    def _take(self, writes: Sequence[Path] = ()) -> _Worker:
        if writes:
            return _Worker(self._sees, None, writes)
        while True:
            with self._lock:
                spare = self._spares.popleft() if self._spares else None
                self._changed.notify_all()
            if spare is None:
                return self._new()
            if spare.process.poll() is None:
                return spare
            spare.end()

    def _refill(self) -> None:
        while True:
            with self._lock:
                if self._closed or len(self._spares) >= self._wanted:
                    return
            spare = self._new(ahead=True)  # not under the lock: a job must not wait for it
            with self._lock:
                if not self._closed:
                    self._spares.append(spare)
                    self._changed.notify_all()
                    continue
            spare.end()

    def _new(self, *, ahead: bool = False) -> _Worker:
        return _Worker(self._sees, None if self._desk is None else self._desk(), ahead=ahead)


def _send_piece(to: socket.socket, opener: Callable[[int], int], number: object) -> None:
    """Raises FrameError where that is no piece of the file: a worker that asks for anything else is not obeyed."""
    if not isinstance(number, int):
        raise frames.FrameError("a piece has a number")
    try:
        fd = opener(number)
    except OSError as error:
        raise frames.FrameError("there is no such piece") from error
    try:
        frames.send(to, {}, [fd])
    finally:
        os.close(fd)


def _last_words(status: int) -> str:
    if status < 0:
        return f"It was ended by {signal.Signals(-status).name}."
    return f"It ended with status {status} and without an answer."


def _died(detail: str) -> Problem:
    return Problem(
        503,
        "worker-died",
        "The vault's worker died",
        detail,
        why=("each job runs in a process of its own; the vault itself goes on",),
        next="Try again. If it happens again, tell an operator: the machine may be short of memory.",
    )
