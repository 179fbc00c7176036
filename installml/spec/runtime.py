"""How a package is run: engine, entry point, Python, signature (``runtime.json``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..digest import Digest
from .canonical import canonical
from .hardware import SCHEMA_VERSION, versioned
from .node import Node
from .paths import name_problem

__all__ = ["DATATYPES", "ENGINES", "RuntimeManifest", "Signature", "TensorSpec", "parse_runtime", "parse_signature"]

ENGINES = (
    "onnxruntime", "sklearn", "xgboost", "lightgbm", "torch", "tensorflow", "mlflow", "python", "llama.cpp", "vllm",
    "none",
)  # fmt: skip
DATATYPES = (
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "BF16", "FP32", "FP64",
    "BYTES",
)  # fmt: skip
ENTRYPOINT = r"[A-Za-z0-9_./ -]{1,200}\.py:[A-Za-z_][A-Za-z0-9_]{0,100}"
PYTHON = r"[0-9.,<>=!~* ]{1,80}"


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """A named input or output (Open Inference Protocol v2, "Model Metadata").

    Attributes:
        name: As the engine knows it.
        datatype: One of ``DATATYPES``.
        shape: Dimensions; -1 for any size.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the protocol's value."""
        return {"name": self.name, "datatype": self.datatype, "shape": list(self.shape)}


@dataclass(frozen=True, slots=True)
class Signature:
    """Inputs and outputs; both empty when nobody knows them."""

    inputs: tuple[TensorSpec, ...] = ()
    outputs: tuple[TensorSpec, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return inputs and outputs as lists."""
        return {"inputs": [t.to_json() for t in self.inputs], "outputs": [t.to_json() for t in self.outputs]}


@dataclass(frozen=True, slots=True)
class RuntimeManifest:
    """Everything that a worker needs to know, with all values resolved at build.

    Attributes:
        engine: One of ``ENGINES``.
        model: Package-relative path of the file or folder that the engine loads; empty when it is the whole folder.
        entrypoint: ``file.py:Class`` for engine ``python``.
        python: Version specifier (PEP 440), such as ``>=3.11,<3.13``.
        requirements: The wishes as written, for people and for packages without a lock.
        lock: Digest of ``.installml/requirements.lock``; None when nothing is locked.
        image: Container image pinned by digest, or empty.
        signature: Inputs and outputs.
        example: Package-relative path of an Open Inference Protocol v2 request, or empty.
        expected: Package-relative path of the answer recorded for it, or empty.
        tolerance: Largest absolute or relative difference from ``expected`` that passes.
        task: Such as ``text-classification``.
    """

    engine: str
    model: str = ""
    entrypoint: str = ""
    python: str = ""
    requirements: tuple[str, ...] = ()
    lock: Digest | None = None
    image: str = ""
    signature: Signature = field(default_factory=Signature)
    example: str = ""
    expected: str = ""
    tolerance: float = 1e-4
    task: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the value of ``.installml/runtime.json``; unset values are left out."""
        value: dict[str, Any] = {
            "schemaVersion": SCHEMA_VERSION,
            "engine": self.engine,
            "model": self.model,
            "entrypoint": self.entrypoint,
            "python": self.python,
            "requirements": list(self.requirements),
            "lock": str(self.lock) if self.lock else "",
            "image": self.image,
            "signature": self.signature.to_json() if self.signature != Signature() else {},
            "example": self.example,
            "expected": self.expected,
            "tolerance": self.tolerance if self.expected else "",
            "task": self.task,
        }
        return {key: item for key, item in value.items() if item not in ("", [], {})}

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        return canonical(self.to_json())


def _tensor(node: Node) -> TensorSpec:
    keys = node.mapping(("name", "datatype", "shape"), ("name", "datatype", "shape"))
    shape = tuple(n.integer(least=-1, most=2**40) for n in keys["shape"].sequence(32))
    return TensorSpec(keys["name"].string(most=256), keys["datatype"].choice(DATATYPES), shape)


def parse_signature(node: Node) -> Signature:
    """Return the signature at ``node``; the recipe and the packaged form read alike."""
    keys = node.mapping(("inputs", "outputs"))
    return Signature(*(tuple(_tensor(n) for n in keys[side].sequence(256)) for side in ("inputs", "outputs")))


def package_path(node: Node) -> str:
    """Return a package-relative path, or record why it is none."""
    name = node.string()
    problem = name_problem(name) if name else ""
    if problem:
        node.fail(f"{name[:80]!r} {problem}")
        return ""
    return name


def parse_entrypoint(node: Node) -> str:
    """Return ``file.py:Class``, whose file lies in the package, or record why it is none."""
    text = node.string(pattern=ENTRYPOINT, noun="file.py:Class")
    problem = name_problem(text.partition(":")[0]) if text else ""
    if problem:
        node.fail(f"the file of {text!r} {problem}")
        return ""
    return text


_KEYS = (
    "engine", "model", "entrypoint", "python", "requirements", "lock", "image", "signature", "example", "expected",
    "tolerance", "task",
)  # fmt: skip


def _read(keys: dict[str, Node]) -> RuntimeManifest:
    return RuntimeManifest(
        engine=keys["engine"].choice(ENGINES, "none"),
        model=package_path(keys["model"]),
        entrypoint=parse_entrypoint(keys["entrypoint"]),
        python=keys["python"].string(pattern=PYTHON, noun="a version specifier"),
        requirements=keys["requirements"].strings(),
        lock=keys["lock"].parsed(Digest.parse),
        image=keys["image"].string(),
        signature=parse_signature(keys["signature"]),
        example=package_path(keys["example"]),
        expected=package_path(keys["expected"]),
        tolerance=keys["tolerance"].number(1e-4),
        task=keys["task"].string(),
    )


def parse_runtime(data: bytes, origin: str) -> RuntimeManifest:
    """Return what a ``runtime.json`` says.

    Raises:
        JSONInvalid: Not acceptable JSON.
        RecipeInvalid: Every violation at once.
    """
    return versioned(data, origin, _KEYS, _read)
