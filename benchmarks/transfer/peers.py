"""Who is measured: the commands by which each pushes a folder and pulls it, as its users type them.

Every peer has a home of its own and only a small environment. What a peer leaves is looked at afterwards, so none
needs to be believed.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tests.services import programs

from . import registries
from .folders import Folder

HERE = Path(__file__).resolve().parent
_PROGRAM = str(Path(sys.executable).with_name("installml"))
OCTETS = "application/octet-stream"
HASH = "openssl sha256"
REFERENCE = "installml"
"""Peer whose artifact is pulled by those that make none of their own."""
Commands = list[list[str]]


@dataclass(frozen=True, slots=True)
class Job:
    """One transfer.

    Attributes:
        folder: What is moved.
        address: Registry, or a relay in front of it.
        home: The peer's own folder: stores, caches and what was prepared for it.
        into: Where a pull puts files.
        case: Distinguishes repositories of different folders.
    """

    folder: Folder
    address: str
    home: Path
    into: Path
    case: str

    def repository(self, peer: str) -> str:
        """Return the repository of a peer's artifact."""
        return f"bench/{self.case}/{peer}"

    def reference(self, peer: str) -> str:
        """Return the reference of a peer's artifact."""
        return f"{self.address}/{self.repository(peer)}:v1"

    @property
    def environment(self) -> Mapping[str, str]:
        """The whole environment of the peer's commands."""
        kept = {name: os.environ[name] for name in ("PATH", "OPENSSL_ia32cap", "GODEBUG") if name in os.environ}
        return {**kept, "HOME": str(self.home), "DOCKER_CONFIG": str(self.home), "TMPDIR": str(self.home)}


class Peer(Protocol):
    """A program that moves packages."""

    @property
    def name(self) -> str:
        """Its name in the table."""
        ...

    @property
    def owner(self) -> str:
        """The peer whose artifact it pulls: its own name if it pushes folders."""
        ...

    @property
    def pushes(self) -> bool:
        """Whether it pushes."""
        ...

    def missing(self) -> str:
        """Return why it cannot be run here; empty when it can."""
        ...

    def version(self) -> str:
        """Return its version."""
        ...

    def prepare(self, job: Job) -> None:
        """Make what a push needs, outside the measurement."""
        ...

    def push(self, job: Job) -> Commands:
        """Return the commands that push; none when it cannot."""
        ...

    def pull(self, job: Job) -> Commands:
        """Return the commands that pull; none when it cannot."""
        ...


@dataclass(frozen=True, slots=True)
class _Program:
    """A peer that is one program of ``tests/services/programs.py``."""

    name: str
    pushes: bool = True

    @property
    def owner(self) -> str:
        return self.name

    @property
    def binary(self) -> str:
        return str(programs.tool(self.name))

    def missing(self) -> str:
        return "" if programs.tool(self.name) else programs.why_missing(self.name)

    def version(self) -> str:
        return programs.version(self.name)

    def prepare(self, job: Job) -> None:
        """Nothing is needed."""


class Oras(_Program):
    """The oras CLI."""

    def push(self, job: Job) -> Commands:
        files = [f"{name}:{OCTETS}" for name in job.folder.files]
        return [[self.binary, "push", "--plain-http", "--no-tty", job.reference(self.name), *files]]

    def pull(self, job: Job) -> Commands:
        return [[self.binary, "pull", "--plain-http", "--no-tty", "-o", str(job.into), job.reference(self.name)]]


class Modctl(_Program):
    """modctl, straight from and to folders, without its local store: its fastest way."""

    def _own(self, job: Job) -> list[str]:
        return [self.binary, "--storage-dir", f"{job.home}/modctl", "--log-dir", f"{job.home}/logs", "--no-progress"]

    def prepare(self, job: Job) -> None:
        kinds = {".safetensors": "MODEL", ".bin": "MODEL", ".md": "DOC"}
        lines = [f"{kinds.get(Path(name).suffix, 'CONFIG')} {name}" for name in job.folder.files]
        (job.home / "Modelfile").write_text("\n".join(["NAME bench", *lines, ""]))

    def push(self, job: Job) -> Commands:
        flags = ["--output-remote", "--plain-http", "--raw", "-f", f"{job.home}/Modelfile"]
        return [[*self._own(job), "build", *flags, "-t", job.reference(self.name), str(job.folder.path)]]

    def pull(self, job: Job) -> Commands:
        flags = ["--plain-http", "--extract-from-remote", "--extract-dir", str(job.into)]
        return [[*self._own(job), "pull", *flags, job.reference(self.name)]]


class Regctl(_Program):
    """regctl's artifact commands."""

    def _own(self, job: Job) -> list[str]:
        return [self.binary, "--host", f"reg={job.address},tls=disabled"]

    def push(self, job: Job) -> Commands:
        files = [flag for name in job.folder.files for flag in ("-f", name, "-m", OCTETS)]
        kind = ["--artifact-type", "application/vnd.bench", "--file-title"]
        return [[*self._own(job), "artifact", "put", *kind, *files, job.reference(self.name)]]

    def pull(self, job: Job) -> Commands:
        return [[*self._own(job), "artifact", "get", "--output", str(job.into), job.reference(self.name)]]


