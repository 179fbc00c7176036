"""Answers of hosts that cannot be had on this machine (https names of other people), without a network.

What is sent is looked up by its URL without the query; the answer is spelled in bytes and read by the client's own
code. Everything that a server on loopback can do is tested with one (``serving``).
"""

from __future__ import annotations

import io
import json as _json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from unittest import mock

from installml.registry import http
from installml.registry.exchange import Received
from installml.registry.heads import Answer

__all__ = ["Canned", "canned"]


class Canned:
    """Answers by URL.

    Attributes:
        asked: URLs that were asked, in order.
    """

    def __init__(self) -> None:
        self.asked: list[str] = []
        self._answers: dict[str, bytes | OSError] = {}

    def get(
        self,
        url: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
        body: bytes | str = b"",
        json: object = None,
    ) -> None:
        """Let ``url`` be answered."""
        data = body.encode() if isinstance(body, str) else body
        if json is not None:
            data = _json.dumps(json).encode()
        told = {"Content-Length": str(len(data)), **(headers or {})}
        lines = [f"HTTP/1.1 {status} Told", *(f"{name}: {value}" for name, value in told.items())]
        self._answers[_spelled(url)] = "\r\n".join([*lines, "", ""]).encode() + data

    def fail(self, url: str, error: OSError) -> None:
        """Let asking ``url`` fail."""
        self._answers[_spelled(url)] = error

    def exchange(
        self, pool: object, method: str, target: str, headers: Mapping[str, str], body: object, timeout: object
    ) -> Received:
        """Stand in for ``exchange.exchange``."""
        url = f"{getattr(pool, 'scheme', '')}://{headers['Host']}{target}"
        self.asked.append(url)
        answer = self._answers.get(url.partition("?")[0], ConnectionResetError())
        if isinstance(answer, OSError):
            raise answer
        read = Answer(_Wire(answer), method=method)  # type: ignore[arg-type]
        read.begin()
        return Received(pool, None, read)


class _Wire:
    """As much of a socket as an answer needs."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def makefile(self, mode: str) -> io.BufferedReader:
        """Return what is to be read."""
        assert mode == "rb"
        return io.BufferedReader(io.BytesIO(self._data))  # type: ignore[arg-type]


def _spelled(url: str) -> str:
    return url if url.count("/") > 2 else f"{url}/"


@contextmanager
def canned() -> Iterator[Canned]:
    """Let nothing but canned answers come within the block."""
    answers = Canned()
    with mock.patch.object(http, "exchange", answers.exchange):
        yield answers
