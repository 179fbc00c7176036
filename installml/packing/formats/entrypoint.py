"""A Python class with `load` and `predict`: the entry point of models that bring their own code.

The file is parsed, never imported.
"""

from __future__ import annotations

import ast
import re
import warnings
from pathlib import Path, PurePosixPath

from installml.packing.formats.model import Finding
from installml.packing.formats.reader import Reader, open_reader

__all__ = ["read"]

MAX_SOURCE = 512 << 10
_METHODS = {"load", "predict"}
_BOTH = (re.compile(rb"\bdef\s+load\b"), re.compile(rb"\bdef\s+predict\b"))


def read(path: Path, name: str) -> Finding | None:
    """Look for a class with the methods `load` and `predict` at a module's top level.

    Args:
        path: The file.
        name: Its path in the model folder.

    Returns:
        The finding with the entry point; None where there is no such class.

    Raises:
        FormatError: It has both methods, and is not Python that can be parsed.
    """
    with open_reader(path, name) as reader:
        if reader.size > MAX_SOURCE:
            return None
        source = reader.bytes(reader.size, cap=MAX_SOURCE)
        if not all(method.search(source) for method in _BOTH):
            return None
        tree = _parse(reader, source)
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and _defined(node) >= _METHODS]
    if not classes:
        return None
    chosen = next((node for node in classes if node.name == "Model"), classes[0])
    summary = (ast.get_docstring(chosen) or ast.get_docstring(tree) or "").partition("\n")[0]
    return Finding(
        format="python",
        engine="python",
        files=(name,),
        entrypoint=f"{PurePosixPath(name).as_posix()}:{chosen.name}",
        description=summary[:1024],
        details={"imports": ", ".join(_imports(tree))} if _imports(tree) else {},
    )


def _parse(reader: Reader, source: bytes) -> ast.Module:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what the author's compiler says is not ours to repeat
            return ast.parse(source)
    except SyntaxError as error:
        lines = source.splitlines(keepends=True)[: max(0, (error.lineno or 1) - 1)]
        reason = f"is not Python: {error.msg} (line {error.lineno or 1})"
        raise reader.fail(reason, offset=sum(map(len, lines))) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise reader.fail(
            "is not Python that can be parsed: nested too deeply, or with null bytes", offset=0
        ) from error


def _defined(node: ast.ClassDef) -> set[str]:
    return {one.name for one in node.body if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)}


def _imports(tree: ast.Module) -> list[str]:
    """Name the top-level modules that the file imports at its top, for the requirements that it may need."""
    names: list[str] = []
    for node in tree.body:
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.append(node.module)
    return list(dict.fromkeys(name.partition(".")[0] for name in names))[:50]
