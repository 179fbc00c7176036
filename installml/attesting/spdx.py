"""SPDX 3.0.1 documents with the AI and Dataset profiles, as JSON-LD (spdx.github.io/spdx-spec/v3.0.1).

A profile is claimed ("profileConformance") only when what it demands is known: AIPackage must have a release time, a
supplier and a download location ("External properties restrictions"), and a package on this machine has no such place.
The Dataset profile demands a build time of every dataset, which no recipe says: it is never claimed, although
datasets are described in its words.
"""

from __future__ import annotations

import re
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from ..digest import Digest
from ..reference import LOCAL, Reference
from ..spec.media import Role
from ..spec.package import PackagedFile
from .facts import Facts
from .licences import read_licence
from .predicate import SPDX
from .purl import oci_purl, pypi_purl

__all__ = ["CONTEXT", "PREDICATE_TYPE", "document"]

PREDICATE_TYPE = SPDX
VERSION = "3.0.1"
CONTEXT = f"https://spdx.org/rdf/{VERSION}/spdx-context.jsonld"
_INFO = "_:creation"
_NO_ASSERTION = "expandedlicensing_NoAssertionLicense"
_URL = re.compile(r"https?://[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]{1,2000}")
_NAMESPACE = uuid.uuid5(uuid.NAMESPACE_URL, "https://installml.dev/spdx")
_PURPOSES = {Role.CODE: "source", Role.DOC: "documentation", Role.DATASET: "data", Role.CONFIG: "configuration"}


@dataclass(slots=True)
class _Graph:
    """The elements of a document, each under an IRI of the document's own ("spdxId")."""

    namespace: str
    elements: list[dict[str, Any]] = field(default_factory=list)

    def add(self, kind: str, local: str, **values: Any) -> str:
        """Add an element and return its IRI; what is empty is left out."""
        iri = f"{self.namespace}#{local}"
        filled = {key: value for key, value in values.items() if value not in ("", [], None)}
        self.elements.append({"type": kind, "spdxId": iri, "creationInfo": _INFO, **filled})
        return iri

    def relate(self, origin: str, kind: str, targets: Sequence[str], *, complete: bool = False) -> None:
        """Add a relationship to all of ``targets``, if there are any."""
        if targets:
            self.add(
                "Relationship",
                f"relationship-{len(self.elements)}",
                **{"from": origin, "relationshipType": kind, "to": list(targets)},
                completeness="complete" if complete else "",
            )


def document(facts: Facts, *, tool: str, timestamp: int) -> dict[str, Any]:
    """Return the SPDX document of a package.

    Args:
        facts: What is known about it.
        tool: Version of installml.
        timestamp: Seconds since the epoch; when the document says that it was made.

    Returns:
        The document. Its IRIs follow from the manifest's digest alone.
    """
    graph = _Graph(f"https://installml.dev/spdx/{uuid.uuid5(_NAMESPACE, str(facts.digest))}")
    agent = graph.add("SoftwareAgent", "agent", name="installml")
    made_with = graph.add("Tool", "tool", name=f"installml {tool}")
    info = {
        "type": "CreationInfo",
        "@id": _INFO,
        "specVersion": VERSION,
        "created": _time(timestamp),
        "createdBy": [agent],
        "createdUsing": [made_with],
    }
    model = _model(graph, facts)
    _license(graph, model, facts.license, "license")
    graph.relate(
        model, "contains", [_file(graph, number, file) for number, file in enumerate(facts.files)], complete=True
    )
    graph.relate(model, "dependsOn", _needed(graph, facts), complete=bool(facts.libraries))
    graph.relate(model, "descendantOf", _base(graph, facts))
    graph.relate(model, "trainedOn", [_dataset(graph, number, name) for number, name in enumerate(facts.datasets)])
    graph.add(
        "SpdxDocument",
        "document",
        name=f"{facts.name} {facts.version}".strip(),
        comment="\n".join(facts.gaps),
        dataLicense=graph.add("simplelicensing_LicenseExpression", "data-license", **_expression("CC0-1.0")),
        profileConformance=_profiles(facts),
        rootElement=[model],
    )
    return {"@context": CONTEXT, "@graph": [info, *graph.elements]}


