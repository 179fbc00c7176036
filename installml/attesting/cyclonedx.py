"""CycloneDX bills of materials of models ("ML-BOM"), for Dependency-Track, Trivy, Grype and policy engines.

Version 1.6 (ECMA-424) is written unless 1.7 is asked for: nothing below needs 1.7, and tools learn a version late.
Names in quotes are those of the JSON reference, cyclonedx.org/docs/1.6/json.
"""

from __future__ import annotations

import re
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ..digest import Digest
from ..reference import Reference
from ..runtime.lock import Pin
from ..spec.canonical import canonical
from ..spec.package import PackagedFile
from ..spec.runtime import Signature, TensorSpec
from .facts import Facts
from .licences import Kind, read_licence
from .purl import oci_purl, pypi_purl

__all__ = ["PREDICATE_TYPE", "VERSIONS", "bom"]

PREDICATE_TYPE = "https://cyclonedx.org/bom"
"""in-toto attestation framework, "Predicate type: CycloneDX"."""
VERSIONS = ("1.6", "1.7")
MAX_HASHES = 20_000
"""Hashes of library files in one document, about 2 MiB; a lock may have a hundred thousand."""

_ALGORITHMS = {"sha256": "SHA-256", "sha512": "SHA-512"}
_URL = re.compile(r"(?:https?|git|ssh|git\+https|git\+ssh)://[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]{1,2000}")
_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://installml.dev/sbom")


def bom(facts: Facts, *, tool: str, timestamp: int, spec_version: str = VERSIONS[0]) -> dict[str, Any]:
    """Return the bill of materials of a package.

    Args:
        facts: What is known about it.
        tool: Version of installml.
        timestamp: Seconds since the epoch; when the document says that it was made.
        spec_version: One of ``VERSIONS``.

    Returns:
        The document. Its serial number follows from the manifest's digest alone.
    """
    model = _model(facts)
    files = _files(facts.files)
    libraries = _libraries(facts.libraries)
    runtime = _runtime(facts)
    datasets = [_dataset(name, number) for number, name in enumerate(facts.datasets)]
    return _filled(
        {
            "$schema": f"http://cyclonedx.org/schema/bom-{spec_version}.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": spec_version,
            "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, str(facts.digest))}",
            "version": 1,
            "metadata": {
                "timestamp": _time(timestamp),
                "lifecycles": [{"phase": "post-build"}],
                "tools": {"components": [{"type": "application", "name": "installml", "version": tool}]},
                "component": model,
            },
            "components": [*files, *runtime, *libraries, *datasets],
            "dependencies": _dependencies(model["bom-ref"], [*runtime, *libraries]),
            "compositions": _compositions(facts, model["bom-ref"], [file["bom-ref"] for file in files]),
            "properties": _properties({"installml:gap": gap} for gap in facts.gaps),
        }
    )


def _filled(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item not in ("", [], {}, None)}


