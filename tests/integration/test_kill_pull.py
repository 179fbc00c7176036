"""kill -9 in the middle of a pull, fifty times: what is fetched again is a part a connection, and nothing is left over.

The real command line pulls from the embedded registry, which counts every byte that it hands to the network and kills
(or interrupts) the client at a random one.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from installml.registry.http import HttpClient, Network
from installml.registry.repository import Registry
from installml.registry_server import RunningRegistry, start
from installml.store.disk import DiskStore
from installml.store.gc import collect
from installml.store.host import Host
from installml.testing import Packed, package_bytes
from installml.transfer.copy import copy
from tests.unsigned import UNSIGNED

pytestmark = pytest.mark.integration

MIB = 1 << 20
JOBS = 4
PART = MIB
SIZE = 24 * MIB + 4321
WEIGHTS = random.Random(20261121).randbytes(SIZE)
PACKED = package_bytes({"model.bin": WEIGHTS, "README.md": b"# one\n", "second.bin": WEIGHTS[: 5 * MIB][::-1]})
ALL = sum(descriptor.size for descriptor, _ in PACKED.content)
SPARE = 64 << 10  # the package's small blobs and its manifest, which every attempt reads again
AGAIN = (JOBS + 2) * PART + SPARE
"""What one kill may cost: a part a connection, and the last part of each of the two files, which may be asked twice."""
RUNS = 50
KILLS_A_STORE = 5


GROUP = 54320
AS_USER = f"""
import os, sys
from installml.cli.main import main
user, warm = int(sys.argv[1]), sys.argv[2]
sys.argv[1:3] = []
home, os.environ["INSTALLML_HOME"] = os.environ["INSTALLML_HOME"], warm
main([word.replace("/acme/killed:", "/acme/warm:") for word in sys.argv[1:]])  # imports what only root may read
os.environ["INSTALLML_HOME"] = home
os.umask(0o002)
os.setgroups([])
os.setgid({GROUP})
os.setuid(user)
sys.exit(main())
"""


class Wire:
    """Stands in front of a registry and counts the bytes that go out, but for the repository that only warms up; does
    something when there are enough.

    Attributes:
        sent: Bytes that have gone out.
        mute: Requests for blobs are left without an answer.
        asked: There was one.
    """

    def __init__(self) -> None:
        self.sent = 0
        self._at = float("inf")
        self._then: Callable[[], None] = lambda: None
        self.mute = False
        self.asked = threading.Event()
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Answer again."""
        self.mute = False
        self._loop.call_soon_threadsafe(self._ended.set)

    def after(self, count: int, then: Callable[[], None]) -> None:
        """Call ``then`` once, when ``count`` more bytes have gone."""
        self._at, self._then = self.sent + count, then

    def around(self, inner: ASGIApp) -> ASGIApp:
        async def counting(scope: Scope, receive: Receive, send: Send) -> None:
            if self.mute and "/blobs/" in scope["path"]:
                self._loop = asyncio.get_running_loop()
                self.asked.set()
                await self._ended.wait()

            async def counted(message: Message) -> None:
                await send(message)
                if "/acme/warm/" in scope["path"]:
                    return
                self.sent += len(message.get("body", b""))
                if self.sent >= self._at:
                    self._at = float("inf")
                    self._then()

            await inner(scope, receive, counted)

        return counting


class Place:
    """A registry with one package, and pulls of it."""

    def __init__(self, wire: Wire, registry: RunningRegistry) -> None:
        self.wire = wire
        self.registry = registry
        self.reference = f"{registry.address}/acme/killed:1.0.0"

    def pull(self, home: Path, user: int = 0) -> subprocess.Popen[bytes]:
        """Begin a pull in another process, as another user if one is named."""
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(home.parent),
            "INSTALLML_POLICY": UNSIGNED,
            "INSTALLML_HOME": str(home),
            "INSTALLML_JOBS": str(JOBS),
            "INSTALLML_PART_SIZE": str(PART),
            "INSTALLML_CONFIG": os.devnull,
        }
        own = ["-c", AS_USER, str(user), str(home.parent / f"warm-{user}")] if user else ["-m", "installml"]
        command = [sys.executable, *own, "pull", self.reference]
        return subprocess.Popen(
            command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, start_new_session=True
        )

    def stopped(self, home: Path, after: int, number: int = signal.SIGKILL, user: int = 0) -> int:
        """Pull until so many bytes have gone, then send a signal; return how the process ended."""
        born = threading.Event()
        child: list[subprocess.Popen[bytes]] = []

        def kill() -> None:
            if born.wait(60):
                child[0].send_signal(number)

        self.wire.after(after, kill)
        child.append(self.pull(home, user))
        born.set()
        child[0].communicate(timeout=120)
        self.wire.after(0, lambda: None)
        return child[0].returncode

    def finish(self, home: Path, user: int = 0) -> None:
        """Pull to the end."""
        child = self.pull(home, user)
        output, _ = child.communicate(timeout=120)
        assert child.returncode == 0, output.decode()

    def repository(self, name: str) -> object:
        return Registry(self.registry.address, HttpClient(Network())).repository(name)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    wire = Wire()
    with start(tmp_path_factory.mktemp("registry"), faults=wire) as registry:
        found = Place(wire, registry)
        for name in ("acme/killed", "acme/warm"):
            PACKED.push(found.repository(name), "1.0.0")  # type: ignore[arg-type]
        yield found


