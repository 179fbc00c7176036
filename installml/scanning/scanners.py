"""The one list of scanners, and of the rules that they may report."""

from __future__ import annotations

from collections.abc import Mapping

from installml.scanning import (
    advisories,
    configs,
    gguf,
    keras,
    licences,
    npy,
    onnx,
    opinions,
    pickles,
    programs,
    safetensors,
    savedmodel,
    secrets,
    streams,
    tars,
    templates,
    torchscript,
    walk,
    zips,
)
from installml.scanning.finding import Rule, Scanner

__all__ = ["RULES", "SCANNERS"]

#: All that claim a file scan it; the order is that of the findings.
SCANNERS: tuple[Scanner, ...] = (
    pickles.PICKLES,
    zips.ZIPS,
    tars.TARS,
    streams.STREAMS,
    streams.UNOPENED,
    npy.NPY,
    keras.KERAS_JSON,
    keras.HDF5,
    torchscript.TORCH_SCRIPT,
    safetensors.SAFETENSORS,
    gguf.GGUF,
    onnx.ONNX,
    savedmodel.SAVED_MODEL,
    savedmodel.GRAPH_TEXT,
    savedmodel.KERAS_METADATA,
    savedmodel.TFLITE,
    templates.TEMPLATES,
    configs.JSON,
    configs.YAML,
    configs.REQUIREMENTS,
    programs.NATIVE,
    programs.PYTHON,
    programs.SCRIPT,
    programs.WEB,
    programs.XML,
    secrets.SECRETS,
)

#: Everything that has rules.
_MODULES = (
    walk,
    pickles,
    zips,
    tars,
    npy,
    keras,
    torchscript,
    safetensors,
    gguf,
    onnx,
    savedmodel,
    templates,
    configs,
    programs,
    secrets,
    licences,
    advisories,
    opinions,
)

#: Every rule by its id. A module that scans is added to `_MODULES`.
RULES: Mapping[str, Rule] = {rule.id: rule for module in _MODULES for rule in module.RULES}
