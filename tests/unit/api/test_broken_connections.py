"""Pull the cable once: the blob begins again; pull it for good: a clear failure, and nothing half visible."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from installml.api.pull import pull
from installml.api.push import push
from installml.api.session import Session
from installml.config import load
from installml.errors import NotFound
from installml.registry.errors import ConnectionLost
from installml.registry_server import start
from installml.registry_server.faults import Fault, Faults, Reset, Rule, Truncate
from installml.transfer.download import Tuning
from tests.unsigned import UNSIGNED

REFERENCE = "{}/acme/weights:1.0.0"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "installml.yaml").write_text("name: acme/weights\nversion: 1.0.0\n")
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 8192)
    return folder


def session_at(home: Path) -> Session:
    return load({"home": str(home), "policy": UNSIGNED}, {"HOME": str(home)}, folder=home.parent).session()


@pytest.mark.parametrize("fault", [Truncate(1 << 20), Reset(1 << 20)], ids=["cut", "reset"])
def test_a_download_that_breaks_once_begins_again(tmp_path: Path, model: Path, fault: Fault) -> None:
    faults = Faults(Rule(fault, method="GET", path="/blobs/", times=2))
    with start(tmp_path / "registry", faults=faults) as registry:
        reference = REFERENCE.format(registry.address)
        push(model, tag=reference, session=session_at(tmp_path / "a"))
        pulled = pull(reference, session=session_at(tmp_path / "b"))
        assert pulled.blobs["copied"] == 6


def test_an_upload_that_breaks_once_begins_again(tmp_path: Path, model: Path) -> None:
    faults = Faults(Rule(Reset(1 << 20, of="request"), method="PUT", path="/blobs/uploads/", times=1))
    with start(tmp_path / "registry", faults=faults) as registry:
        reference = REFERENCE.format(registry.address)
        sent = push(model, tag=reference, session=session_at(tmp_path / "a"))
        assert sent.blobs["copied"] == 6


def test_a_connection_that_always_breaks_fails_and_leaves_no_ref(tmp_path: Path, model: Path) -> None:
    faults = Faults(Rule(Truncate(1 << 20), method="GET", path="/blobs/"))
    with start(tmp_path / "registry", faults=faults) as registry:
        reference = REFERENCE.format(registry.address)
        push(model, tag=reference, session=session_at(tmp_path / "a"))
        mine = replace(session_at(tmp_path / "b"), tuning=Tuning(patience=0.5))
        with pytest.raises(ConnectionLost):
            pull(reference, session=mine)
        with pytest.raises(NotFound):
            mine.local(mine.qualify(reference)).resolve("1.0.0")