def whole(home: Path, packed: Packed = PACKED) -> None:
    """Assert that a store holds the package, byte for byte."""
    store = DiskStore(home)
    assert [str(ref.reference).rpartition(":")[2] for ref in store.refs()] == ["1.0.0"]
    for descriptor, data in packed.content:
        assert store.blobs.path(descriptor.digest).read_bytes() == data


def left_over(home: Path) -> list[str]:
    """Collect what nobody needs and return what is left of unfinished work."""
    environ = {**os.environ, "INSTALLML_POLICY": UNSIGNED, "INSTALLML_HOME": str(home), "INSTALLML_CONFIG": os.devnull}
    subprocess.run([sys.executable, "-m", "installml", "cache", "gc"], env=environ, check=True, capture_output=True)
    return [path.name for path in (home / "ingest").iterdir()]


def test_killed_at_fifty_random_moments_a_part_a_connection_is_fetched_again(place: Place, tmp_path: Path) -> None:
    chance, killed, number = random.Random(20240229), 0, 0
    while killed < RUNS:
        number += 1
        home, before, attempts = tmp_path / f"store-{number}", place.wire.sent, 0
        ended, kills = -signal.SIGKILL, 0
        while ended and kills < KILLS_A_STORE:
            attempts += 1
            lacking = max(PART, ALL - (place.wire.sent - before))
            ended = place.stopped(home, chance.randint(1, lacking // 2 if kills else ALL))
            assert ended in (0, -signal.SIGKILL)
            kills += ended != 0
        if ended:
            place.finish(home)
        assert place.wire.sent - before <= ALL + kills * AGAIN + attempts * SPARE
        whole(home)
        assert left_over(home) == []
        whole(home)
        killed += kills
    assert number <= RUNS


def test_killed_without_a_second_try_a_collection_leaves_nothing(place: Place, tmp_path: Path) -> None:
    home = tmp_path / "store"
    assert place.stopped(home, 8 * MIB) == -signal.SIGKILL
    assert [path for path in (home / "ingest").iterdir() if path.is_dir()]
    later = DiskStore(home, clock=lambda: time.time() + 60 * 24 * 3600)
    collect(later, [])
    assert [path.name for path in (home / "ingest").iterdir() if path.is_dir()] == []


def test_two_processes_fetch_the_same_package_about_once(place: Place, tmp_path: Path) -> None:
    home, before = tmp_path / "store", place.wire.sent
    both = [place.pull(home), place.pull(home)]
    for child in both:
        output, _ = child.communicate(timeout=120)
        assert child.returncode == 0, output.decode()
    assert place.wire.sent - before <= ALL + AGAIN
    whole(home)
    assert left_over(home) == []


def test_who_waits_for_a_process_goes_on_with_what_that_one_has_when_it_is_killed(place: Place, tmp_path: Path) -> None:
    home, before = tmp_path / "store", place.wire.sent
    second: list[subprocess.Popen[bytes]] = []
    first = threading.Event()

    def join() -> None:
        second.append(place.pull(home))
        first.set()

    place.wire.after(4 * MIB, join)
    child = place.pull(home)
    assert first.wait(60)
    child.kill()
    child.communicate(timeout=120)
    output, _ = second[0].communicate(timeout=120)
    assert second[0].returncode == 0, output.decode()
    assert place.wire.sent - before <= ALL + AGAIN + SPARE
    whole(home)
    assert left_over(home) == []


def test_after_ctrl_c_it_goes_on_where_it_was(place: Place, tmp_path: Path) -> None:
    home, before = tmp_path / "store", place.wire.sent
    assert place.stopped(home, 10 * MIB, signal.SIGINT) == 130
    place.finish(home)
    assert place.wire.sent - before <= ALL + AGAIN + SPARE
    whole(home)
    assert left_over(home) == []


def test_ctrl_c_ends_a_pull_whose_registry_has_stopped_answering(place: Place, tmp_path: Path) -> None:
    """Long before the socket's timeout of a minute."""
    place.wire.mute = True
    try:
        child = place.pull(tmp_path / "store")
        assert place.wire.asked.wait(60)
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=45)
    finally:
        place.wire.end()
    assert child.returncode == 130


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() != 0, reason="needs root to be two users")
def test_another_user_of_the_same_store_goes_on_with_it(place: Place) -> None:
    with tempfile.TemporaryDirectory() as folder:
        shared = Path(folder)
        os.chown(shared, 0, GROUP)
        shared.chmod(0o2775)
        home, before = shared / "store", place.wire.sent
        assert place.stopped(home, 10 * MIB, user=54321) == -signal.SIGKILL
        place.finish(home, user=54322)
        assert place.wire.sent - before <= ALL + AGAIN + SPARE
        whole(home)


def test_after_a_reboot_nothing_that_may_have_been_lost_is_believed(place: Place, tmp_path: Path) -> None:
    home = tmp_path / "store"
    assert place.stopped(home, 16 * MIB) == -signal.SIGKILL
    for data in (home / "ingest").glob("*/data"):  # what a power cut may do to pages that never reached the disk
        os.truncate(data, 3 * MIB)
    store = DiskStore(home, host=Host(boot="another"))
    destination = store.repository(place.registry.address, "acme/killed")
    copy(place.repository("acme/killed"), destination, PACKED.descriptor, tags=["1.0.0"], jobs=JOBS, part_size=PART)  # type: ignore[arg-type]
    whole(home)
