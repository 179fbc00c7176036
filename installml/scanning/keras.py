"""Keras models: what their configuration makes Keras import or run. Neither Keras nor h5py is used.

Keras 3 keeps the configuration as config.json in a zip, Keras 2 as text in an HDF5 file. HDF5 is not parsed: an
attribute's text stands in the file in one piece, so every JSON text in it is looked at; a file that names a
configuration in which none can be read is a finding.

How names are resolved: keras/src/saving/serialization_lib.py, `_retrieve_class_or_fn`: known names of keras, else
the module is imported and the name taken from it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from installml.scanning.configs import ESCAPED
from installml.scanning.finding import Content, Rule, Severity, Unreadable, Visit
from installml.spec.canonical import JSONInvalid, parse_json

__all__ = ["HDF5", "KERAS_JSON", "RULES"]

LAMBDA = Rule(
    "keras-lambda",
    Severity.critical,
    "A Keras model carries a function as bytecode",
    "A Lambda layer's function is marshalled Python: Keras builds it while loading and runs it with the model.",
    "Ask its maker for a model without Lambda layers, or written with layers of a class of its own.",
)
PICKLED = Rule(
    "keras-pickled-module",
    Severity.critical,
    "A Keras model carries a pickled module",
    "TorchModuleWrapper hands a text of the configuration to torch.load, which unpickles it.",
    "Do not load the file.",
)
FOREIGN = Rule(
    "keras-foreign-module",
    Severity.high,
    "A Keras model names a class or function outside of Keras",
    "Loading imports that module and calls what is named, with arguments out of the file.",
    "Do not load the file unless you know the module and trust who wrote the file.",
)
EXTERNAL = Rule(
    "keras-external-model",
    Severity.high,
    "A Keras model has a layer that loads another model or a function",
    "TFSMLayer, JaxLayer and FlaxLayer bring programs of other libraries, from other files or out of the text.",
    "Look at what the layer loads, or use another form of the model.",
)
READS = Rule(
    "keras-reads-file",
    Severity.high,
    "A Keras layer reads a file or address that the model names",
    "A vocabulary given as a path is opened while loading, wherever it points.",
    "Ask for a model with its vocabulary inside.",
)
RULES = (LAMBDA, PICKLED, FOREIGN, EXTERNAL, READS)

_MAGIC = b"\x89HDF\r\n\x1a\n"
_MAX_CONFIG = 64 << 20
_STEP = 4 << 20
_OVERLAP = 256
_HDF5 = (".h5", ".hdf5", ".hdf", ".he5")
_CONFIGS = ("config.json", "model_config.json", "model.json", "architecture.json", "metadata.json")
_LOOKUPS = ("StringLookup", "IntegerLookup", "TextVectorization", "IndexLookup")
_PACKAGES = r"(?:keras|keras_core|tf_keras|tensorflow\.keras|tensorflow\.python\.keras|keras_hub|keras_nlp|keras_cv)"
_PLACES = (
    r"(?:activations|applications|constraints|distribution|dtype_policies|initializers|layers|losses|metrics|models"
    r"|ops|optimizers|quantizers|random|regularizers|engine|mixed_precision|samplers|tokenizers|visualization"
    r"|backend\.(?:jax|numpy|openvino|tensorflow|torch)\.optimizers)"
)
_HOME = re.compile(rf"{_PACKAGES}(?:\.api|\.src|\._tf_keras\.keras)?(?:\.{_PLACES}(?:\.[a-z_0-9]+)*)?")
_CLASS = re.compile(r"[A-Z][A-Za-z0-9_]*")
#: Names that serialization_lib itself resolves: values, not classes.
_VALUES = frozenset(("__tensor__", "__numpy__", "__bytes__", "__ellipsis__", "__slice__", "__tuple__", "__typespec__"))
_CANDIDATE = re.compile(rb'\{(?=[ \t\r\n"])')
_CONTROL = re.compile(rb"[\x00-\x08\x0b\x0c\x0e-\x1f]")


def _nodes(value: Any, visit: Visit) -> Iterator[dict[str, Any]]:
    stack = [value]
    while stack:
        visit.budget.step()
        node = stack.pop()
        if isinstance(node, dict):
            yield node
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def _inspect(config: Any, visit: Visit, offset: int | None) -> None:
    """Report what a configuration would make Keras do."""
    for node in _nodes(config, visit):
        name, module = node.get("class_name"), node.get("module")
        inner = node.get("config")
        if name in ("Lambda", "__lambda__") or node.get("function_type") == "lambda":
            visit.found(LAMBDA, str(_title(node)), offset)
        elif name == "TorchModuleWrapper":
            visit.found(PICKLED, str(_title(node)), offset)
        elif name in ("TFSMLayer", "JaxLayer", "FlaxLayer"):
            visit.found(EXTERNAL, f"{name} {_title(node)}", offset)
        elif isinstance(name, str) and name not in _VALUES and module is not None:
            _check_home(name, module, inner, visit, offset)
        if name in _LOOKUPS and isinstance(inner, dict) and isinstance(inner.get("vocabulary"), str):
            visit.found(READS, f"{name} reads {inner['vocabulary']}", offset)


def _title(node: dict[str, Any]) -> Any:
    inner = node.get("config")
    return inner.get("name", "") if isinstance(inner, dict) else node.get("name", "")


def _check_home(name: str, module: Any, inner: Any, visit: Visit, offset: int | None) -> None:
    """Check that a module is one of Keras' with nothing but model parts, and that the name is a class of it."""
    home = isinstance(module, str) and bool(_HOME.fullmatch(module))
    if name == "function":
        # Keras looks functions of "builtins" up among its own activations, losses and so on, and nowhere else.
        plain = isinstance(inner, str) and inner.isidentifier() and not inner.startswith("_")
        known = plain and (module == "builtins" or (home and "." in str(module)))
    else:
        known = home and bool(_CLASS.fullmatch(name))
    if not known:
        called = inner if name == "function" else name
        visit.found(FOREIGN, f"{module}.{called}", offset)


