"""The worker runs in a package's environment: it may need the standard library and numpy, and nothing of ours."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from installml.serving import worker

FOLDER = Path(worker.__file__).parent
FILES = sorted(FOLDER.rglob("*.py"))
ALLOWED = sys.stdlib_module_names | {"numpy"}


def imported(file: Path) -> set[str]:
    """Return the top names of all imports, wherever they stand; a relative one beyond the worker's folder is `..`."""
    depth = len(file.relative_to(FOLDER).parts)
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level > depth:
                found.add("..")
            elif not node.level:
                found.add(str(node.module).partition(".")[0])
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(FOLDER)))
def test_a_file_of_the_worker_imports_the_standard_library_and_numpy_only(file: Path) -> None:
    assert imported(file) <= ALLOWED


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(FOLDER)))
def test_a_file_of_the_worker_is_python_39(file: Path) -> None:
    ast.parse(file.read_text(), feature_version=(3, 9))


def test_the_frames_need_no_numpy() -> None:
    assert "numpy" not in imported(FOLDER / "protocol.py")


def test_the_script_puts_nothing_of_ours_where_a_model_could_import_it() -> None:
    code = (
        f"import runpy, sys; sys.argv = ['main.py']; names = runpy.run_path({str(FOLDER / 'main.py')!r})\n"
        f"names['make_importable'](names['Path']({str(FOLDER)!r}))\n"
        "import installml_worker.protocol\n"
        f"assert not [p for p in sys.path if p.startswith({str(FOLDER.parents[1])!r})], sys.path\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in ('installml', 'protocol', 'engines')))"
    )
    done = subprocess.run([sys.executable, "-I", "-B", "-c", code], capture_output=True, text=True, check=True, cwd="/")
    assert done.stdout.strip() == "[]"
