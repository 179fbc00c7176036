"""One store for several users, and a store that can only be read: through the command line, as other users.

They need root, for other users and for mounting; else they are skipped, and say why.
"""

from __future__ import annotations

import os
import random
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import installml
from installml.api.session import Session
from installml.config import load
from installml.registry_server import RunningRegistry, start
from installml.spec.descriptor import Descriptor
from installml.spec.extents import Extent
from installml.store.disk import DiskStore
from tests.integration.disks import MIB, Mount, attempt
from tests.unsigned import UNSIGNED

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as other users and to mount")

WEIGHTS = random.Random(51).randbytes(6 * MIB + 4321)
BLOB = Descriptor.of(WEIGHTS, "application/octet-stream")
ANNE, BERT, GROUP = 54321, 54322, 54320
NOBODY = 65534
PROGRAM = """
import os, sys
from installml.cli.main import main
user, group, warm, *words = sys.argv[1:]
sys.argv = ["installml", *words, "--home", warm]
main(sys.argv[1:])  # as root: everything is imported now, from folders that only root may read
os.umask(0o002)
os.setgroups([])
os.setgid(int(group))
os.setuid(int(user))
sys.argv = ["installml", *words, "--home", os.environ["STORE"]]
sys.exit(main())
"""


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry's folder with two versions that share a file."""
    base = tmp_path_factory.mktemp("pushed")
    model = base / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(WEIGHTS)
    with start(base / "registry") as registry:
        for version in ("1.0.0", "2.0.0"):
            (model / "installml.yaml").write_text(f"name: acme/shared\nversion: {version}\n")
            tag = f"{registry.address}/acme/shared:{version}"
            installml.push(model, tag=tag, session=session_at(base / "home"))
    return base / "registry"


@pytest.fixture
def registry(pushed: Path) -> Iterator[RunningRegistry]:
    with start(pushed) as running:
        yield running


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder whose parents everybody may enter, for the group of Anne and Bert."""
    base = Path(tempfile.mkdtemp(prefix="shared-"))
    base.chmod(0o755)
    store = base / "store"
    store.mkdir()
    os.chown(store, 0, GROUP)
    store.chmod(0o2775)
    try:
        yield store
    finally:
        shutil.rmtree(base)


def session_at(home: Path) -> Session:
    return load({"home": str(home), "policy": UNSIGNED}, {"HOME": str(home)}, folder=home.parent).session()


Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Return a function that runs a command as somebody, on a store."""

    def as_user(store: Path, user: int, *words: str, group: int = GROUP) -> subprocess.CompletedProcess[str]:
        warm = tempfile.mkdtemp(dir=tmp_path)
        command = [sys.executable, "-c", PROGRAM, str(user), str(group), warm, *words]
        environ = {"STORE": str(store), "HOME": str(store.parent), "PATH": os.environ["PATH"]}
        policy = store.parent / "unsigned.toml"  # they may not read ours
        if not policy.exists():
            policy.write_text(Path(UNSIGNED).read_text())
        environ["INSTALLML_POLICY"] = str(policy)
        return subprocess.run(command, capture_output=True, text=True, timeout=120, env=environ, check=False)

    return as_user


def reference(registry: RunningRegistry, version: str = "1.0.0") -> str:
    return f"{registry.address}/acme/shared:{version}"


def served(registry: RunningRegistry) -> int:
    return sum(record.bytes_out for record in registry.requests if f"/blobs/{BLOB.digest}" in record.path)


def test_what_one_user_has_fetched_another_installs(registry: RunningRegistry, folder: Path, run: Run) -> None:
    fetched = run(folder, ANNE, "pull", reference(registry))
    assert fetched.returncode == 0, fetched.stderr
    before = served(registry)
    installed = run(folder, BERT, "install", reference(registry, "2.0.0"), "--no-runtime")
    assert installed.returncode == 0, installed.stderr
    assert served(registry) - before == len(WEIGHTS)  # the warm store's, and nothing for the shared one
    assert session_at(folder).store.blobs.path(BLOB.digest).stat().st_uid == ANNE


def test_what_one_user_began_another_finishes(registry: RunningRegistry, folder: Path, run: Run) -> None:
    """Anne's half is copied for Bert, who may not write to her file."""
    assert run(folder, ANNE, "pull", reference(registry, "2.0.0")).returncode == 0
    store = session_at(folder).store
    store.blobs.path(BLOB.digest).unlink()
    half = BLOB.size // 2
    leave_half(store.root, half)
    before = served(registry)
    done = run(folder, BERT, "pull", reference(registry))
    assert done.returncode == 0, done.stderr
    assert served(registry) - before == BLOB.size + BLOB.size - half  # the warm store's, and what lacks here
    assert store.blobs.path(BLOB.digest).read_bytes() == WEIGHTS
    assert [path for path in (folder / "ingest").iterdir() if path.name.startswith("sha256-")] == []


