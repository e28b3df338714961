"""What analysts run: twenty packages, processes, threads, commands, in a real kernel in a real, watched box.

Nothing of it may be a violation: otherwise honest work would be reported as an attack.
"""

from __future__ import annotations

import contextlib
import json
import select
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from jupyter_client.blocking.client import BlockingKernelClient
from strongroom_kernels import box as inside
from strongroom_kernels.box import Box
from strongroom_kernels.log import OutputLog
from strongroom_kernels.sandbox import Bubblewrap
from strongroom_kernels.watch import Watch

_PORTS = {"shell_port": 1, "iopub_port": 2, "stdin_port": 3, "hb_port": 4, "control_port": 5}
_KEY = "of-this-test"

# name: (code, what it says at the end)
CELLS = {
    "numpy": (
        (
            "import numpy as np; a = np.random.default_rng(1).normal(size=(300, 300));"
            "print((a @ a).shape, np.linalg.svd(a)[1].size)"
        ),
        "(300, 300) 300",
    ),
    "pandas": (
        (
            "import pandas as pd; f = pd.DataFrame({'k': list('aab'), 'x': [1, 2, 3]}); f.to_csv('f.csv');"
            "f.to_excel('f.xlsx');"
            "print(pd.read_csv('f.csv').x.sum(), pd.read_excel('f.xlsx').x.sum(), f.groupby('k').x.mean().tolist())"
        ),
        "6 6 [1.5, 3.0]",
    ),
    "polars": (
        (
            "import polars as pl; q = pl.DataFrame({'a': range(100_000)}); q.write_parquet('q.parquet');"
            "print(pl.scan_parquet('q.parquet').group_by(pl.col('a') % 3).len().collect(engine='streaming').height)"
        ),
        "3",
    ),
    "pyarrow": (
        (
            "import pyarrow as pa, pyarrow.parquet as pq, pyarrow.compute as pc, pyarrow.dataset as ds;"
            "pq.write_table(pa.table({'a': list(range(1000))}), 't.parquet');"
            "print(pc.sum(pq.read_table('t.parquet', memory_map=True)['a']), ds.dataset('t.parquet').count_rows())"
        ),
        "499500 1000",
    ),
    "scikit-learn": (
        (
            "from sklearn.datasets import load_iris; from sklearn.ensemble import RandomForestClassifier;"
            "from sklearn.model_selection import cross_val_score; x, y = load_iris(return_X_y=True);"
            "RandomForestClassifier(10, n_jobs=2).fit(x, y);"
            "print(len(cross_val_score(RandomForestClassifier(5), x, y, n_jobs=2)))"
        ),
        "5",
    ),
    "statsmodels": (
        "import statsmodels.api as sm; print(len(sm.OLS(x[:, 0], sm.add_constant(x[:, 1:])).fit().params))",
        "4",
    ),
    "matplotlib": (
        (
            "import matplotlib.pyplot as plt; plt.plot([1, 3, 2]); plt.savefig('p.png'); plt.savefig('p.svg');"
            "plt.close(); import os; print(os.path.getsize('p.png') > 1000)"
        ),
        "True",
    ),
    "seaborn": (
        (
            "import seaborn as sns; sns.histplot(a.ravel()[:500], kde=True); plt.savefig('s.png'); plt.close();"
            "print('drawn')"
        ),
        "drawn",
    ),
    "ipywidgets": (
        "import ipywidgets as w; s = w.IntSlider(3); w.interactive(lambda n: n, n=s); s.value = 5; print(s.value)",
        "5",
    ),
    "h5py": (
        "import h5py\nwith h5py.File('h.h5', 'w') as h: h['a'] = a\nwith h5py.File('h.h5') as h: print(h['a'].shape)",
        "(300, 300)",
    ),
    "sqlite3": (
        (
            "import sqlite3; c = sqlite3.connect('d.db'); c.execute('pragma journal_mode=wal');"
            "c.execute('create table t(a)');"
            "c.executemany('insert into t values (?)', [(i,) for i in range(100)]); c.commit();"
            "print(c.execute('select sum(a) from t').fetchone()[0])"
        ),
        "4950",
    ),
    "fork pool": (
        "import multiprocessing as mp\nwith mp.get_context('fork').Pool(2) as p: print(p.map(abs, [-1, -2]))",
        "[1, 2]",
    ),
    "spawn pool": (
        "with mp.get_context('spawn').Pool(2) as p: print(p.map(abs, [-3]))",
        "[3]",
    ),
    "futures": (
        (
            "import concurrent.futures as cf\nwith cf.ProcessPoolExecutor(2) as p, cf.ThreadPoolExecutor(4) as t:\n"
            "    print(list(p.map(abs, [-4])), sum(t.map(abs, range(-50, 0))))"
        ),
        "[4] 1275",
    ),
    "shared memory": (
        (
            "from multiprocessing import shared_memory; m = shared_memory.SharedMemory(create=True, size=1 << 20);"
            "m.buf[:3] = b'abc'; n = shared_memory.SharedMemory(m.name); print(bytes(n.buf[:3]));"
            "n.close(); m.close(); m.unlink()"
        ),
        "b'abc'",
    ),
    "asyncio": (
        (
            "import asyncio; q = await asyncio.create_subprocess_exec('echo', 'hi', stdout=-1);"
            "print(await asyncio.gather(asyncio.to_thread(abs, -1), asyncio.sleep(0, 2)), (await q.communicate())[0])"
        ),
        "[1, 2] b'hi\\n'",
    ),
    "joblib memmap": (
        (
            "import joblib; big = np.zeros(400_000); os.makedirs('/dev/shm/j', exist_ok=True);"
            "parallel = joblib.Parallel(2, temp_folder='/dev/shm/j', max_nbytes=1000);"
            "print(parallel(joblib.delayed(np.sum)(big + i) for i in range(2)))"
        ),
        "[np.float64(0.0), np.float64(400000.0)]",
    ),
    "command": ("!echo one; echo two >&2; echo é", "one\ntwo\né"),
    "command's status": ("!exit 3\nprint(_exit_code)", "3"),
    "command's output": ("found = !ls /usr/bin/env\nprint(found)", "['/usr/bin/env']"),
    "shell magic": ("%%bash\necho $((6 * 7)) | sort | tail -1", "42"),
    "subprocess pipes": (
        (
            "import subprocess;"
            "print(subprocess.run(['tr', 'a-z', 'A-Z'], input='abc', text=True, capture_output=True).stdout)"
        ),
        "ABC",
    ),
    "prints of forks": (
        (
            "pid = os.fork()\nif not pid:\n    print('from a fork', flush=True); os._exit(0)\n"
            "os.waitpid(pid, 0); import time; time.sleep(0.5)"
        ),
        "from a fork",
    ),
    "tqdm": ("from tqdm.auto import tqdm; print(sum(tqdm(range(100), disable=False)))", "4950"),
    "rich": ("import rich; rich.print('[b]bold[/b]')", "bold\x1b[0m"),
    "user and files": (
        (
            "import getpass, pathlib, platform, shutil, tempfile; platform.platform();"
            "shutil.copytree('/usr/share/zoneinfo/Etc', 'z');"
            "print(getpass.getuser(), tempfile.gettempdir(), len(list(pathlib.Path('z').iterdir())) > 5)"
        ),
        "analyst /tmp True",
    ),
    "system's figures": (
        "import psutil; print(psutil.cpu_count() > 0, psutil.Process().memory_info().rss > 0)",
        "True True",
    ),
    "a child's size": (
        (
            "import sys\nasked = 'import psutil; print(psutil.Process().memory_info().rss > 1 << 20)'\n"
            "print(subprocess.run([sys.executable, '-c', asked], text=True, capture_output=True).stdout)"
        ),
        "True",
    ),
    "streams by name": ("%%bash\necho one > /dev/stdout; cat <(echo two)", "one\ntwo"),
    "its own program": ("print(os.path.basename(os.readlink('/proc/self/exe')).startswith('python'))", "True"),
    "no terminal": (
        "try: os.openpty()\nexcept OSError as error: print(type(error).__name__)",
        "FileNotFoundError",
    ),
}


