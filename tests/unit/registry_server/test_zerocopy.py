"""Bytes that the kernel sends from a file are the same, in number and in order, as those sent from here."""

from __future__ import annotations

import asyncio
import http.client
import logging
import os
import random
import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Receive, Scope, Send

from installml.registry_server import RunningRegistry, start
from installml.registry_server.zerocopy import MESSAGE, ordinary
from tests.contract.registry_protocol.place import Place, Wire, digest_of
from tests.services.certificates import issue, make_ca
from tests.unit.registry_server.kit import connect, head, until

DATA = random.Random(21).randbytes(3 * 2**20 + 77)
BLOB = f"/v2/acme/one/blobs/{digest_of(DATA)}"
TINY = b"0123456789"


@contextmanager
def filled() -> Iterator[RunningRegistry]:
    with start() as running:
        place = Place(Wire(running.url), "acme/one")
        for data in (DATA, TINY, b""):
            place.blob(data)
        yield running


@pytest.fixture(scope="module")
def filled_once() -> Iterator[RunningRegistry]:
    with filled() as running:
        yield running


@pytest.fixture
def registry(filled_once: RunningRegistry) -> RunningRegistry:
    filled_once.requests.clear()
    return filled_once


def counted(registry: RunningRegistry) -> list[int]:
    """Bytes of the answers with a body."""
    return [record.bytes_out for record in registry.requests if record.method == "GET" and record.bytes_out]


