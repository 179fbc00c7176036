"""From blobs to a folder: every way, modes, and disks that refuse."""

from __future__ import annotations

import fcntl
import io
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.errors import DiskFull, StoreUnusable
from installml.spec.package import PackagedFile, read_package
from installml.store import materialise as room
from installml.store.disk import DiskStore
from installml.store.files import remove_tree
from installml.store.materialise import How, materialise
from installml.testing import package_bytes

FILES = {"README.md": b"# one\n", "code/run.sh": b"#!/bin/sh\n", "a/b/c/model.bin": b"weights" * 1000}


def laid_out(root: Path, executable: tuple[str, ...] = ()) -> list[tuple[PackagedFile, Path]]:
    packed = package_bytes(FILES, executable=executable)
    store = DiskStore(root)
    packed.push(store.repository("localhost:5000", "acme/sentiment"))
    package = read_package(packed.manifest, "test")
    return [(file, store.blobs.path(file.descriptor.digest)) for file in package.files]


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if not p.is_dir()}


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("way", [How.HARDLINK, How.SYMLINK, How.COPY])
def test_each_way_gives_the_same_read_only_files(tmp_path: Path, way: How) -> None:
    linked = materialise(laid_out(tmp_path / "store"), tmp_path / "tree", [way])
    assert linked.files == {way: 3}
    assert linked.how == way
    assert content(tmp_path / "tree") == FILES
    assert {mode(tmp_path / "tree" / name) for name in FILES} == {0o444}
    assert {mode(p) for p in (tmp_path / "tree").rglob("*") if p.is_dir()} == {0o555}
    assert mode(tmp_path / "tree") == 0o555


def test_reflink(tmp_path: Path) -> None:
    files = laid_out(tmp_path / "store")
    with (tmp_path / "one").open("wb+") as one, (tmp_path / "two").open("wb+") as two:
        try:
            fcntl.ioctl(two.fileno(), room._FICLONE, one.fileno())
        except OSError as error:
            pytest.skip(f"this file system has no reflinks: {error.strerror}")
    assert materialise(files, tmp_path / "tree", [How.REFLINK]).files == {How.REFLINK: 3}
    assert content(tmp_path / "tree") == FILES


def test_a_file_system_without_reflinks_gets_hard_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def refuse(blob: Path, target: Path) -> None:
        asked.append(target.name)
        target.write_bytes(b"")
        raise OSError(95, "Operation not supported")

    monkeypatch.setitem(room.WAYS, How.REFLINK, refuse)
    assert materialise(laid_out(tmp_path / "store"), tmp_path / "tree").files == {How.HARDLINK: 3}
    assert len(asked) == 1, "the same file system refuses every time"


def test_hard_links_share_the_bytes_of_the_store(tmp_path: Path) -> None:
    files = laid_out(tmp_path / "store")
    materialise(files, tmp_path / "tree", [How.HARDLINK])
    for file, blob in files:
        assert (tmp_path / "tree" / file.path).samefile(blob)


def test_another_file_system_gets_symbolic_links(tmp_path: Path, tiny_disk: Path) -> None:
    linked = materialise(laid_out(tmp_path / "store"), tiny_disk / "tree", [How.HARDLINK, How.SYMLINK, How.COPY])
    assert linked.files == {How.SYMLINK: 3}
    assert content(tiny_disk / "tree") == FILES


def test_symbolic_links_lead_to_the_store_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    materialise(laid_out(Path("store")), Path("deep/er/tree"), [How.SYMLINK])
    assert content(tmp_path / "deep/er/tree") == FILES


@pytest.mark.parametrize("way", [How.HARDLINK, How.SYMLINK, How.COPY])
def test_executable_files_are_copies_because_a_link_shares_the_blobs_mode(tmp_path: Path, way: How) -> None:
    files = laid_out(tmp_path / "store", executable=("code/run.sh",))
    materialise(files, tmp_path / "tree", [way])
    script = tmp_path / "tree" / "code/run.sh"
    assert mode(script) == 0o555
    assert os.access(script, os.X_OK)
    assert not script.is_symlink()
    assert script.stat().st_nlink == 1
    assert {mode(blob) for _, blob in files} == {0o444}
    assert content(tmp_path / "tree") == FILES


def test_the_ways_are_told_most_frequent_first(tmp_path: Path) -> None:
    files = laid_out(tmp_path / "store", executable=("code/run.sh",))
    assert materialise(files, tmp_path / "tree", [How.HARDLINK]).how == "hardlink, copy"
    assert materialise([], tmp_path / "empty").how == "empty"