def _is_keras(value: Any) -> bool:
    return isinstance(value, dict) and ("class_name" in value or ("config" in value and "keras_version" in value))


class KerasJsonScanner:
    """Knows Keras' config.json, in a .keras file or beside the weights."""

    name = "keras"

    def claims(self, head: bytes, name: str) -> bool:
        """Claim well-known names, and JSON that begins with a class."""
        return name.rpartition("/")[2] in _CONFIGS or (name.endswith(".json") and b"class_name" in head)

    def scan(self, content: Content, visit: Visit) -> None:
        """Inspect the configuration, if it is one of Keras."""
        data = content.read_at(0, _MAX_CONFIG + 1)
        inside = visit.path.lower().endswith(".keras") or ".keras!" in visit.inner.lower()
        try:
            value = parse_json(data, visit.name, cap=_MAX_CONFIG)
        except JSONInvalid as error:
            if inside or b"class_name" in data or ESCAPED.search(data):
                raise Unreadable(f"has a configuration that is not acceptable JSON: {error.message}", 0) from error
            return
        if inside or any("class_name" in node for node in _nodes(value, visit)):
            _inspect(value, visit, None)


class Hdf5Scanner:
    """Knows HDF5 files by their signature, which may stand behind a block of the user's own, or by name."""

    name = "hdf5"

    def claims(self, head: bytes, name: str) -> bool:
        """Claim by signature or name."""
        return any(head[at : at + 8] == _MAGIC for at in (0, 512, 1024, 2048)) or name.endswith(_HDF5)

    def scan(self, content: Content, visit: Visit) -> None:
        """Look at every JSON text in the file."""
        if not any(content.read_at(at, 8) == _MAGIC for at in (0, *(512 << i for i in range(20)))):
            raise Unreadable("has no HDF5 signature", 0)
        expected, seen, position, done, kept = False, False, 0, 0, b""
        while data := content.read_at(position, _STEP):
            text, start = kept + data, position - len(kept)
            expected = expected or b"model_config" in text
            _check_heaps(text, start)
            for match in _CANDIDATE.finditer(text):
                if start + match.start() >= done:
                    found, done = _json_at(content, start + match.start(), visit)
                    seen = seen or found
            position, kept = position + len(data), text[-_OVERLAP:]
        if expected and not seen:
            raise Unreadable("names a model configuration, and none can be read", None)


def _check_heaps(text: bytes, start: int) -> None:
    """Refuse filtered heaps, in which attributes could stand compressed (HDF5 file format, III.G)."""
    for match in re.finditer(rb"FRHP\0..(..)", text, re.DOTALL):
        if match[1] != b"\0\0":
            raise Unreadable("keeps attributes compressed", start + match.start())


def _json_at(content: Content, offset: int, visit: Visit) -> tuple[bool, int]:
    """Read the JSON text at an offset; return whether it is a configuration, and where it ends."""
    for size in (256, 64 << 10, 2 << 20, _MAX_CONFIG):
        data = content.read_at(offset, size)
        end = _CONTROL.search(data)
        whole = end is not None or len(data) < size
        data = data[: end.start()] if end else data
        visit.budget.step(1 + len(data) // 1024)
        text = data.decode("utf-8", "replace")
        try:
            value, used = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError):
            if not whole:
                continue
            if b"class_name" in data:
                raise Unreadable("has a model configuration that is no JSON", offset) from None
            return False, offset + 1
        keras = _is_keras(value)
        _inspect(value, visit, offset)
        return keras, offset + len(text[:used].encode("utf-8", "replace"))
    raise Unreadable(f"has a model configuration of more than {_MAX_CONFIG} bytes", offset)


KERAS_JSON = KerasJsonScanner()
HDF5 = Hdf5Scanner()