class Attended:
    """A kernel whose watched calls are answered by a thread."""

    def __init__(self, box: Box) -> None:
        self.violations: Counter[str] = Counter()
        self.handled = 0
        connection: Any = {"transport": "ipc", "signature_scheme": "hmac-sha256", "key": _KEY, **_PORTS}
        log = OutputLog(box.work.parent / "output")
        files = {inside.CONNECTION_FILE: json.dumps({**connection, "ip": f"{inside.SOCKETS}/c"}).encode()}
        self.boxed = Bubblewrap().start(box, ["kernel", inside.CONNECTION_FILE], log, files, watch=True)
        assert log.ready.wait(20), log.head()
        self._ended = threading.Event()
        found = self.boxed.watch
        assert found is not None
        self._thread = threading.Thread(target=self._answer, args=(found,))
        self._thread.start()
        self.client = BlockingKernelClient()
        connection["ip"] = str(box.sockets / "c")
        self.client.load_connection_info(connection)
        self.client.start_channels()
        self.client.wait_for_ready(timeout=60)

    def _answer(self, watch: Watch) -> None:
        with contextlib.closing(watch):
            while not self._ended.is_set():
                select.select([watch], [], [], 0.1)
                self.violations.update(watch.answer())
                self.handled = watch.handled

    def run(self, code: str) -> str:
        """All that the cell says; its error, if it has one."""
        out: list[str] = []

        def hook(message: dict[str, Any]) -> None:
            content = message["content"]
            if message["msg_type"] == "stream" and content["name"] == "stdout":
                out.append(content["text"])
            elif message["msg_type"] == "display_data":
                out.append(content["data"].get("text/plain", "") + "\n")
            elif message["msg_type"] == "error":
                out.append("\n".join(content["traceback"]))

        self.client.execute_interactive(code, timeout=120, output_hook=hook, allow_stdin=False)
        return "".join(out).strip()

    def end(self) -> None:
        self.client.stop_channels()
        self.boxed.kill()
        self.boxed.close()
        self._ended.set()
        self._thread.join()


