"""From one finding a file to one finding a model, best first.

Which findings belong together is decided here by names and folders alone; file contents are the readers' matter.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path, PurePosixPath

from installml.packing.formats import transformers
from installml.packing.formats.model import Finding, Tensor, printable
from installml.packing.formats.safetensors import merge

__all__ = ["combine"]

#: What says most about how to run a model comes first; bare weights come last
_ORDER = (
    "mlflow", "python", "transformers", "gguf", "onnx", "torch-export", "torchscript", "tensorflow-savedmodel", "keras",
    "skops", "xgboost", "lightgbm", "sklearn", "torch-module", "safetensors", "torch-state-dict",
)  # fmt: skip
_WEIGHTS = ("safetensors", "torch-state-dict")
#: Folders of these formats own every file in them
_FOLDERS = ("mlflow", "tensorflow-savedmodel")
_SHARD = re.compile(r"-\d{5}-of-\d{5}(?=\.[^./]+$)")


def combine(folder: Path, found: list[Finding]) -> list[Finding]:
    """Join what belongs together and put the best first.

    Args:
        folder: Where the files are, to look for a transformers model's companions.
        found: One finding a file, in the order of names.
    """
    found = _without_owned(_without_indexed(found))
    found = _with_configs(folder, _shards(found))
    found = sorted(found, key=_rank)
    return [_printable(_enriched(one, found)) for one in found]


def _rank(one: Finding) -> tuple[int, bool, int, bool, str]:
    name = one.files[0]
    return _ORDER.index(one.format), one.engine == "none", name.count("/"), name != "model.py", name


def _place(one: Finding) -> PurePosixPath:
    return PurePosixPath(one.files[0]).parent


def _without_indexed(found: list[Finding]) -> list[Finding]:
    """Drop shards that an index has already added up."""
    indexed = {file for one in found if len(one.files) > 1 and one.format == "safetensors" for file in one.files[1:]}
    return [one for one in found if one.files[0] not in indexed]


def _without_owned(found: list[Finding]) -> list[Finding]:
    owners = [one for one in found if one.format in _FOLDERS]
    return [one for one in found if not any(one is not owner and _owns(owner, one) for owner in owners)]


def _owns(owner: Finding, one: Finding) -> bool:
    """An MLflow folder owns a SavedModel in it; nothing owns an MLflow folder but one above it."""
    inside = PurePosixPath(one.files[0]).is_relative_to(_place(owner))
    deeper = one.format not in _FOLDERS or _place(one) != _place(owner) or owner.format == "mlflow"
    return inside and deeper and not (owner.format != "mlflow" and one.format == "mlflow")


def _shards(found: list[Finding]) -> list[Finding]:
    """Add up files named ``...-00001-of-00003.<ending>``."""
    groups: dict[tuple[str, str], list[Finding]] = {}
    for one in found:
        stem = _SHARD.sub("", one.files[0]) if len(one.files) == 1 else one.files[0]
        groups.setdefault((one.format, stem if stem != one.files[0] else f"={stem}"), []).append(one)
    return [merge(group) if len(group) > 1 else group[0] for group in groups.values()]


def _with_configs(folder: Path, found: list[Finding]) -> list[Finding]:
    """Join every config.json with the weights beside it; without weights it only describes its neighbours."""
    configs = {_place(one): one for one in found if one.format == "transformers"}
    kept: list[Finding] = []
    joined: dict[PurePosixPath, list[Finding]] = {place: [] for place in configs}
    for one in found:
        config = configs.get(_place(one))
        if config is None:
            kept.append(one)
        elif one.format in _WEIGHTS:
            joined[_place(one)].append(one)
        elif one.format != "transformers":
            kept.append(_described(one, config))
    kept.extend(_model(folder, config, joined[place]) for place, config in configs.items() if joined[place])
    return kept


def _described(one: Finding, config: Finding) -> Finding:
    """Fill what a file could not say from the config.json beside it."""
    return replace(
        one,
        architecture=one.architecture or config.architecture,
        task=one.task or config.task,
        details={**config.details, **one.details},
    )


def _model(folder: Path, config: Finding, weights: list[Finding]) -> Finding:
    best = min(weights, key=lambda one: _WEIGHTS.index(one.format))
    same = [one for one in weights if one.format == best.format]
    weight = merge(same) if len(same) > 1 else best
    place = _place(config)
    companions = [(place / name).as_posix() for name in transformers.COMPANIONS if (folder / place / name).is_file()]
    return replace(
        config,
        files=(*config.files, *_files(same), *companions),
        # Packed integers say nothing about the numbers they stand for.
        precision=config.precision if config.quantization else weight.precision or config.precision,
        parameters=weight.parameters,
        details={"weights": best.format, **config.details, **weight.details},
    )


def _files(found: Iterable[Finding]) -> tuple[str, ...]:
    return tuple(file for one in found for file in one.files)


def _enriched(one: Finding, found: list[Finding]) -> Finding:
    """Let a Python entry point speak for the weights that it loads, where there is one model of them."""
    others = [other for other in found if other.format != "python"]
    if one.format != "python" or len(others) != 1:
        return one
    weight = others[0]
    return replace(
        one,
        files=(*one.files, *weight.files),
        architecture=weight.architecture,
        precision=weight.precision,
        quantization=weight.quantization,
        parameters=weight.parameters,
        task=weight.task,
        license=weight.license,
        name=weight.name,
        details={**weight.details, **one.details, "weights": weight.format},
    )


def _told(tensors: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """Keep the tensors that the Open Inference Protocol has a datatype for: no sequences, maps, resources."""
    return tuple(tensor for tensor in tensors if tensor.datatype)


def _printable(one: Finding) -> Finding:
    """Make the texts that strangers wrote safe to show and to write."""
    return replace(
        one,
        architecture=printable(one.architecture),
        license=printable(one.license),
        description=printable(one.description),
        name=printable(one.name),
        version=printable(one.version),
        authors=tuple(map(printable, one.authors)),
        inputs=_told(one.inputs),
        outputs=_told(one.outputs),
        requirements=tuple(map(printable, one.requirements)),
        details={printable(key): printable(value) for key, value in one.details.items()},
    )
