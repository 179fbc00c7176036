"""Engine ``python``: a class of the package's own with ``load(path)`` and ``predict(inputs)``."""

from __future__ import annotations

import importlib.util
import inspect
import platform
import sys
from pathlib import Path
from typing import Any

from . import Engine, LoadError

__all__ = ["load"]


class EntryPoint(Engine):
    """Asks the package's object; an answer that is no mapping is the only output's."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        self.library = f"Python {platform.python_version()}"

    def predict(self, inputs: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
        """Return what the package's ``predict`` gives for ``inputs``."""
        answer = self.model.predict(inputs)
        if isinstance(answer, dict):
            return answer
        return {self.outputs[0]["name"] if len(self.outputs) == 1 else "output": answer}


def _class(file: Path, name: str, root: Path) -> Any:
    if not file.is_file():
        raise LoadError(f"the package has no {file.name}")
    for folder in dict.fromkeys((root, file.parent)):
        sys.path.insert(0, str(folder))
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise LoadError(f"{file.name} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[file.stem] = module
    spec.loader.exec_module(module)
    try:
        return getattr(module, name)
    except AttributeError:
        raise LoadError(f"{file.name} has no class {name}") from None


def load(path: Path, wishes: dict[str, Any]) -> Engine:
    """Import ``file.py:Class`` and let it load ``path``; ``load`` may be a class method that returns the object."""
    file, _, name = wishes["entrypoint"].rpartition(":")
    root = Path(wishes["root"])
    kind = _class(root / file, name, root)
    for method in ("load", "predict"):
        if not callable(getattr(kind, method, None)):
            raise LoadError(f"{name} of {file} has no method {method}")
    maker = isinstance(inspect.getattr_static(kind, "load"), (classmethod, staticmethod))
    target = kind if maker else kind()
    made = target.load(path)
    return EntryPoint(made if maker and made is not None else target)
