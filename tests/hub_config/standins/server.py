"""Stands in for the notebook server: writes down what it was given, answers every request, leaves a child behind."""

import json
import os
import signal
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from urllib.parse import urlsplit

project = os.environ["STRONGROOM_PROJECT"]
if project == "crash":
    sys.exit(3)
if project == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
credential = Path(os.environ["STRONGROOM_CREDENTIAL_FILE"])
status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines())
child = subprocess.Popen(["sleep", "3600"], start_new_session=True, stdin=subprocess.DEVNULL)
mounts = [line.split() for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines()]
Path(os.environ["STRONGROOM_WORK"], "seen.json").write_text(
    json.dumps(
        {
            "environment": dict(os.environ),
            "arguments": sys.argv,
            "cwd": str(Path.cwd()),
            "uids": os.getresuid(),
            "gids": os.getresgid(),
            "groups": os.getgroups(),
            "no_new_privs": status["NoNewPrivs"].strip(),
            "umask": status["Umask"].strip(),
            "descriptors": sorted(int(path.name) for path in Path("/proc/self/fd").iterdir()),
            "credential": credential.read_text(encoding="ascii"),
            "credential_mode": oct(credential.stat().st_mode & 0o777),
            "mount": next((m[3] for m in mounts if m[1] == os.environ["STRONGROOM_RUN_DIR"]), ""),
            "pid": os.getpid(),
            "child": child.pid,
        }
    ),
    encoding="utf-8",
)
credential.unlink()


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("X-JupyterHub-Version", "6.1.1")
        self.end_headers()
        self.wfile.write(b"stand-in notebook server")

    def log_message(self, *_: object) -> None:
        pass


address = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
HTTPServer((address.hostname, address.port), Handler).serve_forever()