class OrasPy(_Program):
    """oras-py, a library, driven by a few lines."""

    def push(self, job: Job) -> Commands:
        return [[self.binary, "-P", str(HERE / "oraspy.py"), "push", job.reference(self.name), *job.folder.files]]

    def pull(self, job: Job) -> Commands:
        return [[self.binary, "-P", str(HERE / "oraspy.py"), "pull", job.reference(self.name), str(job.into)]]


class Kit(_Program):
    """KitOps, where it is found on PATH: packs into its own store first, as its users must."""

    @property
    def binary(self) -> str:
        return str(shutil.which("kit"))

    def missing(self) -> str:
        return "" if shutil.which("kit") else "kit is not on PATH and nothing here can fetch it"

    def version(self) -> str:
        said = subprocess.run([self.binary, "version"], capture_output=True, text=True, timeout=30, check=False)
        return said.stdout.split("\n")[0].removeprefix("Version:").strip()

    def prepare(self, job: Job) -> None:
        code = [{"path": name} for name in job.folder.files]
        kitfile = {"manifestVersion": "1.0.0", "package": {"name": "bench"}, "code": code}
        (job.home / "Kitfile").write_text(json.dumps(kitfile))

    def push(self, job: Job) -> Commands:
        reference = job.reference(self.name)
        pack = [self.binary, "pack", str(job.folder.path), "-f", f"{job.home}/Kitfile", "-t", reference]
        return [pack, [self.binary, "push", "--plain-http", reference]]

    def pull(self, job: Job) -> Commands:
        return [[self.binary, "unpack", "--plain-http", "-o", "-d", str(job.into), job.reference(self.name)]]


class _Mover(_Program):
    """A mover of images: it pushes what it has pulled into a layout."""

    @property
    def owner(self) -> str:
        return REFERENCE

    def prepare(self, job: Job) -> None:
        """Give it our package as a layout, from which it pushes."""
        if not (job.home / "layout").exists():
            for command in self.pull_to(job, job.home / "layout"):
                subprocess.run(command, check=True, capture_output=True, env=dict(job.environment), timeout=1800)

    def pull(self, job: Job) -> Commands:
        return self.pull_to(job, job.into)

    def pull_to(self, job: Job, folder: Path) -> Commands:
        """Return the commands that pull to a folder."""
        raise NotImplementedError


class Skopeo(_Mover):
    """skopeo with its ``dir:`` form."""

    def pull_to(self, job: Job, folder: Path) -> Commands:
        source = f"docker://{job.reference(REFERENCE)}"
        return [[self.binary, "--insecure-policy", "copy", "-q", "--src-tls-verify=false", source, f"dir:{folder}"]]

    def push(self, job: Job) -> Commands:
        flags = ["--insecure-policy", "copy", "-q", "--dest-tls-verify=false"]
        return [[self.binary, *flags, f"dir:{job.home}/layout", f"docker://{job.reference(self.name)}"]]


class Crane(_Mover):
    """crane with OCI layouts."""

    def pull_to(self, job: Job, folder: Path) -> Commands:
        return [[self.binary, "pull", "--insecure", "--format", "oci", job.reference(REFERENCE), str(folder)]]

    def push(self, job: Job) -> Commands:
        return [[self.binary, "push", "--insecure", f"{job.home}/layout", job.reference(self.name)]]


@dataclass(frozen=True, slots=True)
class Curl:
    """curl, which checks nothing and is told every digest: the limit. The session of an upload is not measured."""

    name: str = "curl"
    hashed: bool = False
    parallel: int = 4

    @property
    def pushes(self) -> bool:
        return not self.hashed

    @property
    def owner(self) -> str:
        return REFERENCE

    def missing(self) -> str:
        return "" if shutil.which("curl") else "curl is not on PATH"

    def version(self) -> str:
        said = subprocess.run(["curl", "--version"], capture_output=True, text=True, timeout=30, check=False)
        return said.stdout.split()[1]

    def prepare(self, job: Job) -> None:
        sums = "".join(f"{digest}  {name}\n" for name, digest in job.folder.files.items())
        (job.home / "sums").write_text(sums)

    def push(self, job: Job) -> Commands:
        lines = ["fail", "silent", "show-error", f'header = "Content-Type: {OCTETS}"', 'header = "Expect:"']
        for name, digest in job.folder.files.items():
            url = registries.session(job.address, job.repository(self.name))
            joint = "&" if "?" in url else "?"
            lines += [f'upload-file = "{name}"', f'url = "{url}{joint}digest=sha256:{digest}"', 'output = "/dev/null"']
        return [self._command(job, "up", lines)]

    def pull(self, job: Job) -> Commands:
        lines = ["fail", "silent", "show-error", "create-dirs"]
        for name, digest in job.folder.files.items():
            url = f"http://{job.address}/v2/{job.repository(REFERENCE)}/blobs/sha256:{digest}"
            lines += [f'url = "{url}"', f'output = "{job.into}/{name}"']
        check = ["env", "--chdir", str(job.into), "sha256sum", "--check", "--quiet", str(job.home / "sums")]
        return [self._command(job, "down", lines), *([check] if self.hashed else [])]

    def _command(self, job: Job, name: str, lines: Sequence[str]) -> list[str]:
        """Write the options into a file: a thousand URLs are too many for some argument lists."""
        config = job.home / f"curl-{name}"
        several = ["parallel", f"parallel-max = {self.parallel}"] if len(job.folder.files) > 1 else []
        config.write_text("\n".join([*several, *lines, ""]))
        return ["curl", "--config", str(config)]


