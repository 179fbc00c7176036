"""Blobs that leave from files: few requests, nothing wrong ever whole, and a cut costs what was on the wire."""

from __future__ import annotations

import socketserver
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import pytest

from installml.digest import Digest
from installml.errors import DigestMismatch, IntegrityError, SizeMismatch
from installml.registry.errors import ConnectionLost, NameUnknown, RegistryError, ServerFailed
from installml.registry.http import HttpClient, Network
from installml.registry.leftovers import Leftovers, identity
from installml.registry.repository import Registry, Repository
from installml.registry_server import RunningRegistry, start
from installml.registry_server.faults import Fault, Faults, Reset, Rule, Status
from installml.spec.descriptor import Descriptor
from installml.store.protocol import Unwanted
from tests.services.certificates import issue, make_ca

MIB = 1 << 20
DATA = bytes(range(256)) * 4096 * 20  # 20 MiB: worth resuming
BLOB = Descriptor("application/octet-stream", Digest.of(DATA), len(DATA))


def place(registry: RunningRegistry, **network: str) -> Repository:
    client = HttpClient(Network(**network), sleep=lambda _: None)  # type: ignore[arg-type]
    return Registry(registry.address, client).repository("acme/w")


def patient(registry: RunningRegistry) -> Repository:
    """As ``place``, with real waits: for a registry that still reads what was on the wire."""
    return Registry(registry.address, HttpClient(Network())).repository("acme/w")


class Stopped(Exception):
    """Somebody has pressed Ctrl-C."""


def stop(count: int) -> None:
    raise Stopped


@pytest.fixture
def file(tmp_path: Path) -> Iterator[BinaryIO]:
    path = tmp_path / "blob"
    path.write_bytes(DATA)
    with path.open("rb", buffering=0) as opened:
        yield opened


def ignore(count: int) -> None:
    pass


def methods(registry: RunningRegistry) -> list[tuple[str, int]]:
    return [(one.method, one.status) for one in registry.requests if one.path != "/v2/"]


def test_a_file_takes_one_question_one_session_and_one_put(file: BinaryIO) -> None:
    with start() as registry:
        there = place(registry)
        there.push_file(BLOB, file, ignore)
        assert there.exists(BLOB)
    assert methods(registry) == [("HEAD", 404), ("POST", 202), ("PUT", 201)]


def test_progress_adds_up_to_the_size(file: BinaryIO) -> None:
    counts: list[int] = []
    with start() as registry:
        place(registry).push_file(BLOB, file, counts.append)
    assert sum(counts) == len(DATA)


def test_over_tls_the_same_bytes_arrive(tmp_path: Path, file: BinaryIO) -> None:
    made = issue(make_ca(tmp_path), "127.0.0.1", tmp_path)
    with start(tls=(made.cert, made.key)) as registry:
        there = place(registry, ca_file=str(made.ca))
        there.push_file(BLOB, file, ignore)
        with there.fetch(BLOB) as content:
            assert b"".join(iter(lambda: content.read(MIB), b"")) == DATA


@pytest.mark.parametrize("wrong", [DATA[:-1] + b"x", DATA[:-1], DATA + b"x"], ids=["flipped", "shorter", "longer"])
def test_a_file_with_other_bytes_is_never_sent_whole(tmp_path: Path, wrong: bytes) -> None:
    (tmp_path / "wrong").write_bytes(wrong)
    with start() as registry, (tmp_path / "wrong").open("rb", buffering=0) as file:
        with pytest.raises(IntegrityError):
            place(registry).push_file(BLOB, file, ignore)
        assert not place(registry).exists(BLOB)
    assert ("PUT", 201) not in methods(registry)


def test_a_file_that_is_taken_for_proved_and_is_wrong_is_found_out(tmp_path: Path) -> None:
    (tmp_path / "wrong").write_bytes(DATA[:-1] + b"x")
    with start() as registry, (tmp_path / "wrong").open("rb", buffering=0) as file:
        with pytest.raises(DigestMismatch, match="wrong"):
            place(registry).push_file(BLOB, file, ignore, proved=True)
        assert not place(registry).exists(BLOB)


