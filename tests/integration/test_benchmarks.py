"""The benchmarks run, at tiny sizes: what they print can be read, and a peer that cheats is found out."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from benchmarks.transfer import cases, folders, goals, networks, peers, table
from benchmarks.transfer.cases import Bench, Plan
from benchmarks.transfer.folders import MIB, Folder
from benchmarks.transfer.measuring import Cost, measure
from benchmarks.transfer.peers import Commands, Job, Ours
from benchmarks.transfer.relay import Relay, Shape
from benchmarks.transfer.results import FINE, Results, Sample
from installml.testing import start

ROOT = Path(__file__).resolve().parents[2]
SIZE = 2 * MIB


@dataclass(frozen=True, slots=True)
class Cheat:
    """A peer that says it has pulled: it writes files of the right names."""

    content: bytes = b""
    name: str = "cheat"
    pushes: bool = False
    owner: str = peers.REFERENCE

    def missing(self) -> str:
        return ""

    def version(self) -> str:
        return "0"

    def prepare(self, job: Job) -> None: ...

    def push(self, job: Job) -> Commands:
        return []

    def pull(self, job: Job) -> Commands:
        source = job.home / "content"
        source.write_bytes(self.content)
        return [["cp", str(source), str(job.into / job.folder.largest)]]


def bench(folder: Path, *taking_part: peers.Peer) -> Bench:
    plan = Plan(folder, SIZE, 1, 3, taking_part, lambda text: None)
    return Bench(plan, Results())


def cost(wall: float = 1.0, peak: int = 1, code: int = 0) -> Cost:
    return Cost(wall, wall, peak, code, "")


def test_our_own_push_and_pull_are_measured_and_found_right(tmp_path: Path) -> None:
    here = bench(tmp_path, Ours(), peers.PEERS["installml, signed index"])
    cases.run(here, "installml", ["one"])
    assert here.results.skipped == []
    found = {(s.case, s.peer): s for s in here.results.samples}
    assert {case for case, _ in found} == {
        "push one", "push one again", "pull one", "pull one again", "pull one again, counted"
    }  # fmt: skip
    assert {s.left for s in found.values()} == {FINE}
    assert found["pull one", "installml"].cost.cpu > 0
    assert found["pull one", "installml"].cost.peak > 10 * MIB


def test_a_peer_that_leaves_wrong_bytes_is_reported(tmp_path: Path) -> None:
    here = bench(tmp_path, Cheat(bytes(SIZE)))
    cases.pull(here, "one", "installml")
    (sample,) = [s for s in here.results.samples if s.case == "pull one"]
    assert (sample.cost.code, sample.left, sample.good) == (0, "model.safetensors is wrong", False)
    assert "**NO**: exit 0, model.safetensors is wrong" in table.page({}, {}, here.results, [], {})


def test_a_flipped_bit_shows_who_takes_it_for_good(tmp_path: Path) -> None:
    here = bench(tmp_path, Ours(), Cheat(bytes(SIZE)))
    cases.flip(here, "installml")
    left = {s.peer: (s.cost.code, s.left) for s in here.results.samples}
    assert left == {"installml": (3, "nothing"), "cheat": (0, "the corrupt file")}


def test_other_work_can_wait_while_a_sample_is_taken(tmp_path: Path) -> None:
    locks = [tmp_path / "turn", tmp_path / "measuring"]
    here = bench(tmp_path)
    folder = here.folder("one")
    held = Bench(replace(here.plan, locks=locks), Results())
    job = held.job(Ours(), folder, "localhost:1", "one")
    other = "import fcntl, sys; fcntl.flock(open(sys.argv[1]), fcntl.LOCK_SH | fcntl.LOCK_NB)"
    tried = [held.once([[sys.executable, "-c", other, str(lock)]], job) for lock in locks]
    assert all("BlockingIOError" in each.said for each in tried)
    after = [here.once([[sys.executable, "-c", other, str(lock)]], job) for lock in locks]
    assert [each.code for each in after] == [0, 0]


def test_an_update_counts_its_bytes_on_the_wire(tmp_path: Path) -> None:
    here = bench(tmp_path, Ours())
    cases.delta(here, "installml")
    moved = {s.case: s for s in here.results.samples}
    assert len(moved) == 4
    assert {s.left for s in moved.values()} == {FINE}
    assert all(s.more["bytes"] > 0 for s in moved.values())


def test_an_install_is_looked_at_under_its_own_names(tmp_path: Path) -> None:
    here = bench(tmp_path, Ours())
    cases.install(here, "installml")
    found = {s.case: s for s in here.results.samples}
    assert {s.left for s in found.values()} == {FINE}
    assert found["install again, counted"].more["requests"] <= 1
    assert found["install again, offline"].more["requests"] == 0
    assert {"python", "start", "help", "install", "install again"} < set(found)


@pytest.mark.parametrize("case", [cases.capped, cases.delayed])
def test_pulls_go_through_the_relay(tmp_path: Path, case: Callable[[Bench, str], None]) -> None:
    here = bench(tmp_path, Ours())
    case(here, "installml")
    assert {s.left for s in here.results.samples} == {FINE}
    assert all(s.more["bytes"] > here.plan.part for s in here.results.samples)


def test_pulls_go_through_a_namespace_and_nothing_of_it_stays(tmp_path: Path) -> None:
    if why := networks.missing():
        pytest.skip(why)
    here = bench(tmp_path, Ours())
    cases.gigabit(here, "installml")
    assert [s.left for s in here.results.samples] == [FINE]
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=True).stdout
    assert f"bench-{os.getpid() % 60_000}" not in listed


def test_the_command_prints_a_table_and_updates_a_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- benchmarks/transfer: begin -->\nold\n<!-- benchmarks/transfer: end -->\nafter\n")
    samples = tmp_path / "samples.json"
    work = tmp_path / "work"
    work.mkdir()
    done = subprocess.run(
        [sys.executable, "benchmarks/transfer", "--size", "16M", "--runs", "1", "--cases", "memory",
         "--peers", "installml", "--registries", "installml", "--work", str(work), "--update", str(page),
         "--json", str(samples)],
        capture_output=True, text=True, timeout=300, check=True, cwd=ROOT,
    )  # fmt: skip
    assert "| memory, any case, MB | installml | <= 150 |" in done.stdout
    text = page.read_text()
    assert text.startswith("before\n<!-- benchmarks/transfer: begin -->\n`python benchmarks/transfer --size 16M")
    assert text.endswith("<!-- benchmarks/transfer: end -->\nafter\n")
    assert "old" not in text
    assert json.loads(samples.read_text())["samples"][0]["left"] == FINE
    assert list(work.iterdir()) == []


def test_what_was_measured_before_an_interruption_is_told(tmp_path: Path) -> None:
    samples, work = tmp_path / "samples.json", tmp_path / "work"
    work.mkdir()
    with subprocess.Popen(
        [sys.executable, "benchmarks/transfer", "--size", "16M", "--runs", "1000", "--cases", "one",
         "--peers", "installml", "--registries", "installml", "--work", str(work), "--json", str(samples)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT,
    ) as running:  # fmt: skip
        assert running.stderr is not None
        assert running.stdout is not None
        next(line for line in running.stderr if line.startswith("  installml: "))
        running.terminate()
        running.stderr.read()
        assert "| installml " in running.stdout.read()
    assert running.returncode == 130
    assert json.loads(samples.read_text())["samples"][0]["left"] == FINE
    assert list(work.iterdir()) == []


def test_a_page_without_marks_is_left_as_it_is(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("nothing")
    with pytest.raises(ValueError, match="has no"):
        table.update(page, "benchmarks/transfer", "text")
    assert page.read_text() == "nothing"


def test_of_an_earlier_run_the_cases_are_taken_that_were_measured_to_their_end() -> None:
    def of(case: str, peer: str, runs: int) -> list[Sample]:
        return [Sample(case, "here", peer, cost(), FINE) for _ in range(runs)]

    earlier = results(*of("one", "oras", 2), *of("one", "curl", 2), *of("counted", "oras", 1), *of("small", "oras", 2),
                      *of("small", "curl", 1), *of("new", "oras", 2))  # fmt: skip
    document = json.loads(json.dumps({"samples": earlier.to_json()}))
    now = results(*of("new", "oras", 3))
    now.take(document, 2)
    assert {case: len(now.rows(case, "here")["oras"].samples) for case, _ in now.cases()} == {
        "new": 3, "one": 2, "counted": 1
    }  # fmt: skip


# goals


def results(*samples: Sample) -> Results:
    return Results(samples)


def test_a_goal_is_met_or_missed_by_the_medians() -> None:
    def of(peer: str, *walls: float) -> list[Sample]:
        return [Sample("pull one", "here", peer, cost(wall), FINE) for wall in walls]

    goal = goals.Goal("faster", 0.5, goals.against("pull one", "installml", "oras"))
    assert goal.judge(results(*of("installml", 1, 9, 2), *of("oras", 5, 4, 1)), "here").met
    assert goal.judge(results(*of("installml", 3, 3, 3), *of("oras", 5, 4, 1)), "here").met is False


def test_a_goal_is_not_judged_when_a_run_went_wrong() -> None:
    wrong = Sample("pull one", "here", "oras", cost(), "model is wrong")
    ours = Sample("pull one", "here", "installml", cost(), FINE)
    verdict = goals.Goal("faster", 0.5, goals.against("pull one", "installml", "oras")).judge(
        results(wrong, ours), "here"
    )
    assert (verdict.met, verdict.measured) == (None, "oras, pull one: exit 0, model is wrong")


def test_peers_that_take_a_flipped_bit_are_no_match_for_those_that_check() -> None:
    found = results(
        Sample("pull shards", "here", "installml", cost(2), FINE),
        Sample("pull shards", "here", "careless", cost(1), FINE),
        Sample("pull shards", "here", "careful", cost(4), FINE),
        Sample("flip", "here", "careless", cost(code=0), "the corrupt file"),
        Sample("flip", "here", "careful", cost(code=1), "nothing"),
    )
    number, words = goals.against_best("pull shards", "installml", verifying=True)(found, "here")
    assert (number, words) == (0.5, "2.00 s to 4.00 s of careful")


# tools of the benchmarks


def test_a_measured_command_shows_its_exit_code_and_last_words(tmp_path: Path) -> None:
    script = "import sys; print('lost'); sys.exit(7)"
    found = measure([["true"], [sys.executable, "-c", script], ["true"]], cwd=tmp_path, env=dict(os.environ))
    assert (found.code, found.said) == (7, "lost")


def test_peak_memory_is_the_commands_own_not_ours(tmp_path: Path) -> None:
    ballast = bytearray(100 * MIB)
    found = measure([["true"]], cwd=tmp_path, env=dict(os.environ))
    assert found.peak < len(ballast)


def get(address: str, path: str = "/v2/") -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(address, timeout=30)
    connection.request("GET", path)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def test_the_relay_counts_what_passes() -> None:
    with start() as registry, Relay((registry.host, registry.port)) as relay:
        assert get(relay.address)[0] == 200
        assert relay.requests == 1
        assert relay.down > 0
        relay.reset()
        assert (relay.requests, relay.down) == (0, 0)


def test_the_relay_holds_every_answer_for_its_delay() -> None:
    with start() as registry, Relay((registry.host, registry.port), Shape(delay=0.1)) as relay:
        began = time.monotonic()
        assert get(relay.address)[0] == 200
        assert time.monotonic() - began >= 0.2  # the handshake and the answer; never less, however slow the machine


def test_the_relay_lets_no_more_pass_than_its_cap(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(MIB))
    server = subprocess.Popen(
        [sys.executable, "-u", "-m", "http.server", "0", "--bind", "127.0.0.1", "--directory", str(tmp_path)],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    try:
        assert server.stdout is not None
        said = re.search(r"port (\d+)", server.stdout.readline())
        assert said is not None
        with Relay(("127.0.0.1", int(said[1])), Shape(each=4 * MIB)) as relay:
            began = time.monotonic()
            status, body = get(relay.address, "/file")
            assert (status, len(body)) == (200, MIB)
            assert time.monotonic() - began >= 0.2  # a quarter of a second at the cap, less the burst
    finally:
        server.terminate()
        server.wait()
        assert server.stdout is not None
        server.stdout.close()


def test_the_relay_refuses_more_requests_than_it_admits() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, Relay(server.getsockname(), Shape(busy=1)) as relay:
        first = http.client.HTTPConnection(relay.address, timeout=30)
        first.request("GET", "/v2/")
        answering, _ = server.accept()
        assert answering.recv(1000).startswith(b"GET ")
        assert get(relay.address)[0] == 429
        assert relay.refused == 1
        answering.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
        answering.sendall(b"done")
        assert first.getresponse().read() == b"done"
        first.request("GET", "/v2/")
        assert answering.recv(1000).startswith(b"GET ")
        first.close()
        answering.close()


def test_the_least_share_is_that_of_the_worst_two_seconds() -> None:
    shape = Shape(total=lambda age: 100.0)
    even = dict.fromkeys(range(60), 10)
    stalled = {**even, **dict.fromkeys(range(20, 30), 0)}
    assert cases.lowest_share(even, shape) == pytest.approx(1.0)
    assert cases.lowest_share(stalled, shape) == pytest.approx(0.5)


def test_a_generated_file_has_its_size_and_is_the_same_again(tmp_path: Path) -> None:
    made = [folders.one_file(tmp_path / name, SIZE) for name in ("a", "b")]
    assert made[0].sizes["model.safetensors"] == SIZE
    assert made[0].files == made[1].files


def test_a_missing_and_a_wrong_file_are_told_apart(tmp_path: Path) -> None:
    folder: Folder = folders.many(tmp_path / "source", 2, 10)
    assert cases.look(tmp_path / "source", folder) == FINE
    one, two = folder.files
    (tmp_path / "source" / two).write_bytes(b"x")
    assert cases.look(tmp_path / "source", folder) == f"{two} is wrong"
    (tmp_path / "source" / one).unlink()
    assert cases.look(tmp_path / "source", folder) == f"{one} is missing"
