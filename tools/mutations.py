#!/usr/bin/env python3
"""Switch off one protection after the other in a copy of the tree, and see that the tests notice.

    mutations.py [--only WORD ...] [--list]

`mutations.toml` beside this file is the list: each protection with the smallest patch that switches it off and the
tests that must fail then. The work tree is never changed: all happens in a copy below a fresh temporary folder, in
which the same Python packages are used with the copy's sources in front. Prints a table and exits 1 where a protection
was switched off and a named test did not fail, or where a patch does not apply any more.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import venv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).resolve().parent.parent
LIST = Path(__file__).with_name("mutations.toml")
PATCHED = ("policy/", "hub_config/", "kernels/strongroom_kernels/", "extension/strongroom_lab/")
"""Where a patch may change a file of the copy."""
SOURCES = ("policy", "hub_config", "kernels", "kernels/client", "extension")
BUILT = ("extension/strongroom_lab/labextension", "hub_config/strongroom_hub/static")
PATIENCE = 300
"""Seconds for the tests of one protection."""
_PYTEST = ("-q", "-p", "no:cacheprovider", "-o", "addopts=--import-mode=importlib --strict-markers")


@dataclass(frozen=True, slots=True)
class Mutation:
    """One protection, the patch without which it would hold, and the tests that rest on it."""

    protection: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def problem(self, root: Path) -> str:
        """Why it cannot be applied to the tree at `root`; empty where it can."""
        path = root / self.file
        if not self.file.startswith(PATCHED) or ".." in Path(self.file).parts:
            return f"{self.file} is not among the files that may be patched"
        if not path.is_file():
            return f"{self.file} is not there"
        found = path.read_text(encoding="utf-8").count(self.old)
        if found != 1:
            return f"the text to replace stands {found} times in {self.file}"
        if self.old == self.new:
            return "the patch changes nothing"
        missing = [test for test in self.tests if not _is_there(root, test)]
        return f"no such test: {', '.join(missing)}" if missing or not self.tests else ""


def _is_there(root: Path, test: str) -> bool:
    """Whether a file defines the test that an id names (with or without parameters)."""
    file, _, name = test.partition("::")
    path = root / file
    wanted = re.compile(rf"^(async )?def {re.escape(name.partition('[')[0])}\(", re.MULTILINE)
    return path.is_file() and bool(wanted.search(path.read_text(encoding="utf-8")))


def read_list(file: Path = LIST) -> list[Mutation]:
    """The list as it stands. Raises KeyError or TypeError where a line of it is not whole."""
    raw = tomllib.loads(file.read_text(encoding="utf-8"))
    return [Mutation(**{**one, "tests": tuple(one["tests"])}) for one in raw["mutation"]]


class Copy:
    """A copy of the tree with an environment that runs its sources."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "tree"
        self.python = folder / "environment" / "bin" / "python"

    @classmethod
    @contextlib.contextmanager
    def fresh(cls) -> Iterator[Copy]:
        folder = Path(tempfile.mkdtemp(prefix="mutated-"))
        folder.chmod(0o755)  # servers and kernels run under other users
        try:
            copy = cls(folder)
            copy.fill()
            yield copy
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def fill(self) -> None:
        listed = subprocess.run(
            ["git", "-C", str(ROOT), "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
            check=True,
            capture_output=True,
        ).stdout
        for name in filter(None, listed.decode().split("\0")):
            if (ROOT / name).is_file():
                target = self.root / name
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(ROOT / name, target)
        for name in BUILT:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, self.root / name, dirs_exist_ok=True)
        self._make_environment()

    def _make_environment(self) -> None:
        """An environment without packages of its own: the copy's sources first, then those that run this."""
        top = self.python.parent.parent
        venv.EnvBuilder(symlinks=True).create(top)
        (site,) = (top / "lib").glob("python*/site-packages")
        theirs = [entry for entry in sys.path if entry.endswith("site-packages")]
        lines = [str(self.root / name) for name in SOURCES]
        lines += [f"import site; site.addsitedir({entry!r})" for entry in theirs]
        (site / "copy.pth").write_text("\n".join(lines) + "\n", encoding="utf-8")
        for name in ("share", "etc"):
            if (Path(sys.prefix) / name).is_dir():
                (top / name).symlink_to(Path(sys.prefix) / name)

    @contextlib.contextmanager
    def changed(self, mutation: Mutation) -> Iterator[None]:
        """The copy with this one patch. Raises ValueError where it does not apply."""
        problem = mutation.problem(self.root)
        if problem:
            raise ValueError(problem)
        path = (self.root / mutation.file).resolve()
        if not path.is_relative_to(self.root.resolve()) or path.is_relative_to(ROOT):
            raise ValueError(f"{path} is outside the copy")
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(mutation.old, mutation.new), encoding="utf-8")
        try:
            yield
        finally:
            path.write_text(text, encoding="utf-8")

    def run(self, tests: Iterable[str]) -> tuple[set[str], set[str], str]:
        """Ids of the tests that failed and of those that passed, and what pytest said last."""
        report = self.root.parent / "report.xml"
        report.unlink(missing_ok=True)
        command = [str(self.python), "-m", "pytest", *_PYTEST, f"--junitxml={report}", *tests]
        environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
        for name in ("PYTHONPATH", "VIRTUAL_ENV"):
            environment.pop(name, None)
        try:
            told = subprocess.run(
                command, cwd=self.root, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            return set(), set(), f"no end within {PATIENCE} s"
        if not report.is_file():
            return set(), set(), (told.stdout + told.stderr)[-2000:]
        failed, passed = _outcomes(report)
        return failed, passed, told.stdout[-2000:]


def _outcomes(report: Path) -> tuple[set[str], set[str]]:
    """Test ids without parameters. What broke before the test began (an error) is neither."""
    failed, passed = set(), set()
    for case in ET.parse(report).iter("testcase"):  # noqa: S314 - written by our own pytest
        module, _, _ = case.get("classname", "").partition("[")
        name = f"{module.replace('.', '/')}.py::{case.get('name', '').partition('[')[0]}"
        if case.find("failure") is not None:
            failed.add(name)
        elif case.find("error") is None and case.find("skipped") is None:
            passed.add(name)
    return failed, passed - failed


def main() -> None:
    """Run what is asked for and print the table."""
    asked = argparse.ArgumentParser(description="Switch protections off, one by one, and see that the tests notice.")
    asked.add_argument("--only", nargs="*", default=[], help="protections whose text or file holds one of these words")
    asked.add_argument("--list", action="store_true", help="print the protections and run nothing")
    options = asked.parse_args()
    chosen = [
        one
        for one in read_list()
        if not options.only or any(word in one.protection + one.file for word in options.only)
    ]
    if options.list:
        print("\n".join(f"{one.protection}  ({one.file})" for one in chosen))
        return
    os.nice(5)
    with Copy.fresh() as copy:
        sys.exit(_run(copy, chosen))


def _run(copy: Copy, chosen: list[Mutation]) -> int:
    began = time.monotonic()
    broken = _broken(copy, chosen)
    if broken:
        print("Without any change these tests do not pass:\n  " + "\n  ".join(sorted(broken)))
    unnoticed = 0
    width = max(len(one.protection) for one in chosen)
    for one in chosen:
        start = time.monotonic()
        verdict = _verdict(copy, one, broken)
        print(f"{one.protection:{width}}  {time.monotonic() - start:6.1f} s  {verdict}", flush=True)
        unnoticed += not verdict.startswith("noticed")
    print(f"\n{len(chosen) - unnoticed} of {len(chosen)} noticed, in {time.monotonic() - began:.0f} s")
    return 1 if unnoticed else 0


def _broken(copy: Copy, chosen: list[Mutation]) -> set[str]:
    """The named tests that do not pass on the copy as it is, tried file by file."""
    by_file: dict[str, set[str]] = {}
    for test in {_bare(test) for one in chosen if not one.problem(copy.root) for test in one.tests}:
        by_file.setdefault(test.partition("::")[0], set()).add(test)
    broken: set[str] = set()
    for tests in by_file.values():
        _, passed, _ = copy.run(sorted(tests))
        broken |= tests - passed
    return broken


def _verdict(copy: Copy, mutation: Mutation, broken: set[str]) -> str:
    if problem := mutation.problem(copy.root):
        return f"DOES NOT APPLY: {problem}"
    if idle := [test for test in mutation.tests if _bare(test) in broken]:
        return f"NOT TRIED: {', '.join(idle)} fails without it too"
    with copy.changed(mutation):
        failed, passed, told = copy.run(mutation.tests)
    if silent := [test for test in mutation.tests if _bare(test) not in failed]:
        words = "passes" if all(_bare(test) in passed for test in silent) else f"did not run: {told}"
        return f"UNNOTICED: {', '.join(silent)} {words}"
    return "noticed by " + ", ".join(sorted(failed))


def _bare(test: str) -> str:
    return test.partition("[")[0]


if __name__ == "__main__":
    main()