def leave_half(store: Path, size: int) -> None:
    """Begin a blob as Anne, in a process of her own that ends without finishing it."""
    child = os.fork()
    if child == 0:
        status = 1
        try:
            os.umask(0o002)
            os.setgroups([])
            os.setgid(GROUP)
            os.setuid(ANNE)
            place = DiskStore(store).repository("localhost", "anne")
            with place.assemble(BLOB, stopped=lambda: False, on_wait=print) as assembly:
                assert assembly is not None
                assembly.write(0, WEIGHTS[:size])
                assembly.keep(Extent(0, size))
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_a_collection_by_one_user_keeps_what_another_needs(registry: RunningRegistry, folder: Path, run: Run) -> None:
    assert run(folder, ANNE, "pull", reference(registry)).returncode == 0
    collected = run(folder, BERT, "cache", "gc")
    assert collected.returncode == 0, collected.stderr
    checked = run(folder, BERT, "cache", "verify")
    assert checked.returncode == 0, checked.stderr
    assert session_at(folder).store.blobs.path(BLOB.digest).read_bytes() == WEIGHTS


def test_what_is_in_the_store_cannot_be_written_to_by_others(registry: RunningRegistry, folder: Path, run: Run) -> None:
    assert run(folder, ANNE, "pull", reference(registry)).returncode == 0
    mode = session_at(folder).store.blobs.path(BLOB.digest).stat().st_mode
    assert not mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)


READING = {
    "list": ("list",),
    "info": ("info", "{ref}"),
    "info offline": ("info", "{ref}", "--offline"),
    "df": ("cache", "df"),
    "verify": ("cache", "verify"),
    "ps": ("ps",),
}
WRITING = {
    "pull": ("pull", "{ref}"),
    "install what is there": ("install", "{ref}", "--no-runtime"),
    "install another": ("install", "{other}", "--no-runtime"),
    "repair": ("cache", "repair"),
}


def spelt(words: tuple[str, ...], registry: RunningRegistry) -> list[str]:
    return [word.format(ref=reference(registry), other=reference(registry, "2.0.0")) for word in words]


@pytest.fixture
def read_only(registry: RunningRegistry, mounted: Mount) -> Path:
    """A store with the package, mounted read-only."""
    disk = mounted("tmpfs", "size=32m")
    installml.install(reference(registry), session=session_at(disk / "store"))
    attempt(["mount", "-o", "remount,ro", str(disk)])
    return disk / "store"


def on(store: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command as ourselves."""
    command = [sys.executable, "-m", "installml", *words, "--home", str(store), "--policy", UNSIGNED]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize("words", READING.values(), ids=READING.keys())
def test_a_store_mounted_read_only_can_be_read(
    words: tuple[str, ...], read_only: Path, registry: RunningRegistry
) -> None:
    done = on(read_only, *spelt(words, registry))
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("words", WRITING.values(), ids=WRITING.keys())
def test_who_would_write_to_a_store_mounted_read_only_is_told(
    words: tuple[str, ...], read_only: Path, registry: RunningRegistry
) -> None:
    done = on(read_only, *spelt(words, registry))
    assert done.returncode == 1
    assert f"{read_only} can only be read: read-only file system" in done.stderr
    assert "--home" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_package_is_copied_out_of_a_store_mounted_read_only(
    read_only: Path, registry: RunningRegistry, tmp_path: Path
) -> None:
    done = on(read_only, "copy", reference(registry), f"oci-layout:{tmp_path / 'layout'}")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "layout" / "blobs" / "sha256" / BLOB.digest.hex).read_bytes() == WEIGHTS


@pytest.mark.parametrize("words", READING.values(), ids=READING.keys())
def test_a_store_of_somebody_else_can_be_read(
    words: tuple[str, ...], registry: RunningRegistry, folder: Path, run: Run
) -> None:
    assert run(folder, ANNE, "pull", reference(registry)).returncode == 0
    done = run(folder, NOBODY, *spelt(words, registry), group=NOBODY)
    assert done.returncode == 0, done.stderr


def test_who_may_not_write_to_the_store_of_somebody_else_is_told(
    registry: RunningRegistry, folder: Path, run: Run
) -> None:
    assert run(folder, ANNE, "pull", reference(registry)).returncode == 0
    done = run(folder, NOBODY, "pull", reference(registry, "2.0.0"), group=NOBODY)
    assert done.returncode == 1
    assert f"{folder} can only be read: permission denied" in done.stderr
