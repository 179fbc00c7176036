"""Pushing a folder: one read, one send; again, nothing; a new version, what is new; a failure loses little."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from installml.api.build import build
from installml.api.push import push
from installml.api.session import Session
from installml.config import load
from installml.digest import Digest
from installml.errors import SourceChanged
from installml.events import BlobDone, BlobProgress, Event, Phase
from installml.registry.errors import RegistryError, ServerFailed
from installml.registry_server import RunningRegistry, start
from installml.registry_server.faults import Faults, Reset, Rule, Status
from tests.unsigned import UNSIGNED

MIB = 1 << 20


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Two large files and one small, older than the margin within which nothing is remembered."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "installml.yaml").write_text("name: acme/w\nversion: 1.0.0\n")
    for number in range(2):
        (folder / f"weights-{number}.bin").write_bytes(os.urandom(MIB) * 12)
    (folder / "config.json").write_text("{}")
    probe = tmp_path / "probe"
    newest = max(path.stat().st_ctime_ns for path in folder.iterdir())
    while not (probe.exists() and probe.stat().st_ctime_ns > newest + 10**8):
        probe.write_bytes(b"")
    return folder


def session_at(home: Path, heard: list[Event] | None = None) -> Session:
    settings = load({"home": str(home), "policy": UNSIGNED}, {"HOME": str(home)}, folder=home.parent)
    return settings.session(on_event=heard.append) if heard is not None else settings.session()


def sent(registry: RunningRegistry) -> int:
    """Bytes of blobs that the registry has read."""
    return sum(one.bytes_in for one in registry.requests if "/blobs/" in one.path)


def test_a_second_push_reads_no_file_and_asks_three_questions_at_most(tmp_path: Path, model: Path) -> None:
    with start() as registry:
        reference = f"{registry.address}/acme/w:1.0.0"
        push(model, tag=reference, session=session_at(tmp_path / "home"))
        before = len(registry.requests)
        heard: list[Event] = []
        again = push(model, tag=reference, session=session_at(tmp_path / "home", heard))
    assert again.moved == 0
    assert not [event for event in heard if isinstance(event, BlobProgress)]
    assert len(registry.requests) - before <= 3


def test_a_second_push_from_the_store_asks_three_questions_at_most(tmp_path: Path, model: Path) -> None:
    with start() as registry:
        reference = f"{registry.address}/acme/w:1.0.0"
        build(model, tag=reference, session=session_at(tmp_path / "home"))
        push(reference, session=session_at(tmp_path / "home"))
        before = len(registry.requests)
        assert push(reference, session=session_at(tmp_path / "home")).moved == 0
    assert len(registry.requests) - before <= 3


def test_large_files_are_sent_while_they_are_hashed(tmp_path: Path, model: Path) -> None:
    with start() as registry:
        done = push(model, tag=f"{registry.address}/acme/w:1.0.0", session=session_at(tmp_path / "home"))
    assert [one.bytes_in for one in registry.requests if one.method == "PATCH"] == [12 * MIB] * 2
    assert done.blobs == {"copied": 8}
    assert done.moved >= 24 * MIB


def test_a_push_tells_each_blob_once_by_its_name_in_one_phase(tmp_path: Path, model: Path) -> None:
    heard: list[Event] = []
    with start() as registry:
        push(model, tag=f"{registry.address}/acme/w:1.0.0", session=session_at(tmp_path / "home", heard))
    names = [event.name for event in heard if isinstance(event, Phase)]
    assert names == ["hashing", "pushing", "uploading", "indexing"]
    entered = next(n for n, event in enumerate(heard) if isinstance(event, Phase) and event.name == "uploading")
    done = [(event.title, event.outcome) for event in heard[entered:] if isinstance(event, BlobDone)]
    own = [".installml/hardware.json", ".installml/runtime.json", "config", "manifest"]
    files = ["config.json", "installml.yaml", "weights-0.bin", "weights-1.bin"]
    assert sorted(done) == sorted((name, "copied") for name in (*own, *files))


def test_a_push_tells_how_many_bytes_it_sent_once(tmp_path: Path, model: Path) -> None:
    """A stream that was cut is finished by another request; a byte that arrived counts once."""
    cut = Rule(Reset(6 * MIB, of="request"), method="PATCH", path="/blobs/uploads/", times=1)
    with start(faults=Faults(cut)) as registry:
        done = push(model, tag=f"{registry.address}/acme/w:1.0.0", session=session_at(tmp_path / "home"))
    assert done.blobs == {"copied": 8}
    assert sent(registry) <= done.moved < sent(registry) + 9 * MIB  # what was on the wire when it was cut


def test_a_push_of_a_new_version_tells_what_was_there(tmp_path: Path, model: Path) -> None:
    with start() as registry:
        push(model, tag=f"{registry.address}/acme/w:1.0.0", session=session_at(tmp_path / "home"))
        (model / "config.json").write_text('{"new": true}')
        again = push(model, tag=f"{registry.address}/acme/w:1.1.0", session=session_at(tmp_path / "home"))
    assert again.blobs == {"exists": 5, "copied": 3}  # the file, the config that lists it, the manifest
    assert again.moved < MIB


def test_what_was_pushed_is_what_is_in_the_folder(tmp_path: Path, model: Path) -> None:
    with start() as registry:
        done = push(model, tag=f"{registry.address}/acme/w:1.0.0", session=session_at(tmp_path / "home"))
        there = session_at(tmp_path / "other").remote(done.reference)
        for path in model.glob("weights-*"):
            digest = Digest.of(path.read_bytes())
            assert there.resolve("1.0.0").digest == done.digest
            assert registry.storage.repository("acme/w").blob_size(digest) == path.stat().st_size


def test_a_new_version_sends_only_the_file_that_differs(tmp_path: Path, model: Path) -> None:
    with start() as registry:
        push(model, tag=f"{registry.address}/acme/w:1.0.0", session=session_at(tmp_path / "home"))
        before = sent(registry)
        (model / "weights-1.bin").write_bytes(os.urandom(MIB) * 12)
        push(model, tag=f"{registry.address}/acme/w:1.1.0", session=session_at(tmp_path / "home"))
    assert 12 * MIB <= sent(registry) - before < 13 * MIB


def test_a_registry_that_takes_no_streams_gets_one_put_for_each_file(tmp_path: Path, model: Path) -> None:
    with start(faults=Faults(Rule(Status(405), method="PATCH"))) as registry:
        push(model, tag=f"{registry.address}/acme/w:1.0.0", session=session_at(tmp_path / "home"))
    whole = [one for one in registry.requests if (one.method, one.status, one.bytes_in) == ("PUT", 201, 12 * MIB)]
    assert len(whole) == 2


def test_a_stream_that_is_cut_goes_on_and_nothing_is_lost(tmp_path: Path, model: Path) -> None:
    cut = Rule(Reset(6 * MIB, of="request"), method="PATCH", path="/blobs/uploads/", times=1)
    with start(faults=Faults(cut)) as registry:
        done = push(model, tag=f"{registry.address}/acme/w:1.0.0", session=session_at(tmp_path / "home"))
        assert session_at(tmp_path / "other").remote(done.reference).resolve("1.0.0").digest == done.digest
    assert sent(registry) < 25 * MIB


def test_what_is_in_the_registry_already_is_not_sent_by_a_slow_link(tmp_path: Path, model: Path) -> None:
    """The hashing is over while the upload waits: the registry has the blob, so the upload is given up."""
    with start() as registry:
        push(model, tag=f"{registry.address}/acme/w:1.0.0", session=session_at(tmp_path / "home"))
        before = sent(registry)
        settings = load(
            {"home": str(tmp_path / "new"), "limit_rate": "4MiB", "policy": UNSIGNED},
            {"HOME": str(tmp_path)},
            folder=tmp_path,
        )
        again = push(model, tag=f"{registry.address}/acme/w:1.0.0", session=settings.session())
    assert again.blobs == {"exists": 1}
    assert sent(registry) - before < 20 * MIB


def test_a_quota_at_the_manifest_tags_nothing_and_the_next_push_sends_the_rest(tmp_path: Path, model: Path) -> None:
    refused = Rule(Status(403, {}, "quota exceeded"), method="PUT", path="/manifests/", times=1)
    with start(faults=Faults(refused)) as registry:
        reference = f"{registry.address}/acme/w:1.0.0"
        mine = session_at(tmp_path / "home")
        with pytest.raises(RegistryError):
            push(model, tag=reference, session=mine)
        assert registry.storage.repository("acme/w").tags() == []
        before = sent(registry)
        push(model, tag=reference, session=session_at(tmp_path / "home"))
        assert list(registry.storage.repository("acme/w").tags()) == ["1.0.0"]
    assert sent(registry) - before < MIB


def test_a_full_disk_on_the_other_side_is_told_and_tags_nothing(tmp_path: Path, model: Path) -> None:
    full = (Rule(Status(507), method=method, path="/blobs/uploads/") for method in ("PATCH", "PUT"))
    with start(faults=Faults(*full)) as registry:
        with pytest.raises(ServerFailed, match="507"):
            push(model, tag=f"{registry.address}/acme/w:1.0.0", session=session_at(tmp_path / "home"))
        assert registry.storage.repository("acme/w").tags() == []


def test_a_file_that_changes_while_it_goes_up_ends_the_push(tmp_path: Path, model: Path) -> None:
    changed = threading.Event()

    def meddle(event: Event) -> None:
        if isinstance(event, BlobProgress) and event.digest == "weights-0.bin" and not changed.is_set():
            changed.set()
            with (model / "weights-0.bin").open("r+b") as file:
                file.write(b"other bytes")

    settings = load({"home": str(tmp_path / "home"), "policy": UNSIGNED}, {"HOME": str(tmp_path)}, folder=tmp_path)
    with start() as registry:
        with pytest.raises(SourceChanged, match=r"weights-0\.bin"):
            push(model, tag=f"{registry.address}/acme/w:1.0.0", session=settings.session(on_event=meddle))
        assert registry.storage.repository("acme/w").tags() == []
