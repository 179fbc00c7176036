"""Sessions on empty homes, model folders, and a real registry on loopback."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from installml.api.session import Session
from installml.config import load
from installml.events import Event, Notice
from installml.registry_server import RunningRegistry, start

RECIPE = """\
name: {name}
version: {version}
license: Apache-2.0
description: Says whether a text is friendly.
"""


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    with start(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def open_session(tmp_path: Path) -> Callable[..., Session]:
    """Return a function that makes a session; ``home`` names its folder, flags and parts of it may be given."""
    user = tmp_path / "user"
    user.mkdir()

    def open_(home: str = "home", *, flags: dict[str, Any] | None = None, **parts: Any) -> Session:
        settings = load({"home": str(tmp_path / home), **(flags or {})}, {"HOME": str(user)}, folder=tmp_path)
        return replace(settings.session(), **parts)

    return open_


@pytest.fixture
def session(open_session: Callable[..., Session]) -> Session:
    return open_session()


@pytest.fixture
def make_model(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes a model folder."""

    def make(
        name: str = "acme/sentiment", version: str = "1.0.0", *, more: str = "", folder: str = "model", **files: str
    ) -> Path:
        path = tmp_path / folder
        path.mkdir(exist_ok=True)
        (path / "installml.yaml").write_text(RECIPE.format(name=name, version=version) + more)
        (path / "weights.bin").write_bytes(bytes(range(256)) * 64)
        for file, text in files.items():
            (path / file.replace("_", ".")).write_text(text)
        return path

    return make


@pytest.fixture
def model(make_model: Callable[..., Path]) -> Path:
    return make_model()


class Heard:
    """A listener that remembers."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        self.events.append(event)

    @property
    def notices(self) -> list[str]:
        return [event.message for event in self.events if isinstance(event, Notice)]


@pytest.fixture
def heard() -> Heard:
    return Heard()


def files_below(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder with its bytes."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}
