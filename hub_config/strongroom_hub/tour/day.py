"""One analyst's day, walked through headless: every step a promise of the product, checked where a person would see it.

The order matters: each step leaves the instance as the next one needs it. A step raises `TourError` (or the `Problem`
it met) at the first thing that is not as promised.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import shutil
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from strongroom_hub.config import Instance
from strongroom_hub.demo import Account
from strongroom_hub.problems import Problem
from strongroom_hub.tour.notebook import Cell, Notebook
from strongroom_hub.tour.person import Person, Server, TourError

DATASET = "health/randhie"
COLUMNS = ["person_id", "mdvis", "lncoins", "idp", "disea"]
MASKED = "person_id"
PROJECT = "cardio"
TWO_MEGABYTES = 2 * 1024 * 1024


@dataclass(slots=True)
class Day:
    """What the steps share: the instance, who is logged in, what was asked and granted so far."""

    instance: Instance
    accounts: dict[str, Account]
    stack: ExitStack
    people: dict[str, Person] = field(default_factory=dict)
    server: Server | None = None
    notebook: Notebook | None = None
    request: str = ""
    export: str = ""

    def person(self, name: str) -> Person:
        """The logged-in person of that name; logs in at the first call."""
        if name not in self.people:
            account = self.accounts[name]
            person = Person(
                self.instance.public_url,
                str(self.instance.tls_dir / "ca.pem"),
                name,
                account.password,
                account.otp_secret,
            )
            self.stack.enter_context(person)
            person.login()
            self.people[name] = person
        return self.people[name]

    @property
    def open_server(self) -> Server:
        if self.server is None:
            raise TourError("no project is open")
        return self.server

    @property
    def open_notebook(self) -> Notebook:
        if self.notebook is None:
            raise TourError("no notebook is open")
        return self.notebook

    def run(self, code: str) -> Cell:
        """Run a cell that is expected to work."""
        cell = self.open_notebook.run(code)
        expect(cell.status == "ok", f"the cell failed: {cell.error or cell.text}")
        return cell


def expect(held: bool, what: str) -> None:
    """Raise TourError with `what` unless it held."""
    if not held:
        raise TourError(what)


def refused(call: Callable[[], Any], slug: str | None = None) -> Problem:
    """Make a call that must be refused in words; returns the problem."""
    try:
        call()
    except Problem as problem:
        expect(bool(problem.detail and problem.next), f"refused without saying why or what next: {problem}")
        if slug is not None:
            expect(problem.slug == slug, f"refused as {problem.slug}, not as {slug}: {problem}")
        return problem
    raise TourError("this was allowed, and must not be")


# -- 1 ------------------------------------------------------------------------------------------------------------


def analyst_logs_in(day: Day) -> str:
    """Wrong password and a replayed code are refused; password and a fresh code open the project *cardio*."""
    account = day.accounts["analyst"]
    with Person(
        day.instance.public_url, str(day.instance.tls_dir / "ca.pem"), "analyst", "not the password", account.otp_secret
    ) as stranger:
        worked, said = stranger.try_login("not the password", "000000")
        expect(not worked and bool(said), "a wrong password was let in")
    analyst = day.person("analyst")
    page = analyst.follow("/hub/home")
    expect("cardio" in page.text, "the project cardio is not on the page after login")
    day.server = analyst.open_project(PROJECT)
    day.notebook = day.stack.enter_context(Notebook(day.server, "day.ipynb"))
    session = day.server.panel("GET", "session")
    expect(session["label"] == "public", f"a new workspace starts as {session['label']}, not public")
    expect(
        not session["sources"],
        "this workspace has read something before, and the tour is a first day: `make demo RESET=1` begins anew",
    )
    cell = day.run("1 + 1")
    expect("2" in cell.text, "1 + 1 shows nothing")
    expect(cell.seal.get("label") == "public" and isinstance(cell.seal.get("entry"), int), "the cell carries no entry")
    return f"logged in with password and code; cardio is open; label public; first cell is entry {cell.seal['entry']}"


# -- 2 ------------------------------------------------------------------------------------------------------------


def analyst_tries_code_on_a_twin(day: Day) -> str:
    """Without access the synthetic twin is read; the label stays, and a withheld twin is refused in words."""
    found = {d["name"]: d for d in day.open_server.panel("GET", "datasets")["datasets"]}
    expect(DATASET in found, f"{DATASET} is not among what the analyst may discover: {sorted(found)}")
    expect(not found[DATASET]["access"]["read"], f"{DATASET} can be read before anybody granted it")
    expect(found[DATASET]["synthetic"], f"the panel shows no synthetic twin of {DATASET}")
    cell = day.run(
        f"import strongroom\ntwin = strongroom.open({DATASET!r}, synthetic=True)\n"
        "print(twin.synthetic, twin.label, len(twin), list(twin.columns))"
    )
    expect(cell.text.startswith("True public "), f"this is no synthetic twin: {cell.text}")
    names = sorted(column["name"] for column in found[DATASET]["columns"])
    expect(sorted(_first_list(cell.text)) == names, f"the twin has other columns: {cell.text}")
    session = day.open_server.panel("GET", "session")
    expect(session["label"] == "public", f"the twin raised the label: {session['label']}")
    expect(not session["sources"], f"the twin is among the sources: {session['sources']}")
    steward = day.person("steward")
    steward.open_console()
    steward.console("PUT", f"datasets/{DATASET}/synthetic", {"allowed": False})
    withheld = day.open_notebook.run(f"strongroom.open({DATASET!r}, synthetic=True)")
    expect(withheld.status == "error" and "withheld" in withheld.error, f"a withheld twin is read: {withheld.text}")
    opened = steward.console("PUT", f"datasets/{DATASET}/synthetic", {"allowed": True})
    expect(opened["twin"]["allowed"], "the steward cannot open the twin again")
    return f"{opened['twin']['rows']} made-up rows without access; label public; withheld and opened by the steward"


# -- 3 ------------------------------------------------------------------------------------------------------------


def analyst_is_refused_and_asks(day: Day) -> str:
    """Opening a dataset without a grant is refused in words; the Datasets panel takes the request."""
    found = {d["name"]: d for d in day.open_server.panel("GET", "datasets")["datasets"]}
    expect(found[DATASET]["label"] == "confidential", "health/randhie is not confidential")
    cell = day.open_notebook.run(f"strongroom.open({DATASET!r})")
    expect(cell.status == "error", "reading without a grant was allowed")
    expect("Datasets panel" in cell.error, f"the refusal does not say how to ask: {cell.error}")
    expect("Traceback" not in cell.error, "the refusal shows a stack trace")
    unknown = day.open_notebook.run("strongroom.open('health/nothing')")
    expect(unknown.status == "error" and "health/nothing" in unknown.error, "an unknown dataset is not named")
    asked = day.open_server.panel(
        "POST",
        "access-requests",
        {"dataset": DATASET, "columns": COLUMNS, "purpose": "Does cost sharing lower visits?", "days": 90},
    )
    day.request = asked["id"]
    expect(asked["state"] == "submitted", f"the request is {asked['state']}")
    return f"refused with the way to ask; request {day.request} for {len(COLUMNS)} columns handed in"


# -- 4 ------------------------------------------------------------------------------------------------------------


def steward_grants(day: Day) -> str:
    """The requester cannot decide; the steward sees the context and grants 90 days with one column masked."""
    analyst, steward = day.person("analyst"), day.person("steward")
    analyst.open_console()
    decision = {
        "verdict": "approve", "days": 90, "columns": COLUMNS, "masks": {MASKED: "hash"}, "comment": "Fine for cardio.",
    }  # fmt: skip
    refused(lambda: analyst.console("POST", f"access-requests/{day.request}/decision", decision))
    steward.open_console()
    waiting = steward.console("GET", "access-requests", state="open")["access_requests"]
    expect(day.request in {r["id"] for r in waiting}, "the steward does not see the request")
    shown = steward.console("GET", f"access-requests/{day.request}")
    expect(bool(shown["context"]), "the request comes without its context")
    decided = steward.console("POST", f"access-requests/{day.request}/decision", decision)
    expect(decided["state"] == "approved" and decided["grant"]["masks"] == {MASKED: "hash"}, f"not granted: {decided}")
    refused(lambda: steward.console("POST", f"access-requests/{day.request}/decision", decision))
    return (
        f"self-approval and a second decision refused; granted until {decided['grant']['until'][:10]}, {MASKED} hashed"
    )


# -- 5 ------------------------------------------------------------------------------------------------------------


def analyst_reads(day: Day) -> str:
    """Only the granted columns, the masked one masked; label first; plot and table shown; 2 MB cut at the budget."""
    cell = day.run(
        f"d = strongroom.open({DATASET!r})\ndf = d.to_pandas()\n"
        "print(list(df.columns), len(df), d.label, d.to_polars().shape, d.arrow().num_rows)\n"
        "print(df['person_id'].iloc[0])"
    )
    expect(cell.seal.get("label") == "confidential", f"the cell that read is sealed {cell.seal.get('label')}")
    expect(
        str(sorted(COLUMNS)) == str(sorted(_first_list(cell.text))), f"other columns than granted: {cell.text[:300]}"
    )
    expect("20190" in cell.text, f"not all rows: {cell.text[:200]}")
    expect(day.open_server.panel("GET", "session")["label"] == "confidential", "the badge's label did not rise")
    grouped = day.run("df.groupby('lncoins')['mdvis'].mean().round(2).head()")
    expect(bool(grouped.text.strip()), "a group-by shows nothing")
    plot = day.run(
        "%matplotlib inline\nimport matplotlib.pyplot as plt\n"
        "_ = df.groupby('idp')['mdvis'].mean().plot.bar()\nplt.show()"
    )
    expect(bool(plot.images), "a plot does not show")
    flood = day.run(f"print('x' * {TWO_MEGABYTES})")
    expect(flood.received < TWO_MEGABYTES / 4, f"a print of 2 MB let {flood.received} bytes through")
    expect("policy.csv:" in flood.text, f"the notice names no rule: {flood.text[-300:]}")
    refused_columns = day.open_notebook.run(f"strongroom.open({DATASET!r}, columns=['hlthp'])")
    expect(refused_columns.status == "error", "a column that was not granted can be read")
    secret = day.open_notebook.run("strongroom.open('surveys/fair')")
    expect(secret.status == "error", "a label that the analyst is not cleared for can be read")
    return f"20190 rows, {len(COLUMNS)} columns; confidential; a 2 MB print cut to {flood.received} bytes, rule named"


def _first_list(text: str) -> list[str]:
    start, end = text.index("["), text.index("]")
    return [part.strip().strip("'\"") for part in text[start + 1 : end].split(",")]


# -- 6 ------------------------------------------------------------------------------------------------------------

PROBE = """
import os, socket
found = []
for family, address in ((socket.AF_INET, ("127.0.0.1", {port})), (socket.AF_INET6, ("::1", {port}))):
    try:
        socket.create_connection(address, 2) if family == socket.AF_INET else socket.socket(family).connect(address)
        found.append(f"network {{address}}")
    except OSError:
        pass
