"""A machine that stopped without warning: what was published right before it is never used unchecked."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from installml.cli.status import Silence
from installml.digest import Digest
from installml.errors import StoreUnusable
from installml.events import Event, Notice
from installml.reference import Reference
from installml.spec.descriptor import Descriptor
from installml.spec.package import read_package
from installml.store.disk import DiskStore
from installml.store.gc import collect
from installml.store.host import Host, boot_id
from installml.store.installed import InstalledStore, Record
from installml.store.materialise import materialise
from installml.store.recovery import recover
from installml.testing import SettableClock, package_bytes

DATA = b"weights" * 1000
BLOB = Descriptor.of(DATA, "x/y")
REFERENCE = Reference("registry.example", "acme/sentiment", "1.0.0")


@dataclass
class Heard:
    events: list[Event] = field(default_factory=list)

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def notices(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Notice)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "store"


def boot(root: Path, number: int, **parts: object) -> DiskStore:
    """Return the store as seen in one run of the machine's kernel."""
    return DiskStore(root, host=Host(boot=f"boot{number}", **parts))  # type: ignore[arg-type]


def push(store: DiskStore, data: bytes = DATA) -> Path:
    blob = Descriptor.of(data, "x/y")
    store.repository("localhost", "here").push(blob, io.BytesIO(data))
    return store.blobs.path(blob.digest)


def ruin(path: Path, data: bytes) -> None:
    """Make of the file's inode what a crash makes of one whose data never reached the disk."""
    path.chmod(0o644)
    with path.open("r+b") as file:
        file.truncate()
        file.write(data)
    path.chmod(0o444)


def lists(store: DiskStore) -> list[Path]:
    folder = store.root / "state" / "unsynced"
    return sorted(folder.iterdir()) if folder.exists() else []


@pytest.mark.parametrize("data", [b"", bytes(len(DATA)), DATA[:-1], DATA[:100] + bytes(len(DATA) - 100)])
def test_what_never_reached_the_disk_is_found_and_set_aside(root: Path, data: bytes) -> None:
    path = push(boot(root, 1))
    ruin(path, data)
    heard = Heard()
    store = boot(root, 2)
    assert recover(store, on_event=heard) == [BLOB.digest]
    assert not store.blobs.exists(BLOB)
    assert heard.notices == [
        f"{BLOB.digest.short} was not wholly on the disk when this machine stopped; it is set aside"
    ]


def test_what_reached_the_disk_stays_and_is_not_checked_again(root: Path) -> None:
    path = push(boot(root, 1))
    store, heard = boot(root, 2), Heard()
    assert recover(store, on_event=heard) == []
    assert path.read_bytes() == DATA
    assert heard.notices == []
    assert lists(store) == []


def test_within_one_boot_nothing_is_checked(root: Path) -> None:
    push(boot(root, 1))
    heard = Heard()
    assert recover(boot(root, 1), on_event=heard) == []
    assert heard.events == []


def test_without_a_store_nothing_is_made(root: Path) -> None:
    assert recover(boot(root, 2)) == []
    assert not root.exists()


def test_an_assembled_blob_is_checked_as_well(root: Path) -> None:
    store = boot(root, 1)
    place = store.repository("localhost", "here")
    with place.assemble(BLOB, stopped=lambda: False, on_wait=print) as assembly:
        assert assembly is not None
        assembly.write(0, DATA)
        assembly.publish()
    ruin(store.blobs.path(BLOB.digest), bytes(len(DATA)))
    assert recover(boot(root, 2)) == [BLOB.digest]


def test_a_built_blob_is_checked_as_well(root: Path) -> None:
    store = boot(root, 1)
    digest, _ = store.blobs.take(io.BytesIO(DATA))
    ruin(store.blobs.path(digest), b"")
    assert recover(boot(root, 2)) == [BLOB.digest]


def test_what_was_set_aside_is_brought_again(root: Path) -> None:
    ruin(push(boot(root, 1)), b"")
    store = boot(root, 2)
    recover(store)
    assert push(store).read_bytes() == DATA


def test_other_blobs_are_not_touched(root: Path) -> None:
    store = boot(root, 1)
    ruin(push(store), b"")
    sound = push(store, b"sound")
    assert recover(boot(root, 2)) == [BLOB.digest]
    assert sound.read_bytes() == b"sound"


def test_what_the_disk_cannot_give_back_counts_as_damaged(root: Path) -> None:
    path = push(boot(root, 1))
    path.unlink()
    path.mkdir()  # reading it fails, as reading a bad sector does
    assert recover(boot(root, 2)) == [BLOB.digest]


