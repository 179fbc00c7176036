"""From selected files to a package: hash in parallel, one read each, and lay out config and manifest.

The same bytes give the same digest on any machine: nothing here reads a clock, an owner, a file's time or the order
in which a folder is listed (docs/adr/0002).
"""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, BinaryIO, cast

from ..digest import Digest, Readable
from ..errors import NotFound, RecipeInvalid, SourceChanged
from ..events import Listener, ignore
from ..spec.canonical import MAX_MANIFEST, canonical
from ..spec.descriptor import Descriptor
from ..spec.hardware import HardwareManifest
from ..spec.manifest import Manifest
from ..spec.media import (
    ANNOTATION_BASE,
    ANNOTATION_CHECKPOINTS,
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
from ..spec.subset import checkpoint_problems, checkpoints_text
from .hashing import Hash, Hashed, Reading, hash_files, open_source
from .memory import Identity
from .select import Selected, Selection

__all__ = ["BuiltPackage", "assemble"]

_ONLY_HASH = Reading(Hash())


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
    _files: dict[Digest, Hashed] = field(repr=False, compare=False)

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
        with open_source(seen.source) as file:
            _check(file, seen)
            try:
                yield file
            except Exception:
                _check(file, seen)  # that the file was touched is what explains the failure
                raise
            _check(file, seen)

    @contextlib.contextmanager
    def open_file(self, descriptor: Descriptor) -> Iterator[BinaryIO | None]:
        """Open the file of a blob; None for a small document, which is in memory only."""
        if descriptor.digest in self._memory:
            yield None
            return
        with self.fetch(descriptor) as file:
            yield cast(BinaryIO, file)

    def proved(self, descriptor: Descriptor, file: BinaryIO) -> bool:
        """Return whether ``file`` is as it was when it was hashed."""
        seen = self._files.get(descriptor.digest)
        return seen is not None and Identity.of(file) == seen.identity

    def resolve(self, pointer: str) -> Descriptor:
        """Return the manifest, whose tag is the version."""
        if pointer not in (self.tag, str(self.root.digest)):
            raise NotFound(f"{self} has no {pointer}", subject=pointer)
        return self.root


def _check(file: BinaryIO, seen: Hashed) -> None:
    if Identity.of(file) != seen.identity:
        raise SourceChanged(str(seen.source))


def assemble(
    recipe: Recipe,
    selection: Selection,
    runtime: RuntimeManifest,
    *,
    lock: bytes = b"",
    created: int | None = None,
    reading: Reading = _ONLY_HASH,
    on_event: Listener = ignore,
) -> BuiltPackage:
    """Return the package of a folder.

    Args:
        recipe: What it is.
        selection: Its files.
        runtime: Resolved runtime manifest, without the lock's digest.
        lock: Requirements locked with hashes, or empty.
        created: Seconds since the epoch of the source's last change; None leaves the date out.
        reading: How its files are read, and what becomes of their bytes.
        on_event: Told what happens.

    Raises:
        SourceChanged: A file changed while it was read.
        RecipeInvalid: A checkpoint means no file, or the result exceeds what registries take.
    """
    problems = checkpoint_problems(recipe.checkpoints, (file.path for file in selection.files))
    if problems:  # told before anything is read
        raise RecipeInvalid(recipe.name, problems)
    memory: dict[Digest, bytes] = {}

    def small(data: bytes, media_type: str, annotations: dict[str, str] | None = None) -> Descriptor:
        digest = Digest.of(data)
        reading.taker.small(data)
        memory[digest] = data
        return Descriptor(media_type, digest, len(data), annotations or {})

    if lock:
        runtime = replace(runtime, lock=Digest.of(lock))
    documents = {RUNTIME_PATH: runtime.to_bytes(), HARDWARE_PATH: HardwareManifest(recipe.hardware).to_bytes()}
    if lock:
        documents[LOCK_PATH] = lock
    own = [
        (Role.CONFIG, path, small(data, layer_media_type(Role.CONFIG), file_annotations(path, len(data))))
        for path, data in documents.items()
    ]
    hashed = hash_files(selection.files, reading, on_event)
    rows = own + [(file.role, file.path, _layer(file, one)) for file, one in zip(selection.files, hashed, strict=True)]
    order = list(Role)
    layers = tuple(layer for _, _, layer in sorted(rows, key=lambda row: (order.index(row[0]), row[1])))
    config = small(canonical(_model_config(recipe, layers, created)), MODEL_CONFIG)
    manifest = Manifest(config, layers, MODEL_MANIFEST, _annotations(recipe, runtime, layers, created))
    data = manifest.to_bytes()
    if len(data) > MAX_MANIFEST:
        hint = "Exclude files, or pack many small ones into an archive of their own."
        raise RecipeInvalid(str(recipe.name), [f"the manifest has {len(data)} bytes, over {MAX_MANIFEST}"], hint=hint)
    root = small(data, IMAGE_MANIFEST)
    files = {one.digest: one for one in hashed if one.digest not in memory}
    return BuiltPackage(recipe, root, manifest, runtime, selection.notices, memory, files)


def _layer(file: Selected, hashed: Hashed) -> Descriptor:
    size = hashed.identity.size
    return Descriptor(layer_media_type(file.role), hashed.digest, size, file_annotations(file.path, size))


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
            ANNOTATION_CHECKPOINTS: checkpoints_text(recipe.checkpoints),
            ANNOTATION_BASE: canonical(
                _filled({"ref": base.ref, "digest": str(base.digest or ""), "relation": base.relation})
            ).decode()
            if base
            else "",
        }
    )
