"""The one list of scanners, and of the rules that they may report."""

from __future__ import annotations

from collections.abc import Mapping

from installml.scanning import gguf, onnx, safetensors, savedmodel, templates, walk
from installml.scanning.finding import Rule, Scanner

__all__ = ["RULES", "SCANNERS"]

#: All that claim a file scan it; the order is that of the findings.
SCANNERS: tuple[Scanner, ...] = (
    safetensors.SAFETENSORS,
    gguf.GGUF,
    templates.TEMPLATES,
    onnx.ONNX,
    savedmodel.SAVED_MODEL,
    savedmodel.KERAS_METADATA,
    savedmodel.TFLITE,
)

#: Every rule by its id. A module that scans adds its `RULES` here.
RULES: Mapping[str, Rule] = {
    rule.id: rule
    for rule in (*walk.RULES, *safetensors.RULES, *gguf.RULES, *templates.RULES, *onnx.RULES, *savedmodel.RULES)
}
