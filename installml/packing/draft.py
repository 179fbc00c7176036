"""A first recipe from what was recognised: everything the files say, nothing that they do not."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ..spec.recipe import RELATIONS, SPDX
from .formats.model import Card, Finding

__all__ = ["Draft", "draft", "package_name"]

_COUNTS = ((10**12, "T"), (10**9, "B"), (10**6, "M"), (10**3, "K"))
_FOLDER_ENGINES = {"mlflow", "tensorflow", "vllm", "none", "python"}
DEFAULT_PYTHON = ">=3.11"


@dataclass(frozen=True, slots=True)
class Draft:
    """A recipe as plain values in the order people read, and what is left to fill in.

    Attributes:
        recipe: For ``installml.yaml``.
        requirements: Lines of a requirements file that the model's own files state; empty when they state none.
        example: A request with zeros of the right shape, or None when the inputs are unknown.
        notices: What could not be told.
    """

    recipe: dict[str, Any]
    requirements: tuple[str, ...]
    example: dict[str, Any] | None
    notices: tuple[str, ...]


def package_name(text: str) -> str:
    """Return ``text`` bent into a package name: lowercase, separators kept single."""
    words = re.findall(r"[a-z0-9]+(?:[._-][a-z0-9]+)*", text.lower().replace(" ", "-"))
    return "-".join(words)[:100] or "model"


def _count(parameters: int | None) -> str:
    if not parameters:
        return ""
    for unit, letter in _COUNTS:
        if parameters >= unit:
            return f"{parameters / unit:.3g}{letter}"
    return str(parameters)


def draft(
    findings: Sequence[Finding],
    card: Card,
    *,
    name: str,
    version: str,
    requirements_file: str,
    example_file: str,
    expected_file: str,
) -> Draft:
    """Return a recipe for a folder.

    Args:
        findings: What the format readers recognised, best first.
        card: What the README says.
        name: Package name.
        version: SemVer version.
        requirements_file: Name of the requirements file that the folder has, or empty.
        example_file: Name of the example request that the folder has, or empty.
        expected_file: Name of the answer recorded for it, or empty.
    """
    best = findings[0] if findings else Finding(format="", engine="none", files=())
    notices = _notices(findings, best, card)
    license_ = next((text for text in (best.license, card.license) if text and re.fullmatch(SPDX, text)), "")
    example = None if example_file else _example(best)
    runtime = _filled(
        {
            "engine": best.engine,
            "model": best.files[0] if len(best.files) == 1 and best.engine not in _FOLDER_ENGINES else "",
            "entrypoint": best.entrypoint,
            "python": DEFAULT_PYTHON if best.engine != "none" else "",
            "requirements": requirements_file or ("requirements.txt" if best.requirements else ""),
            "signature": _signature(best),
            "example": example_file or ("example.json" if example else ""),
            "expected": expected_file if example_file else "",
        }
    )
    recipe = _filled(
        {
            "name": name,
            "version": version,
            "description": " ".join((best.description or card.description).split())[:500],
            "license": license_,
            "authors": list(best.authors),
            "datasets": list(card.datasets),
            "base": _base(card),
            "task": best.task or card.task,
            "architecture": best.architecture,
            "format": best.format,
            "parameters": _count(best.parameters),
            "precision": best.precision,
            "quantization": best.quantization,
            "languages": [code for code in card.languages if re.fullmatch("[a-z]{2}", code)],
            "runtime": runtime,
        }
    )
    return Draft(recipe, () if requirements_file else best.requirements, example, notices)


def _filled(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item not in ("", [], {}, None)}


def _base(card: Card) -> dict[str, str] | None:
    reference = package_name(card.base_models[0].replace("/", " / ")).replace("-/-", "/") if card.base_models else ""
    return {"ref": reference, "relation": RELATIONS[0]} if reference else None


def _signature(finding: Finding) -> dict[str, Any]:
    sides = {
        side: [{"name": t.name, "datatype": t.datatype, "shape": list(t.shape)} for t in tensors]
        for side, tensors in (("inputs", finding.inputs), ("outputs", finding.outputs))
    }
    return _filled(sides)


def _example(finding: Finding) -> dict[str, Any] | None:
    """Return a request of zeros, one row where a size is open; None for inputs that zeros would not fit."""
    inputs = []
    for tensor in finding.inputs:
        shape = [1 if size < 0 else size for size in tensor.shape]
        total = 1
        for size in shape:
            total *= size
        if tensor.datatype == "BYTES" or not 0 < total <= 65536:
            return None
        zero: Any = False if tensor.datatype == "BOOL" else 0
        inputs.append({"name": tensor.name, "datatype": tensor.datatype, "shape": shape, "data": [zero] * total})
    return {"inputs": inputs} if inputs else None


def _notices(findings: Sequence[Finding], best: Finding, card: Card) -> tuple[str, ...]:
    notices = []
    if not findings:
        notices.append("no known model format was recognised; set runtime.engine and runtime.entrypoint by hand")
    elif len(findings) > 1:
        others = ", ".join(f"{f.format} ({f.files[0] if f.files else '?'})" for f in findings[1:6])
        notices.append(f"chose {best.format}; also found: {others}")
    if not (best.license or card.license):
        notices.append("no licence was found; set license to an SPDX expression")
    if best.engine not in ("none", "llama.cpp", "vllm") and not best.inputs:
        notices.append("inputs and outputs are unknown; fill in runtime.signature so that requests can be checked")
    return tuple(notices)
