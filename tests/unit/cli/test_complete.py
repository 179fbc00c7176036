from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any


def completed(program: list[str], line: str) -> list[str]:
    """Return what bash would offer at the end of ``line``."""
    environ = os.environ | {
        "_INSTALLML_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(len(line.split(" ")) - 1),
    }
    done = subprocess.run(program, env=environ, capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_verbs_are_completed(program: list[str]) -> None:
    assert completed(program, "installml un") == ["uninstall"]


def test_references_are_completed_from_the_store(program: list[str], run: Callable[..., Any], model: Path) -> None:
    assert run("build", model, "-t", "acme/one:1").code == 0
    assert run("build", model, "-t", "localhost:5000/acme/two:2").code == 0
    assert completed(program, "installml push ") == ["acme/one:1", "localhost:5000/acme/two:2"]
    assert completed(program, "installml info acme/o") == ["acme/one:1"]


def test_only_installed_models_are_offered_for_removal(
    program: list[str], run: Callable[..., Any], model: Path
) -> None:
    assert run("build", model, "-t", "acme/one:1").code == 0
    assert run("build", model, "-t", "acme/two:1").code == 0
    assert run("install", "acme/two:1").code == 0
    assert completed(program, "installml uninstall ") == ["acme/two:1"]


def test_a_store_that_cannot_be_read_completes_nothing(program: list[str], home: Path) -> None:
    (home / "refs" / "local" / "x").mkdir(parents=True)
    (home / "refs" / "local" / "x" / "@1").write_text("not a descriptor")
    assert completed(program, "installml info ") == []


def test_keys_are_completed_by_name(program: list[str], run: Callable[..., Any]) -> None:
    assert run("keys", "generate", "acme", "--no-passphrase").code == 0
    assert run("keys", "rotate", "acme", "--no-passphrase").code == 0
    assert completed(program, "installml keys export ac") == ["acme", "acme@1"]
