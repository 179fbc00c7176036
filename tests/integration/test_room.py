"""Pulls onto disks that are too small: refused before anything is fetched, or stopped in the middle and gone on with.

They need the right to mount; else they are skipped, and say why.
"""

from __future__ import annotations

import os
import random
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

import installml
from installml.api.session import Session
from installml.config import load
from installml.errors import DiskFull, HardwareError, InstallMLError
from installml.events import BlobProgress, Event, Listener, ignore
from installml.machines.machine import Machine
from installml.machines.probe import probe
from installml.registry_server import RunningRegistry, start
from installml.spec.descriptor import Descriptor
from installml.testing import faults as f
from tests.integration.disks import MIB, Mount, attempt, fill
from tests.unsigned import UNSIGNED

WEIGHTS = random.Random(31).randbytes(12 * MIB + 4321)
BLOB = Descriptor.of(WEIGHTS, "application/octet-stream")
NEXT = WEIGHTS[: 10 * MIB] + random.Random(32).randbytes(MIB) + WEIGHTS[11 * MIB :]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry's folder with two versions of a package; no test changes it."""
    base = tmp_path_factory.mktemp("pushed")
    model = base / "model"
    model.mkdir()
    with start(base / "registry") as registry:
        for version, weights in (("1.0.0", WEIGHTS), ("1.1.0", NEXT)):
            (model / "installml.yaml").write_text(f"name: acme/weights\nversion: {version}\n")
            (model / "weights.bin").write_bytes(weights)
            session = session_at(base / "home")
            installml.push(model, tag=f"{registry.address}/acme/weights:{version}", session=session)
    return base / "registry"


@pytest.fixture
def registry(folder: Path) -> Iterator[RunningRegistry]:
    with start(folder) as running:
        yield running


def session_at(home: Path, on_event: Listener = ignore, see: Callable[[Path], Machine] = probe) -> Session:
    """A session whose downloads come in parts of 1 MiB, one after the other."""
    settings = load({"home": str(home), "policy": UNSIGNED}, {"HOME": str(home)}, folder=home.parent)
    return replace(settings.session(on_event=on_event), part_size=MIB, jobs=1, probe=see)


def reference(registry: RunningRegistry, version: str = "1.0.0") -> str:
    return f"{registry.address}/acme/weights:{version}"


def served(registry: RunningRegistry, blob: Descriptor = BLOB) -> int:
    return sum(record.bytes_out for record in registry.requests if f"/blobs/{blob.digest}" in record.path)


def weights(session: Session) -> bytes:
    return session.store.blobs.path(BLOB.digest).read_bytes()


def interrupted(folder: Path, home: Path, port: int = 0) -> int:
    """Pull until the registry refuses the ninth part; return its port."""
    refusing = f.Rule(f.Status(403), "GET", f"/blobs/{BLOB.digest}", 8, None)
    with start(folder, port=port, faults=f.Faults(refusing)) as registry:
        with pytest.raises(InstallMLError):
            installml.pull(reference(registry), session=session_at(home))
        return registry.port


def test_a_pull_that_cannot_fit_is_refused_before_it_fetches(registry: RunningRegistry, mounted: Mount) -> None:
    home = mounted("tmpfs") / "home"
    with pytest.raises(DiskFull, match=r"no room in .*: 12,[\d,]+ bytes more are needed, 8,[\d,]+ are free") as caught:
        installml.pull(reference(registry), session=session_at(home))
    assert caught.value.exit_code == 1
    assert "installml cache gc" in caught.value.hint
    assert "--home" in caught.value.hint
    assert served(registry) == 0
    assert [path for path in home.rglob("*") if path.is_file() and path.name != "oci-layout"] == []


def test_an_install_that_cannot_fit_is_refused_before_it_fetches(registry: RunningRegistry, mounted: Mount) -> None:
    with pytest.raises(HardwareError, match="disk") as caught:
        installml.install(reference(registry), session=session_at(mounted("tmpfs") / "home"))
    assert caught.value.exit_code == 5
    assert served(registry) == 0


