"""A collection leaves nothing that nobody needs: every kind of leftover is made once, beside its living like."""

from __future__ import annotations

import fcntl
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.packing.memory import DigestMemory
from installml.registry.leftovers import Leftovers
from installml.spec.chunks import ChunkIndex
from installml.spec.descriptor import Descriptor
from installml.spec.extents import Extent
from installml.store.disk import DiskStore
from installml.store.files import write_whole
from installml.store.gc import collect
from installml.store.host import Host
from installml.testing import Packed, SettableClock, package_bytes

DAY = 24 * 3600
HOST = Host().name
GONE = Descriptor.of(b"gone", "x/y")


def dead() -> int:
    """Return the number of a process that has ended."""
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    return child.pid


@pytest.fixture
def packed() -> Packed:
    return package_bytes()


@pytest.fixture
def store(tmp_path: Path, packed: Packed) -> DiskStore:
    """A store with one package, as a collection ten seconds later sees it."""
    store = DiskStore(tmp_path / "store")
    packed.push(store.repository("localhost", "acme/kept"), "1.0.0")
    now = SettableClock(time.time() + 10)
    return DiskStore(store.root, clock=now, host=Host(clock=now))


def old(path: Path, days: float = 400) -> Path:
    then = time.time() - days * DAY
    os.utime(path, (then, then))
    return path


def small(path: Path, *, days: float = 400) -> Path:
    write_whole(path, b"{}")
    return old(path, days)


def index_of(blob: Descriptor) -> ChunkIndex:
    return ChunkIndex(blob.digest, (0, blob.size), bytes(32))


def partial_of(store: DiskStore, owner: str) -> Path:
    """Leave what somebody began to fetch."""
    place = store.repository("localhost", "x")
    blob = Descriptor("x/y", Digest.of(b"half"), 5000)
    with place.assemble(blob, stopped=lambda: False, on_wait=print) as assembly:
        assert assembly is not None
        assembly.write(0, b"x" * 1000)
        assembly.keep(Extent(0, 1000))
        folder = assembly.folder
    left = folder.rename(folder.with_name(f"{folder.name.partition('.')[0]}.{owner}"))
    for path in (left, *left.iterdir()):
        old(path)
    return left


def unnamed(store: DiskStore) -> Path:
    store.blobs.write(GONE, Bytes(b"gone"))
    return store.blobs.path(GONE.digest)


def quarantined(store: DiskStore) -> Path:
    store.blobs.write(GONE, Bytes(b"gone"))
    aside = store.blobs.quarantine(GONE.digest)
    assert aside is not None
    return aside


class Bytes:
    def __init__(self, data: bytes) -> None:
        self._data = data

    def read(self, size: int = -1, /) -> bytes:
        data, self._data = self._data, b""
        return data


def upload(store: DiskStore, days: float) -> Path:
    folder = store.root / "state" / "uploads"
    Leftovers(folder).keep("localhost/x", GONE.digest, "http://localhost/v2/x/blobs/uploads/1")
    [path] = folder.iterdir()
    return old(path, days)


def listed(store: DiskStore) -> Path:
    """List a blob as unsynced that is gone, by a process that has ended."""
    folder = store.root / "state" / "unsynced" / f"{HOST}-{dead()}-00000000-{Host().boot}"
    return small(folder / f"sha256-{GONE.digest.hex}.1.1")


def owed(store: DiskStore, blob: Digest) -> Path:
    store.owed.note(blob, True)
    return store.root / "state" / "owed" / f"sha256-{blob.hex}"


def left_out(store: DiskStore, manifest: Digest) -> Path:
    path = store.left_out.add(manifest, [Digest.of(b"left out")])
    assert path is not None
    return old(path)


def unfinished(store: DiskStore, where: str, pid: int) -> Path:
    return small(store.root / where / f".name.{HOST}-{pid}-0123abcd")


def chunks(store: DiskStore, blob: Descriptor) -> Path:
    store.chunks.write(index_of(blob))
    return old(store.chunks.path(blob.digest))


def lease(store: DiskStore, pid: int) -> Path:
    path = store.root / "ingest" / f"lease.{HOST}-{pid}-0123abcd"
    write_whole(path, json.dumps({"host": socket.gethostname(), "pid": pid, "since": 1}).encode())
    return path