def test_a_folder_that_is_there_is_not_touched(tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    with pytest.raises(StoreUnusable):
        materialise(laid_out(tmp_path / "store"), tmp_path / "tree")
    assert list((tmp_path / "tree").iterdir()) == []


def test_a_missing_blob_is_an_error_and_no_empty_file(tmp_path: Path) -> None:
    files = laid_out(tmp_path / "store")
    files[0][1].unlink()
    with pytest.raises(StoreUnusable):
        materialise(files, tmp_path / "tree", [How.COPY])
    assert not (tmp_path / "tree" / "README.md").exists()


def test_a_full_disk_says_so_and_leaves_no_half_file(tmp_path: Path, tiny_disk: Path) -> None:
    store = DiskStore(tmp_path / "store")
    big = os.urandom(400_000)
    packed = package_bytes({"big.bin": big})
    packed.push(store.repository("localhost:5000", "big"))
    files = [(f, store.blobs.path(f.descriptor.digest)) for f in read_package(packed.manifest, "test").files]
    with pytest.raises(DiskFull):
        materialise(files, tiny_disk / "tree", [How.COPY])
    assert content(tiny_disk / "tree") == {}


def test_a_push_to_a_full_disk_says_so_and_leaves_nothing(tiny_disk: Path) -> None:
    place = DiskStore(tiny_disk / "store").repository("localhost:5000", "big")
    packed = package_bytes({"big.bin": os.urandom(400_000)})
    with pytest.raises(DiskFull) as caught:
        packed.push(place, "1.0.0")
    assert "cache gc" in caught.value.hint
    assert place.tags() == []
    assert [p for p in (tiny_disk / "store" / "ingest").iterdir()] == []
    assert not place.store.blobs.path(Digest.of(packed.content[1][1])).exists()
    small = package_bytes({"small.bin": b"fits"})
    small.push(place, "1.0.0")
    assert place.resolve("1.0.0") == small.descriptor


def test_a_read_only_tree_is_removed_by_its_owner(open_folder: Path, as_nobody: Callable[..., None]) -> None:
    def make_and_remove() -> None:
        materialise(laid_out(open_folder / "store"), open_folder / "tree")
        remove_tree(open_folder / "tree")
        assert not (open_folder / "tree").exists()
        remove_tree(open_folder / "tree")

    as_nobody(make_and_remove)
    assert (open_folder / "store" / "blobs").is_dir()


def test_a_store_in_a_folder_that_may_not_be_written_is_unusable(
    open_folder: Path, as_nobody: Callable[..., None]
) -> None:
    def try_to_push() -> None:
        with pytest.raises(StoreUnusable) as caught:
            package_bytes().push(DiskStore(open_folder / "store").repository("localhost:5000", "x"))
        assert "--home" in caught.value.hint
        assert str(open_folder) in caught.value.message

    open_folder.chmod(0o555)
    as_nobody(try_to_push)


def test_another_users_store_is_read(open_folder: Path, as_nobody: Callable[..., None]) -> None:
    place = DiskStore(open_folder / "store").repository("localhost:5000", "x")
    packed = package_bytes()
    packed.push(place, "1.0.0")

    def read() -> None:
        assert place.resolve("1.0.0") == packed.descriptor
        assert all(place.exists(descriptor) for descriptor, _ in packed.content)

    as_nobody(read)


def test_a_tree_with_links_out_of_it_is_removed_and_what_they_lead_to_stays(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    outside.chmod(0o755)
    (outside / "file").write_bytes(b"mine")
    (tmp_path / "tree" / "sub").mkdir(parents=True)
    (tmp_path / "tree" / "sub" / "link").symlink_to(outside)
    (tmp_path / "tree" / "file").symlink_to(outside / "file")
    remove_tree(tmp_path / "tree")
    assert (outside / "file").read_bytes() == b"mine"
    assert mode(outside) == 0o755
    (tmp_path / "link").symlink_to(outside)
    remove_tree(tmp_path / "link")
    assert (outside / "file").exists()
    assert not (tmp_path / "link").is_symlink()


def test_pushing_a_file_that_grows_is_refused(tmp_path: Path) -> None:
    place = DiskStore(tmp_path).repository("localhost:5000", "x")
    packed = package_bytes({"model.bin": b"1234"})
    with pytest.raises(Exception, match="more than 4"):
        place.push(packed.content[1][0], io.BytesIO(b"12345"))
