"""Pulls whose chunk index a signature vouches for: usable when the chunks are right, compared whole later on.

Signatures are not checked by this version: here the tests say which indexes are trusted, as the trust module will.
"""

from __future__ import annotations

import io
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest

import installml
from installml.api.cache import CacheDamaged
from installml.api.session import Session
from installml.config import load
from installml.digest import Digest
from installml.errors import DigestMismatch, InstallMLError, NotFound
from installml.events import Event, Listener, Notice, Phase, ignore
from installml.packing.chunking import index_stream
from installml.registry_server import RunningRegistry, start
from installml.spec.chunks import ChunkIndex
from installml.spec.descriptor import Descriptor
from installml.store.recovery import settle
from installml.testing import faults as f
from tests.integration.disks import Mount, attempt
from tests.unsigned import UNSIGNED

ROOT = Path(__file__).parents[2]
MIB = 1 << 20
WEIGHTS = random.Random(41).randbytes(10 * MIB + 4321)
FALSE = WEIGHTS[: 5 * MIB] + b"?" * 100 + WEIGHTS[5 * MIB + 100 :]
BLOB = Descriptor.of(WEIGHTS, "application/octet-stream")
Begin = Callable[..., RunningRegistry]


def index_of(data: bytes) -> ChunkIndex:
    """Return the chunks of ``data``, said to be those of the blob."""
    return index_stream(io.BytesIO(data), BLOB.digest, len(data))


TRUE_INDEX, FORGED = index_of(WEIGHTS), index_of(FALSE)


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry's folder with two versions that share the blob; tests work on copies."""
    base = tmp_path_factory.mktemp("pushed")
    model = base / "model"
    model.mkdir()
    (model / "weights.bin").write_bytes(WEIGHTS)
    with start(base / "registry") as registry:
        for version in ("1.0.0", "1.0.1"):
            (model / "installml.yaml").write_text(f"name: acme/weights\nversion: {version}\n")
            tag = f"{registry.address}/acme/weights:{version}"
            installml.push(model, tag=tag, session=session_at(base / "home"))
    return base / "registry"


@pytest.fixture
def begin(pushed: Path, tmp_path: Path) -> Iterator[Begin]:
    """Return a function that starts the registry with faults."""
    shutil.copytree(pushed, tmp_path / "registry")
    with ExitStack() as stack:
        yield lambda *faults: stack.enter_context(start(tmp_path / "registry", faults=f.Faults(*faults)))


def session_at(home: Path, *trusted: ChunkIndex, on_event: Listener = ignore) -> Session:
    """A session that trusts these indexes, and whose downloads come in parts of 1 MiB, one after the other."""
    session = load({"home": str(home), "policy": UNSIGNED}, {"HOME": str(home)}, folder=home.parent).session(
        on_event=on_event
    )
    digests = {Digest.of(index.to_bytes()) for index in trusted}
    return replace(session, part_size=MIB, jobs=1, trusted_indexes=lambda manifest: digests)


def reference(registry: RunningRegistry, version: str = "1.0.0") -> str:
    return f"{registry.address}/acme/weights:{version}"


def served(registry: RunningRegistry) -> int:
    return sum(record.bytes_out for record in registry.requests if f"/blobs/{BLOB.digest}" in record.path)


def hold(registry_folder: Path, data: bytes) -> None:
    """Let the registry hold ``data`` under the blob's digest."""
    for path in registry_folder.rglob(BLOB.digest.hex):
        path.chmod(0o644)
        path.write_bytes(data)


def test_a_blob_is_usable_when_its_chunks_are_right_and_owes_its_own_digest(begin: Begin, tmp_path: Path) -> None:
    registry, session = begin(), session_at(tmp_path / "home", TRUE_INDEX)
    result = installml.install(reference(registry), session=session)
    assert (Path(result.path) / "weights.bin").read_bytes() == WEIGHTS
    assert session.store.owed.digests() == [BLOB.digest]


def test_without_trust_nothing_is_owed(begin: Begin, tmp_path: Path) -> None:
    registry, session = begin(), session_at(tmp_path / "home")
    installml.pull(reference(registry), session=session)
    assert session.store.owed.digests() == []


def test_an_index_that_is_here_does_not_hide_the_one_that_is_trusted(begin: Begin, tmp_path: Path) -> None:
    registry, session = begin(), session_at(tmp_path / "home", TRUE_INDEX)
    session.store.chunks.write(FORGED)
    installml.pull(reference(registry), session=session)
    assert session.store.owed.digests() == [BLOB.digest]
    assert session.store.blobs.path(BLOB.digest).read_bytes() == WEIGHTS


def test_a_check_of_the_store_settles_what_is_owed(begin: Begin, tmp_path: Path) -> None:
    registry, session = begin(), session_at(tmp_path / "home", TRUE_INDEX)
    installml.pull(reference(registry), session=session)
    assert not installml.cache_verify(session=session).damaged
    assert session.store.owed.digests() == []


