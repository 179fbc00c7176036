"""push --patch-from and what a machine with the base makes of it, on real folders and a real registry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from installml.api.patches import find_base
from installml.api.pull import pull
from installml.api.push import push
from installml.api.session import Session
from installml.digest import Digest
from installml.errors import NotFound
from installml.registry_server import RunningRegistry
from installml.spec.patch import PATCH
from tests.unit.api.kit import Heard

COUNT = 2_200_000
"""Weights: a file of 8.8 MB, large enough for a patch."""


def _weights(step: float) -> bytes:
    rng = np.random.default_rng(1)
    base = rng.standard_normal(COUNT).astype(np.float32)
    return (base * (1 + step * rng.standard_normal(COUNT).astype(np.float32))).tobytes()


@pytest.fixture
def versions(registry: RunningRegistry, write_model: Callable[..., Path], session: Session) -> tuple[str, str, Path]:
    """Push a base; return its reference, that of a fine-tune, and the fine-tune's folder."""
    name = f"{registry.address}/acme/tuned"
    folder = write_model(version="1.0.0")
    (folder / "big.bin").write_bytes(_weights(0))
    push(folder, tag=f"{name}:1", session=session)
    pull(f"{name}:1", session=session)
    (folder / "big.bin").write_bytes(_weights(1e-5))
    return f"{name}:1", f"{name}:2", folder


def _stored(session: Session, folder: Path) -> bool:
    return session.store.blobs.path(Digest.of((folder / "big.bin").read_bytes())).is_file()


def test_who_has_the_base_fetches_the_patch_instead_of_the_file(
    versions: tuple[str, str, Path], session: Session, open_session: Callable[..., Session]
) -> None:
    base, tuned, folder = versions
    other = open_session("other")
    pull(base, session=other)
    pushed = push(folder, tag=tuned, patch_from=base, session=session)
    assert any("big.bin: a patch of" in notice for notice in pushed.notices)
    pulled = pull(tuned, session=other)
    assert pulled.moved < 0.6 * COUNT * 4
    assert _stored(other, folder)


def test_who_lacks_the_base_fetches_the_file(
    versions: tuple[str, str, Path], session: Session, open_session: Callable[..., Session]
) -> None:
    base, tuned, folder = versions
    push(folder, tag=tuned, patch_from=base, session=session)
    other = open_session("other")
    assert pull(tuned, session=other).moved >= COUNT * 4
    assert _stored(other, folder)


def test_the_same_patches_are_sent_once(versions: tuple[str, str, Path], session: Session) -> None:
    base, tuned, folder = versions
    for _ in range(2):
        done = push(folder, tag=tuned, patch_from=base, session=session)
    remote = session.remote(done.reference)
    assert len(remote.referrers(remote.resolve("2"), PATCH)) == 1


def test_a_file_that_nothing_in_the_base_resembles_gets_no_patch(
    versions: tuple[str, str, Path], session: Session
) -> None:
    base, tuned, folder = versions
    (folder / "big.bin").write_bytes(np.random.default_rng(9).bytes(COUNT * 4))
    done = push(folder, tag=tuned, patch_from=base, session=session)
    assert any("no file is enough like" in notice for notice in done.notices)


def test_a_patch_that_makes_something_else_costs_its_bytes_and_nothing_more(
    versions: tuple[str, str, Path], session: Session, open_session: Callable[..., Session], registry: RunningRegistry
) -> None:
    base, tuned, folder = versions
    heard = Heard()
    other = open_session("other", on_event=heard)
    pull(base, session=other)
    damaged = other.store.blobs.path(Digest.of(_weights(0)))
    push(folder, tag=tuned, patch_from=base, session=session)
    damaged.chmod(0o644)
    damaged.write_bytes(_weights(3))  # the right name and size, other bytes: what the patch makes of it is wrong
    assert pull(tuned, session=other).moved >= COUNT * 4
    assert _stored(other, folder)


def test_a_base_that_is_not_here_is_told_before_anything_is_sent(
    registry: RunningRegistry, model: Path, session: Session
) -> None:
    with pytest.raises(NotFound) as caught:
        push(model, tag=f"{registry.address}/acme/x:1", patch_from=f"{registry.address}/acme/x:0", session=session)
    assert "installml pull" in caught.value.hint
    assert not registry.requests


def test_a_base_without_a_registry_cannot_be_fetched_and_nobody_is_told_to(session: Session) -> None:
    with pytest.raises(NotFound, match=r"^acme/none:1, which patches") as caught:
        find_base("acme/none:1", session)
    assert "installml pull" not in caught.value.hint
    assert "--patch-from REGISTRY/acme/none:1" in caught.value.hint


def test_the_base_is_found_under_its_name(versions: tuple[str, str, Path], session: Session) -> None:
    assert find_base(versions[0], session).package.file("big.bin") is not None
