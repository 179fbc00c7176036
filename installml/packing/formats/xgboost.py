"""XGBoost models saved as JSON or UBJSON (xgboost.readthedocs.io, "Introduction to Model IO")."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from installml.packing.formats.documents import integer, items, mapping, parse_json, read_json, text
from installml.packing.formats.model import Finding, Tensor
from installml.packing.formats.reader import Reader, open_reader
from installml.packing.formats.ubjson import walk

__all__ = ["read_json_model", "read_ubjson_model"]

MAX_JSON = 16 << 20
_TAIL = 64 << 10
_Values = dict[tuple[str, ...], str]
_PARAMETERS = ("learner", "learner_model_param")


def read_json_model(path: Path, name: str) -> Finding:
    """Read an XGBoost JSON model: features, classes, objective, version.

    Args:
        path: The file.
        name: Its path in the model folder.

    Raises:
        FormatError: It is not JSON, or not an XGBoost model.
    """
    with open_reader(path, name) as reader:
        document = read_json(reader, cap=MAX_JSON) if reader.size <= MAX_JSON else _tail(reader)
        values = dict(_wanted(document))
        return _finding(values, name, reader.fail("is not an XGBoost model: no learner or no version", offset=0))


def _tail(reader: Reader) -> Any:
    """Parse what follows the trees of a large model: XGBoost writes the members of an object by name."""
    reader.seek(reader.size - _TAIL)
    data = reader.bytes(_TAIL, cap=_TAIL)
    start = data.rfind(b'"learner_model_param"')
    if start < 0:
        raise reader.fail("is not an XGBoost model: no learner_model_param after its trees", offset=reader.size - _TAIL)
    return parse_json(b'{"learner":{' + data[start:], reader.name, offset=reader.size - _TAIL + start)


def _wanted(document: object) -> Iterator[tuple[tuple[str, ...], str]]:
    learner = mapping(mapping(document).get("learner"))
    for key, value in mapping(learner.get("learner_model_param")).items():
        yield (*_PARAMETERS, key), text(value)
    yield ("learner", "objective", "name"), text(mapping(learner.get("objective")).get("name"))
    yield ("learner", "gradient_booster", "name"), text(mapping(learner.get("gradient_booster")).get("name"))
    for index, part in enumerate(items(mapping(document).get("version"), cap=3)):
        yield ("version", str(index)), text(part)


def read_ubjson_model(path: Path, name: str) -> Finding:
    """Read an XGBoost UBJSON model; its trees are passed over.

    Raises:
        FormatError: It is not UBJSON, or not an XGBoost model.
    """
    with open_reader(path, name) as reader:
        values: _Values = {}
        for keys, value in walk(reader):
            if len(keys) <= 3 and len(values) < 10_000:
                values[keys] = value
        return _finding(values, name, reader.fail("is not an XGBoost model: no learner or no version", offset=0))


def _finding(values: _Values, name: str, otherwise: Exception) -> Finding:
    parts = [values.get(("version", str(index)), "") for index in range(3)]
    features = integer(values.get((*_PARAMETERS, "num_feature"), ""))
    if features is None or not all(part.isdecimal() for part in parts):
        raise otherwise
    version = ".".join(parts)
    objective = values.get(("learner", "objective", "name"), "")
    details = {
        "objective": objective,
        "booster": values.get(("learner", "gradient_booster", "name"), ""),
        "classes": values.get((*_PARAMETERS, "num_class"), ""),
        "xgboost": version,
    }
    return Finding(
        format="xgboost",
        engine="xgboost",
        files=(name,),
        task=_task(objective),
        inputs=(Tensor("x", "FP32", (-1, features or -1)),),
        requirements=(f"xgboost=={version}",),
        details={key: value for key, value in details.items() if value},
    )


def _task(objective: str) -> str:
    if objective.startswith(("binary:", "multi:")):
        return "tabular-classification"
    return "tabular-regression" if objective.startswith(("reg:", "count:", "survival:")) else ""
