"""What the readers tell: tensors, findings and model cards.

Only facts live here. How a file is read is in the readers; what a recipe makes of it is in `installml.packing`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

__all__ = ["PRECISIONS", "Card", "Finding", "Tensor", "dominant", "printable"]

#: Names of number formats as safetensors, torch and numpy abbreviate them -> the name that recipes use.
PRECISIONS: Mapping[str, str] = {
    "F64": "float64",
    "F32": "float32",
    "F16": "float16",
    "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn",
    "F8_E5M2": "float8_e5m2",
    "I64": "int64",
    "I32": "int32",
    "I16": "int16",
    "I8": "int8",
    "U64": "uint64",
    "U32": "uint32",
    "U16": "uint16",
    "U8": "uint8",
    "BOOL": "bool",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One input or output.

    Args:
        name: As the model's own signature spells it.
        datatype: Open Inference Protocol v2 datatype: BOOL, UINT8..INT64, FP16, FP32, FP64, BF16, BYTES.
        shape: Sizes; -1 where the model leaves one open.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """What a reader learned about one file or folder; every field after `files` is optional.

    Args:
        format: safetensors, gguf, onnx, sklearn, skops, xgboost, lightgbm, torch-state-dict, torchscript,
            torch-export, torch-module (a whole pickled nn.Module), keras, tensorflow-savedmodel, mlflow,
            python or transformers.
        engine: The recipe's runtime.engine.
        files: Folder-relative POSIX paths that carry it.
        architecture: The model's class or family, such as BertModel or llama.
        precision: The number format that most parameters have, such as float16.
        quantization: Such as Q4_K_M.
        parameters: Count of numbers in the weights.
        task: Such as text-classification, if it can be told.
        requirements: Python requirements that the file itself states.
        entrypoint: For engine python: ``model.py:Model``.
        details: Further facts, each a short text.
    """

    format: str
    engine: str
    files: tuple[str, ...]
    architecture: str = ""
    precision: str = ""
    quantization: str = ""
    parameters: int | None = None
    task: str = ""
    license: str = ""
    description: str = ""
    authors: tuple[str, ...] = ()
    name: str = ""
    version: str = ""
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    requirements: tuple[str, ...] = ()
    entrypoint: str = ""
    details: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Card:
    """What a README's front matter says about the model."""

    license: str = ""
    tags: tuple[str, ...] = ()
    task: str = ""
    base_models: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    languages: tuple[str, ...] = ()
    library: str = ""
    description: str = ""


def dominant(weights: Mapping[str, int]) -> str:
    """Name the key with the largest count; among equals the first in the alphabet.

    Args:
        weights: Number format -> how many parameters have it.

    Returns:
        That format, or an empty text where there is none.
    """
    return min(weights, key=lambda name: (-weights[name], name), default="")


def printable(text: str) -> str:
    """Take out what a terminal would obey and what UTF-8 cannot write: control characters, lone surrogates."""
    return "".join(letter for letter in text if letter.isprintable() or letter in "\n\t")
