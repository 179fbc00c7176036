"""A digest is remembered only while nothing can have happened to the file: the racy cases, one by one."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from installml.api.build import build, made
from installml.api.session import Session
from installml.config import load
from installml.digest import Digest
from installml.events import BlobProgress, Event
from installml.packing.hashing import Hash, Keep, Opened, Reading, hash_files
from installml.packing.memory import DigestMemory, Identity
from installml.packing.select import Selected
from installml.spec.media import Role

DIGEST = Digest.of(b"weights")
SECOND = 1_000_000_000
ELSEWHERE = -7  # no folder is on this device, so its clock cannot be asked


class Place:
    """A model folder with one file, and its memory."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.file = root / "model" / "weights.bin"
        self.file.parent.mkdir()
        self.file.write_bytes(b"weights")
        self.settle()

    def memory(self) -> DigestMemory:
        return DigestMemory(self.root / "state" / "m.json", self.file.parent)

    def identity(self) -> Identity:
        with self.file.open("rb") as file:
            return Identity.of(file)

    def settle(self) -> None:
        """Come back when the file system's clock has gone on by more than the margin."""
        probe = self.root / "probe"
        while True:
            probe.write_bytes(b"")
            if probe.stat().st_ctime_ns > self.identity().touched + SECOND // 10:
                return

    def learn(self) -> None:
        memory = self.memory()
        memory.learn("weights.bin", self.identity(), DIGEST)
        memory.save()

    def recalled(self) -> Digest | None:
        return self.memory().recall("weights.bin", self.identity())


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_a_file_that_has_not_been_touched_is_recalled(place: Place) -> None:
    place.learn()
    assert place.recalled() == DIGEST


def test_a_file_written_in_the_moment_of_reading_is_not_remembered(place: Place) -> None:
    memory = place.memory()
    memory.moment(place.identity().device)
    place.file.write_bytes(b"WEIGHTS")
    memory.learn("weights.bin", place.identity(), DIGEST)
    memory.save()
    assert place.recalled() is None


def test_another_content_of_the_same_size_is_noticed(place: Place) -> None:
    place.learn()
    place.file.write_bytes(b"WEIGHTS")
    assert place.recalled() is None


def test_another_content_under_the_old_mtime_is_noticed(place: Place) -> None:
    place.learn()
    before = place.file.stat()
    place.file.write_bytes(b"WEIGHTS")
    os.utime(place.file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert place.file.stat().st_mtime_ns == before.st_mtime_ns
    assert place.recalled() is None


def test_a_file_that_took_the_place_of_another_is_noticed(place: Place) -> None:
    place.learn()
    before = place.file.stat()
    other = place.file.with_name("other")
    other.write_bytes(b"WEIGHTS")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(place.file)
    assert place.recalled() is None


def test_a_copied_folder_is_read_again(place: Place) -> None:
    place.learn()
    moved = shutil.copytree(place.file.parent, place.root / "copy")
    with (moved / "weights.bin").open("rb") as file:
        assert place.memory().recall("weights.bin", Identity.of(file)) is None


def test_a_file_with_an_mtime_in_the_future_is_not_remembered(place: Place) -> None:
    future = place.file.stat().st_mtime_ns + 3600 * SECOND
    os.utime(place.file, ns=(future, future))
    place.learn()
    assert place.recalled() is None


def test_a_clock_that_was_set_back_makes_every_later_file_be_read_again(tmp_path: Path) -> None:
    seen = Identity(ELSEWHERE, 5, 7, 1000 * SECOND, 1000 * SECOND)
    path = tmp_path / "m.json"
    before = DigestMemory(path, tmp_path, now=lambda: 2000 * SECOND)
    before.learn("weights.bin", seen, DIGEST)
    before.save()
    assert DigestMemory(path, tmp_path, now=lambda: 2001 * SECOND).recall("weights.bin", seen) == DIGEST
    assert DigestMemory(path, tmp_path, now=lambda: 999 * SECOND).recall("weights.bin", seen) is None


@pytest.mark.parametrize(("age", "known"), [(61, True), (59, False)], ids=["old", "young"])
def test_where_the_file_systems_clock_cannot_be_asked_a_file_must_be_a_minute_old(
    tmp_path: Path, age: int, known: bool
) -> None:
    seen = Identity(ELSEWHERE, 5, 7, 1000 * SECOND, 1000 * SECOND)
    memory = DigestMemory(tmp_path / "m.json", tmp_path, now=lambda: (1000 + age) * SECOND)
    memory.learn("weights.bin", seen, DIGEST)
    memory.save()
    again = DigestMemory(tmp_path / "m.json", tmp_path, now=lambda: 5000 * SECOND)
    assert (again.recall("weights.bin", seen) == DIGEST) is known


def test_a_file_system_without_inode_numbers_is_always_read(tmp_path: Path) -> None:
    seen = Identity(ELSEWHERE, 0, 7, 1000 * SECOND, 1000 * SECOND)
    memory = DigestMemory(tmp_path / "m.json", tmp_path, now=lambda: 5000 * SECOND)
    memory.learn("weights.bin", seen, DIGEST)
    memory.save()
    again = DigestMemory(tmp_path / "m.json", tmp_path, now=lambda: 5000 * SECOND)
    assert again.recall("weights.bin", seen) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"files":{},"version":2}',
        b'{"files":{"weights.bin":["1:2:3:4:5"]},"version":1}',
        b'{"files":{"weights.bin":[1,2]},"version":1}',
        b'{"files":{"weights.bin":["1","sha256:abc"]},"version":1}',
        b'{"files":[],"version":1}',
        b"\xff\xfe",
    ],
)
def test_a_damaged_memory_is_no_memory_and_is_written_anew(place: Place, content: bytes) -> None:
    place.learn()
    (place.root / "state" / "m.json").write_bytes(content)
    assert place.recalled() is None
    place.learn()
    assert place.recalled() == DIGEST


