"""Each fault does on the wire what it says."""

from __future__ import annotations

import contextlib
import http.client
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from installml.registry_server import Faults, RunningRegistry, start
from installml.registry_server.faults import Fault, Flip, IgnoreRange, Reset, Rule, Stall, Status, Truncate
from tests.contract.registry_protocol.place import Place, Wire, digest_of, expect
from tests.unit.registry_server.kit import connect, head, until

DATA = bytes(range(256)) * 8192  # two blocks
BLOB = f"blobs/{digest_of(DATA)}"
Start = Callable[..., tuple[Place, RunningRegistry]]


@pytest.fixture
def faulty() -> Iterator[Start]:
    with ExitStack() as stack:

        def begin(
            fault: Fault, method: str = "GET", path: str = "/blobs/", **more: int
        ) -> tuple[Place, RunningRegistry]:
            rule = Rule(fault, method, path, **more)
            registry = stack.enter_context(start(faults=Faults(rule)))
            place = Place(Wire(registry.url), "acme/one")
            if method == "GET":
                place.blob(DATA)
            return place, registry

        yield begin


def received(place: Place, registry: RunningRegistry) -> tuple[bytes, type[Exception] | None]:
    """All that comes of the blob, and how it ends."""
    with connect(registry.url) as client:
        client.sendall(head("GET", f"/v2/{place.name}/{BLOB}", 0))
        response = http.client.HTTPResponse(client)
        got = b""
        try:
            response.begin()
            assert response.length == len(DATA)
            while piece := response.read1():
                got += piece
        except (OSError, http.client.HTTPException) as error:
            return got, type(error)
        finally:
            response.close()  # or the socket stays open
        return got, None


def test_status_answers_with_its_code_headers_and_body(faulty: Start) -> None:
    place, _ = faulty(Status(429, {"Retry-After": "7"}, "slow down"), times=2)
    for _ in range(2):
        answer = expect(place.ask("GET", BLOB), 429)
        assert (answer.headers["retry-after"], answer.body) == ("7", b"slow down")
    assert expect(place.ask("GET", BLOB), 200).body == DATA


def test_truncate_ends_orderly_after_so_many_bytes(faulty: Start) -> None:
    got, error = received(*faulty(Truncate(1_500_000)))
    assert got == DATA[:1_500_000]
    assert error in {None, http.client.IncompleteRead}


@pytest.mark.parametrize("after", [0, 100])
def test_reset_drops_the_connection_in_the_answer(faulty: Start, after: int) -> None:
    got, error = received(*faulty(Reset(after)))
    assert error is ConnectionResetError
    assert DATA.startswith(got)
    assert len(got) <= after


def test_reset_drops_the_connection_in_the_request(faulty: Start) -> None:
    place, registry = faulty(Reset(300_000, of="request"), "PATCH", "/uploads/", times=1)
    session = place.session()
    with connect(registry.url) as client, contextlib.suppress(OSError):  # which call meets the reset is a race
        client.sendall(head("PATCH", session, len(DATA)) + DATA)
        assert client.recv(1) == b""
    until(lambda: any(record.method == "PATCH" for record in registry.requests))
    start_again = int(place.ask("GET", session).headers["range"].partition("-")[2]) + 1
    assert start_again == 300_000
    expect(place.patch(session, DATA[start_again:], start_again), 202)
    expect(place.close(session, digest_of(DATA)), 201)


@pytest.mark.parametrize("offset", [0, 1_200_000, len(DATA) - 1])
def test_flip_changes_one_byte(faulty: Start, offset: int) -> None:
    place, _ = faulty(Flip(offset))
    body = expect(place.ask("GET", BLOB), 200).body
    assert [i for i, (a, b) in enumerate(zip(body, DATA, strict=True)) if a != b] == [offset]


def test_stall_falls_silent_until_the_client_gives_up(faulty: Start) -> None:
    place, registry = faulty(Stall(1000))
    with connect(registry.url) as client:
        client.sendall(head("GET", f"/v2/{place.name}/{BLOB}", 0))
        response = http.client.HTTPResponse(client)
        response.begin()
        assert response.read(1000) == DATA[:1000]
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            response.read(1)
        assert not any(record.method == "GET" for record in registry.requests)
        response.close()
    until(lambda: any(record.method == "GET" for record in registry.requests))


def test_stall_goes_on_after_its_time(faulty: Start) -> None:
    place, _ = faulty(Stall(1000, seconds=0.05))
    assert expect(place.ask("GET", BLOB), 200).body == DATA


def test_a_stalled_request_does_not_keep_the_registry_from_stopping(faulty: Start) -> None:
    place, registry = faulty(Stall(10))
    with connect(registry.url) as client:
        client.sendall(head("GET", f"/v2/{place.name}/{BLOB}", 0))
        assert client.recv(10)
        registry.stop()


def test_ignore_range_answers_with_the_whole(faulty: Start) -> None:
    place, _ = faulty(IgnoreRange(), times=1)
    assert expect(place.ask("GET", BLOB, headers={"Range": "bytes=5-9"}), 200).body == DATA
    assert expect(place.ask("GET", BLOB, headers={"Range": "bytes=5-9"}), 206).body == DATA[5:10]


def test_rules_count_only_what_they_match(faulty: Start) -> None:
    place, _ = faulty(Status(500), skip=1, times=1)
    statuses = [place.ask(method, BLOB).status for method in ("GET", "HEAD", "GET", "HEAD", "GET")]
    assert statuses == [200, 200, 500, 200, 200]


def test_the_first_rule_that_matches_decides() -> None:
    plan = Faults(Rule(Status(502), path="/tags/"), Rule(Status(503), method="GET"))
    with start(faults=plan) as registry:
        wire = Wire(registry.url)
        assert [wire.ask("GET", path).status for path in ("/v2/a/tags/list", "/v2/")] == [502, 503]


def test_the_body_of_an_answer_does_not_wait_until_its_head_is_acknowledged(faulty: Start) -> None:
    """Nagle's algorithm is off: with it each small blob takes 40 ms."""
    options = []

    class Look:
        async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
            raw = scope["state"]["connection"]._transport.get_extra_info("socket")
            options.append(raw.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            await inner(scope, receive, send)

    place, _ = faulty(Look())
    expect(place.ask("GET", BLOB), 200)
    assert options
    assert all(options)


@pytest.mark.parametrize("fault", [Truncate(len(DATA) + 1), Reset(len(DATA) + 1)], ids=["truncate", "reset"])
def test_an_answer_that_is_shorter_than_the_cut_is_left_alone(
    faulty: Start, fault: Fault, caplog: pytest.LogCaptureFixture
) -> None:
    place, registry = faulty(fault)
    assert received(place, registry) == (DATA, None)
    assert place.ask("GET", BLOB).body == DATA
    assert caplog.messages == []
