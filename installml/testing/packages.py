"""Genuine model packages made in memory: the same manifests that ``installml build`` writes, without a folder."""

from __future__ import annotations

import io
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from ..spec.canonical import canonical
from ..spec.descriptor import Descriptor
from ..spec.hardware import HardwareManifest
from ..spec.manifest import Manifest
from ..spec.media import (
    ANNOTATION_HARDWARE,
    ANNOTATION_RUNTIME,
    ANNOTATION_TITLE,
    HARDWARE_PATH,
    IMAGE_MANIFEST,
    MODEL_CONFIG,
    MODEL_MANIFEST,
    RUNTIME_PATH,
    Role,
    layer_media_type,
)
from ..spec.package import file_annotations
from ..spec.runtime import RuntimeManifest
from ..store.protocol import Destination

__all__ = ["Packed", "package_bytes", "small_package"]

_FILES: Mapping[str, bytes] = {"README.md": b"# sentiment\n", "model.bin": bytes(range(256)) * 8}
_ROLES = {"md": Role.DOC, "py": Role.CODE, "json": Role.CONFIG, "csv": Role.DATASET}


@dataclass(frozen=True, slots=True)
class Packed:
    """A package as bytes.

    Attributes:
        descriptor: The manifest's descriptor.
        manifest: The manifest.
        content: Every blob and the manifest, in the order in which a place takes them.
    """

    descriptor: Descriptor
    manifest: Manifest
    content: tuple[tuple[Descriptor, bytes], ...]

    def push(self, target: Destination, *tags: str) -> Descriptor:
        """Put the package into ``target`` under ``tags``."""
        for descriptor, data in self.content:
            target.push(descriptor, io.BytesIO(data))
        for tag in tags:
            target.tag(self.descriptor, tag)
        return self.descriptor


def package_bytes(
    files: Mapping[str, bytes] = _FILES,
    *,
    name: str = "sentiment",
    version: str = "1.0.0",
    executable: Collection[str] = (),
    runtime: RuntimeManifest | None = None,
    hardware: HardwareManifest | None = None,
    annotations: Mapping[str, str] | None = None,
    subject: Descriptor | None = None,
    artifact_type: str = MODEL_MANIFEST,
) -> Packed:
    """Return a package of ``files``.

    Args:
        files: Bytes by package-relative path.
        name: Package name.
        version: Package version.
        executable: Paths of ``files`` that have the executable bit.
        runtime: Becomes ``.installml/runtime.json`` and the summary annotation.
        hardware: Becomes ``.installml/hardware.json`` and the summary annotation.
        annotations: More annotations of the manifest.
        subject: What it refers to.
        artifact_type: Another type makes another tool's artifact with the same content.
    """
    own = [
        (path, document.to_bytes())
        for path, document in ((RUNTIME_PATH, runtime), (HARDWARE_PATH, hardware))
        if document is not None
    ]
    layers = [(_layer(path, data, path in executable), data) for path, data in [*files.items(), *own]]
    config = _config(name, version, [layer for layer, _ in layers])
    about = {ANNOTATION_TITLE: name, "org.opencontainers.image.version": version}
    if runtime is not None:
        about[ANNOTATION_RUNTIME] = canonical({"engine": runtime.engine}).decode()
    if hardware is not None:
        about[ANNOTATION_HARDWARE] = canonical([profile.to_json() for profile in hardware.profiles]).decode()
    about |= annotations or {}
    config_descriptor = Descriptor.of(config, MODEL_CONFIG)
    manifest = Manifest(config_descriptor, tuple(layer for layer, _ in layers), artifact_type, about, subject)
    data = manifest.to_bytes()
    descriptor = Descriptor.of(data, IMAGE_MANIFEST)
    return Packed(descriptor, manifest, ((config_descriptor, config), *layers, (descriptor, data)))


def _layer(path: str, data: bytes, executable: bool) -> Descriptor:
    own = path in (RUNTIME_PATH, HARDWARE_PATH)
    role = Role.CONFIG if own else _ROLES.get(path.rpartition(".")[2], Role.WEIGHT)
    annotations = file_annotations(path, len(data), executable=executable)
    return Descriptor.of(data, layer_media_type(role), annotations=annotations)


def _config(name: str, version: str, layers: list[Descriptor]) -> bytes:
    value: dict[str, Any] = {
        "descriptor": {"name": name, "version": version},
        "config": {},
        "modelfs": {"type": "layers", "diffIds": [str(layer.digest) for layer in layers]},
    }
    return canonical(value)


def small_package(target: Destination, *tags: str, **how: Any) -> Descriptor:
    """Put a package made by ``package_bytes(**how)`` into ``target`` under ``tags``; return its descriptor."""
    return package_bytes(**how).push(target, *tags)
