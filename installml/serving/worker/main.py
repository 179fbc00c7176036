"""Start the worker as a plain script: ``python -I -B worker/main.py --fd N``.

Isolated mode puts neither this folder nor the current one on the path, and the package that holds this file belongs
to another environment. So this file makes its own folder importable under a name that no model uses, and nothing else.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path

PACKAGE = "installml_worker"


def make_importable(folder: Path) -> None:
    """Make ``folder`` the package ``installml_worker`` without putting anything on ``sys.path``."""
    spec = importlib.util.spec_from_file_location(
        PACKAGE, folder / "__init__.py", submodule_search_locations=[str(folder)]
    )
    if spec is None or spec.loader is None:
        raise SystemExit(f"the worker's folder {folder} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    sys.modules[PACKAGE] = module
    spec.loader.exec_module(module)


if __name__ == "__main__":
    make_importable(Path(__file__).resolve().parent)
    raise SystemExit(importlib.import_module(PACKAGE + ".loop").main(sys.argv[1:]))