def _time(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _properties(pairs: Any) -> list[dict[str, str]]:
    """Return name and value of everything that has a value ("Property taxonomy": a name for each tool's own)."""
    return [{"name": name, "value": value} for pair in pairs for name, value in pair.items() if value]


def _hashes(digest: Digest) -> list[dict[str, str]]:
    return [{"alg": _ALGORITHMS[digest.algorithm], "content": digest.hex}]


def _licenses(text: str) -> list[dict[str, Any]]:
    """Return ``licenses``: what the author declared, not what anybody found out ("acknowledgement")."""
    licence = read_licence(text)
    if licence is None:
        return []
    if licence.kind is Kind.EXPRESSION:
        return [{"expression": licence.text, "acknowledgement": "declared"}]
    return [{"license": {licence.kind.value: licence.text, "acknowledgement": "declared"}}]


def _model(facts: Facts) -> dict[str, Any]:
    """Return the component that the document is about."""
    purl = oci_purl(facts.reference, facts.digest)
    return _filled(
        {
            "type": "machine-learning-model",
            "bom-ref": purl,
            "name": facts.name,
            "version": facts.version,
            "description": facts.description,
            "authors": [{"name": name} for name in facts.authors],
            "licenses": _licenses(facts.license),
            "purl": purl,
            "externalReferences": [{"type": "vcs", "url": facts.source}] if _is_url(facts.source) else [],
            "pedigree": {"ancestors": _ancestors(facts)} if facts.base else {},
            "modelCard": _card(facts),
            "properties": _model_properties(facts),
        }
    )


def _is_url(text: str) -> bool:
    """Return whether ``text`` can stand where an IRI must (RFC 3987); anything else is told as a property."""
    return bool(_URL.fullmatch(text)) and not _ESCAPE.search(text) and not re.search(r"[\[\]]|#.*#", text)


def _model_properties(facts: Facts) -> list[dict[str, str]]:
    runtime = facts.runtime
    plain = {
        "installml:manifest": str(facts.digest),
        "installml:size": str(facts.size),
        "installml:created": _time(facts.created) if facts.created is not None else "",
        "installml:source": "" if _is_url(facts.source) else facts.source,
        "installml:revision": facts.revision,
        "installml:usage": facts.usage,
        "installml:format": facts.format,
        "installml:parameters": facts.parameters,
        "installml:precision": facts.precision,
        "installml:quantization": facts.quantization,
        "installml:languages": ",".join(facts.languages),
        "installml:recipe": str(facts.recipe or ""),
        "installml:lock": str(facts.locked or ""),
        "installml:engine": runtime.engine if runtime else "",
        "installml:entrypoint": runtime.entrypoint if runtime else "",
        "installml:python": runtime.python if runtime else "",
    }
    wishes = [] if facts.libraries or runtime is None else list(runtime.requirements)
    return _properties([plain, *({"installml:requirement": wish} for wish in wishes), *_hardware(facts)])


def _hardware(facts: Facts) -> list[dict[str, str]]:
    """Return one property a profile, in the words of the package's own JSON."""
    return [{"installml:hardware": canonical(profile.to_json()).decode()} for profile in facts.profiles]


def _ancestors(facts: Facts) -> list[dict[str, Any]]:
    """Return the model that this one was made from ("pedigree.ancestors")."""
    base = facts.base
    if base is None:
        return []
    reference = Reference.parse(base.ref)
    digest = base.digest or reference.digest
    ancestor = {
        "type": "machine-learning-model",
        "bom-ref": f"base:{base.ref}",
        "name": reference.repository,
        "version": reference.tag or str(digest or ""),
        "purl": oci_purl(reference, digest) if digest else "",
        "properties": _properties(
            [
                {
                    "installml:reference": base.ref,
                    "installml:digest": str(digest or ""),
                    "installml:relation": base.relation,
                }
            ]
        ),
    }
    return [_filled(ancestor)]


def _card(facts: Facts) -> dict[str, Any]:
    """Return ``modelCard``: what the recipe and the package's own model card say."""
    signature = facts.runtime.signature if facts.runtime else Signature()
    parameters = {
        "task": facts.task,
        "architectureFamily": facts.family,
        "modelArchitecture": facts.architecture,
        "datasets": [{"ref": f"dataset:{number}"} for number in range(len(facts.datasets))],
        "inputs": [_tensor(tensor) for tensor in signature.inputs],
        "outputs": [_tensor(tensor) for tensor in signature.outputs],
    }
    metrics = [_filled({"type": m.type, "value": m.value, "slice": m.slice}) for m in facts.metrics]
    return _filled(
        {
            "modelParameters": _filled(parameters),
            "quantitativeAnalysis": {"performanceMetrics": metrics} if metrics else {},
        }
    )


def _tensor(tensor: TensorSpec) -> dict[str, str]:
    return {"format": f"{tensor.name}: {tensor.datatype}[{', '.join(map(str, tensor.shape))}]"}


def _files(files: tuple[PackagedFile, ...]) -> list[dict[str, Any]]:
    """Return the packaged files; the digest of a raw layer is the file's own. A tar layer's name may stand twice."""
    seen: Counter[str] = Counter()
    found = []
    for file in files:
        seen[file.path] += 1
        count = f"#{seen[file.path]}" if seen[file.path] > 1 else ""
        about = {"installml:role": file.role.value, "installml:size": str(file.descriptor.size)}
        found.append(
            {
                "type": "file",
                "bom-ref": f"file:{file.path}{count}",
                "mime-type": file.descriptor.media_type,
                "name": file.path,
                "hashes": _hashes(file.descriptor.digest),
                "properties": _properties([about]),
            }
        )
    return found


def _libraries(pins: tuple[Pin, ...]) -> list[dict[str, Any]]:
    """Return the lock's distributions, each once; markers that differ make no difference to what it is."""
    merged: dict[tuple[str, str], tuple[list[str], set[str]]] = {}
    for pin in pins:
        markers, hashes = merged.setdefault((pin.name, pin.version), ([], set()))
        markers.append(pin.marker)
        hashes.update(pin.hashes)
    left = MAX_HASHES
    found = []
    for (name, version), (markers, hashes) in merged.items():
        listed = sorted(hashes) if len(hashes) <= left else []
        left -= len(listed)
        found.append(_library(name, version, [m for m in markers if m], listed, len(hashes)))
    return found


def _library(name: str, version: str, markers: list[str], hashes: list[str], total: int) -> dict[str, Any]:
    """Return one distribution.

    A lock allows any of several files, one a platform: their hashes belong to what may be fetched, and are the
    component's own only where there is a single one.
    """
    purl = pypi_purl(name, version)
    spelled = [{"alg": "SHA-256", "content": one} for one in hashes]
    files = {"type": "distribution", "url": purl, "comment": "any one of these files", "hashes": spelled}
    left_out = {"installml:hashes-left-out": "" if hashes else str(total)}
    return _filled(
        {
            "type": "library",
            "bom-ref": purl,
            "name": name,
            "version": version,
            "purl": purl,
            "hashes": spelled if len(spelled) == 1 else [],
            "externalReferences": [files] if len(spelled) > 1 else [],
            "properties": _properties([*({"installml:marker": marker} for marker in markers), left_out]),
        }
    )


def _runtime(facts: Facts) -> list[dict[str, Any]]:
    """Return what runs the model: the engine, and the container image if one is pinned."""
    runtime = facts.runtime
    if runtime is None:
        return []
    engine = {"type": "framework", "bom-ref": f"engine:{runtime.engine}", "name": runtime.engine}
    name, _, version = runtime.image.partition("@")
    image = _filled(
        {"type": "container", "bom-ref": f"image:{runtime.image}", "name": name or runtime.image, "version": version}
    )
    return [*([engine] if runtime.engine != "none" else []), *([image] if runtime.image else [])]


def _dataset(name: str, number: int) -> dict[str, Any]:
    """Return one dataset ("component.data"), which is known by its name or address alone."""
    described: Mapping[str, Any] = {"type": "dataset", "name": name}
    if _is_url(name):
        described = {**described, "contents": {"url": name}}
    return {"type": "data", "bom-ref": f"dataset:{number}", "name": name, "data": [described]}


def _dependencies(model: str, needed: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what needs what. A lock is flat: it does not say which library asked for which."""
    references = [component["bom-ref"] for component in needed]
    return [_filled({"ref": model, "dependsOn": references}), *({"ref": reference} for reference in references)]


def _compositions(facts: Facts, model: str, files: list[str]) -> list[dict[str, Any]]:
    """Say what is complete: the files always, the libraries when they are locked and the lock could be read."""
    libraries = "complete" if facts.libraries else "incomplete" if facts.locked else "unknown"
    return [{"aggregate": "complete", "assemblies": files}, {"aggregate": libraries, "dependencies": [model]}]
