"""A curve through measured points, as a Python entry point."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np


class Curve:
    """A polynomial; `coefficients.json` has its coefficients, highest power first."""

    def __init__(self, coefficients: list[float]) -> None:
        self.coefficients = coefficients

    @classmethod
    def load(cls, path: Path) -> Curve:
        """Called once, with the folder of the installed package."""
        return cls(json.loads((path / "coefficients.json").read_text(encoding="utf-8")))

    def predict(self, inputs: dict[str, Any]) -> dict[str, Any]:
        """Called for each request: arrays by name in, arrays by name out."""
        return {"y": np.polyval(self.coefficients, inputs["x"])}
