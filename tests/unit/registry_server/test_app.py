"""What the specification leaves to registries, and how this one decides."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.types import Message

from installml.registry_server import RegistryStorage, RequestRecord, RunningRegistry, app, start
from installml.spec.canonical import MAX_MANIFEST
from tests.contract.registry_protocol.place import (
    IMAGE,
    Place,
    Wire,
    descriptor,
    digest_of,
    expect,
    manifest,
    next_page,
)


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with start(tmp_path) as running:
        yield running


@pytest.fixture
def wire(registry: RunningRegistry) -> Wire:
    return Wire(registry.url)


@pytest.fixture
def place(wire: Wire) -> Place:
    return Place(wire, "acme/one")


def test_the_catalog_lists_repositories_with_manifests_page_by_page(wire: Wire) -> None:
    for name in ("b/two", "a/one", "c"):
        Place(wire, name).tagged("v1")
    Place(wire, "only/blobs").blob(b"no manifest yet")
    assert expect(wire.ask("GET", "/v2/_catalog"), 200).json() == {"repositories": ["a/one", "b/two", "c"]}
    answer = wire.ask("GET", "/v2/_catalog?n=2")
    assert answer.json()["repositories"] == ["a/one", "b/two"]
    assert wire.ask("GET", next_page(answer) or "").json()["repositories"] == ["c"]


@pytest.mark.parametrize("count", ["-1", "x", "1.5", "9" * 10, "²"])
def test_a_count_that_is_none_is_refused(place: Place, count: str) -> None:
    place.tagged("v1")
    assert expect(place.ask("GET", "tags/list?n=" + "".join(f"%{b:02x}" for b in count.encode())), 400).codes() == [
        "UNSUPPORTED"
    ]


@pytest.mark.parametrize("path", ["/", "/v1/", "/v2/acme", "/v2/acme/one", "/v2/acme/one/blobs", "/token", "/v2//"])
def test_a_path_that_means_nothing_is_not_found(wire: Wire, path: str) -> None:
    assert expect(wire.ask("GET", path), 404).codes() == ["UNSUPPORTED"]


def test_a_name_longer_than_clients_can_use_is_refused(wire: Wire) -> None:
    assert expect(wire.ask("POST", f"/v2/{'a' * 256}/blobs/uploads/", b""), 400).codes() == ["NAME_INVALID"]
    expect(wire.ask("POST", f"/v2/{'a' * 255}/blobs/uploads/", b""), 202)


def test_a_manifest_of_exactly_the_limit_is_accepted_and_one_byte_more_is_not(place: Place) -> None:
    data = place.image()
    whole = data + b" " * (MAX_MANIFEST - len(data))
    expect(place.put("v1", whole), 201)
    assert expect(place.put("v2", whole + b" "), 413).codes() == ["SIZE_INVALID"]
    assert expect(place.put("v2", iter([whole, b" "])), 413).codes() == ["SIZE_INVALID"]
    expect(place.read("v2"), 404)


def test_a_tag_can_be_pushed_under_a_digest_of_another_algorithm(place: Place) -> None:
    data = place.image()
    digest = digest_of(data, "sha512")
    answer = expect(place.put(f"v1?digest={digest}", data), 201)
    assert answer.headers["docker-content-digest"] == digest
    assert place.read("v1").headers["docker-content-digest"] == digest


def test_more_tags_than_one_request_may_set_are_refused(place: Place) -> None:
    data = place.image()
    query = "&".join(f"tag=t{n}" for n in range(101))
    expect(place.put(f"{digest_of(data)}?{query}", data), 414)
    expect(place.read("t0"), 404)


def test_one_malformed_tag_among_many_sets_none(place: Place) -> None:
    data = place.image()
    expect(place.put(f"{digest_of(data)}?tag=good&tag=.bad", data), 400)
    expect(place.read("good"), 404)


def test_a_missing_blob_is_named(place: Place) -> None:
    place.blob(b"{}")
    missing = descriptor(b"never pushed", "application/vnd.example.layer.v1")
    answer = expect(place.put("v1", manifest(descriptor(b"{}", "application/vnd.example+json"), [missing])), 400)
    error = answer.json()["errors"][0]
    assert (error["code"], error["detail"]) == ("MANIFEST_BLOB_UNKNOWN", [{"digest": missing["digest"]}])


def test_a_manifest_pushed_without_a_type_has_the_one_it_declares(place: Place) -> None:
    data = place.image()
    expect(place.ask("PUT", "manifests/v1", data), 201)
    assert place.read("v1").headers["content-type"] == IMAGE


def test_a_disk_that_fails_is_the_registrys_fault_and_no_path_is_told(place: Place, registry: RunningRegistry) -> None:
    data = place.tagged("v1")
    (path,) = (registry.root / "repositories").rglob(digest_of(data).partition(":")[2])
    path.unlink()
    path.mkdir()
    answer = expect(place.read("v1"), 500)
    assert answer.codes() == ["UNKNOWN"]
    assert str(registry.root).encode() not in answer.body


def test_a_request_is_on_record_before_the_last_byte_of_its_answer_leaves(tmp_path: Path) -> None:
    records: list[RequestRecord] = []
    seen: list[tuple[str, int]] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        seen.append((message["type"], len(records)))

    with RegistryStorage(tmp_path) as storage:
        scope = {"type": "http", "method": "GET", "path": "/v2/", "query_string": b"", "headers": []}
        asyncio.run(app(storage, on_request=records.append)(scope, receive, send))
    assert seen == [("http.response.start", 0), ("http.response.body", 1)]
    assert [(record.status, record.bytes_out) for record in records] == [(200, 2)]