for place in ({places}):
    if os.path.exists(place):
        found.append(place)
found += [f"process {{p}}" for p in os.listdir("/proc") if p.isdigit() and int(p) > 50]
environment = " ".join([*os.environ, *os.environ.values()])
try:
    environment += open("/proc/self/environ").read()
except OSError:
    pass
secret = ("TOKEN", "CREDENTIAL", "SECRET", "API_")
found += [word + " in the environment" for word in secret if word in environment.upper()]
for root in ("/run", "/box", "/etc", "/opt/strongroom"):
    for folder, _, names in os.walk(root):
        if folder.count("/") > 6:
            continue
        if "site-packages" not in folder:
            found += [os.path.join(folder, n) for n in names if n.endswith((".pem", ".key", ".token", ".sqlite"))]
print("found:", found)
"""


def kernel_is_sealed(day: Day) -> str:
    """No socket leads out; other people's files, the host's processes and every key are out of sight."""
    port = int(day.instance.public_url.rstrip("/").rpartition(":")[2])
    places = [
        day.instance.data,
        day.instance.run,
        day.instance.vault_dir,
        day.instance.control_dir,
        "/etc/shadow",
        "/root",
    ]
    probe = day.run(PROBE.format(port=port, places=", ".join(repr(str(p)) for p in places)))
    expect("found: []" in probe.text, f"from inside the kernel: {probe.text}")
    shell = day.run("!id -u; cat /proc/1/environ | tr '\\0' '\\n' | head -3; ls /root /home 2>&1")
    expect("TOKEN" not in shell.text.upper(), f"a token is in sight: {shell.text}")
    return "no network, no host file or process, no key in sight"


# -- 7 ------------------------------------------------------------------------------------------------------------


def analyst_exports(day: Day) -> str:
    """A table goes into review after its checks; raw rows are blocked, a symlink and an early download are refused."""
    made = day.run(
        "table = df.groupby('idp')['mdvis'].agg(['mean', 'count']).round(2).reset_index()\n"
        "table.to_csv('table.csv', index=False)\nprint(open('table.csv').read())\n"
        "df.head(400).to_csv('rows.csv', index=False)\nimport os\nos.symlink('/etc/passwd', 'link.csv')"
    )
    expect(bool(made.text), "the table was not written")
    listed = {e["name"]: e for e in day.open_server.panel("GET", "work")["entries"]}
    expect("table.csv" in listed, f"table.csv is not in the panel: {sorted(listed)}")
    ask = {"paths": ["table.csv"], "justification": "Mean visits by plan for the cardio report."}
    refused(lambda: day.open_server.panel("POST", "exports", {**ask, "paths": ["link.csv"]}))
    raw = day.open_server.panel("POST", "exports", {**ask, "paths": ["rows.csv"]})
    expect(raw["state"] == "blocked", f"raw rows are {raw['state']}, not blocked")
    export = day.open_server.panel("POST", "exports", ask)
    day.export = export["id"]
    expect(export["state"] == "in_review", f"the export is {export['state']}: {export['files'][0]['findings']}")
    refused(lambda: day.open_server.panel("GET", f"exports/{day.export}/download"))
    vote = {"verdict": "approve", "comment": "Counts are large; means only."}
    refused(lambda: day.person("analyst").console("POST", f"exports/{day.export}/votes", vote))
    return (
        f"raw rows blocked, symlink refused; export {day.export} waits for review; no self-approval, no early download"
    )


def steward_reviews(day: Day) -> str:
    """The steward sees file, findings and cells, and approves; the analyst downloads those bytes, signed."""
    steward = day.person("steward")
    shown = steward.console("GET", f"exports/{day.export}")
    expect(any("to_csv" in (c.get("code") or "") for c in shown["cells"]), "the review does not show the cells")
    file = shown["files"][0]
    expect(bool(file["findings"]), "the review does not show the automatic checks")
    preview = steward.console("GET", f"exports/{day.export}/files/{file['sha256']}/preview")
    expect(preview["kind"] == "table" and preview["columns"][0] == "idp", f"no preview of the table: {preview}")
    vote = {"verdict": "approve", "comment": "Counts are large; means only."}
    voted = steward.console("POST", f"exports/{day.export}/votes", vote)
    expect(voted["state"] == "approved", f"after the approval the export is {voted['state']}")
    archive = zipfile.ZipFile(io.BytesIO(day.open_server.panel("GET", f"exports/{day.export}/download")))
    data, manifest = archive.read("table.csv"), archive.read("manifest.json")
    expect(hashlib.sha256(data).hexdigest() == file["sha256"], "the download is not the approved file")
    expect(json.loads(manifest)["files"][0]["sha256"] == file["sha256"], "the manifest names another file")
    key = load_pem_public_key((day.instance.public_dir / "control.pub.pem").read_bytes())
    if not isinstance(key, Ed25519PublicKey):
        raise TourError("control.pub.pem is not an Ed25519 key")
    key.verify(base64.b64decode(archive.read("manifest.json.sig")), manifest)
    return f"reviewed and approved; {len(data)} bytes downloaded, signature and hash hold"


# -- 8 ------------------------------------------------------------------------------------------------------------


def strongroom(day: Day, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command line as the operator would."""
    return subprocess.run(
        [str(Path(sys.executable).with_name("strongroom")), *arguments],
        env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "STRONGROOM_INSTANCE": str(day.instance.path)},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


