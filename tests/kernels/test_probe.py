"""The trial of a box: silent when all is well, and loud about each missing wall."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from strongroom_kernels import box as inside
from strongroom_kernels.box import Box, BoxError, Places
from strongroom_kernels.bubblewrap import Bubblewrap
from strongroom_kernels.probe import Severity, probe, require_sound

Unprivileged = Callable[[Callable[[], Any]], Any]


class Changed(Bubblewrap):
    def __init__(
        self, change: Callable[[list[str]], list[str]], *, filters: bool = True, landlock: bool = True
    ) -> None:
        super().__init__()
        self._change, self._filters, self._landlock = change, filters, landlock

    def options(self, box: Box, files: Mapping[str, int], filters: Sequence[int]) -> list[str]:
        return self._change(super().options(box, files, filters))

    def filters(self) -> tuple[bytes, ...]:
        return super().filters() if self._filters else ()

    def files(self) -> dict[str, bytes]:
        files = super().files()
        if not self._landlock:
            files[inside.LAUNCHER] = files[inside.LAUNCHER].replace(b"    if abi:", b"    if False:")
        return files


def _without(word: str) -> Callable[[list[str]], list[str]]:
    return lambda options: [other for other in options if other != word]


def test_this_machine_holds_the_box(unprivileged: Unprivileged, places: Places) -> None:
    assert unprivileged(lambda: probe(Bubblewrap(), places)) == []
    assert list((places.run_dir / "k").iterdir()) == []


@pytest.mark.parametrize(
    ("sandbox", "checks"),
    [
        (Changed(list, filters=False), {"network", "vsock", "netlink", "seccomp"}),
        (
            Changed(lambda options: [word.replace("--ro-bind", "--bind") for word in options], landlock=False),
            {"notebooks"},
        ),
        (Changed(list, landlock=False), {"links"}),
        (Changed(lambda options: ["0" if word == "1000" else word for word in options]), {"uid"}),
    ],
    ids=["no filters", "writable binds", "no Landlock", "root inside"],
)
def test_each_missing_wall_is_a_failure(
    unprivileged: Unprivileged, places: Places, sandbox: Bubblewrap, checks: set[str]
) -> None:
    findings = unprivileged(lambda: probe(sandbox, places))
    assert checks <= {finding.check for finding in findings if finding.severity is Severity.FAILURE}


def test_host_network_is_a_failure(unprivileged: Unprivileged, places: Places) -> None:
    findings = unprivileged(lambda: probe(Changed(_without("--unshare-net")), places))
    seen = [finding.check for finding in findings]
    assert seen in (["network"], [])  # a host may have nothing but its own loopback


def test_a_box_that_cannot_be_built_is_a_failure_in_words(unprivileged: Unprivileged, places: Places) -> None:
    def attempt() -> str:
        with pytest.raises(BoxError) as caught:
            require_sound(Changed(lambda options: [*options, "--bind", "/does/not/exist", "/x"]), places)
        return str(caught.value)

    words = unprivileged(attempt)
    assert "could not be built" in words
    assert "Traceback" not in words


def test_bubblewrap_missing_is_said(
    unprivileged: Unprivileged, places: Places, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    findings = unprivileged(lambda: probe(Bubblewrap(), places))
    assert ["apt install bubblewrap" in str(finding) for finding in findings] == [True]
