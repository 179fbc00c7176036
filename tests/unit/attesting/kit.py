"""Packages to describe, and the official checks of what is said about them."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from typing import Any

import spdx_python_model
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from installml.attesting.facts import Facts, gather
from installml.reference import LOCAL, Reference
from installml.spec.canonical import canonical
from installml.spec.descriptor import Descriptor
from installml.spec.manifest import Manifest
from installml.spec.media import IMAGE_MANIFEST, LOCK_PATH, MODEL_CONFIG, MODEL_MANIFEST, Role, layer_media_type
from installml.spec.package import file_annotations, read_package
from installml.store.memory import MemoryStore

VALIDATORS = {"1.6": JsonStrictValidator(SchemaVersion.V1_6), "1.7": JsonStrictValidator(SchemaVersion.V1_7)}
"""Of the CycloneDX project, with the schema that it publishes; strict: a key that the schema lacks is an error."""

HASH_A, HASH_B = "a" * 64, "b" * 64
LOCK = f"""\
numpy==2.1.0 ; python_version >= "3.11" \\
    --hash=sha256:{HASH_A} \\
    --hash=sha256:{HASH_B}
torch==2.5.1+cpu \\
    --hash=sha256:{HASH_A}
""".encode()
CARD = b"""\
---
license: apache-2.0
pipeline_tag: text-classification
datasets: [imdb]
model-index:
- name: sentiment
  results:
  - task: {type: text-classification}
    dataset: {name: IMDB, type: imdb, split: test}
    metrics:
    - {type: accuracy, value: 0.931}
    - {type: f1, value: 0.93}
---
# sentiment
"""
RECIPE = b"""\
name: acme/sentiment
version: 1.4.0
license: Apache-2.0
usage: Not for decisions about people.
base: {ref: ghcr.io/acme/base, relation: adapter}
runtime: {engine: onnxruntime}
"""
RUNTIME: Mapping[str, Any] = {
    "schemaVersion": 1,
    "engine": "onnxruntime",
    "python": ">=3.11",
    "image": f"ghcr.io/acme/runtime@sha256:{HASH_A}",
    "task": "text-classification",
    "signature": {
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 64]}],
        "outputs": [{"name": "y", "datatype": "INT64", "shape": [-1]}],
    },
}
CONFIG: Mapping[str, Any] = {
    "descriptor": {
        "name": "acme/sentiment",
        "version": "1.4.0",
        "authors": ["Ada", "Grace"],
        "family": "bert",
        "createdAt": "2026-01-02T03:04:05Z",
        "datasetsURL": ["https://example.com/imdb", "in-house reviews"],
        "sourceURL": "https://git.example.com/acme/sentiment",
        "revision": "0123456789abcdef0123456789abcdef01234567",
        "licenses": ["Apache-2.0"],
        "description": "Says whether a text is friendly.",
    },
    "config": {
        "architecture": "transformer",
        "format": "onnx",
        "paramSize": "22.7M",
        "precision": "float16",
        "capabilities": {"languages": ["en", "de"]},
    },
}
ANNOTATIONS: Mapping[str, str] = {
    "org.opencontainers.image.title": "acme/sentiment",
    "org.opencontainers.image.version": "1.4.0",
    "dev.installml.base": canonical(
        {"ref": "ghcr.io/acme/base:2.0", "digest": f"sha256:{HASH_B}", "relation": "finetune"}
    ).decode(),
    "dev.installml.hardware": canonical([{"name": "cpu", "cpu": {"cores": 4}, "memory": 1 << 30}]).decode(),
}
FILES: Mapping[str, bytes] = {
    "README.md": CARD,
    ".installml/runtime.json": canonical(RUNTIME),
    LOCK_PATH: LOCK,
    "installml.yaml": RECIPE,
    "weights/model.onnx": bytes(range(256)),
}
WHERE = Reference("ghcr.io", "acme/sentiment", "1.4.0")


def packed(
    files: Mapping[str, bytes] = FILES,
    *,
    config: Any = CONFIG,
    annotations: Mapping[str, str] = ANNOTATIONS,
    absent: tuple[str, ...] = (),
) -> tuple[MemoryStore, Manifest, Descriptor]:
    """Return a place with a package of ``files``, without the blobs of those that are ``absent``."""
    store = MemoryStore()

    def put(data: bytes, media_type: str, **more: Any) -> Descriptor:
        descriptor = Descriptor.of(data, media_type, **more)
        store.push(descriptor, io.BytesIO(data))
        return descriptor

    layers = []
    for path, data in files.items():
        role = Role.DOC if path.endswith(".md") else Role.WEIGHT if "weights" in path else Role.CONFIG
        layer = Descriptor.of(data, layer_media_type(role), annotations=file_annotations(path, len(data)))
        if path not in absent:
            store.push(layer, io.BytesIO(data))
        layers.append(layer)
    about = put(config if isinstance(config, bytes) else canonical(config), MODEL_CONFIG)
    manifest = Manifest(about, tuple(layers), MODEL_MANIFEST, dict(annotations))
    return store, manifest, Descriptor.of(manifest.to_bytes(), IMAGE_MANIFEST)


def facts(files: Mapping[str, bytes] = FILES, *, where: Reference = WHERE, **how: Any) -> Facts:
    """Return what is known about a package of ``files``."""
    store, manifest, root = packed(files, **how)
    return gather(read_package(manifest, "test"), root.digest, store, where)


BARE = {"weights/model.bin": b"weights"}
NOWHERE = Reference(LOCAL, "sentiment")


def bare() -> Facts:
    """Return what is known about a package that says nothing of itself."""
    return facts(BARE, config={}, annotations={}, where=NOWHERE)


def cyclonedx_errors(document: Mapping[str, Any], version: str = "1.6") -> list[str]:
    """Return what the CycloneDX project's validator has against a document."""
    found = VALIDATORS[version].validate_str(json.dumps(document), all_errors=True)
    return [str(error)[:400] for error in found or ()]


def spdx_error(document: Mapping[str, Any]) -> str:
    """Return what the SPDX project's model has against a document: keys, types, values, cardinalities, loose ends.

    The model is made from the SHACL shapes of SPDX 3.0.1; reading checks keys, types and values, writing what must be
    there.
    """
    try:
        model, found = spdx_python_model.load_data(json.loads(json.dumps(document)))
        model.JSONLDSerializer().write(found, io.BytesIO())
    except Exception as error:  # whatever it is, the document is wrong
        return f"{type(error).__name__}: {error}"
    return f"named and not there: {found.missing_ids}" if found.missing_ids else ""