EXPECTED_ACTIONS = {
    "hub:user:login", "hub:user:refuse-login", "hub:server:spawn", "server:kernel:start", "server:cell:begin",
    "server:cell:end", "control:read:deny", "control:access-request:submit", "control:access-request:approve",
    "control:grant:create", "control:read:allow", "control:label:raise", "control:export:submit",
    "control:export:block", "control:export:vote", "control:export:approve", "control:export:download",
    "control:dataset:twin",
}  # fmt: skip


def auditor_verifies(day: Day) -> str:
    """The whole day is in the log; it verifies offline; one changed byte is found and named."""
    auditor = day.person("auditor")
    auditor.open_console()
    entries: list[dict[str, Any]] = []
    before: int | None = None
    while True:
        page = auditor.console(
            "GET", "audit/entries", None, limit=200, **({} if before is None else {"before": before})
        )
        entries += page["entries"]
        before = page["next"]
        if before is None:
            break
    missing = EXPECTED_ACTIONS - {e["action"] for e in entries}
    expect(not missing, f"not in the log: {sorted(missing)}")
    reading = next(e for e in entries if e["action"] == "control:read:allow")
    expect(reading["actor"] == "user:analyst" and reading["project"] == PROJECT, f"who read is not told: {reading}")
    begin = next(e for e in entries if e["action"] == "server:cell:begin" and e["label"] == "confidential")
    code = auditor.console("GET", f"audit/entries/{begin['index']}")["payload"]
    expect(bool(code), "the auditor cannot see a cell's code")
    ends = [e for e in entries if e["action"] == "server:cell:end"]
    expect(any(e["detail"]["withheld"] > 0 for e in ends), "no cell tells what was withheld")
    verified = strongroom(day, "audit", "verify")
    expect(verified.returncode == 0, f"the log does not verify: {verified.stdout}{verified.stderr}")
    named = _forge_a_copy(day, reading["index"])
    return f"{len(entries)} entries, all steps among them; log verifies; a forged byte is found: {named}"


