"""Our configuration blobs against ModelPack's rules: model-spec, "schema/config-schema.json" as of June 2026.

The rules are written down here as a table, one level a row; what a level does not know is an error there, since every
level has ``additionalProperties: false``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from installml.api.build import build
from installml.digest import Digest
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Manifest
from installml.spec.media import IMAGE_MANIFEST, MODEL_CONFIG, MODEL_MANIFEST, Role
from installml.spec.package import read_package
from tests.interop.ground import FILES, session_at, write

TEXT, TEXTS, FLAG, DATE = "text", "texts", "flag", "date"
DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
LEVELS: dict[str, dict[str, str]] = {
    "": {"descriptor": "descriptor", "config": "config", "modelfs": "modelfs"},
    "descriptor": {
        **dict.fromkeys(("family", "name", "docURL", "sourceURL", "version", "revision", "vendor", "title"), TEXT),
        **dict.fromkeys(("authors", "datasetsURL", "licenses"), TEXTS),
        "createdAt": DATE,
        "description": TEXT,
    },
    "config": {
        **dict.fromkeys(("architecture", "format", "paramSize", "precision", "quantization"), TEXT),
        "capabilities": "capabilities",
    },
    "capabilities": {
        **dict.fromkeys(("inputTypes", "outputTypes"), "modalities"),
        **dict.fromkeys(("reasoning", "toolUsage", "reward"), FLAG),
        "knowledgeCutoff": DATE,
        "languages": "languages",
    },
    "modelfs": {"type": "layers", "diffIds": "digests"},
}
REQUIRED = {"": {"descriptor", "config", "modelfs"}, "modelfs": {"type", "diffIds"}}
MODALITIES = {"text", "image", "audio", "video", "embedding", "other"}


def violations(value: Any, level: str = "") -> list[str]:
    """Return everything in which ``value`` breaks the rules of ``level``."""
    if not isinstance(value, dict):
        return [f"{level or 'the whole'} is no object"]
    known = LEVELS[level]
    wrong = [f"{level}.{key} is not known" for key in value if key not in known]
    wrong += [f"{level}.{key} is missing" for key in REQUIRED.get(level, set()) - set(value)]
    for key, item in value.items():
        kind = known.get(key, "")
        wrong += violations(item, kind) if kind in LEVELS else [] if _fits(kind, item) else [f"{level}.{key}: {item!r}"]
    return wrong


def _fits(kind: str, item: Any) -> bool:
    if kind in (TEXT, DATE):
        return isinstance(item, str) and (kind == TEXT or datetime.fromisoformat(item).tzinfo is not None)
    if kind == FLAG:
        return isinstance(item, bool)
    if kind == "layers":
        return bool(item == "layers")
    each: Callable[[str], object] = {
        TEXTS: lambda text: isinstance(text, str),
        "languages": lambda text: re.fullmatch("[a-z]{2}", text),
        "digests": lambda text: DIGEST.fullmatch(text),
        "modalities": lambda text: text in MODALITIES,
        "": bool,
    }[kind]
    return isinstance(item, list) and all(each(text) for text in item) and (kind != "digests" or bool(item))


FULL = """authors: [Ann <ann@example.com>, Bob]
source: https://example.com/model
revision: 0123abc
usage: research only
datasets: [https://example.com/data]
base: {ref: acme/base, relation: finetune}
task: text-classification
family: llama
architecture: transformer
parameters: 22.7M
precision: bfloat16
quantization: int8
languages: [en, de]
"""
SMALL = "name: acme/hard\nversion: 1.0.0\nlicense: Apache-2.0\ndescription: words\nruntime: {engine: none}\n"


def built(recipe: str, tmp_path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Build the difficult files; return manifest and configuration."""
    session = replace(session_at(tmp_path), source_date_epoch=1_700_000_000)
    result = build(write(tmp_path / "model", {**FILES, "installml.yaml": recipe.encode()}), session=session)
    manifest = json.loads(session.store.blobs.path(result.digest).read_bytes())
    config = session.store.blobs.path(Digest.parse(manifest["config"]["digest"])).read_bytes()
    return manifest, json.loads(config)


@pytest.mark.parametrize("recipe", [SMALL, SMALL + FULL], ids=["smallest", "everything"])
def test_our_configuration_keeps_every_rule_of_model_pack(recipe: str, tmp_path: Path) -> None:
    manifest, config = built(recipe, tmp_path)
    assert violations(config) == []
    assert config["descriptor"]["name"] == "acme/hard"
    assert manifest["mediaType"] == IMAGE_MANIFEST
    assert manifest["artifactType"] == MODEL_MANIFEST
    assert manifest["config"]["mediaType"] == MODEL_CONFIG
    # model-spec, "config.md": the digests of the uncompressed layers; a raw layer is its own content
    assert config["modelfs"]["diffIds"] == [layer["digest"] for layer in manifest["layers"]]


def test_what_a_recipe_says_reaches_the_configuration(tmp_path: Path) -> None:
    _, config = built(SMALL + FULL, tmp_path)
    assert config["config"] == {
        "architecture": "transformer",
        "paramSize": "22.7M",
        "precision": "bfloat16",
        "quantization": "int8",
        "capabilities": {"languages": ["en", "de"]},
    }
    assert config["descriptor"]["datasetsURL"] == ["https://example.com/data"]
    assert config["descriptor"]["createdAt"] == "2023-11-14T22:13:20Z"


@pytest.mark.parametrize(
    "broken",
    [
        {"descriptor": {}, "config": {}},
        {"descriptor": {}, "config": {}, "modelfs": {"type": "layers", "diffIds": []}},
        {
            "descriptor": {"homepage": "x"},
            "config": {},
            "modelfs": {"type": "layers", "diffIds": ["sha256:" + "0" * 64]},
        },
        {
            "descriptor": {"authors": "Ann"},
            "config": {},
            "modelfs": {"type": "layers", "diffIds": ["sha256:" + "0" * 64]},
        },
    ],
)
def test_the_rules_can_be_broken(broken: dict[str, Any]) -> None:
    assert violations(broken)


def test_the_names_that_model_pack_had_before_are_read() -> None:
    described = {
        "org.cnai.model.filepath": "bin/run me.sh",
        "org.cnai.model.file.metadata+json": json.dumps({"name": "run me.sh", "mode": 0o755, "typeflag": 0}),
    }
    layer = Descriptor.of(b"#!/bin/sh", "application/vnd.cnai.model.code.v1.raw", annotations=described)
    config = Descriptor.of(b"{}", "application/vnd.cnai.model.config.v1+json")
    (file,) = read_package(Manifest(config, (layer,), "application/vnd.cnai.model.manifest.v1+json"), "x").files
    assert (file.path, file.role, file.form, file.mode) == ("bin/run me.sh", Role.CODE, "raw", 0o755)
