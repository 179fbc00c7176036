"""From selected files to a package: hash in parallel, one read each, and lay out config and manifest.

The same bytes give the same digest on any machine: nothing here reads a clock, an owner, a file's time or the order
in which a folder is listed (docs/adr/0002).
"""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO

from ..digest import Digest, Readable, hash_stream
from ..errors import NotFound, RecipeInvalid, SourceChanged
from ..events import BlobDone, BlobProgress, BlobStarted, Listener, Phase, ignore
from ..spec.canonical import MAX_MANIFEST, canonical
from ..spec.descriptor import Descriptor
from ..spec.hardware import HardwareManifest
from ..spec.manifest import Manifest
from ..spec.media import (
    ANNOTATION_BASE,
    ANNOTATION_FILES,
    ANNOTATION_HARDWARE,
    ANNOTATION_RUNTIME,
    ANNOTATION_SIZE,
    ANNOTATION_TITLE,
    HARDWARE_PATH,
    IMAGE_MANIFEST,
    LOCK_PATH,
    MODEL_CONFIG,
    MODEL_MANIFEST,
    RUNTIME_PATH,
    Role,
    layer_media_type,
)
from ..spec.package import file_annotations
from ..spec.recipe import Recipe, tag_of
from ..spec.runtime import RuntimeManifest
from ..store.files import disk_errors
from .select import Selected, Selection

__all__ = ["BuiltPackage", "Taker", "assemble"]

Taker = Callable[[Readable], tuple[Digest, int]]
"""Reads a stream to its end once and returns digest and size; may keep the bytes on the way."""


@dataclass(frozen=True, slots=True)
class _Seen:
    """A file as it was when it was hashed."""

    path: Path
    identity: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class BuiltPackage:
    """A package that lies in its model folder: a ``store.protocol.Source`` for ``copy``.

    Attributes:
        recipe: What it was built from.
        root: Descriptor of the manifest.
        manifest: The manifest.
        runtime: The resolved runtime manifest.
        notices: What the reader should know.
    """

    recipe: Recipe
    root: Descriptor
    manifest: Manifest
    runtime: RuntimeManifest
    notices: tuple[str, ...]
    _memory: dict[Digest, bytes] = field(repr=False, compare=False)
    _files: dict[Digest, _Seen] = field(repr=False, compare=False)

    def __str__(self) -> str:
        return f"{self.recipe.name}:{self.tag}"

    @property
    def tag(self) -> str:
        """The version as a tag."""
        return tag_of(self.recipe.version)

    @contextlib.contextmanager
    def fetch(self, descriptor: Descriptor) -> Iterator[Readable]:
        """Open a small document or a file; a file that is not as it was hashed is refused."""
        if descriptor.digest in self._memory:
            yield io.BytesIO(self._memory[descriptor.digest])
            return
        seen = self._files.get(descriptor.digest)
        if seen is None:
            raise NotFound(f"{self} has no {descriptor.digest}", subject=str(descriptor.digest))
        with _open(seen.path) as file:
            if _identity(file) != seen.identity:
                raise SourceChanged(str(seen.path))
            yield file
            if _identity(file) != seen.identity:
                raise SourceChanged(str(seen.path))

    def resolve(self, pointer: str) -> Descriptor:
        """Return the manifest, whose tag is the version."""
        if pointer not in (self.tag, str(self.root.digest)):
            raise NotFound(f"{self} has no {pointer}", subject=pointer)
        return self.root


def _open(path: Path) -> BinaryIO:
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_CLOEXEC", 0)
    with disk_errors(path):
        return os.fdopen(os.open(path, flags), "rb", buffering=0)


def _identity(file: BinaryIO) -> tuple[int, ...]:
    status = os.fstat(file.fileno())
    return (status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)


@dataclass(frozen=True, slots=True)
class _Hashed:
    layer: Descriptor
    digest: Digest
    seen: _Seen


def assemble(
    recipe: Recipe,
    selection: Selection,
    runtime: RuntimeManifest,
    *,
    lock: bytes = b"",
    created: int | None = None,
    take: Taker = hash_stream,
    on_event: Listener = ignore,
) -> BuiltPackage:
    """Return the package of a folder.

    Args:
        recipe: What it is.
        selection: Its files.
        runtime: Resolved runtime manifest, without the lock's digest.
        lock: Requirements locked with hashes, or empty.
        created: Seconds since the epoch of the source's last change; None leaves the date out.
        take: What happens to each file's bytes while they are read, once.
        on_event: Told what happens.

    Raises:
        SourceChanged: A file changed while it was read.
        RecipeInvalid: The result exceeds what registries take.
    """
    memory: dict[Digest, bytes] = {}

    def small(data: bytes, media_type: str, annotations: dict[str, str] | None = None) -> Descriptor:
        digest, size = take(io.BytesIO(data))
        memory[digest] = data
        return Descriptor(media_type, digest, size, annotations or {})

    if lock:
        runtime = replace(runtime, lock=Digest.of(lock))
    documents = {RUNTIME_PATH: runtime.to_bytes(), HARDWARE_PATH: HardwareManifest(recipe.hardware).to_bytes()}
    if lock:
        documents[LOCK_PATH] = lock
    own = [
        (Role.CONFIG, path, small(data, layer_media_type(Role.CONFIG), file_annotations(path, len(data))))
        for path, data in documents.items()
    ]
    hashed = _hash_files(selection.files, take, on_event)
    rows = own + [(file.role, file.path, result.layer) for file, result in zip(selection.files, hashed, strict=True)]
    order = list(Role)
    layers = tuple(layer for _, _, layer in sorted(rows, key=lambda row: (order.index(row[0]), row[1])))
    config = small(canonical(_model_config(recipe, layers, created)), MODEL_CONFIG)
    manifest = Manifest(config, layers, MODEL_MANIFEST, _annotations(recipe, runtime, layers, created))
    data = manifest.to_bytes()
    if len(data) > MAX_MANIFEST:
        hint = "Exclude files, or pack many small ones into an archive of their own."
        raise RecipeInvalid(str(recipe.name), [f"the manifest has {len(data)} bytes, over {MAX_MANIFEST}"], hint=hint)
    root = small(data, IMAGE_MANIFEST)
    files = {result.digest: result.seen for result in hashed if result.digest not in memory}
    return BuiltPackage(recipe, root, manifest, runtime, selection.notices, memory, files)