def _forge_a_copy(day: Day, index: int) -> str:
    copy = day.instance.data / "forged"
    exported = strongroom(day, "audit", "export", str(copy))
    expect(exported.returncode == 0, f"the log cannot be exported: {exported.stdout}{exported.stderr}")
    place = f'"index":{index},'.encode()
    bundle = next(
        file for file in (copy / "tile" / "entries").rglob("*") if file.is_file() and place in file.read_bytes()
    )
    content = bundle.read_bytes()
    at = content.rindex(b"user:analyst", 0, content.index(place)) + len(b"user:")
    bundle.write_bytes(content[:at] + b"b" + content[at + 1 :])
    forged = strongroom(day, "audit", "verify", "--directory", str(copy))
    shutil.rmtree(copy)
    said = forged.stdout + forged.stderr
    expect(forged.returncode == 1 and f"entry {index}" in said, f"the forged entry {index} is not named: {said}")
    return next(line for line in said.splitlines() if f"entry {index}" in line).strip()


# -- 9 ------------------------------------------------------------------------------------------------------------

BAN = "p, TOUR-1, *, read, health/randhie, *, , , denny, tour\n"


def admin_changes_policy(day: Day) -> str:
    """A broken file is refused with file and line and the old policy stays; a good one acts without a restart."""
    admin = day.person("admin")
    admin.open_console()
    file = day.instance.policy_dir / "policy.csv"
    before = file.read_text(encoding="utf-8")
    version = admin.console("GET", "policy")["version"]
    line = before.count("\n") + (0 if before.endswith("\n") else 1) + 1
    start = before if before.endswith("\n") else before + "\n"
    try:
        file.write_text(start + BAN, encoding="utf-8")
        checked = strongroom(day, "policy", "check", str(day.instance.policy_dir))
        expect(
            checked.returncode != 0 and f"policy.csv:{line}" in checked.stdout + checked.stderr,
            f"`policy check` accepts {BAN!r}",
        )
        state = _policy_until(admin, lambda p: p["state"] == "refused")
        expect(state["version"] == version, "a broken policy came into force")
        expect(any(p["line"] == line for p in state["problems"]), f"the console names no line: {state['problems']}")
        day.run(f"strongroom.open({DATASET!r}).columns")
        file.write_text(start + BAN.replace("denny", "deny"), encoding="utf-8")
        state = _policy_until(admin, lambda p: p["state"] == "in-force" and p["version"] != version)
        banned = day.open_notebook.run(f"strongroom.open({DATASET!r})")
        expect(
            banned.status == "error" and "TOUR-1" in banned.error,
            f"the new rule does not act: {banned.error or banned.text}",
        )
        withheld = day.open_notebook.run("print('a' * 100)")
        expect("a" * 100 not in withheld.text, "after the ban the next display still shows")
    finally:
        file.write_text(before, encoding="utf-8")
    _policy_until(admin, lambda p: p["version"] == version and p["state"] == "in-force")
    day.run(f"strongroom.open({DATASET!r}).columns")
    return f"broken row refused at policy.csv:{line}; the deny acted at once, on reading and on display; put back"


