"""Tokens that end in the middle of a push: a new one is asked for, and no byte that has arrived goes a second time."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from installml.digest import Digest
from installml.registry.auth import Credentials, Fixed
from installml.registry.errors import Unauthorized
from installml.registry.http import HostSettings, HttpClient, Network
from installml.registry.quirks import Family, Overrides
from installml.registry.repository import Registry, Repository
from installml.spec.descriptor import Descriptor
from installml.testing import SettableClock
from installml.testing.quirky import QuirkyRegistry, body_cap, quirky

MIB = 1 << 20
DATA = bytes(range(256)) * 4096 * 20
BLOB = Descriptor("application/octet-stream", Digest.of(DATA), len(DATA))
SMALL = DATA[: 2 * MIB]
SMALL_BLOB = Descriptor("application/octet-stream", Digest.of(SMALL), len(SMALL))
DAY = 86_400.0


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BinaryIO]:
    path = tmp_path / "blob"
    path.write_bytes(DATA)
    with path.open("rb", buffering=0) as opened:
        yield opened


def place(server: QuirkyRegistry, password: str = "pencil", overrides: Overrides | None = None) -> Repository:
    """Our own clock stands where it is: that a token is over is told by the registry alone."""
    settings = HostSettings(overrides=overrides or Overrides())
    client = HttpClient(Network(timeout=(5.0, 20.0)), lambda _: settings, sleep=lambda _: None)
    return Registry(server.address, client, Fixed(Credentials("ann", password))).repository("acme/w")


def bodies(server: QuirkyRegistry, method: str) -> list[int]:
    """Sizes of the bodies that were taken."""
    return [r.bytes_in for r in server.registry.requests if r.method == method and r.status in {201, 202}]


class After:
    """A day passes on the registry's clock when it has answered a request; our own stands where it is."""

    def __init__(self, clock: SettableClock, method: str, times: int) -> None:
        self._clock = clock
        self._method = method
        self._left = times

    def around(self, inner: ASGIApp) -> ASGIApp:
        async def aging(scope: Scope, receive: Receive, send: Send) -> None:
            await inner(scope, receive, send)
            if scope["type"] == "http" and scope["method"] == self._method and self._left:
                self._left -= 1
                self._clock.advance(DAY)

        return aging


def test_between_two_blobs(file: BinaryIO, tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(SMALL)
    with quirky(Family.HARBOR) as server, (tmp_path / "small").open("rb", buffering=0) as small:
        there = place(server)
        there.push_file(SMALL_BLOB, small, lambda _: None)
        server.clock.advance(DAY)
        there.push_file(BLOB, file, lambda _: None)
        assert there.exists(BLOB)
    assert bodies(server, "PUT") == [len(SMALL), len(DATA)]


def test_between_the_session_and_the_body(file: BinaryIO) -> None:
    """The registry refuses the PUT at its head; the next has another token."""
    clock = SettableClock()
    with quirky(Family.HARBOR, After(clock, "POST", 1), clock=clock) as server:
        there = place(server)
        there.push_file(BLOB, file, lambda _: None)
        assert there.exists(BLOB)
    assert [r.status for r in server.registry.requests if r.method == "PUT"] == [401, 201]


def test_in_the_middle_of_chunks(file: BinaryIO) -> None:
    clock = SettableClock()
    with quirky(Family.HARBOR, After(clock, "PATCH", 6), body_cap(6 * MIB), clock=clock) as server:
        there = place(server)
        there.push_file(BLOB, file, lambda _: None)
        assert there.exists(BLOB)
    assert bodies(server, "PATCH") == [5 * MIB] * 4


def test_while_a_file_is_streamed(file: BinaryIO) -> None:
    """The digest that closes the upload comes with another token than the bytes."""
    with quirky(Family.HARBOR) as server:
        there = place(server)

        def digest(look: Callable[[], None]) -> Digest:  # asked for when the bytes are there
            server.clock.advance(DAY)
            return BLOB.digest

        assert there.stream_file(file, len(DATA), digest, lambda _: None)
        assert there.exists(BLOB)
    assert bodies(server, "PATCH") == [len(DATA)]


def test_a_login_that_is_no_longer_good_ends_the_push(file: BinaryIO) -> None:
    with quirky(Family.HARBOR) as server, pytest.raises(Unauthorized):
        place(server, password="wrong").push_file(BLOB, file, lambda _: None)
    assert sum(r.bytes_in for r in server.registry.requests if "/blobs/" in r.path) == 0
