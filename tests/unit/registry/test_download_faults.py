"""Every rule of reading a part of a blob, against the fault that it is for."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from installml.errors import InstallMLError, SizeMismatch
from installml.registry.auth import Credentials, Fixed
from installml.registry.errors import (
    ConnectionLost,
    Denied,
    RangesUnsupported,
    RateLimited,
    RedirectRefused,
    ServerFailed,
    TimedOut,
    UnexpectedAnswer,
)
from installml.registry.http import HttpClient, Network
from installml.registry.repository import Registry, Repository
from installml.registry_server import RunningRegistry, start
from installml.registry_server.passwords import hash_password
from installml.spec.descriptor import Descriptor
from installml.spec.extents import Extent
from installml.store.protocol import RangeFetcher, Span
from installml.testing import faults as f
from tests.services.certificates import issue, make_ca
from tests.unit.registry_server.kit import until

DATA = random.Random(4).randbytes(3 * 2**20 + 123)
BLOB = Descriptor.of(DATA, "application/octet-stream")
PART = Extent(2**20 + 5, 2**21 + 17)
FRONT = Extent(0, 2**20)
TAIL = Extent(3 * 2**20, len(DATA))
WHOLE = Extent(0, len(DATA))


def rule(fault: f.Fault, skip: int = 0, times: int | None = None) -> f.Rule:
    return f.Rule(fault, "GET", "/blobs/", skip, times)


Guarded = Callable[..., AbstractContextManager[tuple[Repository, RunningRegistry]]]


def client(timeout: float = 20.0, **network: object) -> HttpClient:
    return HttpClient(Network(timeout=(5.0, timeout), **network))  # type: ignore[arg-type]


@contextmanager
def place(*rules: f.Rule, timeout: float = 20.0) -> Iterator[tuple[Repository, RunningRegistry]]:
    with start(faults=f.Faults(*rules)) as registry:
        put(registry)
        yield Registry(registry.address, client(timeout)).repository("acme/x"), registry


def put(registry: RunningRegistry) -> None:
    storage = registry.storage.repository("acme/x")
    upload = registry.storage.uploads.begin(storage)
    upload.claim()
    upload.write(DATA)
    upload.finish(BLOB.digest)
    upload.release()


def collect(span: Span, came: bytearray | None = None) -> bytes:
    """Everything that comes, read as the engine does: into one buffer, again and again."""
    buffer, came = memoryview(bytearray(300_000)), bytearray() if came is None else came
    while count := span.readinto(buffer):
        came += buffer[:count]
    return bytes(came)


def got(repository: Repository, extent: Extent = PART) -> bytes:
    with repository.fetch_range(BLOB, extent) as span:
        assert (span.start, span.stop) == extent
        return collect(span)


def asked(registry: RunningRegistry) -> list[str]:
    return [record.range for record in registry.requests if "/blobs/" in record.path]


def test_a_repository_is_a_range_fetcher_for_the_engine() -> None:
    assert isinstance(Registry("registry.invalid", client()).repository("acme/x"), RangeFetcher)


@pytest.mark.parametrize("extent", [FRONT, PART, TAIL, Extent(7, 8), WHOLE], ids=str)
def test_a_part_is_exactly_the_bytes_asked_for(extent: Extent) -> None:
    with place() as (repository, registry):
        assert got(repository, extent) == DATA[extent.start : extent.stop]
        ranged = "" if extent == WHOLE else f"bytes={extent.start}-{extent.stop - 1}"
        assert asked(registry) == [ranged]


PASSING = {
    "chunked": f.Chunked(),
    "no length": f.NoLength(),
    "HTTP/1.0": f.Old(),
    "slow": f.Slow(20e6),
    "room for one": f.Busy(1),
    "a right total": f.WrongRange(total=len(DATA)),
}


@pytest.mark.parametrize("extent", [PART, WHOLE], ids=["part", "whole"])
@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING.keys())
def test_what_does_no_harm_is_not_noticed(fault: f.Fault, extent: Extent) -> None:
    with place(rule(fault, times=1)) as (repository, _):
        assert got(repository, extent) == DATA[extent.start : extent.stop]


FAILING: dict[str, tuple[f.Fault, Extent, type[InstallMLError], str]] = {
    "all for a part": (f.IgnoreRange(), PART, RangesUnsupported, "sends all of"),
    "another start": (f.WrongRange(shift=1), PART, UnexpectedAnswer, "where 1048581 to"),
    "another total": (f.WrongRange(total=7), PART, SizeMismatch, "7 bytes"),
    "a short body": (f.Truncate(70_000), PART, ConnectionLost, "complete"),
    "a short whole": (f.Truncate(70_000), WHOLE, ConnectionLost, "complete"),
    "a long body": (f.LongBody(9), PART, SizeMismatch, "more than"),
    "a long whole": (f.LongBody(9), WHOLE, SizeMismatch, "more than"),
    "a long length": (f.LongBody(9, announced=True), PART, UnexpectedAnswer, "announced"),
    "a long length of the whole": (f.LongBody(9, announced=True), WHOLE, SizeMismatch, str(len(DATA) + 9)),
    "reset": (f.Reset(70_000), PART, ConnectionLost, "complete"),
    "reset before the body": (f.Reset(0), PART, ConnectionLost, "complete"),
    "429": (f.Status(429), PART, RateLimited, "429"),
    "503": (f.Status(503), PART, ServerFailed, "503"),
    "408": (f.Status(408), PART, ServerFailed, "408"),
    "no room": (f.Busy(0), PART, RateLimited, "429"),
    "416": (f.Unsatisfied(len(DATA)), PART, RangesUnsupported, "has no bytes"),
    "416 with another size": (f.Status(416, {"Content-Range": "bytes */5"}), PART, SizeMismatch, "5 bytes"),
    "several parts in one": (f.Multipart(), PART, UnexpectedAnswer, "several parts"),
    "206 without a range": (f.Status(206), PART, UnexpectedAnswer, "did not say"),
    "gzip": (f.Gzip(), PART, UnexpectedAnswer, "gzip"),
    "gzip of the whole": (f.Gzip(), WHOLE, UnexpectedAnswer, "gzip"),
    "204": (f.Status(204), PART, UnexpectedAnswer, "204"),
    "an endless circle": (f.Redirect("{path}"), PART, RedirectRefused, "redirects"),
    "a redirect to a file": (f.Redirect("file:///etc/passwd"), PART, RedirectRefused, "not called"),
    "a redirect with a password": (f.Redirect("http://a:b@127.0.0.1/"), PART, RedirectRefused, "not called"),
}


@pytest.mark.parametrize(("fault", "extent", "error", "text"), FAILING.values(), ids=FAILING.keys())
def test_what_cannot_be_right_is_refused_and_the_next_request_is_fine(
    fault: f.Fault, extent: Extent, error: type[InstallMLError], text: str
) -> None:
    times = None if isinstance(fault, f.Redirect) else 1
    with place(rule(fault, times=times)) as (repository, registry):
        with pytest.raises(error, match=text):
            got(repository, extent)
        if times:  # one attempt, and no connection that still carries what was refused
            assert got(repository, extent) == DATA[extent.start : extent.stop]
            until(lambda: len(asked(registry)) == 2)


def test_the_whole_is_taken_where_it_comes_for_a_part_at_the_front() -> None:
    with place(rule(f.IgnoreRange())) as (repository, _), repository.fetch_range(BLOB, FRONT) as span:
        assert (span.start, span.stop) == WHOLE
        assert collect(span) == DATA


@pytest.mark.parametrize(
    "fault", [f.WrongRange(shift=9), f.Multipart(), f.Unsatisfied(9)], ids=["shift", "multi", "416"]
)
def test_who_cannot_send_the_front_is_asked_for_the_whole(fault: f.Fault) -> None:
    with place(rule(fault, times=1)) as (repository, _), repository.fetch_range(BLOB, FRONT) as span:
        assert (span.start, span.stop) == WHOLE
        assert collect(span) == DATA


def test_a_shorter_part_than_asked_for_is_taken_as_it_is() -> None:
    with place(rule(f.ShortRange(1000))) as (repository, _), repository.fetch_range(BLOB, PART) as span:
        assert (span.start, span.stop) == (PART.start, PART.start + 1000)
        assert collect(span) == DATA[PART.start : PART.start + 1000]


def test_what_came_before_a_break_is_handed_out() -> None:
    with place(rule(f.Truncate(70_000))) as (repository, _), repository.fetch_range(BLOB, PART) as span:
        came = bytearray()
        with pytest.raises(ConnectionLost):
            collect(span, came)
    assert came == DATA[PART.start : PART.start + 70_000]


def test_a_bit_is_flipped_at_its_place_in_the_blob_whatever_part_it_goes_out_in() -> None:
    with place(rule(f.Flip(PART.start + 3))) as (repository, _):
        wrong = got(repository)
        assert [at for at, (a, b) in enumerate(zip(wrong, DATA[PART.start : PART.stop], strict=True)) if a != b] == [3]
        assert got(repository, FRONT) == DATA[: FRONT.stop]


def test_a_server_that_falls_silent_is_a_time_out_that_keeps_what_came() -> None:
    fault = rule(f.Stall(1000), times=1)
    with place(fault, timeout=0.2) as (repository, _), repository.fetch_range(BLOB, PART) as span:
        buffer = memoryview(bytearray(2**20))
        assert buffer[: span.readinto(buffer)] == DATA[PART.start : PART.start + 1000]
        with pytest.raises(TimedOut):
            span.readinto(buffer)


def test_a_read_that_waits_is_woken_by_abort_from_another_thread() -> None:
    with place(rule(f.Stall(1000))) as (repository, _), repository.fetch_range(BLOB, PART) as span:
        buffer, ends = memoryview(bytearray(1000)), list[BaseException]()
        assert span.readinto(buffer) == 1000

        def read() -> None:
            try:
                span.readinto(buffer)
            except InstallMLError as error:
                ends.append(error)

        reader = threading.Thread(target=read)
        reader.start()
        span.abort()
        reader.join(10)
        assert not reader.is_alive()
        assert isinstance(ends[0], ConnectionLost)


def test_abort_after_the_end_leaves_the_connection_to_the_next_reader() -> None:
    with place() as (repository, _):
        with repository.fetch_range(BLOB, PART) as first:
            collect(first)
        with repository.fetch_range(BLOB, PART) as second:
            first.abort()
            assert collect(second) == DATA[PART.start : PART.stop]


@pytest.mark.parametrize("fault", [None, f.Chunked()], ids=["length", "chunked"])
def test_the_next_part_comes_over_the_same_connection(fault: f.Fault | None) -> None:
    ports = set()

    class Watch:
        async def misbehave(self, inner, scope, receive, send):  # type: ignore[no-untyped-def]
            ports.add(scope["client"][1])
            await (fault.misbehave(inner, scope, receive, send) if fault else inner(scope, receive, send))

    with place(rule(Watch())) as (repository, _):
        for _ in range(5):
            assert got(repository) == DATA[PART.start : PART.stop]
    assert len(ports) == 1


@pytest.mark.parametrize("retry_after", ["7", ""])
@pytest.mark.parametrize("code", [429, 503])
def test_how_long_the_registry_asks_to_wait_is_told_with_the_error(code: int, retry_after: str) -> None:
    fault = f.Status(code, {"Retry-After": retry_after} if retry_after else {})
    with place(rule(fault)) as (repository, _), pytest.raises((RateLimited, ServerFailed)) as caught:
        got(repository)
    assert caught.value.retry_after == (7.0 if retry_after else None)


def test_a_bucket_refuses_what_comes_after_the_burst() -> None:
    now = [0.0]
    with place(rule(f.Throttle(1, burst=2, retry_after="1", clock=lambda: now[0]))) as (repository, _):
        got(repository)
        got(repository)
        with pytest.raises(RateLimited):
            got(repository)
        now[0] = 1.0
        got(repository)


# -- redirects --------------------------------------------------------------------------------------------------


def to_registry(registry: RunningRegistry) -> int:
    return len(asked(registry))


def test_where_the_blob_lies_is_remembered_for_its_next_parts() -> None:
    with f.Elsewhere() as elsewhere, place(rule(elsewhere)) as (repository, registry):
        for extent in (FRONT, PART, TAIL):
            assert got(repository, extent) == DATA[extent.start : extent.stop]
        assert to_registry(registry) == 1
        assert [record.method for record in elsewhere.place.requests] == ["GET"] * 3


def test_a_place_that_no_longer_lets_us_in_is_asked_of_the_registry_again() -> None:
    with f.Elsewhere(uses=2) as elsewhere, place(rule(elsewhere)) as (repository, registry):
        for _ in range(4):
            assert got(repository) == DATA[PART.start : PART.stop]
        assert to_registry(registry) == 2
        elsewhere.expire()
        assert got(repository) == DATA[PART.start : PART.stop]
        assert to_registry(registry) == 3


def test_a_fresh_place_that_lets_nobody_in_is_an_error_and_no_circle() -> None:
    with f.Elsewhere(uses=0) as elsewhere, place(rule(elsewhere)) as (repository, registry):
        with pytest.raises(Denied) as caught:
            got(repository)
        assert to_registry(registry) == 1
        assert "signature" not in str(caught.value)


def test_a_place_that_is_gone_is_forgotten() -> None:
    elsewhere = f.Elsewhere()
    with elsewhere, place(rule(elsewhere, times=1)) as (repository, registry):
        got(repository)
        elsewhere.place.stop()
        with pytest.raises(InstallMLError):
            got(repository)
        assert got(repository) == DATA[PART.start : PART.stop]
        assert to_registry(registry) == 2


@pytest.fixture
def guarded(tmp_path: Path) -> Guarded:
    """A registry with tokens and a password, and a repository of a client that knows it."""
    passwords = tmp_path / "htpasswd"
    passwords.write_text(f"ann:{hash_password('secret')}\n")

    @contextmanager
    def begin(*rules: f.Rule) -> Iterator[tuple[Repository, RunningRegistry]]:
        with start(htpasswd=passwords, token=True, faults=f.Faults(*rules)) as registry:
            put(registry)
            credentials = Fixed(Credentials("ann", "secret"))
            yield Registry(registry.address, client(), credentials).repository("acme/x"), registry

    return begin


def test_credentials_do_not_follow_to_another_port(guarded: Guarded) -> None:
    with f.Elsewhere() as elsewhere, guarded(rule(elsewhere)) as (repository, _):
        for _ in range(2):
            assert got(repository) == DATA[PART.start : PART.stop]
        assert [record.has_authorization for record in elsewhere.place.requests] == [False, False]


def test_credentials_do_not_follow_to_another_host(guarded: Guarded) -> None:
    with f.Elsewhere(host="localhost") as elsewhere, guarded(rule(elsewhere)) as (repository, _):
        assert got(repository) == DATA[PART.start : PART.stop]
        assert not elsewhere.place.requests[0].has_authorization


def test_a_login_that_ends_between_the_parts_is_renewed_once(guarded: Guarded) -> None:
    with guarded(rule(f.ForgetLogin(), skip=3, times=1)) as (repository, registry):
        for _ in range(5):
            assert got(repository) == DATA[PART.start : PART.stop]
        assert len([record for record in registry.requests if record.path == "/token"]) == 2


class OldLoginEnds:
    """Forgets the login that it sees first, once the test says so."""

    def __init__(self) -> None:
        self.login, self.ended = b"", False

    async def misbehave(self, inner: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        login = dict(scope["headers"]).get(b"authorization", b"")
        self.login = self.login or login
        if self.ended and login == self.login:
            await f.ForgetLogin().misbehave(inner, scope, receive, send)
        else:
            await inner(scope, receive, send)


def test_parts_that_lose_their_login_together_ask_for_one_token(guarded: Guarded) -> None:
    fault = OldLoginEnds()
    with guarded(rule(fault)) as (repository, registry):
        got(repository)
        fault.ended = True
        with ThreadPoolExecutor(4) as pool:
            parts = list(pool.map(lambda _: got(repository), range(8)))
        assert parts == [DATA[PART.start : PART.stop]] * 8
        assert len([record for record in registry.requests if record.path == "/token"]) == 2


def test_a_redirect_from_https_to_plain_http_is_refused(tmp_path: Path) -> None:
    made = issue(make_ca(tmp_path), "127.0.0.1", tmp_path)
    with (
        f.Elsewhere() as elsewhere,
        start(tls=(made.cert, made.key), faults=f.Faults(rule(elsewhere))) as registry,
    ):
        put(registry)
        repository = Registry(registry.address, client(ca_file=str(made.ca))).repository("acme/x")
        with pytest.raises(RedirectRefused, match="plain http"):
            got(repository)
        assert elsewhere.place.requests == []


def test_a_redirect_to_https_is_followed_and_parts_come_encrypted(tmp_path: Path) -> None:
    made = issue(make_ca(tmp_path), "127.0.0.1", tmp_path)
    with f.Elsewhere(tls=(made.cert, made.key)) as elsewhere, start(faults=f.Faults(rule(elsewhere))) as registry:
        put(registry)
        repository = Registry(registry.address, client(ca_file=str(made.ca))).repository("acme/x")
        assert [got(repository), got(repository)] == [DATA[PART.start : PART.stop]] * 2
        assert to_registry(registry) == 1