def test_a_small_file_that_has_grown_is_refused(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"abcd")
    small = Descriptor("text/plain", Digest.of(b"abc"), 3)
    with start() as registry, (tmp_path / "small").open("rb", buffering=0) as file, pytest.raises(SizeMismatch):
        place(registry).push_file(small, file, ignore)


def test_what_report_raises_ends_the_push(file: BinaryIO) -> None:
    class Enough(Exception):
        pass

    def stop(count: int) -> None:
        raise Enough

    with start() as registry:
        with pytest.raises(Enough):
            place(registry).push_file(BLOB, file, stop)
        assert not place(registry).exists(BLOB)


def test_after_a_cut_the_upload_goes_on_where_it_was(file: BinaryIO) -> None:
    cut = Rule(Reset(15 * MIB, of="request"), method="PUT", path="/blobs/uploads/", times=1)
    counts: list[int] = []
    with start(faults=Faults(cut)) as registry:
        there = place(registry)
        there.push_file(BLOB, file, counts.append)
        assert there.exists(BLOB)
    assert [one.bytes_in for one in registry.requests if (one.method, one.status) == ("PATCH", 202)] == [5 * MIB]
    assert sum(counts) == len(DATA)


def test_another_process_goes_on_with_an_upload(tmp_path: Path, file: BinaryIO) -> None:
    """The first process gives up because the registry does nothing but hang up; the second finds it restarted."""
    cut = Rule(Reset(15 * MIB, of="request"), method="PUT", path="/blobs/uploads/", times=1)
    gone = Rule(Reset(0, of="request"), method="PATCH", path="/blobs/uploads/")
    with start(tmp_path / "registry", faults=Faults(cut, gone)) as registry:
        first = place(registry)
        first.resume_from(tmp_path / "state")
        with pytest.raises(ConnectionLost):
            first.push_file(BLOB, file, ignore)
    counts: list[int] = []
    there: list[int] = []
    with start(tmp_path / "registry", port=int(registry.address.rpartition(":")[2])) as registry:
        second = place(registry)
        second.resume_from(tmp_path / "state")
        second.push_file(BLOB, file, counts.append, already=there.append)
        assert second.exists(BLOB)
    assert [one.bytes_in for one in registry.requests if (one.method, one.status) == ("PATCH", 202)] == [5 * MIB]
    assert (sum(counts), there) == (5 * MIB, [15 * MIB])
    assert list((tmp_path / "state").iterdir()) == []


def test_a_session_that_is_gone_is_no_obstacle(tmp_path: Path, file: BinaryIO) -> None:
    with start() as registry:
        there = place(registry)
        there.resume_from(tmp_path)
        Leftovers(tmp_path).keep(str(there), BLOB.digest, f"{registry.url}/v2/acme/w/blobs/uploads/none")
        there.push_file(BLOB, file, ignore)
        assert there.exists(BLOB)


@pytest.mark.parametrize(
    "url",
    [
        "https://s3.example/upload?X-Amz-Signature=abc",
        "https://user:secret@registry.example/v2/a/b/blobs/uploads/1",
        "https://registry.example/v2/a/b/blobs/uploads/1?_state=x&token=y",
        "file:///etc/passwd",
    ],
)
def test_an_address_that_may_be_a_key_is_not_written_down(tmp_path: Path, url: str) -> None:
    leftovers = Leftovers(tmp_path)
    leftovers.keep("registry.example/a/b", BLOB.digest, url)
    assert list(tmp_path.iterdir()) == []


def test_an_upload_of_yesterday_is_forgotten(tmp_path: Path) -> None:
    url = "https://registry.example/v2/a/b/blobs/uploads/1?_state=x"
    Leftovers(tmp_path).keep("registry.example/a/b", BLOB.digest, url)
    now = next(tmp_path.iterdir()).stat().st_mtime
    assert Leftovers(tmp_path, lambda: now).find("registry.example/a/b", BLOB.digest) == url
    assert Leftovers(tmp_path, lambda: now + 25 * 3600).find("registry.example/a/b", BLOB.digest) == ""


