"""Rules that import-linter cannot see: who prints, who reads the environment, who asks the time, who starts slowly."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import installml

ROOT = Path(installml.__file__).parent
MODULES = sorted(path for path in ROOT.rglob("*.py"))
PURE = [
    ROOT / "reference.py", ROOT / "digest.py", ROOT / "events.py", *sorted((ROOT / "spec").glob("*.py")),
    ROOT / "machines" / "machine.py", ROOT / "machines" / "match.py", ROOT / "serving" / "plan.py",
    ROOT / "serving" / "check.py", *sorted((ROOT / "attesting").glob("*.py")),
    *sorted((ROOT / "trust").glob("*.py")),
]  # fmt: skip


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """Yield line and dotted name of everything that is called or read as an attribute of a module."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield node.lineno, node.func.id
        elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            yield node.lineno, f"{node.value.id}.{node.attr}"


def found(paths: list[Path], forbidden: set[str]) -> list[str]:
    return [f"{name_of(p)}:{line} {name}" for p in paths for line, name in calls(p) if name in forbidden]


def test_the_rules_see_what_they_forbid(tmp_path: Path) -> None:
    path = tmp_path / "x.py"
    path.write_text("import os\nprint(os.environ)\n")
    assert sorted(name for _, name in calls(path)) == ["os.environ", "print"]


def test_only_the_command_line_and_the_worker_print() -> None:
    elsewhere = [p for p in MODULES if name_of(p).split("/")[0] != "cli" and "/worker/" not in name_of(p)]
    assert found(elsewhere, {"print", "logging.basicConfig"}) == []


def test_only_config_and_the_composition_root_read_the_environment() -> None:
    allowed = {"config.py", "cli/context.py", "cli/main.py"}
    elsewhere = [p for p in MODULES if name_of(p) not in allowed and "/worker/" not in name_of(p)]
    assert found(elsewhere, {"os.environ", "os.getenv"}) == []


def test_the_pure_core_asks_nobody_the_time_or_for_chance() -> None:
    assert found(PURE, {"time.time", "time.monotonic", "datetime.now", "random.random", "secrets.token_hex"}) == []


def test_nothing_unpickles_evaluates_or_unpacks_archives() -> None:
    outside = [p for p in MODULES if "/worker/" not in name_of(p)]
    banned = {"pickle.load", "pickle.loads", "eval", "exec", "os.system", "tarfile.open", "shutil.unpack_archive"}
    assert found(outside, banned) == []


@pytest.mark.parametrize("statement", ["import installml", "import installml.cli.main"])
def test_starting_up_imports_nothing_heavy(statement: str) -> None:
    heavy = ["requests", "numpy", "sigstore", "cryptography", "docker", "starlette", "uvicorn", "orjson", "yaml", "uv"]
    script = f"import sys; {statement}; print([name for name in {heavy!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_public_name_of_the_sdk_exists_and_is_sorted() -> None:
    assert installml.__all__ == sorted(installml.__all__)
    for name in installml.__all__:
        assert getattr(installml, name) is not None


def test_every_error_of_every_room_has_an_identifier_of_its_own() -> None:
    import importlib

    from installml.errors import InstallMLError

    for path in MODULES:
        if "/worker/" not in name_of(path) and path.name != "__main__.py":
            importlib.import_module("installml." + name_of(path).removesuffix(".py").replace("/", "."))
    kinds, queue = set(), [InstallMLError]
    while queue:
        kind = queue.pop()
        kinds.add(kind)
        queue.extend(kind.__subclasses__())
    own = [kind for kind in kinds if kind.__module__.startswith("installml.")]
    references = sorted(kind.reference for kind in own if "reference" in vars(kind))
    assert len(own) > 40
    assert [name for name in references if references.count(name) > 1] == []
