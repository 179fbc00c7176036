"""Engine ``sklearn``: an estimator from skops, joblib or pickle.

A ``.skops`` file is loaded with no trusted types. The other forms run code when they are opened; that happens here,
in the worker of a package that somebody chose to serve, and nowhere else.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np

from . import Engine, InputError, LoadError, as_text

__all__ = ["load"]

_METHODS = ("predict", "predict_proba", "decision_function", "transform")
_DEFAULT = ("predict", "predict_proba")


class Estimator(Engine):
    """Answers ``predict`` and, for a classifier, ``predict_proba``; a transformer answers ``transform``.

    A packaged signature may name its outputs as it likes: the name of a method asks that method, other names take
    ``predict`` and ``predict_proba`` in this order.
    """

    def __init__(self, model: Any, outputs: list[dict[str, Any]]) -> None:
        super().__init__()
        self.model = model
        self.features = [str(name) for name in getattr(model, "feature_names_in_", ())]
        self.methods = self._methods([item["name"] for item in outputs])

    def _methods(self, names: list[str]) -> dict[str, str]:
        able = [method for method in _DEFAULT if hasattr(self.model, method)]
        able = able or [method for method in _METHODS if hasattr(self.model, method)][:1]
        if not able:
            raise LoadError(f"a {type(self.model).__name__} has no method predict or transform")
        rest = iter(method for method in able if method not in names)
        methods = {name: name if name in _METHODS else next(rest, "") for name in names}
        for name, method in methods.items():
            if not hasattr(self.model, method or "."):
                raise LoadError(f"the signature's output {name!r} has no method of {type(self.model).__name__}")
        return methods or {method: method for method in able}

    def predict(self, inputs: dict[str, Any], wanted: list[str]) -> dict[str, Any]:
        """Return the outputs asked for, each by its method."""
        table = self._table({k: as_text(k, v) if v.dtype == object else v for k, v in inputs.items()})
        names = [name for name in wanted if name in self.methods] or list(self.methods)
        return {name: _plain(getattr(self.model, self.methods[name])(table)) for name in names}

    def _table(self, inputs: dict[str, Any]) -> Any:
        """Return what the estimator takes: one matrix, or a table of the columns that it was fitted with."""
        first = next(iter(inputs.values()))
        if len(inputs) == 1 and (not self.features or (first.ndim == 2 and len(self.features) > 1)):
            return _frame(first, self.features) if self.features else first
        missing = [name for name in self.features if name not in inputs]
        if missing and len(inputs) > 1:
            raise InputError(f"input {missing[0]!r} is missing; the model was fitted with it")
        names = list(inputs) if missing or not self.features else self.features
        columns = [_column(name, inputs[name]) for name in names]
        if len({len(column) for column in columns}) != 1:
            raise InputError("the inputs " + ", ".join(repr(name) for name in names) + " differ in length")
        return _frame(columns, self.features or names)


def _column(name: str, array: Any) -> Any:
    if array.ndim == 2 and array.shape[1] == 1:
        array = array[:, 0]
    if array.ndim != 1:
        raise InputError(f"input {name!r} must be one column, not of shape {list(array.shape)}")
    return array


def _frame(data: Any, names: list[str]) -> Any:
    """Return a data frame where the environment has pandas, else a matrix in the same order."""
    matrix = isinstance(data, np.ndarray)
    if matrix and data.shape[1] != len(names):
        raise InputError(f"the model takes {len(names)} features, not {data.shape[1]}")
    try:
        pandas = importlib.import_module("pandas")
    except ImportError:
        return data if matrix else np.column_stack(data)
    # Column by column: a column keeps its own dtype, which a ColumnTransformer looks at.
    columns = [data[:, index] for index in range(len(names))] if matrix else data
    return pandas.DataFrame(dict(zip(names, columns)))  # noqa: B905  # equal lengths; strict= is 3.10


def _plain(answer: Any) -> Any:
    if isinstance(answer, list):  # a classifier of several outputs gives one matrix each
        return np.stack(answer, axis=1)
    return answer.toarray() if hasattr(answer, "toarray") else np.asarray(answer)


def _open(path: Path) -> Any:
    if path.suffix != ".skops":
        return importlib.import_module("joblib").load(path)
    skops = importlib.import_module("skops.io")
    strange = skops.get_untrusted_types(file=path)
    if strange:
        raise LoadError(
            f"{path.name} holds types that are not trusted: {', '.join(sorted(strange))}; "
            "save the model without them, or package it with a Python entry point that trusts them"
        )
    return skops.load(path, trusted=[])


def load(path: Path, wishes: dict[str, Any]) -> Engine:
    """Open an estimator; the file's name decides how."""
    model = _open(path)
    engine = Estimator(model, wishes["outputs"])
    engine.library = f"scikit-learn {importlib.import_module('sklearn').__version__}"
    return engine
