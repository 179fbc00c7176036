"""Upload sessions: what survives, what expires, what is refused, and what a full disk or a vanished client leaves."""

from __future__ import annotations

import os
import resource
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from installml.digest import Digest
from installml.errors import DiskFull
from installml.registry_server import RegistryStorage, RunningRegistry, start
from installml.registry_server.uploads import TooManyUploads
from tests.contract.registry_protocol.place import Place, Wire, digest_of, expect, with_query
from tests.unit.registry_server.kit import connect, head, until

MIB = 1 << 20


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with start(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def place(registry: RunningRegistry) -> Place:
    return Place(Wire(registry.url), "acme/one")


def leftovers(root: Path) -> list[Path]:
    return list(root.rglob("_uploads/*"))


def test_a_session_survives_a_restart_of_the_registry(tmp_path: Path) -> None:
    first, second = b"a" * 70_000, b"b" * 70_000
    with start(tmp_path) as registry:
        session = Place(Wire(registry.url), "acme/one").session()
        expect(Place(Wire(registry.url), "acme/one").patch(session, first, 0), 202)
    with start(tmp_path) as registry:
        place = Place(Wire(registry.url), "acme/one")
        assert expect(place.ask("GET", session), 204).headers["range"] == "0-69999"
        expect(place.patch(session, second, 70_000), 202)
        expect(place.close(session, digest_of(first + second)), 201)
        assert place.ask("GET", f"blobs/{digest_of(first + second)}").body == first + second


def test_an_old_session_is_dropped_at_the_next_start_and_a_fresh_one_is_not(tmp_path: Path) -> None:
    with RegistryStorage(tmp_path) as storage:
        storage.uploads.begin(storage.repository("acme/one"))
        written = leftovers(tmp_path)[0].stat().st_mtime
    with RegistryStorage(tmp_path, upload_seconds=100, now=lambda: written + 99):
        assert len(leftovers(tmp_path)) == 1
    with RegistryStorage(tmp_path, upload_seconds=100, now=lambda: written + 101):
        assert leftovers(tmp_path) == []


def test_there_are_only_so_many_sessions_and_stale_ones_make_room(tmp_path: Path) -> None:
    clock = [0.0]
    with RegistryStorage(tmp_path, max_uploads=2, upload_seconds=100, now=lambda: clock[0]) as storage:
        repository = storage.repository("acme/one")
        stale = [storage.uploads.begin(repository) for _ in range(2)]
        with pytest.raises(TooManyUploads):
            storage.uploads.begin(repository)
        clock[0] = stale[0].path.stat().st_mtime + 101
        storage.uploads.begin(repository)
        assert storage.uploads.find(repository, stale[0].id) is None
        assert not stale[0].claim()


def test_a_session_that_a_request_holds_is_never_stale(tmp_path: Path) -> None:
    with RegistryStorage(tmp_path, max_uploads=1, upload_seconds=0, now=lambda: 1e12) as storage:
        repository = storage.repository("acme/one")
        assert storage.uploads.begin(repository).claim()
        with pytest.raises(TooManyUploads):
            storage.uploads.begin(repository)


def test_ids_of_sessions_cannot_be_guessed(place: Place) -> None:
    ids = {uuid.UUID(place.session().rpartition("/")[2]) for _ in range(20)}
    assert len(ids) == 20
    assert {one.version for one in ids} == {4}


def test_a_wrong_digest_leaves_neither_session_nor_bytes(place: Place, registry: RunningRegistry) -> None:
    session = place.session()
    assert expect(place.close(session, digest_of(b"other"), b"bytes"), 400).codes() == ["DIGEST_INVALID"]
    expect(place.ask("GET", session), 404)
    assert leftovers(registry.root) == []


def test_a_whole_blob_in_one_request_leaves_no_session_when_it_is_refused(
    place: Place, registry: RunningRegistry
) -> None:
    expect(place.ask("POST", f"blobs/uploads/?digest={digest_of(b'other')}", b"bytes"), 400)
    assert leftovers(registry.root) == []


def test_two_requests_cannot_write_to_one_session(tmp_path: Path) -> None:
    with RegistryStorage(tmp_path) as storage:
        upload = storage.uploads.begin(storage.repository("acme/one"))
        assert upload.claim()
        assert not upload.claim()
        upload.release()
        assert upload.claim()


def test_a_second_writer_is_told_of_the_conflict(place: Place, registry: RunningRegistry) -> None:
    session = place.session()
    with connect(registry.url) as first:
        first.sendall(head("PATCH", session, 2 * MIB) + b"x" * (MIB + 1))
        until(lambda: place.ask("GET", session).headers["range"] != "0-0")
        assert expect(place.patch(session, b"y", 0), 409).codes() == ["BLOB_UPLOAD_INVALID"]
        first.sendall(b"x" * (MIB - 1))
        assert first.recv(100).startswith(b"HTTP/1.1 202")
    expect(place.close(session, digest_of(b"x" * 2 * MIB)), 201)


def test_what_a_vanished_client_had_sent_is_kept_to_go_on_from(place: Place, registry: RunningRegistry) -> None:
    session, data = place.session(), bytes(range(256)) * 12_000
    with connect(registry.url) as client:
        client.sendall(head("PATCH", session, len(data)) + data[:2_000_000])
    until(lambda: any(record.method == "PATCH" for record in registry.requests))
    received = int(place.ask("GET", session).headers["range"].partition("-")[2]) + 1
    assert received == 2_000_000
    expect(place.patch(session, data[received:], received), 202)
    expect(place.close(session, digest_of(data)), 201)


def test_a_blob_that_was_cut_off_is_not_visible(place: Place, registry: RunningRegistry) -> None:
    data = b"z" * (3 * MIB)
    with connect(registry.url) as client:
        client.sendall(head("POST", f"/v2/acme/one/blobs/uploads/?digest={digest_of(data)}", len(data)) + data[:MIB])
    until(lambda: any(record.method == "POST" for record in registry.requests))
    expect(place.ask("HEAD", f"blobs/{digest_of(data)}"), 404)
    assert leftovers(registry.root) == []


def test_many_clients_push_the_same_blob_at_once(place: Place) -> None:
    data = b"the same " * 100_000
    with ThreadPoolExecutor(8) as pool:
        digests = set(pool.map(place.blob, [data] * 16))
    assert digests == {digest_of(data)}
    assert place.ask("GET", f"blobs/{digest_of(data)}").body == data


@pytest.fixture
def small_disk() -> Iterator[int]:
    """No file may grow beyond 2 MiB, which fails a write as a full disk does."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * MIB, hard))
    yield 2 * MIB
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_answered_with_507_and_its_bytes_are_given_back(
    small_disk: int, place: Place, registry: RunningRegistry
) -> None:
    data = b"f" * (3 * MIB)
    session = place.session()
    answer = expect(place.close(session, digest_of(data), data), 507)
    assert answer.codes() == ["UNAVAILABLE"]
    assert str(registry.root).encode() not in answer.body
    expect(place.ask("GET", session), 404)
    expect(place.ask("HEAD", f"blobs/{digest_of(data)}"), 404)
    assert leftovers(registry.root) == []
    place.blob(b"a smaller one still fits")


def test_a_write_that_the_disk_refuses_leaves_the_session_as_it_was(small_disk: int, tmp_path: Path) -> None:
    with RegistryStorage(tmp_path) as storage:
        upload = storage.uploads.begin(storage.repository("acme/one"))
        assert upload.claim()
        upload.write(b"a" * MIB)
        with pytest.raises(DiskFull):
            upload.write(b"b" * 2 * MIB)
        assert upload.path.stat().st_size == upload.offset == MIB
        upload.finish(Digest.of(b"a" * MIB))


def test_bytes_beyond_the_claimed_range_are_not_taken(place: Place) -> None:
    session = place.session()
    answer = place.ask("PATCH", session, b"123456789", {"Content-Range": "0-4"})
    assert expect(answer, 400).codes() == ["SIZE_INVALID"]
    assert place.ask("GET", session).headers["range"] == "0-0"


def test_an_unknown_algorithm_is_refused_before_any_byte(place: Place) -> None:
    answer = place.ask("POST", "blobs/uploads/?digest-algorithm=md5", b"")
    assert expect(answer, 400).codes() == ["DIGEST_INVALID"]


def test_a_session_without_bytes_makes_the_empty_blob(place: Place) -> None:
    expect(place.ask("PUT", with_query(place.session(), digest=digest_of(b"")), b""), 201)
    assert expect(place.ask("GET", f"blobs/{digest_of(b'')}"), 200).headers["content-length"] == "0"


def test_a_long_upload_is_brought_to_the_disk_while_it_arrives(
    place: Place, registry: RunningRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    flushed: list[int] = []
    real = os.fdatasync

    def noted(handle: int) -> None:
        flushed.append(handle)
        real(handle)

    monkeypatch.setattr(os, "fdatasync", noted)  # what happens at the end is fsync
    monkeypatch.setattr("installml.registry_server.blobs._FLUSHED_AT_ONCE", MIB)
    data = bytes(range(256)) * (5 * MIB // 256)
    place.blob(data)
    assert flushed
    assert place.ask("GET", f"blobs/{digest_of(data)}").body == data


def test_a_body_in_many_small_pieces_is_written_in_their_order(place: Place) -> None:
    data = bytes(n % 251 for n in range(40_000))
    session = place.session()
    expect(place.patch(session, iter([data[at : at + 13] for at in range(0, len(data), 13)])), 202)
    expect(place.close(session, digest_of(data)), 201)
    assert place.ask("GET", f"blobs/{digest_of(data)}").body == data
