"""Bring the programs that the integration tests run: `python tests/services/provision.py [name ...]`.

Here: fetching, building, unpacking into `programs.cache()`, and saying what could not be brought and why. Not
here: the table of programs (`programs.py`) and their use (`servers.py`).

Only the standard library; may be run again and by several at once. A part that this machine cannot have (no root,
no Go, no network) is a line of the report; with `--require`, the default where CI=true, it is exit code 1.
"""

from __future__ import annotations

import argparse
import fcntl
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.services.programs import TOOLS, DebianTool, FoundTool, GoTool, NodeTool, PythonTool, cache, note
else:
    from programs import TOOLS, DebianTool, FoundTool, GoTool, NodeTool, PythonTool, cache, note  # run as a script

PAUSES = (2, 8)
"""Seconds before the second and the third attempt."""
COMMAND_SECONDS = 1800


class Skipped(Exception):
    """This machine cannot have the part; the message says why."""


def bring(tool: GoTool | DebianTool | PythonTool | NodeTool | FoundTool) -> None:
    """Fetch or build one program, unless it is there.

    Raises:
        Skipped: this machine cannot have it.
    """
    if tool.path() is not None:
        return
    with _locked(tool.name):
        if tool.path() is not None:  # another process brought it meanwhile
            return
        match tool:
            case GoTool():
                _build(tool)
            case DebianTool(unpack=True):
                _unpack(tool)
            case DebianTool():
                _install(tool)
            case PythonTool():
                _environment(tool)
            case NodeTool():
                _packages(tool)
            case FoundTool():
                raise Skipped("not on PATH, and nothing here can fetch it")
    if tool.path() is None:
        raise Skipped("everything went well and the program is not there")


def _build(tool: GoTool) -> None:
    go = _command("go", "no Go")
    with _staged(tool.home) as staging:
        # "tool" stands for the programs that go.mod names; readonly: nothing but the pinned versions
        flags = ["-p", "2", "-mod=readonly", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w"]
        _attempt(
            [*_nice(), go, "build", *flags, "-o", f"{staging}{os.sep}", "tool"],
            directory=tool.source,
            environment={"CGO_ENABLED": "0", "GOWORK": "off"},
        )
    for older in tool.home.parent.iterdir():
        if older.is_dir() and older != tool.home:
            shutil.rmtree(older, ignore_errors=True)


def _unpack(tool: DebianTool) -> None:
    """Unpack a package without installing it: installed, it would start its service."""
    apt, dpkg = _command("apt-get", "no apt"), _command("dpkg-deb", "no apt")
    if os.geteuid() == 0:
        _attempt([apt, "update", "-qq"])
    with _staged(tool.home) as staging, tempfile.TemporaryDirectory() as folder:
        _attempt([apt, "download", "-qq", tool.package], directory=Path(folder))
        for archive in Path(folder).glob("*.deb"):
            _attempt([dpkg, "--extract", str(archive), str(staging)])


def _install(tool: DebianTool) -> None:
    apt = _command("apt-get", "no apt")
    if os.geteuid() != 0:
        raise Skipped("no root")
    wait = ["-o", "DPkg::Lock::Timeout=300"]
    _attempt([apt, "update", "-qq"])
    _attempt(
        [apt, "install", "-y", "-qq", "--no-install-recommends", *wait, tool.package],
        environment={"DEBIAN_FRONTEND": "noninteractive"},
    )


def _environment(tool: PythonTool) -> None:
    with _staged(tool.home) as staging:
        _attempt([sys.executable, "-m", "venv", str(staging)])
        pip = [str(staging / "bin" / "python"), "-m", "pip", "--disable-pip-version-check"]
        _attempt([*pip, "install", "--quiet", f"{tool.package}=={tool.pinned}", *tool.beside])


def _packages(tool: NodeTool) -> None:
    _command("node", "no node")
    npm = _command("npm", "no npm")
    with _staged(tool.home) as staging:
        for name in ("package.json", "package-lock.json"):
            shutil.copy(tool.source / name, staging)
        # scripts of packages are not run: nothing here needs them, and they could do anything
        _attempt([npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"], directory=staging)


def _command(name: str, lacking: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise Skipped(lacking)
    return found


def _nice() -> list[str]:
    found = shutil.which("nice")
    return [found, "-n", "10"] if found else []


def _attempt(
    command: Sequence[str], *, directory: Path | None = None, environment: Mapping[str, str] | None = None
) -> None:
    """Run a command up to three times: most failures here are downloads."""
    complaint = ""
    for pause in (*PAUSES, None):
        try:
            done = subprocess.run(
                command,
                cwd=directory,
                env={**os.environ, **(environment or {})},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=COMMAND_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise Skipped(f"{Path(command[0]).name} took more than {COMMAND_SECONDS} s") from None
        if done.returncode == 0:
            return
        complaint = _last_line(done.stderr) or _last_line(done.stdout) or f"exit code {done.returncode}"
        if pause is not None:
            time.sleep(pause)
    raise Skipped(f"download or build failed: {complaint}")


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""


@contextmanager
def _staged(home: Path) -> Iterator[Path]:
    """Give a folder beside the final one, and rename it when everything in it is done."""
    home.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix="staging-", dir=home.parent))
    try:
        yield staging
        staging.chmod(0o755)
        if home.exists():  # an earlier one that lacks its program
            shutil.rmtree(home)
        staging.rename(home)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


@contextmanager
def _locked(name: str) -> Iterator[None]:
    """Let one process at a time bring a part. apt-get has one set of lists for all parts, and a lock of its own."""
    folder = cache() / name
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def report(name: str) -> bool:
    """Bring one part and print one line about it."""
    print(f"{name}: ", end="", flush=True)
    start = time.monotonic()
    why = note(name)
    try:
        bring(TOOLS[name])
    except Skipped as reason:
        why.parent.mkdir(parents=True, exist_ok=True)
        why.write_text(f"{reason}\n")
        print(f"skipped: {reason}", flush=True)
        return False
    why.unlink(missing_ok=True)
    print(f"ready ({TOOLS[name].version()}, {time.monotonic() - start:.0f} s)", flush=True)
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Bring the named parts, all by default; return the exit code."""
    fetched = [name for name, tool in TOOLS.items() if not isinstance(tool, FoundTool)]
    parser = argparse.ArgumentParser(description="Bring the programs that the integration tests run.")
    parser.add_argument("names", nargs="*", metavar="name", help=f"one of {', '.join(fetched)}; all by default")
    parser.add_argument(
        "--require",
        action="store_true",
        default=os.environ.get("CI") == "true",
        help="exit with 1 if a part is missing (default where CI=true)",
    )
    options = parser.parse_args(arguments)
    unknown = sorted(set(options.names) - set(fetched))
    if unknown:
        parser.error(f"unknown: {', '.join(unknown)}; known: {', '.join(fetched)}")
    ready = [report(name) for name in options.names or fetched]
    return int(options.require and not all(ready))


if __name__ == "__main__":
    sys.exit(main())
