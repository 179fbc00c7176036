"""The verbs after the machine has stopped without warning, as a user meets them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from installml.api.build import build
from installml.api.info import list_
from installml.api.install import install
from installml.api.push import push
from installml.api.session import Session
from installml.errors import NotFound
from installml.registry_server import RunningRegistry
from tests.unit.api.kit import Heard

OpenSession = Callable[..., Session]


def crash(session: Session) -> None:
    """Let the machine stop: the weights were still in memory, and the next look comes from another boot."""
    for blob in (session.home / "blobs" / "sha256").iterdir():
        if blob.stat().st_size == 256 * 64:
            blob.chmod(0o644)
            with blob.open("r+b") as file:
                file.write(bytes(256 * 64))
            blob.chmod(0o444)
    for folder in (session.home / "state" / "unsynced").iterdir():
        folder.rename(folder.with_name(folder.name.rpartition("-")[0] + "-earlier"))


@pytest.fixture
def there(registry: RunningRegistry, model: Path, open_session: OpenSession) -> str:
    builder = open_session("builder")
    reference = f"{registry.address}/acme/sentiment:1.0.0"
    build(model, tag=reference, session=builder)
    push(reference, session=builder)
    return reference


def test_a_model_whose_bytes_were_lost_is_not_installed_and_is_brought_again(
    there: str, open_session: OpenSession, heard: Heard
) -> None:
    session = open_session()
    install(there, session=session)
    crash(session)
    after = replace(session, on_event=heard)
    assert not any(entry.installed for entry in list_(session=after).packages)
    assert any(notice.endswith("install it again") for notice in heard.notices)
    result = install(there, session=after)
    assert (Path(result.path) / "weights.bin").read_bytes() == bytes(range(256)) * 64


def test_a_package_whose_bytes_were_lost_is_not_pushed(
    registry: RunningRegistry, model: Path, open_session: OpenSession
) -> None:
    session = open_session("builder")
    reference = f"{registry.address}/acme/lost:1.0.0"
    build(model, tag=reference, session=session)
    crash(session)
    with pytest.raises(NotFound):
        push(reference, session=open_session("builder"))
