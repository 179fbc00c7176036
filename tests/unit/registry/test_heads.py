"""The heads of answers, byte by byte: what is taken, and what is refused because nobody can say where the body is."""

from __future__ import annotations

import io

import pytest

from installml.registry.body import Body
from installml.registry.errors import TimedOut
from installml.registry.exchange import Received
from installml.registry.heads import Answer, HeadInvalid


class Wire:
    """A socket from which these bytes come, and then nothing more."""

    def __init__(self, data: bytes) -> None:
        self.stream = io.BufferedReader(io.BytesIO(data))  # type: ignore[arg-type]

    def makefile(self, mode: str) -> io.BufferedReader:
        return self.stream


def read(*lines: str, body: bytes = b"", method: str = "GET", status: str = "HTTP/1.1 200 OK") -> Answer:
    answer = Answer(Wire("\r\n".join([status, *lines, "", ""]).encode("latin-1") + body), method=method)  # type: ignore[arg-type]
    answer.begin()
    return answer


def test_fields_are_found_in_any_case_and_without_the_space_around_them() -> None:
    fields = read("CONTENT-type: \t text/plain  ", "Location:/there").fields
    assert (fields.get("content-Type"), fields.get("LOCATION"), fields.get("Link")) == ("text/plain", "/there", "")


def test_a_field_that_comes_twice_is_one_list() -> None:
    assert read("WWW-Authenticate: Basic", "www-authenticate: Bearer").fields["WWW-Authenticate"] == "Basic, Bearer"


def test_a_folded_line_is_read_as_a_space() -> None:
    assert read("Link: </a>;", "\t rel=next").fields["Link"] == "</a>; rel=next"


def test_lines_may_end_without_a_carriage_return() -> None:
    answer = Answer(Wire(b"HTTP/1.1 200 OK\nContent-Length: 2\n\nok"))  # type: ignore[arg-type]
    answer.begin()
    assert answer.read() == b"ok"


def test_announcements_are_passed_over() -> None:
    data = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 None\r\n\r\n"
    answer = Answer(Wire(data))  # type: ignore[arg-type]
    answer.begin()
    assert (answer.status, answer.fields.get("Link")) == (204, "")


@pytest.mark.parametrize(
    "status",
    ["HTTP/2 200 OK", "HTTP/1.1 20 OK", "HTTP/1.1 abc", "HTTP/1.1", "ICY 200 OK", "", "HTTP/1.1 101 Switching"],
)
def test_what_is_no_status_line_is_no_answer(status: str) -> None:
    with pytest.raises(HeadInvalid):
        read("Content-Length: 0", status=status)


@pytest.mark.parametrize(
    "line",
    ["no colon", "Name : value", ": value", "Na me: value", "Name: a\rSet: b", "Name: a\0b", " folded: first"],
)
def test_a_line_that_is_no_field_makes_the_head_worthless(line: str) -> None:
    with pytest.raises(HeadInvalid):
        read(line, "Content-Length: 0")


@pytest.mark.parametrize("length", ["-1", "+1", "0x10", "1_0", "1, 2", "\xb2", "1" * 19])
def test_a_length_that_is_none_is_refused(length: str) -> None:
    with pytest.raises(HeadInvalid):
        read(f"Content-Length: {length}")


def test_the_same_length_twice_counts_once() -> None:
    assert read("Content-Length: 5", "Content-Length: 5", body=b"hello and more").read() == b"hello"


@pytest.mark.parametrize("coding", ["gzip", "gzip, chunked", "chunked, chunked", "chunked, identity"])
def test_a_transfer_coding_that_nobody_asked_for_is_refused(coding: str) -> None:
    with pytest.raises(HeadInvalid):
        read(f"Transfer-Encoding: {coding}")


def test_a_coding_wins_over_a_length_and_ends_the_connection() -> None:
    answer = read("Transfer-Encoding: chunked", "Content-Length: 3", body=b"5\r\nhello\r\n0\r\n\r\n")
    assert answer.will_close
    assert answer.read() == b"hello"


@pytest.mark.parametrize(
    ("status", "lines", "kept"),
    [
        ("HTTP/1.1 200 OK", ["Content-Length: 0"], True),
        ("HTTP/1.1 200 OK", ["Content-Length: 0", "Connection: upgrade, Close"], False),
        ("HTTP/1.1 200 OK", [], False),
        ("HTTP/1.1 204 OK", [], True),
        ("HTTP/1.1 200 OK", ["Transfer-Encoding: chunked"], True),
        ("HTTP/1.0 200 OK", ["Content-Length: 0"], False),
        ("HTTP/1.0 200 OK", ["Content-Length: 0", "Connection: keep-alive"], True),
    ],
)
def test_whether_the_connection_lives_on(status: str, lines: list[str], *, kept: bool) -> None:
    assert read(*lines, status=status).will_close is not kept


def test_the_answer_to_head_has_no_body_whatever_it_says() -> None:
    answer = read("Content-Length: 7", method="HEAD")
    assert (answer.length, answer.will_close, answer.fields["Content-Length"]) == (0, False, "7")


@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1 200 OK", b"HTTP/1.1 200 OK\r\nContent-Length: 1", b"HTTP/1.1 200 OK\r\n"]
)
def test_a_head_that_ends_too_early_is_a_lost_connection(data: bytes) -> None:
    with pytest.raises(ConnectionResetError):
        Answer(Wire(data)).begin()  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "lines", [["A: " + "x" * (64 << 10)], ["A: b"] * 101, ["A: " + "x" * (60 << 10)] * 5], ids=["line", "fields", "all"]
)
def test_a_head_without_end_is_not_read_to_its_end(lines: list[str]) -> None:
    with pytest.raises(HeadInvalid):
        read(*lines)


def test_announcements_without_end_are_not_waited_for() -> None:
    with pytest.raises(HeadInvalid):
        Answer(Wire(b"HTTP/1.1 100 Continue\r\n\r\n" * 1000)).begin()  # type: ignore[arg-type]


class Stalling(io.RawIOBase):
    """Gives everything at once, and then fails."""

    def __init__(self, data: bytes) -> None:
        super().__init__()
        self._data = data

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        if not self._data:
            raise TimeoutError
        count, self._data = len(self._data), b""
        buffer[:count] = DATA
        return count


DATA = b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\nhello"


def test_what_came_with_the_head_is_kept_when_nothing_more_comes() -> None:
    wire = Wire(b"")
    wire.stream = io.BufferedReader(Stalling(DATA))
    answer = Answer(wire)  # type: ignore[arg-type]
    answer.begin()
    body = Body(Received(None, None, answer), lambda _: TimedOut("late"), lambda: 0.0)
    buffer = memoryview(bytearray(1 << 20))
    assert bytes(buffer[: body.readinto(buffer)]) == b"hello"
    with pytest.raises(TimedOut):
        body.readinto(buffer)
