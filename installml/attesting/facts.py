"""What is known about a package, gathered from its manifest and its small documents for those who describe it.

Read are the manifest and, where they are there, ModelPack's config, ``runtime.json``, the lock, the recipe and the
model card: a few kilobytes, no weights. Everything comes from whoever built the package. What cannot be read is no
reason to say nothing of the rest: it is told in ``gaps``, and whoever signs the document can see it there.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from ..digest import Digest
from ..errors import InstallMLError, NotFound
from ..packing.formats.card import FILE as CARD
from ..packing.formats.card import front_matter
from ..packing.formats.documents import items, mapping, text, texts
from ..packing.formats.model import printable
from ..packing.recipe import MAX_RECIPE, load_yaml
from ..reference import Reference
from ..runtime.lock import Pin, check_lock
from ..spec.canonical import parse_json
from ..spec.descriptor import Descriptor
from ..spec.hardware import Profile
from ..spec.media import ANNOTATION_BASE, LOCK_PATH, RECIPE_NAME, RUNTIME_PATH
from ..spec.node import Node
from ..spec.package import Package, PackagedFile
from ..spec.recipe import RELATIONS, Base, Recipe, parse_recipe
from ..spec.runtime import RuntimeManifest, parse_runtime
from ..store.protocol import Fetcher
from ..store.verified import read_verified

__all__ = ["Facts", "Metric", "gather"]

T = TypeVar("T")

MAX_CONFIG = 1 << 20
MAX_RUNTIME = 1 << 20
MAX_LOCK = 8 << 20
MAX_README = 1 << 20
MAX_METRICS = 200
MAX_TEXT = 4096
"""Characters of one text; what is longer is cut."""
_OCI = "org.opencontainers.image."
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)")


@dataclass(frozen=True, slots=True)
class Metric:
    """One measurement that the model card claims.

    Attributes:
        type: Such as ``accuracy``.
        value: As it is written.
        slice: The data it was measured on; may be empty.
    """

    type: str
    value: str
    slice: str = ""


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known about one package; empty where nothing is.

    Attributes:
        reference: Its repository, for saying where it lies; the local store's when no registry has it.
        digest: Of its manifest.
        size: Bytes of all its files.
        license: SPDX expression, or what stood in its place.
        usage: Restrictions, in words.
        created: Seconds since the epoch of the source's last change; None when nobody said.
        format: Of the weights, such as ``safetensors``.
        base: The model that this one was made from.
        runtime: What runs it; None when the package does not say.
        profiles: Hardware that will do.
        files: All of them, in the manifest's order.
        libraries: The lock's distributions; empty without a lock.
        recipe: Digest of the packaged recipe.
        gaps: Sentences about what could not be read.
    """

    reference: Reference
    digest: Digest
    size: int = 0
    name: str = ""
    version: str = ""
    description: str = ""
    license: str = ""
    authors: tuple[str, ...] = ()
    source: str = ""
    revision: str = ""
    usage: str = ""
    created: int | None = None
    task: str = ""
    family: str = ""
    architecture: str = ""
    format: str = ""
    precision: str = ""
    quantization: str = ""
    parameters: str = ""
    languages: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    metrics: tuple[Metric, ...] = ()
    base: Base | None = None
    runtime: RuntimeManifest | None = None
    profiles: tuple[Profile, ...] = ()
    files: tuple[PackagedFile, ...] = ()
    libraries: tuple[Pin, ...] = ()
    recipe: Digest | None = None
    gaps: tuple[str, ...] = ()

    @property
    def locked(self) -> Digest | None:
        """Digest of the lock, or None."""
        return next((file.descriptor.digest for file in self.files if file.path == LOCK_PATH), None)


