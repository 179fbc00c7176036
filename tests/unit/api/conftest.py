"""Sessions on empty homes, model folders, and a real registry on loopback."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from installml.api.session import Session
from installml.registry_server import RunningRegistry, start
from tests.unit.api.kit import Heard, make_model, make_session


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with start(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def open_session(tmp_path: Path, request: pytest.FixtureRequest) -> Callable[..., Session]:
    """Return a function that makes a session; ``home`` names its folder, flags and parts of it may be given.

    It looks at signatures where the test is marked ``signatures``.
    """
    policy = {"policy": ""} if request.node.get_closest_marker("signatures") else {}

    def open_(home: str = "home", *, flags: Mapping[str, Any] | None = None, **parts: Any) -> Session:
        return make_session(tmp_path / home, tmp_path / "user", flags={**policy, **(flags or {})}, **parts)

    return open_


@pytest.fixture
def session(open_session: Callable[..., Session]) -> Session:
    return open_session()


@pytest.fixture
def write_model(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes the model folder."""
    return partial(make_model, tmp_path / "model")


@pytest.fixture
def model(write_model: Callable[..., Path]) -> Path:
    return write_model()


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
def closed_port() -> int:
    """Return a port on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