@dataclass(frozen=True, slots=True)
class Hash:
    """OpenSSL over the files, one core, in the place of a push or a pull: what it takes to hash them.

    Not ``sha256sum``, which uses no instructions for it in some distributions.
    """

    name: str = HASH
    pushes: bool = True

    @property
    def owner(self) -> str:
        return REFERENCE

    def missing(self) -> str:
        return "" if shutil.which("openssl") else "openssl is not on PATH"

    def version(self) -> str:
        said = subprocess.run(["openssl", "version"], capture_output=True, text=True, timeout=30, check=False)
        return said.stdout.split()[1]

    def prepare(self, job: Job) -> None:
        """Nothing is needed."""

    def push(self, job: Job) -> Commands:
        return self.pull(job)

    def pull(self, job: Job) -> Commands:
        return [["openssl", "dgst", "-sha256", *[str(job.folder.path / name) for name in job.folder.files]]]


@dataclass(frozen=True, slots=True)
class Ours:
    """``installml push FOLDER`` and ``installml pull``."""

    name: str = REFERENCE
    pushes: bool = True

    @property
    def owner(self) -> str:
        return REFERENCE

    def missing(self) -> str:
        return ""

    def version(self) -> str:
        from installml import __version__

        return __version__

    def prepare(self, job: Job) -> None:
        """Nothing is needed."""

    def push(self, job: Job) -> Commands:
        return [self.command(job, "push", str(job.folder.path), "-t", job.reference(REFERENCE))]

    def pull(self, job: Job) -> Commands:
        return [self.command(job, "pull", job.reference(REFERENCE))]

    def policy(self, job: Job) -> Path:
        """Return the trust policy of its commands: as the peers do, it asks for no signature."""
        return HERE / "unsigned.toml"

    def command(self, job: Job, verb: str, *arguments: str) -> list[str]:
        """Return a command line of ours."""
        flags = ["--quiet", "--insecure", "--home", str(job.into / "home"), "--policy", str(self.policy(job))]
        return [_PROGRAM, verb, *flags, *arguments]


class Signed(Ours):
    """``installml pull`` of a package that is signed: its signer is known, and its chunk index vouched for."""

    def prepare(self, job: Job) -> None:
        """Sign what was pushed, with a key of its own."""
        own = ["--quiet", "--insecure", "--home", str(job.home / "signer")]
        if not (job.home / "key.pem").exists():
            self._run(job, "keys", "generate", "bench", "--no-passphrase", *own)
            (job.home / "key.pem").write_text(self._run(job, "keys", "export", "bench", *own))
        # Whoever signs vouches only for chunks that they have compared with bytes of their own.
        self._run(job, "pull", job.reference(REFERENCE), "--policy", str(HERE / "unsigned.toml"), *own)
        self._run(job, "sign", job.reference(REFERENCE), "--key", "bench", *own)
        (job.home / "signed-at").write_text(job.address)

    def _run(self, job: Job, *words: str) -> str:
        done = subprocess.run(
            [_PROGRAM, *words], env=dict(job.environment), capture_output=True, text=True, timeout=1800, check=False
        )
        if done.returncode:
            raise RuntimeError(f"installml {words[0]}: {done.stderr[-300:]}")
        return done.stdout

    def policy(self, job: Job) -> Path:
        """Trust the key, whatever address the registry is reached by."""
        from installml.trust.keys import PublicKey

        key = PublicKey.parse((job.home / "key.pem").read_text())
        lines = [
            "[[rules]]",
            f'prefix = "{job.address}"',
            f'mirror_of = "{(job.home / "signed-at").read_text()}"',
            f'signers = [{{ key = "{key.fingerprint}" }}]',
        ]
        path = job.home / "policy.toml"
        path.write_text("\n".join([*lines, ""]))
        return path

    def push(self, job: Job) -> Commands:
        return []


PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        Ours(),
        Signed("installml, signed index", pushes=False),
        Oras("oras"),
        Modctl("modctl"),
        Kit("kit"),
        Regctl("regctl"),
        OrasPy("oras-py"),
        Skopeo("skopeo"),
        Crane("crane"),
        Curl(),
        Curl("curl + sha256sum", hashed=True),
        Hash(),
    )
}
LIMITS = ("curl", "curl + sha256sum", HASH)
OURS = (REFERENCE, "installml, signed index")
MOVERS = tuple(peer.name for peer in PEERS.values() if isinstance(peer, _Mover))
"""They push from a layout whose digests are known, not from a folder: no match for those that must hash."""