@contextlib.contextmanager
def attended(box: Box) -> Iterator[Attended]:
    kernel = Attended(box)
    try:
        yield kernel
    finally:
        kernel.end()


@pytest.mark.timeout(240)
def test_the_workload_runs_and_is_no_violation(box: Box, unprivileged: Callable[[Callable[[], Any]], Any]) -> None:
    def trial() -> tuple[dict[str, str], dict[str, int], int]:
        with attended(box) as kernel:
            said = {name: kernel.run(code) for name, (code, _) in CELLS.items()}
        return said, dict(kernel.violations), kernel.handled  # once all is counted: a call is answered before that

    said, violations, handled = unprivileged(trial)
    assert {name: text for name, text in said.items() if not text.endswith(CELLS[name][1])} == {}
    assert violations == {}
    assert handled > 0  # the machine's state was asked for, so somebody did answer


def test_what_the_workload_would_have_shown(box: Box, unprivileged: Callable[[Callable[[], Any]], Any]) -> None:
    """The watch sees a kernel's attempts, and those of its commands."""

    def trial() -> dict[str, int]:
        with attended(box) as kernel:
            kernel.run("import socket\nsocket.create_connection(('192.0.2.1', 80))")
            kernel.run("!unshare -U true")
        return dict(kernel.violations)  # once all is counted: a call is answered before that

    assert unprivileged(trial) == {"socket AF_INET": 1, "unshare": 1}
