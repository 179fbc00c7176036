"""Write the golden documents anew (``python -m tests.unit.attesting.update``); look at the difference afterwards."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tests.unit.attesting import test_cyclonedx, test_slsa, test_spdx
from tests.unit.attesting.kit import facts

DOCUMENTS: Mapping[str, Any] = {"cyclonedx": test_cyclonedx, "spdx": test_spdx, "slsa": test_slsa}


def main() -> None:
    """Write every document."""
    folder = Path(__file__).parent / "golden"
    for name, module in DOCUMENTS.items():
        text = json.dumps(module.made(facts()), indent=2, ensure_ascii=False) + "\n"
        (folder / f"{name}.json").write_text(text, "utf-8")


if __name__ == "__main__":
    main()
