"""The programs of other people that the integration tests run, and where each is found.

Here: one table of programs, the cache they lie in, and `need`, which skips a test or fails it where CI=true.
Not here: fetching and building them (`provision.py`), starting registries (`servers.py`).

Only the standard library is imported, so that `provision.py` runs before anything is installed.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

HERE = Path(__file__).resolve().parent


def cache() -> Path:
    """Return the folder outside the checkout that holds what `provision.py` fetched and built."""
    named = os.environ.get("INSTALLML_TEST_CACHE")
    return Path(named).resolve() if named else Path.home() / ".cache" / "installml-tests"


class Tool(Protocol):
    """A program the tests run but the project does not ship."""

    def path(self) -> Path | None:
        """Return the program's file, None when this machine lacks it."""

    def version(self) -> str:
        """Return the version that an interoperability table names."""


@dataclass(frozen=True, slots=True)
class GoTool:
    """A program built from the module that `go/<name>/go.mod` pins."""

    name: str
    module: str
    binary: str

    @property
    def source(self) -> Path:
        """The folder of the pinning module."""
        return HERE / "go" / self.name

    @property
    def home(self) -> Path:
        """The cache folder, named after the pins: changed pins are another folder, so they are built again."""
        pins = b"".join((self.source / name).read_bytes() for name in ("go.mod", "go.sum"))
        return cache() / self.name / hashlib.sha256(pins).hexdigest()[:16]

    def path(self) -> Path | None:
        return _file(self.home / self.binary)

    def version(self) -> str:
        pinned = re.search(rf"{re.escape(self.module)} v(\S+)", (self.source / "go.mod").read_text())
        return pinned.group(1) if pinned else "unknown"


@dataclass(frozen=True, slots=True)
class DebianTool:
    """A program of a Debian package: the machine's own, or one unpacked into the cache."""

    name: str
    package: str
    binary: str
    unpack: bool = False

    @property
    def home(self) -> Path:
        """The cache folder the package is unpacked into."""
        return cache() / self.name / "debian"

    def path(self) -> Path | None:
        return _on_path(self.binary) or _file(self.home / "usr" / "bin" / self.binary)

    def version(self) -> str:
        return _asked_version(self.path())


@dataclass(frozen=True, slots=True)
class PythonTool:
    """A Python package in a virtual environment of its own; its program is that environment's interpreter.

    `beside` are packages that it needs and does not name.
    """

    name: str
    package: str
    pinned: str
    beside: tuple[str, ...] = ()

    @property
    def home(self) -> Path:
        """The virtual environment."""
        return cache() / self.name / self.pinned

    def path(self) -> Path | None:
        return _file(self.home / "bin" / "python")

    def version(self) -> str:
        return self.pinned


@dataclass(frozen=True, slots=True)
class NodeTool:
    """A package of npm that `node/<name>/package-lock.json` pins; node runs the script beside it."""

    name: str
    package: str
    script: str

    @property
    def source(self) -> Path:
        """The folder of the pins and the script."""
        return HERE / "node" / self.name

    @property
    def home(self) -> Path:
        """The cache folder, named after the pins."""
        pins = (self.source / "package-lock.json").read_bytes()
        return cache() / self.name / hashlib.sha256(pins).hexdigest()[:16]

    def path(self) -> Path | None:
        """Return the script, None where node or the package is missing."""
        installed = _file(self.home / "node_modules" / self.package / "package.json")
        return self.source / self.script if installed and _on_path("node") else None

    def version(self) -> str:
        lock = json.loads((self.source / "package-lock.json").read_text())
        return str(lock["packages"][f"node_modules/{self.package}"]["version"])


@dataclass(frozen=True, slots=True)
class FoundTool:
    """A program that is used where the machine has it and that nothing here fetches."""

    name: str
    binary: str

    def path(self) -> Path | None:
        return _on_path(self.binary)

    def version(self) -> str:
        return _asked_version(self.path())


# Cheap ones first: this is the order in which provision.py fetches.
TOOLS: Mapping[str, GoTool | DebianTool | PythonTool | NodeTool | FoundTool] = {
    each.name: each
    for each in (
        DebianTool("distribution2", "docker-registry", "docker-registry", unpack=True),
        DebianTool("skopeo", "skopeo", "skopeo"),
        DebianTool("softhsm", "softhsm2", "softhsm2-util"),
        DebianTool("btrfs", "btrfs-progs", "mkfs.btrfs"),
        DebianTool("xfs", "xfsprogs", "mkfs.xfs"),
        PythonTool("oras-py", "oras", "0.2.43"),
        PythonTool("model-signing", "model-signing", "1.1.1", beside=("pyopenssl==26.4.0",)),
        NodeTool("sigstore-verify", "@sigstore/verify", "verify.cjs"),
        GoTool("crane", "github.com/google/go-containerregistry", "crane"),
        GoTool("oras", "oras.land/oras", "oras"),
        GoTool("regctl", "github.com/regclient/regclient", "regctl"),
        GoTool("distribution3", "github.com/distribution/distribution/v3", "registry"),
        GoTool("modctl", "github.com/modelpack/modctl", "modctl"),
        GoTool("notation", "github.com/notaryproject/notation", "notation"),
        GoTool("tesseract", "github.com/transparency-dev/tesseract", "posix"),
        GoTool("rekor", "github.com/sigstore/rekor-tiles/v2", "posix"),
        GoTool("tsa", "github.com/sigstore/timestamp-authority/v2", "timestamp-server"),
        GoTool("fulcio", "github.com/sigstore/fulcio", "fulcio"),
        GoTool("cosign", "github.com/sigstore/cosign/v3", "cosign"),
        FoundTool("zot", "zot"),
    )
}


def tool(name: str) -> Path | None:
    """Return the file of the named program, None when this machine lacks it."""
    return TOOLS[name].path()


def version(name: str) -> str:
    """Return the version of the named program."""
    return TOOLS[name].version()


def note(name: str) -> Path:
    """Return the file in which `provision.py` leaves why it could not bring the named program."""
    return cache() / name / "why"


def why_missing(name: str) -> str:
    """Return why the named program is not there, and what to type to get it."""
    if isinstance(TOOLS[name], FoundTool):
        return f"{name} is not on PATH and nothing here can fetch it"
    reason = note(name).read_text().strip() if note(name).exists() else "it was never set up"
    return f"{name}: {reason}; run: python tests/services/provision.py {name}"


def need(name: str) -> Path:
    """Return the named program; without it skip the running test, or fail it where CI=true.

    A program that nothing can fetch (zot) only ever skips.
    """
    found = tool(name)
    if found is None:
        import pytest

        required = os.environ.get("CI") == "true" and not isinstance(TOOLS[name], FoundTool)
        (pytest.fail if required else pytest.skip)(why_missing(name))
    return found


def _on_path(binary: str) -> Path | None:
    found = shutil.which(binary)
    return Path(found) if found else None


def _file(path: Path) -> Path | None:
    return path if path.is_file() else None


def _asked_version(path: Path | None) -> str:
    if path is None:
        return "missing"
    said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
    number = re.search(r"\d+\.\d+\S*", said.stdout + said.stderr)
    return number.group() if number else "unknown"