# -- installed models -----------------------------------------------------------------------------------------------


def install(store: DiskStore, version: str = "1.0.0") -> Record:
    packed = package_bytes(version=version)
    packed.push(store.repository(REFERENCE.registry, REFERENCE.repository), version)
    installed = InstalledStore(store.root)
    with installed.staging(packed.descriptor) as staging:
        package = read_package(packed.manifest, str(REFERENCE))
        materialise(((file, store.blobs.path(file.descriptor.digest)) for file in package.files), staging)
        place = installed.place(REFERENCE, version)
        tree = installed.adopt(staging, place, packed.descriptor)
    record = Record(REFERENCE.with_tag(version), "sentiment", version, packed.descriptor, tree, 1, "test")
    installed.record(record)
    return record


@pytest.mark.parametrize("what", ["layer", "config", "manifest"])
def test_an_installed_model_that_needs_damaged_bytes_is_not_installed_any_more(root: Path, what: str) -> None:
    store = boot(root, 1)
    record = install(store)
    packed = package_bytes(version="1.0.0")
    digests = {"layer": packed.manifest.blobs[-1].digest, "config": packed.manifest.config.digest}
    ruin(store.blobs.path(digests.get(what, packed.descriptor.digest)), b"")
    heard = Heard()
    recover(boot(root, 2), on_event=heard)
    assert list(InstalledStore(root).records()) == []
    assert not record.path.exists()
    assert f"{record.reference} was damaged when this machine stopped: install it again" in heard.notices


def test_installed_models_that_are_sound_stay_installed(root: Path) -> None:
    store = boot(root, 1)
    record = install(store)
    ruin(push(store), b"")
    recover(boot(root, 2))
    assert list(InstalledStore(root).records()) == [record]


def test_a_check_that_was_killed_after_setting_aside_is_finished(root: Path) -> None:
    store = boot(root, 1)
    install(store)
    store.blobs.quarantine(package_bytes(version="1.0.0").manifest.blobs[-1].digest)
    recover(boot(root, 2))
    assert list(InstalledStore(root).records()) == []


# -- lists ----------------------------------------------------------------------------------------------------------


