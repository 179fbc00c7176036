"""Pushes that fail: whose fault it is, that nothing is published, and that nothing is left of the uploads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from installml.api.build import build
from installml.api.push import push
from installml.api.session import Session
from installml.config import load
from installml.digest import Digest
from installml.errors import IntegrityError, NotFound, SourceChanged, StoreError
from installml.events import BlobProgress, Event, Phase
from installml.registry.errors import ConnectionLost, RegistryError, ServerFailed, TooLarge, Unauthorized
from installml.registry_server import RunningRegistry, start
from installml.registry_server.faults import Fault, Faults, Reset, Rule, Status
from tests.unsigned import UNSIGNED

MIB = 1 << 20
SIZE = 17 * MIB
UPLOADS = "/blobs/uploads/"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "installml.yaml").write_text("name: acme/w\nversion: 1.0.0\n")
    (folder / "weights.bin").write_bytes(os.urandom(MIB) * 17)
    (folder / "config.json").write_text("{}")
    return folder


def session_at(folder: Path, hear: Callable[[Event], None] = lambda _: None) -> Session:
    settings = load({"home": str(folder / "home"), "policy": UNSIGNED}, {"HOME": str(folder)}, folder=folder)
    return settings.session(on_event=hear)


def sessions(registry: RunningRegistry) -> list[str]:
    """Uploads that the registry still keeps."""
    folder = registry.storage.repository("acme/w").uploads
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def remembered(folder: Path) -> list[str]:
    """Uploads that this machine would go on with."""
    return sorted(path.read_text().rpartition("/")[2] for path in (folder / "home/state/uploads").glob("*.url"))


def assert_clean(registry: RunningRegistry, folder: Path) -> None:
    """Nothing is published, and whatever upload is left is one that the next push goes on with."""
    assert list(registry.storage.repository("acme/w").tags()) == []
    assert "PUT" not in {r.method for r in registry.requests if "/manifests/" in r.path}
    assert set(sessions(registry)) <= set(remembered(folder))


LASTING: list[tuple[Fault, type[Exception], int]] = [
    (Status(507), ServerFailed, 1),
    (Status(500), ServerFailed, 1),
    (Status(413), TooLarge, 1),
    (Status(401), Unauthorized, 1),
    (Status(400, {}, "no"), RegistryError, 1),
    (Reset(0, of="request"), ConnectionLost, 1),
]


@pytest.mark.parametrize(("fault", "error", "code"), LASTING, ids=["507", "500", "413", "401", "400", "reset"])
def test_a_registry_that_never_takes_a_body(
    tmp_path: Path, model: Path, fault: Fault, error: type[Exception], code: int
) -> None:
    faults = Faults(*(Rule(fault, method=method, path=UPLOADS) for method in ("PATCH", "PUT")))
    with start(faults=faults) as registry:
        with pytest.raises(error) as caught:
            push(model, tag=f"{registry.address}/acme/w:1.0.0", session=session_at(tmp_path))
        assert getattr(caught.value, "exit_code", None) == code
        assert_clean(registry, tmp_path)


def at(name: str, then: Callable[[], None]) -> Callable[[Event], None]:
    """Return a listener that does something once, when bytes of ``name`` are told, or its phase."""
    done: list[bool] = []

    def hear(event: Event) -> None:
        met = (isinstance(event, BlobProgress) and event.digest == name) or (
            isinstance(event, Phase) and event.name == name
        )
        if met and not done:
            done.append(True)
            then()

    return hear


def shorten(path: Path) -> Callable[[], None]:
    return lambda: os.truncate(path, 3 * MIB)


def test_a_file_that_shrinks_while_it_is_hashed_and_sent(tmp_path: Path, model: Path) -> None:
    hear = at("weights.bin", shorten(model / "weights.bin"))
    with start() as registry:
        with pytest.raises(SourceChanged, match=r"weights\.bin") as caught:
            push(model, tag=f"{registry.address}/acme/w:1.0.0", session=session_at(tmp_path, hear))
        assert caught.value.exit_code == 3
        assert_clean(registry, tmp_path)
        assert sessions(registry) == []


@pytest.mark.parametrize("harm", ["shrinks", "changes", "grows"])
def test_a_file_that_is_touched_while_it_is_sent(tmp_path: Path, model: Path, harm: str) -> None:
    """The registry takes no streams, so it is sent after the hashing."""
    path = model / "weights.bin"

    def change() -> None:
        with path.open("r+b") as file:
            if harm == "shrinks":
                file.truncate(3 * MIB)
            else:
                file.seek(0, os.SEEK_END if harm == "grows" else os.SEEK_SET)
                file.write(b"other bytes")

    digest = str(Digest.of(path.read_bytes()))
    with start(faults=Faults(Rule(Status(405), method="PATCH"))) as registry:
        with pytest.raises(IntegrityError, match=r"weights\.bin") as caught:
            push(model, tag=f"{registry.address}/acme/w:1.0.0", session=session_at(tmp_path, at(digest, change)))
        assert caught.value.exit_code == 3
        assert_clean(registry, tmp_path)
        assert sessions(registry) == []


def test_a_file_that_is_taken_away_before_it_is_read(tmp_path: Path, model: Path) -> None:
    hear = at("hashing", (model / "weights.bin").unlink)
    with start() as registry:
        with pytest.raises((StoreError, NotFound), match=r"weights\.bin") as caught:
            push(model, tag=f"{registry.address}/acme/w:1.0.0", session=session_at(tmp_path, hear))
        assert caught.value.exit_code == 1
        assert_clean(registry, tmp_path)


@pytest.mark.parametrize("harm", ["rotten", "short"])
def test_a_blob_of_the_store_that_is_not_what_it_was(tmp_path: Path, model: Path, harm: str) -> None:
    with start() as registry:
        reference = f"{registry.address}/acme/w:1.0.0"
        build(model, tag=reference, session=session_at(tmp_path))
        blob = session_at(tmp_path).store.blobs.path(Digest.of((model / "weights.bin").read_bytes()))
        blob.chmod(0o644)
        if harm == "short":
            os.truncate(blob, 3 * MIB)
        else:
            with blob.open("r+b") as file:
                file.write(b"rotten")
        with pytest.raises((IntegrityError, NotFound)) as caught:
            push(reference, session=session_at(tmp_path))
        assert caught.value.exit_code in {1, 3}
        assert_clean(registry, tmp_path)
        assert sessions(registry) == []
