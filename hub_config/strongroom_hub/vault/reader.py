"""From a read ticket to a sealed memory file. Kernels of one workspace with the same view share one copy of it.

Not those of other people: who holds a file in common can signal by it (locks, times of access, mapped pages), and two
workspaces of one project may have different labels.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from contextlib import AbstractContextManager
from dataclasses import dataclass

from strongroom_hub.problems import Problem
from strongroom_hub.vault import memfd
from strongroom_hub.vault.holding import Needed
from strongroom_hub.vault.jobs import ViewJob, check_view, marks
from strongroom_hub.vault.keys import Keys
from strongroom_hub.vault.manifest import FILES
from strongroom_hub.vault.parts import Mark
from strongroom_hub.vault.sealing import check_files_view, unseal
from strongroom_hub.vault.shelf import File, Shelf
from strongroom_hub.vault.store import Published, Store
from strongroom_hub.vault.tickets import ReadTicket
from strongroom_hub.vault.tokenmaps import TokenMaps
from strongroom_hub.vault.views import too_large
from strongroom_hub.vault.workers import Workers

_VERSIONS_REMEMBERED = 1000


@dataclass(frozen=True, slots=True)
class Answer:
    """What goes to the kernel: `fd` is its own read-only description of the sealed file; the caller closes it."""

    fd: int
    rows: int
    bytes: int
    dataset: str
    version: int
    label: str
    kind: str
    """`table`: an Arrow file; `files`: the bytes of one file."""


class Reader:
    """Builds views in workers; the shelf keeps the latest for the next kernel."""

    def __init__(
        self,
        store: Store,
        keys: Keys,
        token_maps: TokenMaps,
        workers: Workers,
        shelf: Shelf,
        *,
        for_good: bool = False,
    ) -> None:
        """`for_good`: what is lent cannot be cut off (where kernels run under this process's own uid)."""
        self._store = store
        self._keys = keys
        self._token_maps = token_maps
        self._workers = workers
        self._shelf = shelf
        self._for_good = for_good
        self._checked: OrderedDict[str, dict[str, Mark]] = OrderedDict()

    def read(self, ticket: ReadTicket) -> Answer:
        """The view that the ticket allows. Raises Problem."""
        published = self._published(ticket)
        key = (ticket.name, ticket.user)
        with self._shelf.building(key):
            lent = self._shelf.lend_kept(key, ticket)
            if lent is None:
                most = min(ticket.max_bytes, self._shelf.room(ticket))
                file = self._file(published, ticket, most)
                try:
                    lent = self._shelf.lend(file, ticket, keep=key), file
                except BaseException:
                    os.close(file.fd)
                    raise
        fd, file = lent
        if file.bytes > ticket.max_bytes:
            os.close(fd)
            raise too_large(ticket.max_bytes)
        kind = published.manifest.kind
        return Answer(fd, file.rows, file.bytes, ticket.dataset, ticket.version, ticket.label, kind)

    def job(self, ticket: ReadTicket) -> ViewJob:
        """What a worker needs to read this view of a table. Raises Problem."""
        published = self._published(ticket)
        if published.manifest.kind == FILES:
            raise no_stream_of_files(ticket.dataset)
        return self._job(published, ticket)

    def at_hand(self, job: ViewJob) -> AbstractContextManager[None]:
        """Inside the block a worker can open what the job needs. Raises Problem."""
        return self._store.holding.at_hand([job.needed])

    def seal(self, fd: int, rows: int) -> File:
        """A finished memory file, which can be lent from here on."""
        memfd.seal(fd, for_good=self._for_good)
        return File(fd, rows, memfd.size(fd))

    def remember(self, ticket: ReadTicket, checked: dict[str, Mark]) -> None:
        """Note the parts that a worker found right."""
        self._checked[ticket.manifest] = checked
        while len(self._checked) > _VERSIONS_REMEMBERED:
            self._checked.popitem(last=False)

    def close(self) -> None:
        """Let go of all kept views; kernels keep what they have mapped."""
        self._shelf.clear()

    def _published(self, ticket: ReadTicket) -> Published:
        published = self._store.open(ticket.dataset, ticket.version, active=ticket.manifest)
        check_view(ticket, published.manifest)
        if published.manifest.kind == FILES:
            check_files_view(ticket, published.manifest)
        return published

    def _job(self, published: Published, ticket: ReadTicket) -> ViewJob:
        checked = self._checked.get(ticket.manifest)
        return ViewJob.prepare(published, ticket, self._keys, checked, token_maps=self._token_maps)

    def _file(self, published: Published, ticket: ReadTicket, max_bytes: int) -> File:
        if published.manifest.kind == FILES:
            file = published.manifest.file(ticket.columns[0])
            with self._store.holding.at_hand([Needed(published.folder, published.manifest, [file])]):
                return self.seal(unseal(published, ticket, self._keys, max_bytes), 0)
        job = self._job(published, ticket)
        fd = memfd.create("strongroom-view")
        try:
            with self.at_hand(job):
                answer = self._workers.run(
                    {"kind": "read", "view": job.as_json(), "max_bytes": max_bytes}, [fd], writes=job.changes
                )
            self.remember(ticket, marks(answer["checked"]))
            return self.seal(fd, int(answer["rows"]))
        except BaseException:
            os.close(fd)
            raise


def no_stream_of_files(dataset: str) -> Problem:
    return Problem(
        422,
        "files-one-by-one",
        "Files are not streamed",
        f"{dataset} holds files, not a table.",
        next=f'Open its files one by one: strongroom.files("{dataset}").open("...").',
    )