def test_a_copy_into_a_folder_that_is_too_small_is_refused_before_it_fetches(
    registry: RunningRegistry, mounted: Mount, tmp_path: Path
) -> None:
    layout = mounted("tmpfs") / "layout"
    with pytest.raises(DiskFull, match="bytes more are needed"):
        installml.copy(reference(registry), f"oci-layout:{layout}", session=session_at(tmp_path / "home"))
    assert served(registry) == 0
    assert not layout.exists()


@pytest.mark.parametrize("verb", ["pull", "install"])
def test_what_is_half_fetched_has_its_room_already(verb: str, folder: Path, mounted: Mount) -> None:
    home = mounted("tmpfs", "size=16m") / "home"
    port = interrupted(folder, home)
    with start(folder, port=port) as registry:
        getattr(installml, verb)(reference(registry), session=session_at(home))
        assert served(registry) <= len(WEIGHTS) - 8 * MIB
    assert weights(session_at(home)) == WEIGHTS


def test_a_disk_that_fills_up_keeps_what_came_and_the_next_pull_goes_on(
    registry: RunningRegistry, mounted: Mount
) -> None:
    """ext2 cannot reserve: somebody else takes the room meanwhile."""
    disk = mounted("ext2")
    moved = 0

    def hear(event: Event) -> None:
        nonlocal moved
        if isinstance(event, BlobProgress) and event.digest == str(BLOB.digest):
            moved += event.advance
            if moved >= 5 * MIB and not (disk / "filler").exists():
                fill(disk)

    with pytest.raises(DiskFull, match=r"needs [\d,]+ bytes more, [\d,]+ are free") as caught:
        installml.pull(reference(registry), session=session_at(disk / "home", hear))
    assert caught.value.exit_code == 1
    assert "installml cache gc" in caught.value.hint
    (disk / "filler").unlink()
    before = served(registry)
    installml.pull(reference(registry), session=session_at(disk / "home"))
    assert served(registry) - before <= len(WEIGHTS) - 5 * MIB
    assert weights(session_at(disk / "home")) == WEIGHTS


def test_what_similar_files_share_needs_no_room_twice(registry: RunningRegistry, mounted: Mount) -> None:
    disk = mounted("xfs")
    session = session_at(disk / "home")
    installml.pull(reference(registry), session=session)
    room = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    with (disk / "filler").open("wb") as filler:
        os.posix_fallocate(filler.fileno(), 0, room - 8 * MIB)
    result = installml.pull(reference(registry, "1.1.0"), session=session)
    assert result.seeded > 10 * MIB
    assert session.store.blobs.path(Descriptor.of(NEXT, "x/y").digest).read_bytes() == NEXT


def pull_under(registry: RunningRegistry, home: Path, prepare: str) -> subprocess.CompletedProcess[str]:
    """Pull by the command line in a process of its own, after ``prepare``, which everything is imported before."""
    program = f"""
import os, resource, sys
from installml.cli.main import main
main(sys.argv[1:])
{prepare}
sys.argv[1:] = {["pull", reference(registry), "--home", str(home)]!r}
sys.exit(main())
"""
    command = [sys.executable, "-c", program, "--home", str(home), "cache", "path"]
    environ = {"HOME": str(home), "PATH": "", "INSTALLML_POLICY": UNSIGNED}
    return subprocess.run(command, capture_output=True, text=True, timeout=60, env=environ)


def test_a_limit_on_file_sizes_is_named(registry: RunningRegistry, tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[1] == resource.RLIM_INFINITY
    limit = f"resource.setrlimit(resource.RLIMIT_FSIZE, ({4 * MIB}, {4 * MIB}))"
    done = pull_under(registry, tmp_path / "home", limit)
    assert done.returncode == 1, done.stderr
    assert "files may not become large enough here" in done.stderr
    assert "ulimit -f" in done.stderr
    assert served(registry) == 0


def test_a_quota_that_is_used_up_is_named(registry: RunningRegistry, mounted: Mount) -> None:
    disk = mounted("btrfs")
    for words in (["quota", "enable", str(disk)], ["qgroup", "limit", "8m", str(disk)]):
        attempt(["btrfs", *words])
    with pytest.raises(DiskFull, match=r"no quota left for .* needs [0-9,]+ bytes more") as caught:
        installml.pull(reference(registry), session=session_at(disk / "home"))
    assert caught.value.exit_code == 1
    assert served(registry) < len(WEIGHTS)