def test_a_refusal_before_the_body_was_read_is_heard_while_the_connection_is_full(file: BinaryIO) -> None:
    """The server has said no, reads nothing more and does not hang up either."""
    gone = threading.Event()

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            while line := self.rfile.readline():
                for _ in iter(self.rfile.readline, b"\r\n"):
                    pass
                if line.startswith(b"POST"):
                    self.wfile.write(b"HTTP/1.1 202 x\r\nLocation: /v2/u\r\nContent-Length: 0\r\n\r\n")
                elif line.startswith(b"PUT"):
                    self.wfile.write(b"HTTP/1.1 403 x\r\nContent-Length: 0\r\n\r\n")
                    gone.wait(30)
                    return
                else:
                    self.wfile.write(b"HTTP/1.1 404 x\r\nContent-Length: 0\r\n\r\n")

    class Server(socketserver.ThreadingTCPServer):
        daemon_threads = True  # our client keeps its connections

    with Server(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,)).start()
        there = Registry(f"127.0.0.1:{server.server_address[1]}", HttpClient(Network())).repository("acme/w")
        try:
            with pytest.raises(RegistryError, match="403"):
                there.push_file(BLOB, file, ignore, proved=True)
        finally:
            gone.set()
            server.shutdown()


def test_a_limit_on_bodies_is_met_with_chunks(file: BinaryIO) -> None:
    with start(faults=Faults(Rule(Status(413), method="PUT", path="/blobs/uploads/", times=1))) as registry:
        there = place(registry)
        there.push_file(BLOB, file, ignore)
        assert there.exists(BLOB)
    assert [one.bytes_in for one in registry.requests if one.method == "PATCH"] == [16 * MIB, 4 * MIB]


def test_chunks_get_smaller_until_they_are_taken(file: BinaryIO) -> None:
    faults = Faults(
        Rule(Status(413), method="PUT", path="/blobs/uploads/", times=1),
        Rule(Status(413), method="PATCH", path="/blobs/uploads/", times=1),
    )
    with start(faults=faults) as registry:
        there = place(registry)
        there.push_file(BLOB, file, ignore)
    taken = [one.bytes_in for one in registry.requests if one.method == "PATCH" and one.status == 202]
    assert taken == [5 * MIB] * 4


@pytest.mark.parametrize("fault", [Status(503), Status(429), Status(401), Status(404)])
def test_a_refusal_that_passes_is_tried_again(file: BinaryIO, fault: Fault) -> None:
    with start(faults=Faults(Rule(fault, method="PUT", path="/blobs/uploads/", times=2))) as registry:
        there = place(registry)
        there.push_file(BLOB, file, ignore)
        assert there.exists(BLOB)


@pytest.mark.parametrize("code", [500, 507])
def test_a_registry_whose_disk_is_full_is_told_and_leaves_nothing(file: BinaryIO, code: int) -> None:
    with start(faults=Faults(Rule(Status(code), method="PUT", path="/blobs/uploads/"))) as registry:
        with pytest.raises(ServerFailed, match=str(code)):
            place(registry).push_file(BLOB, file, ignore)
        assert not place(registry).exists(BLOB)


def test_a_missing_repository_is_told_before_a_byte_is_sent(file: BinaryIO) -> None:
    said = '{"errors": [{"code": "NAME_UNKNOWN", "message": "no such repository"}]}'
    answer = Status(404, {"Content-Type": "application/json"}, said)
    with start(faults=Faults(Rule(answer, method="POST"))) as registry, pytest.raises(NameUnknown):
        place(registry).push_file(BLOB, file, ignore)
    assert sum(one.bytes_in for one in registry.requests) == 0


def known(digest: Digest) -> Callable[[Callable[[], None]], Digest]:
    return lambda look: digest


def test_a_file_is_streamed_before_its_digest_is_known(file: BinaryIO) -> None:
    with start() as registry:
        there = place(registry)
        assert there.stream_file(file, len(DATA), known(BLOB.digest), ignore)
        assert there.exists(BLOB)  # what it has taken is not asked for
    assert methods(registry) == [("POST", 202), ("PATCH", 202), ("PUT", 201)]


