"""What the tests of this folder stand on: the difficult package, registries that have it, other people's programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from installml import config
from installml.api.build import build
from installml.api.install import install
from installml.api.push import push
from installml.api.results import InstallResult
from installml.api.session import Session
from installml.digest import Digest
from installml.registry_server import start
from tests.interop.table import REGISTRIES
from tests.services import tools
from tests.unsigned import UNSIGNED

__all__ = [
    "FILES",
    "HARD",
    "LOCKED",
    "STARTERS",
    "TAG",
    "Ground",
    "Packages",
    "Programs",
    "ground",
    "installed",
    "packages",
    "runnable",
    "session_at",
    "tree",
    "write",
]

HARD, LOCKED, TAG = "acme/hard", "acme/locked", "1.0.0"
SCRIPT = "run.sh"
FILES: Mapping[str, bytes] = {
    "README.md": b"# A difficult package\n",
    "LICENSE": b"Do what you like.\n",
    ".hidden/notes.txt": b"in a dot folder\n",
    "name with a space.txt": b"spaces\n",
    "na\u00efve-\u6a21\u578b.json": b'{"script": "another"}\n',
    "empty.txt": b"",
    SCRIPT: b"#!/bin/sh\nexit 0\n",
    "src/deep/er/code.py": b"ANSWER = 42\n",
    "weights/model.safetensors": bytes(range(256)) * (5 << 12),  # 5 MiB
}
RECIPE = "name: {name}\nversion: 1.0.0\nlicense: Apache-2.0\ndescription: difficult on purpose\nruntime: {runtime}\n"
PINS = (("numpy==2.3.5", "a"), ("onnxruntime==1.23.2", "b"))
LOCK = "".join(f"{pin} \\\n    --hash=sha256:{letter * 64}\n" for pin, letter in PINS).encode()

STARTERS: Mapping[str, Callable[[], AbstractContextManager[Any]]] = dict(
    zip(REGISTRIES, (tools.distribution2, tools.distribution3, tools.ggcr, start), strict=True)
)


def write(folder: Path, files: Mapping[str, bytes]) -> Path:
    """Lay files out; the script may be run."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        path.chmod(0o755 if name == SCRIPT else 0o644)
    return folder


def tree(folder: Path | str) -> dict[str, bytes]:
    """Return every file below a folder."""
    root = Path(folder)
    return {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def runnable(folder: Path | str) -> set[str]:
    """Return the files below a folder that their owner may run."""
    root = Path(folder)
    return {str(p.relative_to(root)) for p in root.rglob("*") if p.is_file() and p.stat().st_mode & 0o100}


def session_at(folder: Path) -> Session:
    """Return collaborators with a store in ``folder`` that know nothing of whoever runs the tests."""
    return config.load(
        {"home": str(folder / "store"), "policy": UNSIGNED}, {"HOME": str(folder)}, folder=folder
    ).session()


@dataclass(frozen=True, slots=True)
class Packages:
    """Both packages in one local store.

    Attributes:
        session: Collaborators whose store has them.
        digests: By name.
        trees: By name: every file, the generated ones among them.
    """

    session: Session
    digests: Mapping[str, Digest]
    trees: Mapping[str, Mapping[str, bytes]]


def packages(folder: Path) -> Packages:
    """Build the difficult package, and one with a lock."""
    session = session_at(folder)
    locked = {"model.onnx": b"\x08\x07", "requirements.txt": LOCK}
    runtime = "{engine: onnxruntime, model: model.onnx, requirements: requirements.txt}"
    recipes = {HARD: (FILES, "{engine: none}"), LOCKED: (locked, runtime)}
    digests, trees = {}, {}
    for name, (files, wanted) in recipes.items():
        recipe = RECIPE.format(name=name, runtime=wanted).encode()
        source = write(folder / name, {**files, "installml.yaml": recipe})
        digests[name] = build(source, session=session).digest
        trees[name] = tree(installed(f"{name}:{TAG}", session).path)
        assert set(trees[name]) > {*files, "installml.yaml", ".installml/runtime.json"}
    return Packages(session, digests, trees)


def installed(reference: str, session: Session) -> InstallResult:
    """Install without a runtime environment, which would need an index, and although its files are not real models."""
    return install(reference, runtime=False, block="never", session=session)


@dataclass(frozen=True, slots=True)
class Ground:
    """A registry that has both packages.

    Attributes:
        kind: One of ``table.REGISTRIES``.
        address: Host and port.
        packages: What was pushed there.
    """

    kind: str
    address: str
    packages: Packages

    def reference(self, name: str = HARD) -> str:
        """Return the reference of a package here."""
        return f"{self.address}/{name}:{TAG}"


@contextmanager
def ground(kind: str, built: Packages) -> Iterator[Ground]:
    """Run a registry and push both packages to it."""
    with STARTERS[kind]() as server:
        here = Ground(kind, server.address, built)
        for name, digest in built.digests.items():
            assert push(f"{name}:{TAG}", here.reference(name), session=built.session).digest == digest
        yield here


@dataclass(frozen=True, slots=True)
class Programs:
    """Runs other people's programs, with a home folder of their own."""

    home: Path

    def run(self, name: str, *arguments: object, cwd: Path | None = None) -> bytes:
        """Return what a program that must succeed writes to standard output."""
        done = self.attempt(name, *arguments, cwd=cwd)
        assert done.returncode == 0, f"{name} {arguments}: {done.stdout!r} {done.stderr!r}"
        return done.stdout

    def attempt(self, name: str, *arguments: object, cwd: Path | None = None) -> subprocess.CompletedProcess[bytes]:
        """Run a program to its end."""
        environment = {"PATH": os.environ["PATH"], "HOME": str(self.home), "DOCKER_CONFIG": str(self.home)}
        command = [str(tools.need(name)), *map(str, arguments)]
        return subprocess.run(
            command, capture_output=True, cwd=cwd or self.home, env=environment, timeout=120, check=False
        )

    def skopeo(self, verb: str, *arguments: object) -> bytes:
        """Run skopeo without a policy file and over plain http."""
        plain = {
            "copy": ("--src-tls-verify=false", "--dest-tls-verify=false"),
            "inspect": ("--tls-verify=false",),
        }[verb]
        return self.run("skopeo", "--insecure-policy", verb, *plain, *arguments)

    def modctl(self, verb: str, *arguments: object) -> bytes:
        """Run modctl with its store and its logs in our folder."""
        own = ("--storage-dir", self.home / "modctl", "--log-dir", self.home / "logs", "--no-progress")
        return self.run("modctl", *own, verb, *arguments)

    def regctl(self, address: str, *arguments: object) -> bytes:
        """Run regctl after telling it that a registry speaks plain http."""
        self.run("regctl", "registry", "set", "--tls", "disabled", "--skip-check", address)
        return self.run("regctl", *arguments)
