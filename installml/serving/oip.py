"""The Open Inference Protocol v2's JSON: requests to tensors, tensors to answers.

Source: kserve/open-inference-protocol, ``specification/protocol/inference_rest.md``. Pure: no HTTP, no process.
Every mistake of a caller is a ``RequestInvalid`` whose message names the input.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from .errors import ModelFailed, RequestInvalid

if TYPE_CHECKING:
    from .worker.protocol import Tensor

__all__ = ["InferRequest", "answer", "decode", "dump", "parse", "request_json"]

MAX_TENSORS = 256
MAX_RANK = 32
_KINDS: dict[str, frozenset[type]] = {
    "BOOL": frozenset({bool}),
    **dict.fromkeys(("UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"), frozenset({int})),
    **dict.fromkeys(("FP32", "FP64"), frozenset({int, float})),
    "BYTES": frozenset({str}),
}
"""Types of the JSON elements of each datatype."""
_WITHOUT_JSON = ("FP16", "BF16")
"""JSON numbers do not round-trip to these; they need binary tensors."""


@dataclass(frozen=True, slots=True)
class InferRequest:
    """A request that the model can be asked.

    Attributes:
        tensors: The inputs.
        outputs: Names of the outputs asked for; empty for all.
        id: The caller's identifier; None when there is none.
    """

    tensors: tuple[Tensor, ...]
    outputs: tuple[str, ...] = ()
    id: str | None = None


def decode(body: bytes) -> Any:
    """Return the JSON value of a request's body.

    Raises:
        RequestInvalid: Not JSON, not UTF-8, not finite, or nested more deeply than the parser goes.
    """
    import orjson

    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise RequestInvalid(f"the request is not valid JSON: {error}") from error


def dump(value: Any) -> bytes:
    """Return ``value`` as JSON; arrays are written from their memory."""
    import orjson

    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def parse(value: Any, metadata: Mapping[str, Any]) -> InferRequest:
    """Return the request that a JSON value spells, checked against what the model says about itself.

    Args:
        value: The parsed body.
        metadata: ``inputs`` and ``outputs`` of the model; an empty list accepts what comes.

    Raises:
        RequestInvalid: Anything that the model cannot take.
    """
    if not isinstance(value, dict):
        raise RequestInvalid(f"the request must be an object, not {_noun(value)}")
    number = value.get("id")
    if number is not None and not isinstance(number, str):
        raise RequestInvalid(f"'id' must be a string, not {_noun(number)}")
    _object_or_none(value, "parameters", "the request")
    declared = {str(item["name"]): item for item in metadata.get("inputs") or ()}
    items = _named(value.get("inputs"), "input")
    if not items:
        raise RequestInvalid("'inputs' is missing or empty")
    tensors = tuple(_tensor(name, item, declared) for name, item in items.items())
    for name in declared:
        if name not in items:
            raise RequestInvalid(f"input {name!r} is missing")
    return InferRequest(tensors, _outputs(value.get("outputs"), metadata), number)


def _noun(value: Any) -> str:
    names = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}
    return names.get(type(value), "a number")


def _object_or_none(value: dict[str, Any], key: str, owner: str) -> dict[str, Any]:
    found = value.get(key)
    if found is not None and not isinstance(found, dict):
        raise RequestInvalid(f"{owner}: {key!r} must be an object, not {_noun(found)}")
    return found or {}


def _named(items: Any, noun: str) -> dict[str, dict[str, Any]]:
    if items is None:
        return {}
    if not isinstance(items, list):
        raise RequestInvalid(f"'{noun}s' must be an array, not {_noun(items)}")
    if len(items) > MAX_TENSORS:
        raise RequestInvalid(f"{len(items)} {noun}s, at most {MAX_TENSORS} are read")
    found: dict[str, dict[str, Any]] = {}
    for index, item in enumerate(items):
        name = item.get("name") if isinstance(item, dict) else None
        if not isinstance(name, str) or not name or len(name) > 256:
            raise RequestInvalid(f"{noun} {index} must be an object with a 'name' of 1 to 256 characters")
        if name in found:
            raise RequestInvalid(f"{noun} {name!r} is given twice")
        _object_or_none(item, "parameters", f"{noun} {name!r}")
        found[name] = item
    return found


def _outputs(items: Any, metadata: Mapping[str, Any]) -> tuple[str, ...]:
    wanted = tuple(_named(items, "output"))
    known = [str(item["name"]) for item in metadata.get("outputs") or ()]
    for name in wanted:
        if known and name not in known:
            raise RequestInvalid(f"output {name!r} is unknown; the model gives {_list(known)}")
    return wanted


def _list(names: Sequence[str]) -> str:
    return ", ".join(repr(name) for name in names)


def _tensor(name: str, item: dict[str, Any], declared: Mapping[str, Mapping[str, Any]]) -> Tensor:
    where = f"input {name!r}"
    if declared and name not in declared:
        raise RequestInvalid(f"{where} is unknown; the model takes {_list(list(declared))}")
    if "binary_data_size" in _object_or_none(item, "parameters", where):
        raise RequestInvalid(f"{where} announces binary data; this server reads JSON data")
    datatype, shape = _datatype(where, item), _shape(where, item)
    if name in declared:
        _check_declared(where, datatype, shape, declared[name])
    if "data" not in item:
        raise RequestInvalid(f"{where} has no 'data'")
    return _packed(where, name, datatype, shape, _elements(where, item["data"], shape))


def _datatype(where: str, item: dict[str, Any]) -> str:
    datatype = item.get("datatype")
    if datatype in _WITHOUT_JSON:
        raise RequestInvalid(f"{where}: {datatype} has no JSON form; send FP32 to a model that takes it")
    if not isinstance(datatype, str) or datatype not in _KINDS:
        raise RequestInvalid(f"{where}: 'datatype' must be one of {', '.join(_KINDS)}")
    return datatype


def _shape(where: str, item: dict[str, Any]) -> tuple[int, ...]:
    shape = item.get("shape")
    if not isinstance(shape, list) or len(shape) > MAX_RANK:
        raise RequestInvalid(f"{where}: 'shape' must be an array of at most {MAX_RANK} dimensions")
    if any(type(n) is not int or not 0 <= n < 2**63 for n in shape):
        raise RequestInvalid(f"{where}: the dimensions of 'shape' must be counts")
    return tuple(shape)


def _check_declared(where: str, datatype: str, shape: tuple[int, ...], declared: Mapping[str, Any]) -> None:
    if datatype != declared["datatype"]:
        raise RequestInvalid(f"{where} must have datatype {declared['datatype']}, not {datatype}")
    expected = declared["shape"]
    fits = len(shape) == len(expected) and all(want in (-1, n) for n, want in zip(shape, expected, strict=True))
    if not fits:
        raise RequestInvalid(f"{where} must have shape {list(expected)}, not {list(shape)} (-1 stands for any size)")


def _elements(where: str, data: Any, shape: tuple[int, ...]) -> list[Any]:
    """Return the elements of flat or nested data in row-major order."""
    if not isinstance(data, list):
        raise RequestInvalid(f"{where}: 'data' must be an array, not {_noun(data)}")
    nested, elements = [len(data)], data
    while elements and type(elements[0]) is list and len(nested) <= MAX_RANK:
        if set(map(type, elements)) != {list} or len(set(map(len, elements))) != 1:
            raise RequestInvalid(f"{where}: the rows of 'data' differ in length or depth")
        nested.append(len(elements[0]))
        elements = list(itertools.chain.from_iterable(elements))
    if len(nested) > 1 and tuple(nested) != shape:
        raise RequestInvalid(f"{where}: 'data' is nested as {nested}, 'shape' says {list(shape)}")
    if len(elements) != math.prod(shape):
        count = f"{len(elements)} element{'' if len(elements) == 1 else 's'}"
        raise RequestInvalid(f"{where}: 'data' has {count}, shape {list(shape)} needs {math.prod(shape)}")
    return elements


def _packed(where: str, name: str, datatype: str, shape: tuple[int, ...], elements: list[Any]) -> Tensor:
    import numpy as np

    from .worker.tensors import DTYPES, to_tensor

    strange = set(map(type, elements)) - _KINDS[datatype]
    if strange:
        example = next(item for item in elements if type(item) in strange)
        raise RequestInvalid(f"{where}: {_noun(example)} among the data of datatype {datatype}")
    try:
        array = np.array(elements, dtype=object if datatype == "BYTES" else DTYPES[datatype])
    except OverflowError as error:
        raise RequestInvalid(f"{where}: a number is out of the range of {datatype}") from error
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise RequestInvalid(f"{where}: a number is out of the range of {datatype}")
    return to_tensor(name, array.reshape(shape))


def answer(tensors: Sequence[Tensor], request: InferRequest, *, name: str, version: str) -> dict[str, Any]:
    """Return the JSON value of the answer; the data of numeric outputs are arrays for ``dump``.

    Args:
        tensors: What the model gave.
        request: What was asked.
        name: The model's name.
        version: The model's version.

    Raises:
        RequestInvalid: An output was asked for that the model did not give.
        ModelFailed: An output that JSON cannot carry.
    """
    given = {tensor.name: tensor for tensor in tensors}
    for wanted in request.outputs:
        if wanted not in given:
            raise RequestInvalid(f"output {wanted!r} is unknown; the model gives {_list(list(given))}")
    chosen = [given[wanted] for wanted in request.outputs] or list(tensors)
    value: dict[str, Any] = {"model_name": name, "model_version": version}
    if request.id is not None:
        value["id"] = request.id
    return value | {"outputs": [_output(tensor) for tensor in chosen]}


def _output(tensor: Tensor) -> dict[str, Any]:
    import numpy as np

    from .worker.tensors import TensorError, to_array

    if tensor.datatype in _WITHOUT_JSON:
        raise ModelFailed(f"output {tensor.name!r} is {tensor.datatype}, which has no JSON form")
    try:
        array = to_array(tensor).reshape(-1)
        data = [item.decode() for item in array] if tensor.datatype == "BYTES" else array
    except (TensorError, UnicodeDecodeError) as error:
        raise ModelFailed(f"output {tensor.name!r} cannot be written as JSON: {error}") from error
    if tensor.datatype in ("FP32", "FP64") and not np.isfinite(array).all():
        raise ModelFailed(f"output {tensor.name!r} holds NaN or infinity, which JSON cannot carry")
    return {"name": tensor.name, "shape": list(tensor.shape), "datatype": tensor.datatype, "data": data}


def request_json(inputs: Mapping[str, Any], metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Return the request for arrays or nested lists by name, in the datatypes that the model declares.

    Args:
        inputs: What numpy can make an array of.
        metadata: ``inputs`` of the model.

    Raises:
        RequestInvalid: A value that is no array, or does not fit the declared datatype.
    """
    declared = {item["name"]: item["datatype"] for item in metadata.get("inputs") or ()}
    return {"inputs": [_input(name, value, declared.get(name)) for name, value in inputs.items()]}


def _input(name: str, value: Any, datatype: str | None) -> dict[str, Any]:
    import numpy as np

    from .worker.tensors import DTYPES, TensorError, datatype_of

    try:
        array = np.asarray(value)
        named = datatype_of(array.dtype)
    except (ValueError, TensorError) as error:
        raise RequestInvalid(f"input {name!r} is not an array: {error}") from error
    if named == "BYTES":
        flat = [item.decode() if isinstance(item, bytes) else item for item in array.ravel().tolist()]
        return {"name": name, "datatype": "BYTES", "shape": list(array.shape), "data": flat}
    if datatype in DTYPES and np.can_cast(array.dtype, DTYPES[datatype], "same_kind"):
        cast = array.astype(DTYPES[datatype])
        if cast.dtype.kind == "f" or (cast == array).all():  # an integer that wraps would be another number
            array, named = cast, datatype
    if not np.isfinite(array).all():
        raise RequestInvalid(f"input {name!r} holds NaN or infinity, which JSON cannot carry")
    return {"name": name, "datatype": named, "shape": list(array.shape), "data": array.ravel().tolist()}
