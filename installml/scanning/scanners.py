"""The one list of scanners, and of the rules that they may report."""

from __future__ import annotations

from collections.abc import Mapping

from installml.scanning import configs, gguf, onnx, pickles, programs, safetensors, savedmodel, secrets, templates, walk
from installml.scanning.finding import Rule, Scanner

__all__ = ["RULES", "SCANNERS"]

#: All that claim a file scan it; the order is that of the findings.
SCANNERS: tuple[Scanner, ...] = (
    pickles.PICKLES,
    safetensors.SAFETENSORS,
    gguf.GGUF,
    onnx.ONNX,
    savedmodel.SAVED_MODEL,
    savedmodel.KERAS_METADATA,
    savedmodel.TFLITE,
    templates.TEMPLATES,
    configs.JSON,
    configs.YAML,
    programs.NATIVE,
    programs.PYTHON,
    programs.SCRIPT,
    programs.WEB,
    secrets.SECRETS,
)

#: Every rule by its id. A module that scans adds its `RULES` here.
RULES: Mapping[str, Rule] = {
    rule.id: rule
    for module in (walk, pickles, safetensors, gguf, onnx, savedmodel, templates, configs, programs, secrets)
    for rule in module.RULES
}