def test_a_stream_that_is_cut_is_finished_by_the_push(file: BinaryIO) -> None:
    cut = Rule(Reset(15 * MIB, of="request"), method="PATCH", path="/blobs/uploads/", times=1)
    with start(faults=Faults(cut)) as registry:
        there = place(registry)
        assert not there.stream_file(file, len(DATA), known(BLOB.digest), ignore)
        there.push_file(BLOB, file, ignore)
        assert there.exists(BLOB)
    assert [one.bytes_in for one in registry.requests if (one.method, one.status) == ("PATCH", 202)] == [5 * MIB]


def test_a_stream_that_was_stopped_goes_on_in_another_process_before_its_digest_is_known(
    tmp_path: Path, file: BinaryIO
) -> None:
    with start() as registry:
        first, second = place(registry), place(registry)
        for one in (first, second):
            one.resume_from(tmp_path / "state")
        with pytest.raises(Stopped):
            first.stream_file(file, len(DATA), known(BLOB.digest), stop)
        while ("PATCH", 0) not in methods(registry):  # it has read what was on the wire
            pass
        counts: list[int] = []
        there: list[int] = []
        assert second.stream_file(file, len(DATA), known(BLOB.digest), counts.append, there.append)
        assert second.exists(BLOB)
    assert sum(counts) + sum(there) == len(DATA)
    assert methods(registry).count(("POST", 202)) == 1
    assert list((tmp_path / "state").iterdir()) == []


def test_a_stream_whose_session_is_over_waits_for_its_digest(tmp_path: Path, file: BinaryIO) -> None:
    """The blob is there, perhaps: nothing is sent before that is known."""
    with start() as registry:
        there = place(registry)
        there.resume_from(tmp_path)
        Leftovers(tmp_path).keep(str(there), identity(file), f"{registry.url}/v2/acme/w/blobs/uploads/none")
        assert not there.stream_file(file, len(DATA), known(BLOB.digest), ignore)
    assert sum(one.bytes_in for one in registry.requests) == 0


def test_a_stream_left_by_another_process_is_found_by_its_digest_too(tmp_path: Path, file: BinaryIO) -> None:
    cut = Rule(Reset(15 * MIB, of="request"), method="PATCH", path="/blobs/uploads/", times=1)
    with start(faults=Faults(cut)) as registry:
        first, second = place(registry), place(registry)
        for one in (first, second):
            one.resume_from(tmp_path / "state")
        assert not first.stream_file(file, len(DATA), known(BLOB.digest), ignore)
        second.push_file(BLOB, file, ignore)
        assert second.exists(BLOB)
    assert [one.bytes_in for one in registry.requests if (one.method, one.status) == ("PATCH", 202)] == [5 * MIB]
    assert list((tmp_path / "state").iterdir()) == []


def test_a_push_that_is_stopped_leaves_nothing_where_nothing_is_remembered(file: BinaryIO) -> None:
    with start() as registry, pytest.raises(Stopped):
        patient(registry).push_file(BLOB, file, stop)
    assert ("DELETE", 204) in methods(registry)


def test_a_registry_that_takes_no_stream_is_asked_once(file: BinaryIO) -> None:
    with start(faults=Faults(Rule(Status(405), method="PATCH"))) as registry:
        there = place(registry)
        assert not there.stream_file(file, len(DATA), known(BLOB.digest), ignore)
        assert not there.stream_file(file, len(DATA), known(BLOB.digest), ignore)
        there.push_file(BLOB, file, ignore)
        assert there.exists(BLOB)
    assert methods(registry).count(("PATCH", 405)) == 1


def test_a_stream_that_is_given_up_leaves_no_session(file: BinaryIO) -> None:
    def give_up(count: int) -> None:
        raise Unwanted

    with start() as registry, pytest.raises(Unwanted):
        patient(registry).stream_file(file, len(DATA), known(BLOB.digest), give_up)
    assert ("DELETE", 204) in methods(registry)


def test_a_stream_with_another_digest_is_not_published(file: BinaryIO) -> None:
    wrong = Digest.of(b"something else")
    with start() as registry:
        there = place(registry)
        assert not there.stream_file(file, len(DATA), known(wrong), ignore)
        assert not there.exists(Descriptor("application/octet-stream", wrong, len(DATA)))