def test_a_list_is_made_before_the_blob_is_visible(root: Path) -> None:
    store = boot(root, 1)
    seen = []

    class Slow(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            seen.append(store.blobs.exists(BLOB))
            return super().read(size)

    store.unsynced.note(BLOB.digest, store.blobs.path)
    store.repository("localhost", "here").push(BLOB, Slow(DATA))
    assert not any(seen)
    entries = [digest for folder in lists(store) for _, digest in store.unsynced.entries(folder)]
    assert entries == [BLOB.digest] * 2


def test_what_is_on_the_disk_for_a_minute_is_struck_off_by_the_next_process(root: Path) -> None:
    clock = SettableClock(time.time())
    push(boot(root, 1, clock=clock))
    push(boot(root, 1, clock=clock), b"soon after")
    assert len(lists(boot(root, 1))) == 2
    clock.advance(61)
    push(boot(root, 1, clock=clock), b"later")
    assert len(lists(boot(root, 1))) == 1


def test_a_process_whose_list_was_settled_begins_a_new_one(root: Path) -> None:
    clock = SettableClock(time.time())
    store = boot(root, 1, clock=clock)
    push(store)
    clock.advance(61)
    store.unsynced.settle(store.blobs.path)
    assert lists(store) == []
    ruin(push(store, b"second"), b"")
    assert recover(boot(root, 2)) == [Digest.of(b"second")]


def test_a_list_that_somebody_has_just_made_is_no_empty_one(root: Path) -> None:
    store = boot(root, 1)
    made = root / "state" / "unsynced" / store.host.mark()
    made.mkdir(parents=True)
    boot(root, 1).unsynced.settle(store.blobs.path)
    assert lists(store) == [made]


def test_a_collection_strikes_off_what_dead_processes_listed(root: Path) -> None:
    child = os.fork()
    if child == 0:
        push(boot(root, 1))
        os._exit(0)
    os.waitpid(child, 0)
    store = boot(root, 1)
    assert len(lists(store)) == 1
    collect(store)
    assert lists(store) == []


def test_what_was_collected_needs_no_check(root: Path) -> None:
    push(boot(root, 1)).unlink()
    heard = Heard()
    store = boot(root, 2)
    recover(store, on_event=heard)
    assert heard.notices == []
    assert lists(store) == []


def test_another_machine_looks_after_its_own_blobs_for_a_day(root: Path) -> None:
    ruin(push(boot(root, 1, name="elsewhere")), b"")
    clock = SettableClock(time.time())
    assert recover(boot(root, 2, clock=clock)) == []
    clock.advance(24 * 3600 + 60)
    assert recover(boot(root, 2, clock=clock)) == [BLOB.digest]


def test_names_that_are_no_entries_are_left_alone(root: Path) -> None:
    push(boot(root, 1))
    [folder] = lists(boot(root, 1))
    (folder / "notes.txt").write_bytes(b"mine")
    (folder.parent / "README").write_bytes(b"mine")
    assert recover(boot(root, 2)) == []
    assert (folder / "notes.txt").exists()


def test_a_machine_that_cannot_tell_its_boots_syncs_each_blob(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = []
    sync = os.fsync

    def watch(handle: int) -> None:
        synced.append(os.fstat(handle).st_size)
        sync(handle)

    monkeypatch.setattr("os.fsync", watch)
    store = DiskStore(root, host=Host(boot="none"))
    push(store)
    assert len(DATA) in synced
    assert lists(store) == []


def test_who_may_not_set_damage_aside_is_told_and_uses_nothing(
    open_folder: Path, as_nobody: Callable[[Callable[[], None]], None]
) -> None:
    root = open_folder / "store"
    ruin(push(boot(root, 1)), b"")

    def look() -> None:
        with pytest.raises(StoreUnusable):
            recover(boot(root, 2))

    as_nobody(look)


def test_who_may_only_read_checks_each_time(open_folder: Path, as_nobody: Callable[[Callable[[], None]], None]) -> None:
    root = open_folder / "store"
    push(boot(root, 1))
    as_nobody(lambda: None if recover(boot(root, 2)) == [] else os._exit(1))
    assert len(lists(boot(root, 1))) == 1


def test_this_machine_knows_its_boot() -> None:
    assert boot_id() == boot_id()
    assert boot_id().isalnum()


# -- what the user hears ----------------------------------------------------------------------------------------------


def damage(root: Path) -> DiskStore:
    """Return the store after a crash that has damaged a blob."""
    ruin(push(boot(root, 1)), b"")
    return boot(root, 2)


def test_what_nobody_listened_to_waits_for_somebody_who_does(root: Path) -> None:
    recover(damage(root))
    heard = Heard()
    recover(boot(root, 2), on_event=heard)
    assert [notice.partition(" ")[0] for notice in heard.notices] == [BLOB.digest.short]


def test_a_silent_screen_is_nobody(root: Path) -> None:
    recover(damage(root), on_event=Silence())
    heard = Heard()
    recover(boot(root, 2), on_event=heard)
    assert len(heard.notices) == 1


def test_what_was_told_is_not_told_again(root: Path) -> None:
    recover(damage(root), on_event=Heard())
    heard = Heard()
    recover(boot(root, 2), on_event=heard)
    assert heard.events == []
    assert lists(boot(root, 2)) == []


def test_who_is_killed_before_it_tells_leaves_it_to_the_next(root: Path) -> None:
    def killed(event: Event) -> None:
        if isinstance(event, Notice):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        recover(damage(root), on_event=killed)
    heard = Heard()
    recover(boot(root, 2), on_event=heard)
    assert len(heard.notices) == 1


def test_who_is_killed_after_an_installed_model_went_tells_of_it_all_the_same(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = install(boot(root, 1))
    ruin(record.path / "model.bin", b"")
    remove = InstalledStore.remove

    def killed(self: InstalledStore, record: Record) -> None:
        remove(self, record)
        raise KeyboardInterrupt

    monkeypatch.setattr(InstalledStore, "remove", killed)
    with pytest.raises(KeyboardInterrupt):
        recover(boot(root, 2), on_event=Heard())
    monkeypatch.undo()
    heard = Heard()
    recover(boot(root, 2), on_event=heard)
    assert any("install it again" in notice for notice in heard.notices)


def test_a_start_looks_once_at_one_folder(root: Path) -> None:
    store = boot(root, 2)
    root.mkdir()
    looked: list[str] = []

    def audit(event: str, args: tuple[object, ...]) -> None:
        if looking and event in {"open", "os.scandir", "os.listdir"} and str(root) in str(args[0]):
            looked.append(event)

    looking = True
    sys.addaudithook(audit)
    recover(store, on_event=Heard())
    looking = False
    assert looked == ["os.scandir"]
