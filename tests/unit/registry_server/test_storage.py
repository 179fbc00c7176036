"""The registry's folder: what is on disk, what is freed, what is refused."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.errors import ReferenceInvalid, StoreUnusable
from installml.registry_server.storage import RegistryStorage, Repository, StoredManifest
from installml.spec.media import IMAGE_MANIFEST

DATA = b"weights " * 1000
DIGEST = Digest.of(DATA)


@pytest.fixture
def storage(tmp_path: Path):
    with RegistryStorage(tmp_path / "registry") as opened:
        yield opened


def push(repository: Repository, data: bytes = DATA) -> Digest:
    upload = repository.storage.uploads.begin(repository)
    assert upload.claim()
    upload.write(data)
    upload.finish(Digest.of(data))
    upload.release()
    return Digest.of(data)


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and DIGEST.hex in path.name]


def read(repository: Repository, digest: Digest = DIGEST) -> bytes:
    opened = repository.open_blob(digest)
    assert opened is not None
    with opened[0] as file:
        return file.read()


def tagged(repository: Repository, *tags: str) -> Digest:
    digest = Digest.of(b"{}")
    repository.put_manifest(StoredManifest(IMAGE_MANIFEST, b"{}", digest))
    for tag in tags:
        repository.set_tag(tag, digest)
    return digest


def test_equal_blobs_of_two_repositories_take_the_disk_once(storage: RegistryStorage) -> None:
    for name in ("acme/one", "acme/two"):
        push(storage.repository(name))
    assert len({path.stat().st_ino for path in files(storage.root)}) == 1


def test_the_last_deletion_frees_the_disk_and_an_earlier_one_does_not(storage: RegistryStorage) -> None:
    one, two = storage.repository("acme/one"), storage.repository("acme/two")
    push(one)
    assert two.mount(DIGEST, one)
    assert one.delete_blob(DIGEST)
    assert read(two) == DATA
    assert two.delete_blob(DIGEST)
    assert files(storage.root) == []


def test_a_deletion_leaves_the_blob_to_be_found_while_another_repository_has_it(storage: RegistryStorage) -> None:
    one, two = storage.repository("acme/one"), storage.repository("acme/two")
    push(one)
    push(two)
    assert one.delete_blob(DIGEST)
    assert storage.repository("acme/three").mount(DIGEST, None)


def test_pushing_a_blob_again_heals_it(storage: RegistryStorage) -> None:
    repository = storage.repository("acme/one")
    push(repository)
    for path in files(storage.root):
        path.write_bytes(b"rotten")
    push(repository)
    assert {path.read_bytes() for path in files(storage.root)} == {DATA}


def test_a_rotten_pool_does_not_spread_to_a_new_repository(storage: RegistryStorage) -> None:
    push(storage.repository("acme/one"))
    for path in files(storage.root):
        path.write_bytes(b"X" + DATA[1:])
    push(storage.repository("acme/two"))
    assert read(storage.repository("acme/two")) == DATA


def test_a_blob_is_mounted_from_wherever_it_is(storage: RegistryStorage) -> None:
    push(storage.repository("acme/one"))
    assert storage.repository("acme/two").mount(DIGEST, None)
    assert not storage.repository("acme/two").mount(Digest.of(b"nowhere"), None)


def test_a_disk_without_hard_links_gets_copies(storage: RegistryStorage, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise OSError(errno.EPERM, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    one, two = storage.repository("acme/one"), storage.repository("acme/two")
    push(one)
    assert two.mount(DIGEST, one)
    assert one.delete_blob(DIGEST)
    assert read(two) == DATA


def test_tags_that_differ_in_case_are_two_files_even_where_the_file_system_ignores_case(
    storage: RegistryStorage,
) -> None:
    repository = storage.repository("acme/one")
    tagged(repository, "v1-rc", "V1-RC", "V1-rc")
    names = [path.name for path in (repository.folder / "_tags").iterdir()]
    assert len({name.lower() for name in names}) == 3
    assert sorted(repository.tags()) == ["V1-RC", "V1-rc", "v1-rc"]


def test_the_longest_tag_in_capitals_has_room_in_a_file_name(storage: RegistryStorage) -> None:
    repository = storage.repository("acme/one")
    tagged(repository, "A" * 128)
    assert repository.tags() == ["A" * 128]


def test_tags_are_sorted_without_regard_to_case(storage: RegistryStorage) -> None:
    repository = storage.repository("acme/one")
    tagged(repository, "b", "A", "c", "B", "10", "2")
    assert repository.tags() == ["10", "2", "A", "B", "b", "c"]


def test_what_a_crash_left_half_written_is_in_no_list(storage: RegistryStorage) -> None:
    repository = storage.repository("acme/one")
    digest = tagged(repository, "v1")
    (repository.folder / "_tags" / ".v2.host-1-abcd").write_bytes(b"sha")
    (repository.folder / "_manifests" / "sha256" / f".{digest.hex}.host-1-abcd").write_bytes(b"app")
    assert repository.tags() == ["v1"]


def test_a_referrer_whose_manifest_never_came_is_passed_over(storage: RegistryStorage) -> None:
    repository = storage.repository("acme/one")
    repository.add_referrer(DIGEST, {"digest": "x"}, Digest.of(b"never stored"))
    assert list(repository.referrers(DIGEST)) == []


def test_a_repository_below_another_is_one_of_its_own(storage: RegistryStorage) -> None:
    tagged(storage.repository("acme"), "outer")
    tagged(storage.repository("acme/one"), "inner")
    assert storage.names() == ["acme", "acme/one"]
    assert storage.repository("acme").tags() == ["outer"]


@pytest.mark.parametrize("name", ["", "..", "a/../b", "/etc", "a/_blobs", "A", "a\0b", "a" * 256])
def test_no_folder_is_made_of_a_name_outside_the_grammar(storage: RegistryStorage, name: str) -> None:
    with pytest.raises(ReferenceInvalid):
        storage.repository(name)


def test_a_folder_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("dear to somebody")
    with pytest.raises(StoreUnusable, match="not a registry's folder"):
        RegistryStorage(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_folder_of_another_layout_is_refused(tmp_path: Path) -> None:
    (tmp_path / "registry.json").write_text('{"kind":"installml-registry","layoutVersion":2}')
    with pytest.raises(StoreUnusable, match="not of this version"):
        RegistryStorage(tmp_path)


def test_two_registries_cannot_run_on_one_folder(storage: RegistryStorage) -> None:
    with pytest.raises(StoreUnusable, match="another registry"):
        RegistryStorage(storage.root)
    storage.close()
    RegistryStorage(storage.root).close()


def test_a_damaged_tag_says_which_file_is_damaged(storage: RegistryStorage) -> None:
    repository = storage.repository("acme/one")
    tagged(repository, "v1")
    (repository.folder / "_tags" / "v1").write_bytes(b"gibberish")
    with pytest.raises(StoreUnusable, match="_tags/v1 is damaged"):
        repository.tag("v1")


def test_what_need_not_survive_a_power_cut_is_kept_all_the_same(tmp_path: Path) -> None:
    with RegistryStorage(tmp_path / "r", durable=False) as storage:
        push(storage.repository("acme/one"))
        digest = tagged(storage.repository("acme/one"), "v1")
    with RegistryStorage(tmp_path / "r", durable=False) as storage:
        assert storage.repository("acme/one").tag("v1") == digest
        assert read(storage.repository("acme/one")) == DATA
