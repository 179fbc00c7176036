"""Engines ``xgboost`` and ``lightgbm``: a booster takes one matrix of features."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import Engine, InputError, LoadError

__all__ = ["load"]


class Booster(Engine):
    """Asks ``ask`` with the only input and names the answer as the signature does, else ``predict``."""

    def __init__(self, ask: Callable[[Any], Any], features: int, datatype: str, outputs: list[dict[str, Any]]) -> None:
        super().__init__()
        self.ask, self.features = ask, features
        self.inputs = [{"name": "x", "datatype": datatype, "shape": [-1, features]}]
        self.name = outputs[0]["name"] if outputs else "predict"

    def predict(self, inputs: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
        """Return the booster's answer for the matrix."""
        if len(inputs) != 1:
            raise InputError(f"the model takes one matrix, not {len(inputs)} inputs")
        name, matrix = next(iter(inputs.items()))
        if matrix.ndim != 2 or matrix.shape[1] != self.features or matrix.dtype == object:
            raise InputError(f"input {name!r} must be numbers of shape [-1, {self.features}], not {list(matrix.shape)}")
        return {self.name: self.ask(matrix)}


def _xgboost(path: Path, outputs: list[dict[str, Any]]) -> Engine:
    library = importlib.import_module("xgboost")
    booster = library.Booster()
    booster.load_model(path)

    def ask(matrix: Any) -> Any:
        # The names were checked when the model was trained; a request has columns, not names.
        return booster.inplace_predict(matrix, validate_features=False)

    engine = Booster(ask, booster.num_features(), "FP32", outputs)
    engine.library = f"xgboost {library.__version__}"
    return engine


def _lightgbm(path: Path, outputs: list[dict[str, Any]]) -> Engine:
    library = importlib.import_module("lightgbm")
    try:
        booster = library.Booster(model_file=str(path))
    except library.basic.LightGBMError as error:
        raise LoadError(str(error)) from error
    engine = Booster(booster.predict, booster.num_feature(), "FP64", outputs)
    engine.library = f"lightgbm {library.__version__}"
    return engine


def load(path: Path, wishes: dict[str, Any]) -> Engine:
    """Open a booster's own file; nothing is unpickled."""
    return {"xgboost": _xgboost, "lightgbm": _lightgbm}[wishes["engine"]](path, wishes["outputs"])
