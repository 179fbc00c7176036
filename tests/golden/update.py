"""Write the kept answers anew, to be read in the diff: ``python tests/golden/update.py``."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).resolve().parents[2])]

from cases import FOLDER, answers  # noqa: E402


def main() -> None:
    """Replace every kept answer."""
    for old in (*FOLDER.glob("*.txt"), *FOLDER.glob("*.json")):
        old.unlink()
    for name, content in answers().items():
        (FOLDER / name).write_text(content, encoding="utf-8")


if __name__ == "__main__":
    main()
