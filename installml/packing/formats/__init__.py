"""Recognise the model formats of a folder by their headers; nothing is unpickled, imported or run.

`READERS` says which reader looks at which file; each format's rules are in its own module. What is combined
to one finding (a transformers folder, the shards of one model) is in `combine`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from installml.errors import FormatError
from installml.packing.formats import (
    archive,
    card,
    entrypoint,
    gguf,
    keras,
    lightgbm,
    mlflow,
    onnx,
    safetensors,
    savedmodel,
    sklearn,
    skops,
    torch,
    transformers,
    xgboost,
)
from installml.packing.formats.combine import combine
from installml.packing.formats.model import Card, Finding, Tensor
from installml.packing.formats.reader import open_reader

__all__ = ["READERS", "Card", "Finding", "Rule", "Tensor", "read_card", "recognise"]

MAX_ENTRIES = 20_000
MAX_DEPTH = 12
_HEAD = 256
_SKIPPED = ("__pycache__", "node_modules")


@dataclass(frozen=True, slots=True)
class Rule:
    """Which files a reader is asked about: names that end so (in lower case), and first bytes that match."""

    endings: tuple[str, ...]
    read: Callable[[Path, str], Finding | None]
    magic: re.Pattern[bytes] | None = None


def _neither(_path: Path, name: str) -> None:
    raise FormatError(name, "is neither a ZIP file nor a pickle, as torch writes them")


_ZIP = re.compile(re.escape(archive.MAGIC))
_OLD_TORCH = re.compile(re.escape(torch.LEGACY))
_PICKLE = re.compile(rb"\x80[\x02-\x05]")
_BOOSTER_JSON = re.compile(rb"\s*\{\s*\"learner\"\s*:")
_BOOSTER_UBJSON = re.compile(rb"\{L\x00{7}\x07learner")
_BOOSTER_TEXT = re.compile(re.escape(lightgbm.MAGIC) + rb"version=")  # a vocabulary may begin with "tree"
_GGUF = re.compile(re.escape(gguf.MAGIC))

_TORCH = (".pt", ".pth")
_PICKLES = (".pkl", ".pickle", ".joblib")
_PACKED = tuple(f"{ending}{packed}" for ending in _PICKLES for packed in (".z", ".gz", ".bz2", ".xz", ".lzma", ".lz4"))
#: Endings that many formats share: only the first bytes tell, and without a match it is nothing of ours
_ANY = (".bin", ".model", ".ckpt", ".bst", ".mdl")

#: Asked from top to bottom; the first rule that matches a file reads it
READERS: tuple[Rule, ...] = (
    Rule(("/mlmodel",), mlflow.read),
    Rule((f"/{savedmodel.FILE}",), savedmodel.read),
    Rule(("/config.json",), transformers.read),
    Rule((safetensors.INDEX_SUFFIX,), safetensors.read_index),
    Rule((".safetensors",), safetensors.read),
    Rule((".gguf",), gguf.read),
    Rule((".onnx",), onnx.read),
    Rule((".skops",), skops.read),
    Rule((".keras",), keras.read),
    Rule((".ubj",), xgboost.read_ubjson_model),
    Rule((".json",), xgboost.read_json_model, _BOOSTER_JSON),
    Rule((".txt",), lightgbm.read, _BOOSTER_TEXT),
    Rule((".pt2",), torch.read),
    Rule((*_TORCH, *_PICKLES, *_ANY), torch.read, _ZIP),
    Rule((*_TORCH, *_PICKLES, *_ANY), torch.read_legacy, _OLD_TORCH),
    Rule((*_TORCH, *_ANY), sklearn.read, _PICKLE),
    Rule(_TORCH, _neither),
    Rule((*_PICKLES, *_PACKED), sklearn.read),
    Rule(_ANY, gguf.read, _GGUF),
    Rule(_ANY, xgboost.read_json_model, _BOOSTER_JSON),
    Rule(_ANY, xgboost.read_ubjson_model, _BOOSTER_UBJSON),
    Rule(_ANY, lightgbm.read, _BOOSTER_TEXT),
    Rule((".py",), entrypoint.read),
)


def recognise(folder: Path) -> list[Finding]:
    """Say which models a folder holds, best first.

    At most 20,000 entries, 12 folders deep, are looked at, in the order of their names; hidden folders are
    passed over, links to folders are not followed. Python entry points are looked for in the folder itself.

    Args:
        folder: The model folder.

    Returns:
        One finding for each model; files that belong together (shards, config.json and weights, an MLflow
        folder) make one.

    Raises:
        FormatError: A file claims a format, by its name or first bytes, and breaks it.
    """
    found = []
    for name in _files(folder):
        if finding := _read(folder / name, name):
            found.append(finding)
    return combine(folder, found)


def _read(path: Path, name: str) -> Finding | None:
    low = f"/{name.lower()}"
    rules = [rule for rule in READERS if low.endswith(rule.endings)]
    if not rules or (low.endswith(".py") and "/" in name) or not path.is_file():
        return None
    head = b""
    if any(rule.magic for rule in rules):
        with open_reader(path, name) as reader:
            head = reader.peek(_HEAD)
    rule = next((rule for rule in rules if rule.magic is None or rule.magic.match(head)), None)
    return rule.read(path, name) if rule else None


def _files(folder: Path) -> Iterator[str]:
    """Give folder-relative POSIX names in a fixed order, whatever the order of the directory."""
    seen = 0
    for place, folders, files in os.walk(folder):
        inside = Path(place).relative_to(folder)
        deep = len(inside.parts) >= MAX_DEPTH
        folders[:] = [] if deep else sorted(one for one in folders if one[0] != "." and one not in _SKIPPED)
        for name in sorted(files):
            seen += 1
            if seen > MAX_ENTRIES:
                return
            yield (inside / name).as_posix()


def read_card(folder: Path) -> Card:
    """Read the folder's README.md: license, tags, task, base models, data sets, first paragraph.

    Args:
        folder: The model folder.

    Returns:
        What it says; an empty card where there is no README.md.

    Raises:
        FormatError: Its front matter is not YAML.
    """
    path = folder / card.FILE
    return card.read(path, card.FILE) if path.is_file() else Card()