def _hash_files(files: tuple[Selected, ...], take: Taker, on_event: Listener) -> list[_Hashed]:
    on_event(Phase("hashing", count=len(files), size=sum(file.size for file in files)))
    with ThreadPoolExecutor(os.cpu_count() or 2, "hash") as pool:
        futures = [pool.submit(_hash_file, file, take, on_event) for file in files]
        try:
            return [future.result() for future in futures]
        except BaseException:
            for future in futures:
                future.cancel()
            raise


def _hash_file(file: Selected, take: Taker, on_event: Listener) -> _Hashed:
    with _open(file.source) as stream:
        before = _identity(stream)
        on_event(BlobStarted(file.path, file.path, file.size))
        digest, size = take(_Reported(stream, file.path, on_event))
        if _identity(stream) != before or size != before[2]:
            raise SourceChanged(file.path)
    on_event(BlobDone(file.path, file.path, size, "copied"))
    annotations = file_annotations(file.path, size)
    layer = Descriptor(layer_media_type(file.role), digest, size, annotations)
    return _Hashed(layer, digest, _Seen(file.source, before))


class _Reported:
    """A stream that reports what is read of it."""

    def __init__(self, stream: Readable, title: str, on_event: Listener) -> None:
        self._stream = stream
        self._title = title
        self._on_event = on_event

    def read(self, size: int = -1, /) -> bytes:
        block = self._stream.read(size)
        if block:
            self._on_event(BlobProgress(self._title, len(block)))
        return block


def _timestamp(created: int) -> str:
    return datetime.fromtimestamp(created, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _filled(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item not in ("", [], None, {})}


def _model_config(recipe: Recipe, layers: tuple[Descriptor, ...], created: int | None) -> dict[str, Any]:
    """Return ModelPack's config (model-spec "schema/config-schema.json"): no key that it does not know."""
    return {
        "descriptor": _filled(
            {
                "createdAt": _timestamp(created) if created is not None else "",
                "authors": list(recipe.authors),
                "family": recipe.family,
                "name": recipe.name,
                "sourceURL": recipe.source,
                "datasetsURL": list(recipe.datasets),
                "version": recipe.version,
                "revision": recipe.revision,
                "licenses": [recipe.license] if recipe.license else [],
                "title": recipe.name,
                "description": recipe.description,
            }
        ),
        "config": _filled(
            {
                "architecture": recipe.architecture,
                "format": recipe.format,
                "paramSize": recipe.parameters,
                "precision": recipe.precision,
                "quantization": recipe.quantization,
                "capabilities": _filled({"languages": list(recipe.languages)}),
            }
        ),
        "modelfs": {"type": "layers", "diffIds": [str(layer.digest) for layer in layers]},
    }


def _annotations(
    recipe: Recipe, runtime: RuntimeManifest, layers: tuple[Descriptor, ...], created: int | None
) -> dict[str, str]:
    prefix = "org.opencontainers.image."
    summary = _filled({"engine": runtime.engine, "python": runtime.python, "task": recipe.task, "image": runtime.image})
    base = recipe.base
    return _filled(
        {
            ANNOTATION_TITLE: recipe.name,
            f"{prefix}version": recipe.version,
            f"{prefix}created": _timestamp(created) if created is not None else "",
            f"{prefix}licenses": recipe.license,
            f"{prefix}source": recipe.source,
            f"{prefix}revision": recipe.revision,
            f"{prefix}authors": ", ".join(recipe.authors),
            f"{prefix}description": recipe.description,
            ANNOTATION_RUNTIME: canonical(summary).decode(),
            ANNOTATION_HARDWARE: canonical([p.to_json() for p in recipe.hardware]).decode() if recipe.hardware else "",
            ANNOTATION_SIZE: str(sum(layer.size for layer in layers)),
            ANNOTATION_FILES: str(len(layers)),
            ANNOTATION_BASE: canonical(
                _filled({"ref": base.ref, "digest": str(base.digest or ""), "relation": base.relation})
            ).decode()
            if base
            else "",
        }
    )