def test_what_is_owed_is_settled_while_something_else_comes(begin: Begin, tmp_path: Path) -> None:
    def patient(event: Event) -> None:
        """Let the comparison end before the pull does."""
        if isinstance(event, Phase) and event.name == "downloading":
            for thread in threading.enumerate():
                if thread.name == "settle":
                    thread.join(60)

    session = session_at(tmp_path / "home", TRUE_INDEX)
    registry = begin()
    installml.pull(reference(registry), session=session)
    installml.pull(reference(registry, "1.0.1"), session=replace(session, on_event=patient))
    assert session.store.owed.digests() == []
    assert session.store.blobs.path(BLOB.digest).read_bytes() == WEIGHTS


def bring_forged(begin: Begin, home: Path, heard: Listener = ignore) -> tuple[RunningRegistry, Session, Path]:
    """Install with a forged index that is trusted: its chunks are what the registry sends, the blob is not."""
    registry, session = begin(), session_at(home, FORGED, on_event=heard)
    hold(home.parent / "registry", FALSE)
    session.store.chunks.write(FORGED)
    return registry, session, Path(installml.install(reference(registry), session=session).path)


def test_a_forged_index_is_found_and_nothing_made_of_it_stays(begin: Begin, tmp_path: Path) -> None:
    registry, session, installed = bring_forged(begin, tmp_path / "home")
    assert (installed / "weights.bin").read_bytes() == FALSE  # it was vouched for
    with pytest.raises(CacheDamaged, match=f"{BLOB.digest}: its chunks were what a signed list says") as caught:
        installml.cache_verify(session=session)
    assert caught.value.exit_code == 3
    assert str(Digest.of(FALSE)) in caught.value.message
    assert not installed.exists()
    assert not session.store.blobs.path(BLOB.digest).exists()
    assert list(session.installed.records()) == []
    with pytest.raises(NotFound):
        installml.push(str(session.qualify(reference(registry))), tag=reference(registry, "2"), session=session)


def test_after_a_forged_index_the_whole_decides(begin: Begin, tmp_path: Path) -> None:
    registry, session, _ = bring_forged(begin, tmp_path / "home")
    settle(session.store)
    with pytest.raises(DigestMismatch) as caught:
        installml.pull(reference(registry), session=session)
    assert caught.value.exit_code == 3
    assert not session.store.blobs.path(BLOB.digest).exists()


def test_repair_brings_the_right_bytes_in_the_place_of_forged_ones(begin: Begin, tmp_path: Path) -> None:
    _, session, _ = bring_forged(begin, tmp_path / "home")
    hold(tmp_path / "registry", WEIGHTS)
    installml.cache_repair(session=session)
    assert session.store.blobs.path(BLOB.digest).read_bytes() == WEIGHTS
    assert session.store.owed.digests() == []


def test_who_is_killed_while_settling_leaves_it_to_the_next(begin: Begin, tmp_path: Path) -> None:
    told: list[Event] = []
    _, session, installed = bring_forged(begin, tmp_path / "home")
    session.store.blobs.quarantine(BLOB.digest)  # as far as the one that was killed has come
    settle(session.store, on_event=told.append)
    assert not installed.exists()
    assert [str(e.message) for e in told if isinstance(e, Notice) and "install it again" in e.message]
    assert session.store.owed.digests() == []


@pytest.mark.parametrize("forged", [False, True])
def test_a_store_that_can_only_be_read_is_checked_and_owes_on(
    forged: bool, begin: Begin, mounted: Mount, tmp_path: Path
) -> None:
    disk = mounted("tmpfs", "size=64m")
    registry, session = begin(), session_at(disk / "home", FORGED if forged else TRUE_INDEX)
    if forged:
        hold(tmp_path / "registry", FALSE)
        session.store.chunks.write(FORGED)
    installml.pull(reference(registry), session=session)
    attempt(["mount", "-o", "remount,ro", str(disk)])
    if forged:
        with pytest.raises(CacheDamaged, match=str(BLOB.digest)):
            installml.cache_verify(session=session)
    else:
        assert not installml.cache_verify(session=session).damaged
    assert session.store.owed.digests() == [BLOB.digest]


def flipped(times: int | None) -> f.Rule:
    return f.Rule(f.Flip(3 * MIB + 77), "GET", f"/blobs/{BLOB.digest}", 0, times)


def test_a_wrong_chunk_is_fetched_once_more(begin: Begin, tmp_path: Path) -> None:
    registry, session = begin(flipped(4)), session_at(tmp_path / "home", TRUE_INDEX)  # the fourth part has that byte
    installml.pull(reference(registry), session=session)
    assert session.store.blobs.path(BLOB.digest).read_bytes() == WEIGHTS
    assert served(registry) == BLOB.size + MIB


def test_a_chunk_that_stays_wrong_is_refused(begin: Begin, tmp_path: Path) -> None:
    registry, session = begin(flipped(None)), session_at(tmp_path / "home", TRUE_INDEX)
    with pytest.raises(DigestMismatch, match=r"blake3:.*") as caught:
        installml.pull(reference(registry), session=session)
    assert caught.value.exit_code == 3
    assert not session.store.blobs.path(BLOB.digest).exists()
    with pytest.raises(InstallMLError):
        session.local(session.qualify(reference(registry))).resolve("1.0.0")
