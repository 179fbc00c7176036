"""``doctor``: what is wrong with this machine, or with a registry, in words, and what to type.

Each check looks at one thing and reports; none changes anything but a probe file that it removes.
"""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from ..errors import InstallMLError, UsageError
from ..machines.probe import free_space
from ..registry.errors import Offline
from ..registry.sites import canonical_host, is_loopback
from ..runtime.interpreter import choose
from ..spec.units import format_size
from ..store.files import disk_errors, unique_suffix, write_whole
from ..store.materialise import WAYS, How
from .results import DoctorFinding, DoctorReport
from .session import AMBIENT, Session

__all__ = ["doctor"]

_LOW_DISK = 5 << 30  # bytes below which the next model will probably not fit


def doctor(registry: str = "", *, write: bool = False, session: Session = AMBIENT) -> DoctorReport:
    """Look at everything that the other verbs rely on, or at one registry.

    Args:
        registry: A registry's host, with a repository for what can only be seen there: ``HOST`` or ``HOST/REPOSITORY``;
            this machine when left out.
        write: Push a few small things into that repository to see what it takes, and remove them.
        session: Collaborators.

    Returns:
        One finding a check; ``problem`` means that some verb will fail.

    Raises:
        UsageError: ``write`` without a repository, or no registry's host.
        Offline: A registry is named, and the network is not to be used.
    """
    if registry or write:
        return DoctorReport(tuple(_of_registry(registry, write, session)))
    return DoctorReport(tuple(finding for check in CHECKS for finding in _guarded(check, session)))


def _of_registry(text: str, write: bool, session: Session) -> Iterator[DoctorFinding]:
    from ..registry.examine import examine

    host, _, repository = text.partition("/")
    if not host or (write and not repository):
        raise UsageError(
            "writing needs a repository that may be written to", hint="installml doctor HOST/REPOSITORY --write"
        )
    if session.offline and not is_loopback(host):
        raise Offline(f"{host} cannot be looked at without the network", subject=host)
    opened = session.open_registry_as(canonical_host(host), session.credentials)
    for found in examine(opened, repository, write=write, now=session.clock()):
        yield DoctorFinding(found.check, found.state, found.message, found.hint)


def _guarded(check: Callable[[Session], Iterator[DoctorFinding]], session: Session) -> list[DoctorFinding]:
    name = check.__name__.strip("_").replace("_", " ")
    try:
        with disk_errors(session.home):
            return list(check(session))
    except InstallMLError as error:
        return [DoctorFinding(name, "problem", error.message, error.hint)]


def _python(_: Session) -> Iterator[DoctorFinding]:
    version = ".".join(map(str, sys.version_info[:3]))
    yield DoctorFinding("python", "ok", f"Python {version} at {sys.executable}")


def _store(session: Session) -> Iterator[DoctorFinding]:
    probe = session.home / f".doctor.{unique_suffix()}"
    write_whole(probe, b"x")
    probe.unlink()
    free = free_space(session.home)
    state, hint = ("ok", "") if free > _LOW_DISK else ("warning", "installml cache df; installml cache gc")
    yield DoctorFinding("store", state, f"{session.home} is writable, {format_size(free)} free", hint)


def _links(session: Session) -> Iterator[DoctorFinding]:
    """Try which way of sharing bytes the store's file system has."""
    folder = session.home / f".doctor.{unique_suffix()}"
    folder.mkdir(parents=True)
    try:
        (folder / "blob").write_bytes(b"x")
        able = [way.value for way in How if _tries(WAYS[way], folder / "blob", folder / way.value)]
    finally:
        shutil.rmtree(folder)
    single = any(way in able for way in (How.REFLINK, How.HARDLINK, How.SYMLINK))
    message = f"models are laid out by {able[0]}" if able else "files cannot be laid out"
    hint = "" if single else "Each installed model takes its size twice; put the store on another file system."
    yield DoctorFinding("links", "ok" if single else "warning", message, hint)


def _tries(way: Callable[[Path, Path], object], blob: Path, target: Path) -> bool:
    try:
        way(blob, target)
    except OSError:
        return False
    return True


def _uv(session: Session) -> Iterator[DoctorFinding]:
    interpreter = choose("", session.index)
    yield DoctorFinding("runtimes", "ok", f"uv makes environments with Python {interpreter.version}")


def _registry(session: Session) -> Iterator[DoctorFinding]:
    if not session.default_registry:
        yield DoctorFinding(
            "default registry",
            "warning",
            "none is set: bare names mean packages built on this machine",
            "export INSTALLML_REGISTRY=REGISTRY/NAMESPACE",
        )
        return
    host = session.qualify("x").registry
    if session.offline:
        yield DoctorFinding("default registry", "warning", f"{host} was not asked: offline", "")
        return
    session.open_registry_as(host, session.credentials).ping()
    yield DoctorFinding("default registry", "ok", f"{host} answers")


def _credentials(session: Session) -> Iterator[DoctorFinding]:
    host = session.qualify("x").registry if session.default_registry else ""
    known = bool(host) and session.credentials.find(host) is not None
    message = f"credentials for {host} were found" if known else "no credentials for a default registry"
    yield DoctorFinding("credentials", "ok", message)


def _machine(session: Session) -> Iterator[DoctorFinding]:
    machine = session.machine()
    gpus = ", ".join(f"{g.name} ({format_size(g.memory)})" for g in machine.accelerators) or "no accelerator"
    yield DoctorFinding(
        "hardware", "ok", f"{machine.arch}, {machine.cores} cores, {format_size(machine.memory)} memory, {gpus}"
    )


def _time(session: Session) -> Iterator[DoctorFinding]:
    sane = session.clock() > 1_700_000_000
    message = "the clock is plausible" if sane else "the clock is years behind; TLS and tokens will fail"
    yield DoctorFinding("clock", "ok" if sane else "problem", message, "" if sane else "Set the system's time.")


def _user(session: Session) -> Iterator[DoctorFinding]:
    foreign = session.home.exists() and hasattr(os, "getuid") and session.home.stat().st_uid != os.getuid()
    if foreign:
        yield DoctorFinding(
            "owner", "warning", f"{session.home} belongs to another user", "Choose your own with INSTALLML_HOME."
        )


CHECKS = (_python, _store, _user, _links, _uv, _machine, _registry, _credentials, _time)