@pytest.fixture
def handed(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many bytes the kernel was given, each time."""
    counts: list[int] = []
    real = asyncio.BaseEventLoop.sendfile

    async def noted(self, transport, file, offset=0, count=None, *, fallback=True):  # type: ignore[no-untyped-def]
        counts.append(count)
        return await real(self, transport, file, offset, count, fallback=fallback)

    monkeypatch.setattr(asyncio.BaseEventLoop, "sendfile", noted)
    return counts


def ask(client: http.client.HTTPConnection, path: str = BLOB, spelled: str = "", method: str = "GET") -> bytes:
    client.request(method, path, headers={"Range": spelled} if spelled else {})
    return client.getresponse().read()


def connection(registry: RunningRegistry) -> http.client.HTTPConnection:
    return http.client.HTTPConnection(registry.host, registry.port, timeout=20)


on_asyncio = pytest.mark.skipif(find_spec("uvloop") is not None, reason="uvloop, which uvicorn prefers, cannot")

SPANS = {
    "": DATA,
    "bytes=0-0": DATA[:1],
    "bytes=5-1048580": DATA[5:1048581],
    "bytes=1048576-2097151": DATA[2**20 : 2**21],
    "bytes=1-": DATA[1:],
    "bytes=-7": DATA[-7:],
}


@on_asyncio
def test_spans_of_one_connection_are_exact_and_come_from_the_kernel(
    registry: RunningRegistry, handed: list[int]
) -> None:
    client = connection(registry)
    assert [ask(client, spelled=spelled) for spelled in SPANS] == list(SPANS.values())
    client.close()
    assert sum(handed) == sum(map(len, SPANS.values()))


def test_the_record_counts_what_the_kernel_sent(registry: RunningRegistry) -> None:
    client = connection(registry)
    for spelled in SPANS:
        ask(client, spelled=spelled)
    client.close()
    assert counted(registry) == [len(data) for data in SPANS.values()]


def test_heads_and_empty_blobs_have_no_body_and_keep_the_connection(registry: RunningRegistry) -> None:
    client = connection(registry)
    assert ask(client, method="HEAD") == b""
    assert ask(client, f"/v2/acme/one/blobs/{digest_of(b'')}") == b""
    before = client.sock
    assert ask(client, f"/v2/acme/one/blobs/{digest_of(TINY)}") == TINY
    assert client.sock is before is not None
    client.close()


def test_requests_sent_at_once_are_answered_in_order(registry: RunningRegistry) -> None:
    with connect(registry.url) as client:
        client.sendall(b"".join(head("GET", BLOB, 0, f"Range: {spelled}") for spelled in list(SPANS)[1:]))
        answers = []
        reader = client.makefile("rb")
        for _ in list(SPANS)[1:]:
            lines = iter(reader.readline, b"\r\n")
            (length,) = [int(line.split()[1]) for line in lines if line.lower().startswith(b"content-length")]
            answers.append(reader.read(length))
        reader.close()
    assert answers == list(SPANS.values())[1:]


def test_an_answer_of_http_1_0_ends_with_the_connection(registry: RunningRegistry) -> None:
    with connect(registry.url) as client:
        client.sendall(f"GET {BLOB} HTTP/1.0\r\n\r\n".encode())
        came = b"".join(iter(lambda: client.recv(2**16), b""))
    assert came.partition(b"\r\n\r\n")[2] == DATA


def test_a_client_that_goes_in_the_middle_is_forgotten_without_a_word(
    registry: RunningRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        for _ in range(5):
            with connect(registry.url) as client:
                client.sendall(head("GET", BLOB, 0))
                client.recv(1000)
        until(lambda: len(counted(registry)) == 5)
        assert ask(connection(registry)) == DATA
    assert caplog.messages == []


@on_asyncio
def test_a_file_that_has_become_shorter_ends_the_connection_early(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    real = asyncio.BaseEventLoop.sendfile
    with filled() as registry, caplog.at_level(logging.WARNING):
        (path,) = (registry.root / "repositories").rglob(digest_of(DATA).partition(":")[2])

        async def late(self, *args, **more):  # type: ignore[no-untyped-def]
            os.truncate(path, 1000)
            return await real(self, *args, **more)

        monkeypatch.setattr(asyncio.BaseEventLoop, "sendfile", late)
        with pytest.raises(http.client.IncompleteRead) as caught:
            ask(connection(registry))
        assert caught.value.partial == DATA[:1000]
    assert caplog.messages == []


@pytest.mark.parametrize("spelled", SPANS)
def test_where_the_loop_cannot_the_bytes_are_the_same(
    registry: RunningRegistry, spelled: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def unable(*_: object, **__: object) -> int:
        raise NotImplementedError  # what uvloop does

    monkeypatch.setattr(asyncio.BaseEventLoop, "sendfile", unable)
    client = connection(registry)
    assert ask(client, spelled=spelled) == SPANS[spelled]
    assert ask(client, f"/v2/acme/one/blobs/{digest_of(TINY)}") == TINY
    client.close()
    assert counted(registry) == [len(SPANS[spelled]), len(TINY)]


def test_over_tls_nothing_goes_by_the_kernel(tmp_path: Path, handed: list[int]) -> None:
    tls = issue(make_ca(tmp_path), "127.0.0.1", tmp_path)
    with start(tls=(tls.cert, tls.key)) as registry:
        wire = Wire(registry.url, ssl.create_default_context(cafile=str(tls.ca)))
        Place(wire, "acme/one").blob(DATA)
        assert wire.ask("GET", BLOB, headers={"Range": "bytes=5-2000000"}).body == DATA[5:2000001]
    assert handed == []


class Looking:
    """Something in front of a registry that looks at the bytes, and knows nothing of the extension."""

    def __init__(self) -> None:
        self.seen = 0
        self.types: set[str] = set()

    def around(self, inner: ASGIApp) -> ASGIApp:
        async def looking(scope: Scope, receive: Receive, send: Send) -> None:
            async def noting(message):  # type: ignore[no-untyped-def]
                self.types.add(message["type"])
                self.seen += len(message.get("body", b""))
                await send(message)

            await inner(scope, receive, noting)

        return looking


def test_who_looks_at_the_bytes_is_shown_them(handed: list[int]) -> None:
    looking = Looking()
    with start(faults=looking) as registry:
        Place(Wire(registry.url), "acme/one").blob(DATA)
        before = looking.seen
        assert ask(connection(registry)) == DATA
    assert looking.seen - before == len(DATA)
    assert MESSAGE not in looking.types
    assert handed == []


@pytest.mark.parametrize("extensions", [{}, {MESSAGE: {}}, {MESSAGE: {}, "other": {}}], ids=len)
def test_only_this_extension_is_taken_away(extensions: dict[str, object]) -> None:
    left = ordinary({"type": "http", "extensions": extensions})["extensions"]
    assert left == {name: value for name, value in extensions.items() if name != MESSAGE}
