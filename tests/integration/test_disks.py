"""The store on file systems made for the test: XFS, Btrfs, ext2 without extents, a tmpfs that is too small.

They need the right to mount and their makers (``tests/services/provision.py xfs btrfs``); else they are skipped, and
say why. Whatever happens, they are unmounted.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import random
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.errors import DiskFull
from installml.spec.descriptor import Descriptor
from installml.spec.extents import Extent
from installml.spec.package import read_package
from installml.store.disk import DiskStore
from installml.store.files import CopiedBy, copy_extent, free_space
from installml.store.host import Host
from installml.store.materialise import How, materialise
from installml.store.partial import Partial
from installml.store.recovery import recover
from installml.testing import package_bytes
from tests.integration.disks import MIB, SHARING, Mount, attempt, fill

GOING_DOWN = 0x8004587D  # linux/fs: _IOR('X', 125, __u32), known to XFS and ext4: stop as a power cut does
WITHOUT_FLUSH = 2


def blob_of(size: int, seed: int = 1) -> tuple[Descriptor, bytes]:
    data = random.Random(seed).randbytes(size)
    return Descriptor.of(data, "x/y"), data


@contextlib.contextmanager
def assembly_of(store: DiskStore, blob: Descriptor) -> Iterator[Partial]:
    place = store.repository("localhost", "here")
    with place.assemble(blob, stopped=lambda: False, on_wait=print) as assembly:
        assert assembly is not None
        yield assembly


@pytest.mark.parametrize("kind", [*SHARING, "ext2", "tmpfs"])
def test_an_interrupted_blob_is_finished_on(kind: str, mounted: Mount) -> None:
    store = DiskStore(mounted(kind))
    blob, data = blob_of(3 * MIB + 5)
    with assembly_of(store, blob) as assembly:
        assembly.write(MIB, data[MIB : 2 * MIB])
    with assembly_of(store, blob) as assembly:
        assert assembly.missing() == [Extent(0, MIB), Extent(2 * MIB, blob.size)]
        for start, stop in assembly.missing():
            assembly.write(start, data[start:stop])
        assembly.publish()
    assert store.blobs.path(blob.digest).read_bytes() == data
    assert list((store.root / "ingest").iterdir()) == []


@pytest.mark.parametrize("kind", SHARING)
def test_whole_blocks_are_shared_and_not_copied(kind: str, mounted: Mount) -> None:
    folder = mounted(kind)
    _, data = blob_of(4 * MIB)
    (folder / "seed").write_bytes(data)
    os.sync()
    before = free_space(folder)
    assert before is not None
    with (folder / "seed").open("rb") as seed, (folder / "target").open("w+b") as target:
        target.truncate(8 * MIB)
        assert copy_extent(seed.fileno(), MIB, target.fileno(), 5 * MIB, 2 * MIB) is CopiedBy.REFLINK
        assert os.pread(target.fileno(), 2 * MIB, 5 * MIB) == data[MIB : 3 * MIB]
    os.sync()
    after = free_space(folder)
    assert after is not None
    assert before - after < MIB


@pytest.mark.parametrize("kind", SHARING)
def test_bytes_off_the_borders_of_blocks_are_copied_below_us(kind: str, mounted: Mount) -> None:
    folder = mounted(kind)
    _, data = blob_of(MIB)
    (folder / "seed").write_bytes(data)
    with (folder / "seed").open("rb") as seed, (folder / "target").open("w+b") as target:
        assert copy_extent(seed.fileno(), 3, target.fileno(), 7, 5000) is CopiedBy.KERNEL
        assert os.pread(target.fileno(), 5000, 7) == data[3:5003]


@pytest.mark.parametrize("kind", SHARING)
def test_mending_a_damaged_blob_shares_what_is_sound(kind: str, mounted: Mount) -> None:
    folder = mounted(kind)
    store = DiskStore(folder)
    blob, data = blob_of(64 * MIB + 77)
    with assembly_of(store, blob) as assembly:
        assembly.write(0, b"?" * 100 + data[100:])
        assembly.publish()
    os.sync()
    before = free_space(folder)
    assert before is not None
    with store.reassemble(blob) as assembly:
        os.sync()
        during = free_space(folder)
        assert during is not None
        assert before - during < 16 * MIB
        assembly.forget(Extent(0, 100))
        assembly.write(0, data[:100])
        assembly.publish()
    assert store.blobs.path(blob.digest).read_bytes() == data


@pytest.mark.parametrize("kind", SHARING)
def test_an_installed_file_has_its_own_inode_and_the_blobs_blocks(kind: str, mounted: Mount) -> None:
    store = DiskStore(mounted(kind))
    packed = package_bytes({"model.bin": blob_of(MIB)[1]})
    packed.push(store.repository("localhost", "here"), "1.0.0")
    files = [(f, store.blobs.path(f.descriptor.digest)) for f in read_package(packed.manifest, "test").files]
    assert materialise(files, store.root / "tree").files == {How.REFLINK: len(files)}
    assert (store.root / "tree" / "model.bin").read_bytes() == blob_of(MIB)[1]


@pytest.mark.parametrize("kind", ["xfs", "tmpfs"])  # a full Btrfs has no room for changes of its own tables either
def test_room_is_taken_before_anything_is_fetched(kind: str, mounted: Mount) -> None:
    """A neighbour fills the disk meanwhile."""
    folder = mounted(kind)
    store = DiskStore(folder)
    blob, data = blob_of(2 * MIB)
    with assembly_of(store, blob) as assembly:
        fill(folder)
        assembly.write(0, data)
        (folder / "filler").unlink()
        assembly.publish()
    assert store.blobs.path(blob.digest).read_bytes() == data


@pytest.mark.parametrize("kind", [*SHARING, "ext2", "tmpfs"])
def test_a_blob_that_cannot_fit_is_refused_before_anything_is_fetched(kind: str, mounted: Mount) -> None:
    folder = mounted(kind)
    store = DiskStore(folder)
    blob = Descriptor("x/y", blob_of(1)[0].digest, 1 << 30)
    with pytest.raises(DiskFull, match=f"needs {blob.size:,} bytes more, [0-9,]+ are free"):
        _begin(store, blob, reached=kind in SHARING)
    assert list((store.root / "ingest").iterdir()) == []


def _begin(store: DiskStore, blob: Descriptor, *, reached: bool) -> None:
    """Write the first byte; that much is ``reached`` only where what lies here already might have needed no room."""
    with assembly_of(store, blob) as assembly:
        assert reached
        assembly.write(0, b"x")


def test_a_disk_that_fills_up_on_the_way_keeps_what_has_arrived(mounted: Mount) -> None:
    """ext2 cannot reserve: what was free at the beginning is taken by somebody else."""
    folder = mounted("ext2")
    store = DiskStore(folder)
    blob, data = blob_of(4 * MIB)
    with assembly_of(store, blob) as assembly:
        assembly.write(0, data[:MIB])
        assembly.keep(Extent(0, MIB))
        fill(folder)
        with pytest.raises(DiskFull, match=r"it needs 3,145,728 bytes more, \d+ are free") as caught:
            assembly.write(MIB, data[MIB:])
    assert "cache gc" in caught.value.hint
    (folder / "filler").unlink()
    with assembly_of(store, blob) as assembly:
        assert assembly.missing() == [Extent(MIB, blob.size)]
        assembly.write(MIB, data[MIB:])
        assembly.publish()
    assert store.blobs.path(blob.digest).read_bytes() == data


@pytest.mark.parametrize("kind", SHARING)
def test_what_another_machine_left_is_copied_by_sharing(kind: str, mounted: Mount) -> None:
    folder = mounted(kind)
    store = DiskStore(folder, host=Host(name="elsewhere", boot="b0"))
    blob, data = blob_of(2 * MIB)
    with assembly_of(store, blob) as assembly:
        assembly.write(0, data[:MIB])
        assembly._journal.note("=", Extent(0, MIB))
    for path in (folder / "ingest").rglob("*"):
        os.utime(path, (1, 1))
    with assembly_of(DiskStore(folder), blob) as assembly:
        assert assembly.missing() == [Extent(MIB, blob.size)]
        assembly.write(MIB, data[MIB:])
        assembly.publish()
    assert store.blobs.path(blob.digest).read_bytes() == data


@pytest.mark.parametrize("kind", ["xfs", "ext4"])
def test_after_a_real_crash_no_damaged_blob_is_left(kind: str, mounted: Mount, tmp_path: Path) -> None:
    """The file system is cut off after a ref has brought the names of all blobs, but not their bytes, to the disk."""
    folder = mounted(kind)
    os.sync()
    store = DiskStore(folder, host=Host(boot="before"))
    content = {}
    for seed in range(20):
        blob, data = blob_of(200_000, seed)
        content[blob.digest] = data
        with assembly_of(store, blob) as assembly:
            assembly.write(0, data)
            assembly.publish()
    package_bytes().push(store.repository("localhost", "here"), "1.0.0")
    _cut_off(folder, tmp_path / f"{kind}.img", kind)
    there = {digest: path.read_bytes() for digest, path in DiskStore(folder).blobs.digests()}
    wrong = {digest for digest, data in there.items() if Digest.of(data) != digest}
    assert wrong, "the crash has damaged nothing: this test proves nothing"
    after = DiskStore(folder, host=Host(boot="after"))
    assert set(recover(after)) >= wrong
    assert all(Digest.of(path.read_bytes()) == digest for digest, path in after.blobs.digests())


def _cut_off(folder: Path, image: Path, kind: str) -> None:
    """Stop a mounted file system as a power cut does, and mount it again."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, GOING_DOWN, struct.pack("=I", WITHOUT_FLUSH))
    except OSError as error:
        pytest.skip(f"{kind} cannot be cut off: {error.strerror}")
    finally:
        os.close(handle)
    attempt(["umount", str(folder)])
    attempt(["mount", "-t", kind, "-o", "loop", str(image), str(folder)])