@dataclass(slots=True)
class _Reader:
    """Reads the small documents of a package and remembers what it could not read."""

    source: Fetcher
    package: Package
    gaps: list[str] = field(default_factory=list)

    def document(self, path: str, cap: int, parse: Callable[[bytes], T]) -> T | None:
        """Return what ``parse`` makes of the file at ``path``; None when there is none or it cannot be read."""
        file = self.package.file(path)
        return self.blob(file.descriptor, path, cap, parse) if file is not None and file.form == "raw" else None

    def blob(self, descriptor: Descriptor, name: str, cap: int, parse: Callable[[bytes], T]) -> T | None:
        """Return what ``parse`` makes of a blob; bytes that are not what the manifest names are an error."""
        if descriptor.size > cap:
            self.gaps.append(f"{name} has {descriptor.size} bytes, at most {cap} are read")
            return None
        try:
            data = read_verified(self.source, descriptor, cap=cap)
        except NotFound:
            self.gaps.append(f"{name} is not here")
            return None
        return self.parsed(data, name, parse)

    def parsed(self, data: bytes, name: str, parse: Callable[[bytes], T]) -> T | None:
        """Return what ``parse`` makes of ``data``; None, and the reason written down, when that cannot be."""
        try:
            return parse(data)
        except InstallMLError as error:
            self.gaps.append(_short(f"{name} cannot be used: {error.message}", 500))
            return None

    def told(self, node: Node) -> None:
        """Take over what was wrong with a document."""
        self.gaps += [_short(violation, 500) for violation in node.violations[:10]]


def gather(package: Package, digest: Digest, source: Fetcher, reference: Reference) -> Facts:
    """Return what is known about a package.

    Args:
        package: From its manifest.
        digest: The manifest's.
        source: Where its blobs are.
        reference: The repository that it is known by.

    Raises:
        IntegrityError: A document is not what the manifest says.
        TransportError: ``source`` cannot be asked.
    """
    reader = _Reader(source, package)
    about = _config(reader)
    recipe = reader.document(RECIPE_NAME, MAX_RECIPE, _recipe) or Recipe("", "")
    runtime = reader.document(RUNTIME_PATH, MAX_RUNTIME, lambda data: parse_runtime(data, RUNTIME_PATH))
    pins = reader.document(LOCK_PATH, MAX_LOCK, lambda data: check_lock(data, LOCK_PATH)) or ()
    card = reader.document(CARD, MAX_README, lambda data: front_matter(data, CARD)[0]) or {}
    packaged = package.file(RECIPE_NAME)
    return Facts(
        reference=reference,
        digest=digest,
        size=package.size,
        name=_short(package.name, 256) or _short(about["name"], 256) or reference.repository,
        version=_short(package.version, 128) or _short(about["version"], 128),
        description=_said(package, "description") or about["description"],
        license=_said(package, "licenses") or about["licenses"],
        authors=_authors(package, about),
        source=_said(package, "source") or about["sourceURL"],
        revision=_said(package, "revision") or about["revision"],
        usage=_short(recipe.usage),
        created=_seconds(_said(package, "created") or about["createdAt"]),
        task=_short((runtime.task if runtime else "") or text(card.get("pipeline_tag"))),
        family=about["family"],
        architecture=about["architecture"],
        format=about["format"],
        precision=about["precision"],
        quantization=about["quantization"],
        parameters=about["paramSize"],
        languages=about["languages"],
        datasets=about["datasetsURL"] or _all_short(texts(card.get("datasets"))),
        metrics=_metrics(card),
        base=_base(reader) or recipe.base,
        runtime=runtime,
        profiles=package.profiles,
        files=package.files,
        libraries=pins,
        recipe=packaged.descriptor.digest if packaged else None,
        gaps=tuple(reader.gaps),
    )


def _short(words: str, most: int = MAX_TEXT) -> str:
    """Return text that a terminal, a log and UTF-8 can take, cut where it is too long."""
    words = printable(words).strip()
    return words if len(words) <= most else f"{words[: most - 1]}…"


def _all_short(words: Iterable[str]) -> tuple[str, ...]:
    return tuple(short for one in words if (short := _short(one)))


