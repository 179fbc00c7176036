"""Packages of many small files: how many requests a push and a pull take, and how many bytes."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from installml.api.pull import pull
from installml.api.push import push
from installml.api.session import Session
from installml.config import load
from installml.registry.repository import Repository
from installml.registry_server import RunningRegistry, start
from installml.registry_server.faults import Faults, Rule, Status
from tests.unsigned import UNSIGNED

FILES, SIZE = 100, 4096
OWN = 4  # config, runtime, hardware, recipe: what a package has besides its files


@pytest.fixture
def registry() -> Iterator[RunningRegistry]:
    with start() as running:
        yield running


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "installml.yaml").write_text("name: acme/w\nversion: 1.0.0\n")
    for number in range(FILES):
        (folder / f"part-{number:03}.bin").write_bytes(os.urandom(SIZE))
    return folder


def session_at(home: Path) -> Session:
    return load({"home": str(home), "policy": UNSIGNED}, {"HOME": str(home)}, folder=home.parent).session()


def asked(registry: RunningRegistry) -> Counter[str]:
    """Return how often each kind of request was made."""
    kinds = ("/manifests/", "/uploads/", "/blobs/")
    return Counter(f"{one.method} {next((k for k in kinds if k in one.path), one.path)}" for one in registry.requests)


def test_a_first_push_asks_for_few_of_its_blobs_and_sends_each_by_two_requests(
    tmp_path: Path, model: Path, registry: RunningRegistry
) -> None:
    push(model, tag=f"{registry.address}/acme/w:1", session=session_at(tmp_path / "home"))
    count = asked(registry)
    assert count["POST /uploads/"] == count["PUT /uploads/"] == FILES + OWN
    assert count["HEAD /blobs/"] <= 8 + 16 + FILES // 16 + 1  # until it is sure, in each thread, and one in sixteen
    assert (count["HEAD /manifests/"], count["PUT /manifests/"]) == (1, 1)


def test_a_new_version_sends_its_new_file_and_its_manifest_and_each_once(
    tmp_path: Path, model: Path, registry: RunningRegistry
) -> None:
    place = f"{registry.address}/acme/w"
    push(model, tag=f"{place}:1", session=session_at(tmp_path / "home"))
    (model / "part-000.bin").write_bytes(os.urandom(SIZE))
    before = asked(registry), sum(one.bytes_in for one in registry.requests)
    done = push(model, tag=f"{place}:2", session=session_at(tmp_path / "home"))
    count = asked(registry) - before[0]
    assert count["PUT /uploads/"] == 2  # the file, and the config, which lists the files' digests
    assert count["PUT /manifests/"] == 1
    assert sum(one.bytes_in for one in registry.requests) - before[1] == done.moved
    manifest = session_at(tmp_path / "home").remote(done.reference).resolve("2").size
    assert done.moved < 1.3 * (SIZE + manifest)


def test_a_manifest_that_fails_under_its_tag_is_sent_again_and_then_tagged(tmp_path: Path, model: Path) -> None:
    failing = Rule(Status(503), method="PUT", path="/manifests/1", times=1)
    with start(faults=Faults(failing)) as registry:
        place = f"{registry.address}/acme/w"
        done = push(model, tag=f"{place}:1", session=session_at(tmp_path / "home"))
        assert session_at(tmp_path / "home").remote(done.reference).resolve("1").digest == done.digest


def test_a_push_that_was_cut_off_sends_little_of_what_is_there(
    tmp_path: Path, model: Path, registry: RunningRegistry
) -> None:
    place = f"{registry.address}/acme/w:1"
    push(model, tag=place, session=session_at(tmp_path / "home"))
    remote = session_at(tmp_path / "home").remote(session_at(tmp_path / "home").qualify(place))
    assert isinstance(remote, Repository)
    remote.delete(remote.resolve("1"))  # what is left is what a push leaves that ends before its manifest
    before = asked(registry)
    push(model, tag=place, session=session_at(tmp_path / "home"))
    assert asked(registry)["PUT /uploads/"] == before["PUT /uploads/"]


def test_blobs_that_are_there_among_many_that_are_not_are_found(
    tmp_path: Path, model: Path, registry: RunningRegistry
) -> None:
    session = session_at(tmp_path / "home")
    push(model, tag=f"{registry.address}/acme/w:1", session=session)
    for number in range(FILES // 2):
        (model / f"part-{number:03}.bin").write_bytes(os.urandom(SIZE))
    before = asked(registry)["PUT /uploads/"]
    push(model, tag=f"{registry.address}/acme/w:2", session=session_at(tmp_path / "home"))
    assert asked(registry)["PUT /uploads/"] - before <= FILES // 2 + OWN + 2 * 16


def test_a_supposition_that_was_wrong_does_no_harm(tmp_path: Path, model: Path) -> None:
    """A registry that denies what it has is pushed to all the same."""
    denied = Rule(Status(404), method="HEAD", path="/blobs/")
    with start(faults=Faults(denied)) as registry:
        place = f"{registry.address}/acme/w"
        push(model, tag=f"{place}:1", session=session_at(tmp_path / "home"))
        (model / "part-000.bin").write_bytes(os.urandom(SIZE))
        push(model, tag=f"{place}:2", session=session_at(tmp_path / "home"))
        done = pull(f"{place}:2", session=session_at(tmp_path / "other"))
    assert done.blobs == {"copied": FILES + OWN + 1}


def test_a_pull_takes_one_request_a_blob(tmp_path: Path, model: Path, registry: RunningRegistry) -> None:
    place = f"{registry.address}/acme/w:1"
    push(model, tag=place, session=session_at(tmp_path / "home"))
    before = asked(registry)
    pull(place, session=session_at(tmp_path / "other"))
    count = asked(registry) - before
    assert count["GET /blobs/"] == FILES + OWN
    assert sum(count.values()) - count["GET /blobs/"] == 1  # the manifest, by its tag
