from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

SECONDS = 120
READERS = 9
SCRIPT = Path(__file__).with_name("fuzz_readers.py")
SEEDS = (
    "site in ('A', 'B') and not (age between 18 and 65.5 or \"x y\" is null)", "d >= 2026-01-01 and d <= today()",
    "generalise(width=5)", "prefix(3)", "cell=64KiB day=2MiB", "epsilon=1.0 delta=1e-6 days=90", "gdpr=365 ethics",
    'p, R1, role:r, read|display, lab/**, project:x, 2026-01-01, , allow, "why, then"',
    "p2, O1, *, read, tag:sensitive, *, mask, hash, role:dpo,", "g, user:a, role:r, , 2026-12-31",
    "allow, user:a group:b, read, lab/d, secret, tag:sensitive, project:x, 2026-06-01, mask hash; by R1, why",
    ("g, user:a, role:r\np, R1, role:r, administer, policy, *, , , allow, why\n"
    "[g]\nkind = 'never-both'\nmay = ['read', 'audit']\non = 'lab/**'\nwhy = 'x'\nunless = 'role:r'"),
    "[g]\nkind = 'apart'\ngroups = ['role:r', 'role:s']\nwhy = 'x'", "[g]\nkind = 'at-least'\nowing = 'mask hash'",
    "g2, lab/d#c, tag:sensitive", "[standard]\ntitle = 'x'\nsandbox = 'gvisor'", "[labels]\npublic = ''",
)  # fmt: skip


@pytest.mark.soak
@pytest.mark.timeout(SECONDS * 5)
@pytest.mark.skipif(importlib.util.find_spec("atheris") is None, reason="atheris is not installed: pip install atheris")
def test_no_text_crashes_a_reader_or_is_understood_in_two_ways(tmp_path) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(SEEDS):
        for reader in range(READERS):
            (corpus / f"{number}-{reader}").write_bytes(seed.encode() + bytes([reader]))
    done = subprocess.run(
        [sys.executable, str(SCRIPT), str(corpus), f"-max_total_time={SECONDS}", "-timeout=20", "-rss_limit_mb=2048"],
        capture_output=True,
        text=True,
        check=False,
        cwd=tmp_path,
        timeout=SECONDS * 4,
    )
    crash = [line for line in done.stdout.splitlines() if not line.startswith("INFO")]  # Python's traceback
    assert done.returncode == 0, "\n".join(crash[-40:]) + done.stderr[-1000:]