def _said(package: Package, key: str) -> str:
    return _short(package.annotations.get(f"{_OCI}{key}", ""))


def _recipe(data: bytes) -> Recipe:
    return parse_recipe(load_yaml(data, RECIPE_NAME), RECIPE_NAME)


_ABOUT = ("name", "version", "description", "family", "sourceURL", "revision", "createdAt")
_MODEL = ("architecture", "format", "paramSize", "precision", "quantization")


def _config(reader: _Reader) -> dict[str, Any]:
    """Return what ModelPack's config says (model-spec "docs/config.md"), each key in its own spelling."""
    config = reader.package.manifest.config
    value = reader.blob(config, "the config", MAX_CONFIG, lambda data: parse_json(data, "the config"))
    root = Node({} if value is None else value, "the config")
    keys = root.mapping(("descriptor", "config"), open_=True)
    about = keys["descriptor"].mapping((*_ABOUT, "authors", "licenses", "datasetsURL"), open_=True)
    model = keys["config"].mapping((*_MODEL, "capabilities"), open_=True)
    languages = model["capabilities"].mapping(("languages",), open_=True)["languages"]
    found: dict[str, Any] = {key: _short(node.string()) for key, node in about.items() if key in _ABOUT}
    found |= {key: _short(node.string()) for key, node in model.items() if key in _MODEL}
    found |= {key: _all_short(about[key].strings(most=1000)) for key in ("authors", "datasetsURL")}
    found["languages"] = _all_short(languages.strings(most=1000))
    licenses = about["licenses"].strings(most=100)
    found["licenses"] = _short(licenses[0] if len(licenses) == 1 else " AND ".join(f"({one})" for one in licenses))
    reader.told(root)
    return found


def _authors(package: Package, about: Mapping[str, Any]) -> tuple[str, ...]:
    found: tuple[str, ...] = about["authors"]
    joined = _said(package, "authors")
    return found or ((joined,) if joined else ())


def _seconds(written: str) -> int | None:
    """Return a time of RFC 3339 as seconds since the epoch; None for anything else."""
    if not _TIME.fullmatch(written):
        return None
    try:
        return int(datetime.fromisoformat(written).timestamp())
    except (ValueError, OverflowError):
        return None


def _base(reader: _Reader) -> Base | None:
    """Return the base that the manifest's annotation names."""
    written = reader.package.annotations.get(ANNOTATION_BASE, "")
    if not written:
        return None
    value = reader.parsed(written.encode(), ANNOTATION_BASE, lambda data: parse_json(data, ANNOTATION_BASE))
    root = Node(value, ANNOTATION_BASE)
    keys = root.mapping(("ref", "digest", "relation"), open_=True)
    found = keys["ref"].parsed(Reference.parse)
    relation = keys["relation"].choice(RELATIONS, "finetune")
    digest = keys["digest"].parsed(Digest.parse)
    reader.told(root)
    return Base(str(found), digest, relation) if found else None


def _metrics(card: Mapping[str, Any]) -> tuple[Metric, ...]:
    """Return what a model card's ``model-index`` claims (huggingface.co/docs/hub/model-cards, "Evaluation results")."""
    found: list[Metric] = []
    for model in items(card.get("model-index"), cap=20):
        for result in items(mapping(model).get("results"), cap=MAX_METRICS):
            data = _data(mapping(mapping(result).get("dataset")))
            for metric in items(mapping(result).get("metrics"), cap=MAX_METRICS):
                kind = text(mapping(metric).get("type")) or text(mapping(metric).get("name"))
                value = text(mapping(metric).get("value"))
                if kind and value and len(found) < MAX_METRICS:
                    found.append(Metric(kind, value, data))
    return tuple(found)


def _data(dataset: Mapping[str, Any]) -> str:
    words = (text(dataset.get(key)) for key in ("name", "config", "split"))
    return " ".join(word for word in words if word)