def _policy_until(admin: Person, held: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        state: dict[str, Any] = admin.console("GET", "policy")
        if held(state):
            return state
        time.sleep(0.3)
    raise TourError(f"the policy did not get there within 20 s: {state['state']}, {state['problems']}")


STEPS: tuple[Callable[[Day], str], ...] = (
    analyst_logs_in,
    analyst_tries_code_on_a_twin,
    analyst_is_refused_and_asks,
    steward_grants,
    analyst_reads,
    kernel_is_sealed,
    analyst_exports,
    steward_reviews,
    auditor_verifies,
    admin_changes_policy,
)


def walk(instance: Instance, accounts: dict[str, Account], say: Callable[[str], None]) -> None:
    """Walk through the day, saying each step in a line. Raises at the first step that is not as promised."""
    with ExitStack() as stack:
        day = Day(instance, accounts, stack)
        for number, step in enumerate(STEPS, 1):
            began = time.monotonic()
            name = step.__name__.replace("_", " ")
            try:
                told = step(day)
            except Problem as problem:
                raise TourError(f"step {number}, {name}: {' '.join(problem.lines())}") from problem
            except TourError as error:
                raise TourError(f"step {number}, {name}: {error}") from error
            say(f"{number}. {name}: {told} ({time.monotonic() - began:.1f} s)")
