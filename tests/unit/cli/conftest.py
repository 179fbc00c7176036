"""Command lines run in this process, on an empty home, against a real registry on loopback."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import installml
from installml.cli.main import main
from installml.registry_server import RunningRegistry, start
from tests.unsigned import UNSIGNED

RECIPE = """\
name: acme/sentiment
version: 1.0.0
license: Apache-2.0
description: Says whether a text is friendly.
runtime:
  engine: none
"""


@dataclass(frozen=True)
class Outcome:
    """What one command line did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Standard output as the one JSON document that it must be."""
        assert self.out.count("\n") == 1
        return json.loads(self.out)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Path:
    """Return an empty home; nothing of the person who runs the tests is read.

    Signatures are looked at where the test is marked ``signatures``.
    """
    for name in list(os.environ):
        if name.startswith(("INSTALLML_", "XDG_")) or name in {"NO_COLOR", "DOCKER_CONFIG", "REGISTRY_AUTH_FILE"}:
            monkeypatch.delenv(name)
    (tmp_path / "user").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    monkeypatch.setenv("INSTALLML_HOME", str(tmp_path / "home"))
    if not request.node.get_closest_marker("signatures"):
        monkeypatch.setenv("INSTALLML_POLICY", UNSIGNED)
    monkeypatch.setenv("PYTHONPATH", str(Path(installml.__file__).parent.parent))
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


@pytest.fixture
def run(home: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Outcome]:
    """Return a function that runs one command line in this process."""

    def run(*words: object) -> Outcome:
        capsys.readouterr()
        code = main([str(word) for word in words])
        return Outcome(code, *capsys.readouterr())

    return run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Return a model folder with a recipe."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "installml.yaml").write_text(RECIPE)
    (folder / "weights.bin").write_bytes(bytes(range(256)) * 64)
    (folder / "README.md").write_text("# sentiment\n")
    return folder


@pytest.fixture
def registry(tmp_path: Path) -> Iterator[RunningRegistry]:
    """Return a registry on a free port of loopback."""
    with start(tmp_path / "registry") as running:
        yield running


@pytest.fixture
def program(home: Path) -> list[str]:
    """Return how the command line is started as a process of its own."""
    return [sys.executable, "-m", "installml"]
