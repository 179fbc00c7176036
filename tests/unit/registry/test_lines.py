"""lines: whoever waits for an answer that never begins can be woken by another thread."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from installml.registry.errors import ConnectionLost, TransportError
from installml.registry.http import HttpClient, Network, Request
from installml.registry.lines import Line


class Mute:
    """Accepts connections and reads requests, and says nothing."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.left = threading.Event()
        self.requests = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._thread = threading.Thread(target=self._serve)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._socket.getsockname()[1]}/"

    def _serve(self) -> None:
        while True:
            try:
                peer, _ = self._socket.accept()
            except OSError:
                return
            with peer:
                while block := peer.recv(65536):
                    self.requests += block.count(b"GET ")
                    self.asked.set()
                self.left.set()

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()


@pytest.fixture
def mute() -> Iterator[Mute]:
    server = Mute()
    yield server
    server.close()


@pytest.fixture
def client() -> Iterator[HttpClient]:
    made = HttpClient(Network(timeout=(15.0, 3600.0)))
    yield made
    made.close()


def asking(client: HttpClient, url: str, line: Line) -> tuple[threading.Thread, list[BaseException]]:
    """Ask in another thread; return it, and where it puts what came of it."""
    came: list[BaseException] = []

    def ask() -> None:
        try:
            with line.held():
                client.send(Request("GET", url, again=True)).close()
        except BaseException as error:
            came.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    return thread, came


def test_a_line_that_is_cut_ends_the_wait_for_the_head_and_asks_no_more(mute: Mute, client: HttpClient) -> None:
    line = Line()
    thread, came = asking(client, mute.url, line)
    assert mute.asked.wait(60)
    line.cut()
    thread.join(60)
    assert not thread.is_alive()
    assert isinstance(came[0], TransportError)
    assert mute.left.wait(60)
    assert mute.requests == 1


def test_on_a_line_that_was_cut_before_nothing_is_asked(mute: Mute, client: HttpClient) -> None:
    line = Line()
    line.cut()
    with line.held(), pytest.raises(TransportError, match="not asked any more"):
        client.send(Request("GET", mute.url))
    assert mute.requests == 0


def test_another_line_and_none_at_all_are_not_touched(mute: Mute, client: HttpClient) -> None:
    mine, other = Line(), Line()
    thread, came = asking(client, mute.url, mine)
    assert mute.asked.wait(60)
    other.cut()
    assert thread.is_alive()
    assert came == []
    mine.cut()
    thread.join(60)


def test_a_line_that_is_cut_in_the_last_moment_does_not_begin_to_wait() -> None:
    line = Line()
    line.cut()
    with pytest.raises(ConnectionResetError):
        line.hang(object())


def test_a_cut_line_is_told_as_a_lost_connection_to_who_does_not_repeat(mute: Mute, client: HttpClient) -> None:
    line = Line()
    came: list[BaseException] = []

    def ask() -> None:
        try:
            with line.held():
                client.send(Request("GET", mute.url))
        except BaseException as error:
            came.append(error)

    thread = threading.Thread(target=ask)
    thread.start()
    assert mute.asked.wait(60)
    line.cut()
    thread.join(60)
    assert isinstance(came[0], ConnectionLost)


@pytest.mark.parametrize(("late", "unwanted"), [(True, False), (False, True)])
def test_who_is_late_is_to_blame_and_who_is_not_wanted_any_more_is_not(late: bool, unwanted: bool) -> None:
    line = Line()
    assert not line.unwanted
    line.cut(late=late)
    line.cut(late=not late)
    assert line.unwanted is unwanted