ORPHANS: dict[str, Callable[[DiskStore], Path]] = {
    "a blob that nothing names": unnamed,
    "a partial of a killed process": lambda s: partial_of(s, f"{HOST}-{dead()}-00000000-{Host().boot}"),
    "a partial of another boot": lambda s: partial_of(s, f"{HOST}-1-00000000-before"),
    "a partial of another machine": lambda s: partial_of(s, "elsewhere-1-00000000-b0"),
    "a small blob of a killed process": lambda s: small(s.root / "ingest" / f"abc.{HOST}-{dead()}-00000000"),
    "a tree of a killed process": lambda s: small(s.root / "ingest" / f"tree-abc.{HOST}-1-00000000" / "file").parent,
    "what was set aside": quarantined,
    "a lease of a killed process": lambda s: lease(s, dead()),
    "the address of an upload": lambda s: upload(s, 2),
    "a digest memory": lambda s: small(DigestMemory.at(s.root, Path("/gone"))._path),
    "an owed digest": lambda s: owed(s, GONE.digest),
    "an unsynced listing": listed,
    "the marks of a package in part": lambda s: left_out(s, GONE.digest),
    "a chunk index": lambda s: chunks(s, GONE),
    "a ref half written": lambda s: unfinished(s, "ingest", dead()),
    "an address half written": lambda s: unfinished(s, "state/uploads", dead()),
    "a digest memory half written": lambda s: unfinished(s, "state/digests", dead()),
    "a server's record half written": lambda s: unfinished(s, "state/servers", dead()),
    "a transfer's record half written": lambda s: small(s.root / "state/transfers/acme.77.tmp"),
    "a look at the disk": lambda s: small(s.root / f".doctor.{HOST}-{dead()}-0123abcd"),
    "a folder to look at the disk": lambda s: small(s.root / f".doctor.{HOST}-{dead()}-0123abcd" / "file").parent,
}


@pytest.mark.parametrize("make", ORPHANS.values(), ids=ORPHANS.keys())
def test_a_collection_removes(make: Callable[[DiskStore], Path], store: DiskStore) -> None:
    before = inventory(store)
    orphan = make(store)
    assert orphan.exists()
    collect(store)
    assert not orphan.exists()
    assert inventory(store) == before


def inventory(store: DiskStore) -> set[Path]:
    """Return the files of the store, but for what this very process lists: it lives."""
    own = f"{HOST}-{os.getpid()}-"
    return {path for path in store.root.rglob("*") if path.is_file() and not path.parent.name.startswith(own)}


LIVING: dict[str, Callable[[DiskStore, Packed], Path]] = {
    "a blob of a package": lambda s, p: s.blobs.path(p.manifest.layers[0].digest),
    "a partial of a living process": lambda s, p: held(partial_of(s, f"{HOST}-{os.getpid()}-00000000-{Host().boot}")),
    "a partial of a machine that wrote lately": lambda s, p: touched(partial_of(s, "elsewhere-1-00000000-b0")),
    "a lease of a living process": lambda s, p: lease(s, os.getpid()),
    "the address of a late upload": lambda s, p: upload(s, 0.5),
    "a late digest memory": lambda s, p: small(DigestMemory.at(s.root, Path("/gone"))._path, days=80),
    "a digest owed for a blob that is here": lambda s, p: owed(s, p.manifest.layers[0].digest),
    "the marks of a package that is here": lambda s, p: left_out(s, p.descriptor.digest),
    "a chunk index of a blob that is here": lambda s, p: chunks(s, p.manifest.layers[0]),
    "what a living process writes": lambda s, p: unfinished(s, "state/uploads", os.getpid()),
    "a server's record": lambda s, p: small(s.root / "state/servers/acme-1.json"),
    "a transfer's log": lambda s, p: small(s.root / "state/transfers/acme-1.log"),
}


def held(path: Path) -> Path:
    """Lock a partial as its owner does, as long as this process lives."""
    handle = os.open(path / "data", os.O_RDWR)
    fcntl.flock(handle, fcntl.LOCK_EX)
    return path


def touched(path: Path) -> Path:
    os.utime(path / "data")
    return path


@pytest.mark.parametrize("make", LIVING.values(), ids=LIVING.keys())
def test_a_collection_leaves(make: Callable[[DiskStore, Packed], Path], store: DiskStore, packed: Packed) -> None:
    living = make(store, packed)
    collect(store)
    assert living.exists()


@pytest.mark.parametrize("make", ORPHANS.values(), ids=ORPHANS.keys())
def test_a_dry_run_removes_nothing(make: Callable[[DiskStore], Path], store: DiskStore) -> None:
    orphan = make(store)
    before = inventory(store)
    collect(store, dry_run=True)
    assert inventory(store) | {orphan} == before | {orphan}