def test_what_is_no_longer_in_the_package_is_forgotten(place: Place) -> None:
    place.learn()
    place.memory().save()
    memory = place.memory()
    memory.learn("other.bin", place.identity(), DIGEST)
    memory.save()
    assert place.recalled() is None


@pytest.fixture
def session(tmp_path: Path) -> Session:
    return load({"home": str(tmp_path / "home")}, {"HOME": str(tmp_path)}, folder=tmp_path).session()


class Counting(Hash):
    """Says which files were read."""

    def __init__(self) -> None:
        self.read: list[str] = []

    def take(self, opened: Opened) -> Digest:
        self.read.append(opened.path)
        return super().take(opened)


def model(place: Place) -> Path:
    (place.file.parent / "installml.yaml").write_text("name: acme/w\nversion: 1.0.0\n")
    place.file.touch()
    place.settle()
    return place.file.parent


def test_a_second_build_reads_no_file_and_gives_the_same_package(place: Place, session: Session) -> None:
    folder = model(place)
    first, again = Counting(), Counting()
    assert made(folder, session, first).root == made(folder, session, again).root
    assert (len(first.read), again.read) == (2, [])


def test_a_file_that_is_known_and_missing_from_the_store_is_copied_there_all_the_same(
    place: Place, session: Session
) -> None:
    folder = model(place)
    made(folder, session)
    built = build(folder, session=session)
    local = session.local(built.reference)
    package = made(folder, session, Keep(session.store.blobs))
    assert all(local.exists(blob) for blob in package.manifest.blobs)


def test_what_was_hashed_is_remembered_although_the_build_was_killed_before_its_end(place: Place) -> None:
    os.truncate(place.file, 8 << 20)
    place.settle()
    place.memory().learn("weights.bin", place.identity(), DIGEST)  # and nobody comes to save it
    assert place.recalled() == DIGEST


def test_a_build_that_is_killed_forgets_nothing_of_the_one_before(place: Place) -> None:
    before = place.memory()
    before.learn("other.bin", place.identity(), DIGEST)
    before.save()
    seen = place.identity()
    os.truncate(place.file, 8 << 20)
    place.settle()
    place.memory().learn("weights.bin", place.identity(), DIGEST)
    assert place.memory().recall("other.bin", seen) == DIGEST


def test_a_failure_ends_the_hashing_of_all_files_at_once(tmp_path: Path) -> None:
    """Nobody waits at Ctrl-C until a terabyte has been read."""
    names = ("a.bin", "b.bin")
    for name in names:
        (tmp_path / name).touch()
        os.truncate(tmp_path / name, 1 << 40)
    passed: list[int] = []

    def interrupt(event: Event) -> None:
        if isinstance(event, BlobProgress):
            passed.append(event.advance)
            if len(passed) == 5:
                raise KeyboardInterrupt

    files = tuple(Selected(name, tmp_path / name, 1 << 40, Role.WEIGHT) for name in names)
    with pytest.raises(KeyboardInterrupt):
        hash_files(files, Reading(Hash()), interrupt)
    assert sum(passed) < 1 << 30
