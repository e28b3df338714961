"""The trial of a box: silent when all is well, and loud about each missing wall."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from strongroom_kernels import box as inside
from strongroom_kernels.bare import Bare
from strongroom_kernels.box import Box, BoxError, Places
from strongroom_kernels.bubblewrap import Bubblewrap, find_bubblewrap
from strongroom_kernels.probe import Severity, State, checks, probe, require_sound
from strongroom_kernels.sandbox import sandbox_of

from tests.kernels.test_battery import missing

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


@pytest.mark.parametrize("tier", ["launcher", "bubblewrap"])
def test_this_machine_holds_the_box(tier: str, unprivileged: Unprivileged, places: Places) -> None:
    if missing(tier):
        pytest.skip(missing(tier))
    assert unprivileged(lambda: probe(sandbox_of(tier), places)) == []
    assert list((places.run_dir / "k").iterdir()) == []


def test_gvisor_needs_a_run_folder_without_links(unprivileged: Unprivileged, places: Places) -> None:
    """With one it holds: test_kernels_in_tiers starts real kernels, which the trial allows."""
    if missing("gvisor"):
        pytest.skip(missing("gvisor"))
    findings = unprivileged(lambda: probe(sandbox_of("gvisor"), places))
    assert [(finding.check, finding.severity) for finding in findings] == [("links", Severity.FAILURE)]
    assert "nosymfollow" in findings[0].text


def test_gvisor_without_a_kernel_of_its_own_is_a_failure(unprivileged: Unprivileged, places: Places) -> None:
    class Pretended(Bubblewrap):
        name = "gvisor"

    findings = unprivileged(lambda: probe(Pretended(), places))
    assert "own kernel" in {finding.check for finding in findings}


def test_the_launcher_needs_landlock(unprivileged: Unprivileged, places: Places) -> None:
    class Older(Bare):
        def access(self, box: Box, folder: Path, own: Path) -> dict[str, Any]:
            return {**super().access(box, folder, own), "landlock": 99}

    if missing("launcher"):
        pytest.skip(missing("launcher"))
    findings = unprivileged(lambda: probe(Older(), places))
    assert [finding.check for finding in findings] == ["start"]
    assert "Landlock ABI" in findings[0].text


def test_the_machine_is_checked_without_a_box(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = {check.name: check for check in checks()}
    assert found.keys() == {"bubblewrap", "user namespaces", "Landlock"}
    monkeypatch.setattr("strongroom_kernels.launcher.landlock_abi", lambda: 0)
    monkeypatch.setattr("strongroom_kernels.probe.userns_advice", lambda: "As root: allow them")
    (tmp_path / "bwrap").write_text("#!/bin/sh\necho bubblewrap 0.7.0\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    find_bubblewrap.cache_clear()
    worse = {check.name: check for check in checks()}
    find_bubblewrap.cache_clear()
    assert {name: check.state for name, check in worse.items()} == {
        "bubblewrap": State.BROKEN,
        "user namespaces": State.BROKEN,
        "Landlock": State.WEAKER,
    }
    assert "0.7" in worse["bubblewrap"].text
    assert all(check.next for check in worse.values())


@pytest.mark.parametrize(("version", "told"), [("0.8.0", "GHSA-pxhw-h44j-8pfx"), ("0.12.1", "0.12 is installed")])
def test_a_bubblewrap_that_follows_links_is_told(
    version: str, told: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "bwrap").write_text(f"#!/bin/sh\necho bubblewrap {version}\n")
    (tmp_path / "bwrap").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    find_bubblewrap.cache_clear()
    check = next(check for check in checks() if check.name == "bubblewrap")
    find_bubblewrap.cache_clear()
    assert (check.state, told in check.text) == (State.FINE, True)


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
    assert [finding.check for finding in findings] == ["network"]


def test_pages_of_others_are_a_failure(unprivileged: Unprivileged, places: Places) -> None:
    class AllOfProc(Bubblewrap):
        def command(self, access: Mapping[str, Any], command: Sequence[str]) -> list[str]:
            return super().command({**access, "read": [*access["read"], "/proc"]}, command)

    findings = unprivileged(lambda: probe(AllOfProc(), places))
    assert [(finding.check, finding.severity) for finding in findings] == [("pages", Severity.FAILURE)]


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
    find_bubblewrap.cache_clear()
    findings = unprivileged(lambda: probe(Bubblewrap(), places))
    assert ["apt install bubblewrap" in str(finding) for finding in findings] == [True]