def _time(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _profiles(facts: Facts) -> list[str]:
    known = facts.created is not None and facts.authors and facts.version and _place(facts)
    return ["core", "software", "simpleLicensing", *(["ai"] if known else [])]


def _place(facts: Facts) -> str:
    reference = facts.reference
    if reference.registry in ("", LOCAL):
        return ""
    return f"oci://{reference.registry}/{reference.repository}@{facts.digest}"


def _model(graph: _Graph, facts: Facts) -> str:
    """Add the package itself ("AIPackage")."""
    authors = [graph.add("Agent", f"author-{number}", name=name) for number, name in enumerate(facts.authors)]
    metrics = [_entry(f"{m.type} ({m.slice})" if m.slice else m.type, m.value) for m in facts.metrics]
    return graph.add(
        "ai_AIPackage",
        "model",
        name=facts.name,
        description=facts.description,
        software_packageVersion=facts.version,
        software_packageUrl=oci_purl(facts.reference, facts.digest),
        software_downloadLocation=_place(facts),
        software_primaryPurpose="model",
        software_homePage=facts.source if _URL.fullmatch(facts.source) else "",
        releaseTime=_time(facts.created),
        suppliedBy=authors[0] if authors else "",
        originatedBy=authors,
        verifiedUsing=[_hash(facts.digest)],
        ai_domain=[facts.task] if facts.task else [],
        ai_typeOfModel=[word for word in (facts.family, facts.architecture) if word],
        ai_limitation=facts.usage,
        ai_metric=metrics,
    )


def _entry(key: str, value: str) -> dict[str, str]:
    return {"type": "DictionaryEntry", "key": key, "value": value}


def _hash(digest: Digest) -> dict[str, str]:
    return {"type": "Hash", "algorithm": digest.algorithm, "hashValue": digest.hex}


def _expression(text: str) -> dict[str, str]:
    return {"simplelicensing_licenseExpression": text}


def _license(graph: _Graph, element: str, text: str, local: str) -> None:
    """Relate the declared licence, and that nobody concluded one: the AI profile asks for exactly one of each."""
    licence = read_licence(text)
    declared = _NO_ASSERTION
    if licence is not None:
        # What SPDX does not know is told in full beside the reference that stands for it.
        comment = licence.text if licence.expression != licence.text else ""
        kind = "simplelicensing_LicenseExpression"
        declared = graph.add(kind, local, comment=comment, **_expression(licence.expression))
    graph.relate(element, "hasDeclaredLicense", [declared])
    graph.relate(element, "hasConcludedLicense", [_NO_ASSERTION])


def _file(graph: _Graph, number: int, file: PackagedFile) -> str:
    return graph.add(
        "software_File",
        f"file-{number}",
        name=file.path,
        contentType=file.descriptor.media_type,
        software_primaryPurpose=_PURPOSES.get(file.role, "model"),
        verifiedUsing=[_hash(file.descriptor.digest)],
    )


def _needed(graph: _Graph, facts: Facts) -> list[str]:
    """Add the lock's distributions and the container image.

    A distribution has no hash here: the lock allows any of several files, and ``verifiedUsing`` means all of it.
    """
    pins = dict.fromkeys((pin.name, pin.version) for pin in facts.libraries)
    found = [
        graph.add(
            "software_Package",
            f"library-{number}",
            name=name,
            software_packageVersion=version,
            software_packageUrl=pypi_purl(name, version),
            software_primaryPurpose="library",
        )
        for number, (name, version) in enumerate(pins)
    ]
    whole = facts.runtime.image if facts.runtime else ""
    name, _, version = whole.partition("@")
    image = {"name": name or whole, "software_packageVersion": version, "software_primaryPurpose": "container"}
    return [*found, *([graph.add("software_Package", "image", **image)] if whole else [])]


def _base(graph: _Graph, facts: Facts) -> list[str]:
    base = facts.base
    if base is None:
        return []
    reference = Reference.parse(base.ref)
    digest = base.digest or reference.digest
    return [
        graph.add(
            "software_Package",
            "base",
            name=base.ref,
            comment=f"relation: {base.relation}",
            software_packageVersion=reference.tag or str(digest or ""),
            software_packageUrl=oci_purl(reference, digest) if digest else "",
            software_primaryPurpose="model",
            verifiedUsing=[_hash(digest)] if digest else [],
        )
    ]


def _dataset(graph: _Graph, number: int, name: str) -> str:
    """Add a dataset ("DatasetPackage"), of which only the name or address is known."""
    element = graph.add(
        "dataset_DatasetPackage",
        f"dataset-{number}",
        name=name,
        software_downloadLocation=name if _URL.fullmatch(name) else "",
        software_primaryPurpose="data",
        dataset_datasetType=["noAssertion"],
    )
    _license(graph, element, "", "")
    return element
