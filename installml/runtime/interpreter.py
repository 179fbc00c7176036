"""Which Python runs a package: the one that runs us if it will do, else one that is already installed.

An interpreter is never downloaded: that is the user's decision, and the error says how to take it.
"""

from __future__ import annotations

import json
import platform
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import uv
from .errors import PythonMissing, RuntimeFailed
from .index import Index
from .requirement import lowest_python, python_allows

__all__ = ["Interpreter", "choose", "installed", "running"]


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python on this machine.

    Attributes:
        path: What to start.
        version: Full version, such as ``3.11.7``.
        platform: Implementation, system, architecture and C library, such as ``cpython-linux-x86_64-gnu``: what
            decides which wheels fit.
    """

    path: Path
    version: str
    platform: str


def choose(specifier: str, index: Index) -> Interpreter:
    """Return the interpreter for a package.

    Args:
        specifier: What the package allows (PEP 440); empty for any.
        index: For uv's environment.

    Raises:
        RequirementInvalid: The specifier is none.
        PythonMissing: No installed interpreter is allowed; names what is needed and what is there.
    """
    ours = running()
    if python_allows(specifier, ours.version):
        return ours
    others = installed(index)
    for other in others:
        if python_allows(specifier, other.version):
            return other
    known = ", ".join(dict.fromkeys(i.version for i in (ours, *others)))
    raise PythonMissing(
        f"the package needs Python {specifier}; installed are {known}",
        hint=f"python -m uv python install {lowest_python(specifier)}",
        subject=specifier,
    )


def running() -> Interpreter:
    """Return the interpreter of this process."""
    libc = platform.libc_ver()[0] or "musl"
    system = {"darwin": "macos"}.get(sys.platform, sys.platform)
    words = (
        sys.implementation.name,
        system,
        {"arm64": "aarch64"}.get(platform.machine(), platform.machine()),
        "none" if system == "macos" else libc.replace("glibc", "gnu"),
    )
    return Interpreter(Path(sys.executable), platform.python_version(), "-".join(words))


def installed(index: Index) -> list[Interpreter]:
    """Return the interpreters that uv finds, newest first; free-threaded and other special builds are left out."""
    with tempfile.TemporaryDirectory(prefix="installml-python-") as folder:
        text = uv.run(["python", "list", "--only-installed", "--output-format", "json"], index, folder=Path(folder))
    try:
        return [_interpreter(row) for row in json.loads(text) if row["path"] and row["variant"] == "default"]
    except (ValueError, KeyError, TypeError) as error:
        raise RuntimeFailed("uv listed the interpreters in a way that is not understood") from error


def _interpreter(row: dict[str, Any]) -> Interpreter:
    words = (row["implementation"], row["os"], row["arch"], row["libc"])
    return Interpreter(Path(row["path"]), str(row["version"]), "-".join(map(str, words)))
