"""Fixtures, and the record of what was seen."""

from __future__ import annotations

import dataclasses
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.ground import Ground, Packages, Programs, ground, packages
from tests.interop.table import PAGE, REGISTRIES, VARIABLE, Observation, read
from tests.services.tools import TOOLS, version

Observed = Callable[..., None]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Packages:
    return packages(tmp_path_factory.mktemp("packages"))


@pytest.fixture(scope="session", params=REGISTRIES)
def here(request: pytest.FixtureRequest, built: Packages) -> Iterator[Ground]:
    """Each registry in turn, with the packages in it."""
    with ground(request.param, built) as running:
        yield running


@pytest.fixture(scope="session")
def other(built: Packages) -> Iterator[Ground]:
    """A registry to copy to."""
    with ground("distribution 3", built) as running:
        yield running


@pytest.fixture
def programs(tmp_path: Path) -> Programs:
    home = tmp_path / "programs"
    home.mkdir()
    return Programs(home)


@pytest.fixture(scope="session")
def ledger() -> Iterator[list[Observation]]:
    """Everything that was seen; written down where the table asks for it."""
    seen: list[Observation] = []
    yield seen
    if VARIABLE in os.environ:
        used = {word for row in seen for word in row.tool.split(", ")} | {"distribution2", "distribution3"}
        told = {"versions": {name: version(name) for name in TOOLS if name in used}}
        told["observations"] = [dataclasses.astuple(row) for row in seen]  # type: ignore[assignment]
        Path(os.environ[VARIABLE]).write_text(json.dumps(told), "utf-8")


@pytest.fixture
def observed(request: pytest.FixtureRequest, ledger: list[Observation]) -> Observed:
    """Note ``(tool, operation, result)`` with the registry of the test, and hold it against the page."""

    def note(tool: str, operation: str, result: str) -> None:
        stages = (request.getfixturevalue(name) for name in ("here", "stage") if name in request.fixturenames)
        registry = next((stage.kind for stage in stages if hasattr(stage, "kind")), "")
        row = Observation(tool, operation, result, registry, request.node.originalname)
        ledger.append(row)
        if VARIABLE not in os.environ:
            said = sorted(r.result for r in read(PAGE.read_text("utf-8")) if _about(r) == _about(row))
            assert result in said, f"docs/interop.md says {said}; write it again with: python tests/interop/table.py"

    return note


def _about(row: Observation) -> tuple[str, ...]:
    return row.tool, row.operation, row.registry, row.test
