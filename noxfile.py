# /// script
# dependencies = ["nox>=2025.5.1", "uv>=0.9"]
# ///
"""Everything that is checked, in one command: ``pip install nox && nox``.

Sessions share what they can: uv makes their environments, so a new machine downloads each wheel once.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "uv|virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["lint", "tests", "docs", "integration", "wheel"]
nox.options.error_on_missing_interpreters = True

PROJECT = nox.project.load_toml("pyproject.toml")
TEST = nox.project.dependency_groups(PROJECT, "test")
LINT = nox.project.dependency_groups(PROJECT, "lint")
CI = bool(os.environ.get("CI"))


def _install(session: nox.Session, *groups: list[str]) -> None:
    """Install the project and the groups, again when the network fails in the middle."""
    wanted = ["-e", ".", *(requirement for group in groups for requirement in group)]
    for attempt in range(3):
        try:
            session.install(*wanted)
        except nox.command.CommandFailed:
            if attempt == 2:
                raise
            session.log("installing failed; trying again")
        else:
            return


@nox.session
def lint(session: nox.Session) -> None:
    """Format, lint, types and architecture."""
    _install(session, LINT)
    session.run("ruff", "format", "--check", ".")
    session.run("ruff", "check", ".")
    session.run("mypy")
    session.run("lint-imports", "--no-cache")


@nox.session
def tests(session: nox.Session) -> None:
    """Unit, contract, property, golden and architecture tests: real HTTP on loopback, nothing outside."""
    _install(session, TEST, LINT)
    folders = [f"tests/{name}" for name in ("unit", "contract", "property", "golden", "architecture")]
    session.run("pytest", "-n", "auto", "--dist", "loadscope", *(session.posargs or folders))


@nox.session
def docs(session: nox.Session) -> None:
    """Every command documented, every block run, generated pages up to date."""
    _install(session, TEST)
    session.run("pytest", *(session.posargs or ["tests/docs"]))


@nox.session
def integration(session: nox.Session) -> None:
    """Real registries, other people's clients, real runtimes."""
    _install(session, TEST)
    session.run("python", "tests/services/provision.py", *(["--require"] if CI else []))
    session.run("pytest", *(session.posargs or ["tests/integration", "tests/interop"]))


@nox.session
def wheel(session: nox.Session) -> None:
    """The built wheel in a clean environment: its two first commands, and the demo from it."""
    session.install("build[uv]")
    out = Path(session.create_tmp()) / "dist"
    shutil.rmtree(out, ignore_errors=True)
    session.run("python", "-m", "build", "--installer", "uv", "--wheel", "--outdir", str(out))
    (built,) = out.glob("*.whl")
    clean = Path(session.create_tmp()) / "clean"
    shutil.rmtree(clean, ignore_errors=True)
    session.run("uv", "venv", "--quiet", str(clean), "--python", sys.executable, external=True)
    python = clean / "bin" / "python"
    session.run("uv", "pip", "install", "--quiet", "--python", str(python), str(built), external=True)
    home = Path(session.create_tmp()) / "home"
    shutil.rmtree(home, ignore_errors=True)
    environment = {"INSTALLML_HOME": str(home), "HOME": str(home)}
    command = str(python.parent / "installml")
    session.run(command, "--version", external=True)
    session.run(command, "demo", env=environment, external=True)
    session.run(command, "ps", "--format", "json", env=environment, external=True)


@nox.session(default=False)
def bench(session: nox.Session) -> None:
    """Tables of benchmarks/, on an otherwise idle machine: all, or ``nox -s bench -- transfer --size 128M``."""
    _install(session, TEST)
    name, *options = session.posargs or [""]
    if name in ("", "transfer"):
        session.run("python", "tests/services/provision.py")
    for each in [name] if name else ["startup.py", "transfer", "scale.py"]:
        session.run("python", f"benchmarks/{each}", *options)
