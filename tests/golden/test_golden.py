"""Messages and JSON that people and scripts rely on are the kept ones; ``update.py`` writes them anew."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parent


def load() -> Any:
    spec = importlib.util.spec_from_file_location("golden_cases", FOLDER / "cases.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


CASES = load()
NAMES = [f"{name}.{suffix}" for suffix in ("txt", "json") for name in CASES.CASES]


@pytest.fixture(scope="module")
def answers() -> dict[str, str]:
    given: dict[str, str] = CASES.answers()
    return given


@pytest.mark.parametrize("name", NAMES)
def test_the_answer_is_the_kept_one(answers: dict[str, str], name: str) -> None:
    assert answers[name] == (FOLDER / name).read_text(encoding="utf-8")


def test_no_kept_answer_is_left_over() -> None:
    assert {path.name for path in (*FOLDER.glob("*.txt"), *FOLDER.glob("*.json"))} == set(NAMES)
