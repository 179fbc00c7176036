"""Runs the command from any folder, as ``python benchmarks/transfer`` and as ``python -m benchmarks.transfer``."""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:] = [str(HERE.parents[1]), *(entry for entry in sys.path if Path(entry or ".").resolve() != HERE)]

from benchmarks.transfer.main import main  # noqa: E402  # the path above is what makes it importable

if __name__ == "__main__":
    sys.exit(main())
