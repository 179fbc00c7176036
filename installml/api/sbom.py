"""``sbom``: the bill of materials of a package, from its manifest and small documents; no weights are read."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ..attesting import cyclonedx, spdx
from ..attesting.facts import Facts, gather
from ..errors import UsageError
from ..events import Notice
from ..reference import LOCAL, Reference
from ..spec.package import read_package
from ..store.files import write_whole
from ..version import __version__
from .build import made
from .places import Found, find, folder_of, is_folder
from .results import SbomResult
from .session import AMBIENT, Session

__all__ = ["Standard", "facts_of", "predicate_of", "sbom", "standard"]


@dataclass(frozen=True, slots=True)
class Standard:
    """One way to write a bill of materials.

    Attributes:
        name: For people.
        predicate_type: For a statement that carries it.
        write: Makes the document of facts, ``tool`` and ``timestamp``.
    """

    name: str
    predicate_type: str
    write: Callable[..., dict[str, Any]]


STANDARDS: Mapping[str, Standard] = {
    "cyclonedx": Standard("CycloneDX 1.6", cyclonedx.PREDICATE_TYPE, partial(cyclonedx.bom, spec_version="1.6")),
    "cyclonedx-1.7": Standard("CycloneDX 1.7", cyclonedx.PREDICATE_TYPE, partial(cyclonedx.bom, spec_version="1.7")),
    "spdx": Standard("SPDX 3.0.1", spdx.PREDICATE_TYPE, spdx.document),
}


def sbom(reference: str, *, spec: str = "cyclonedx", output: str = "", session: Session = AMBIENT) -> SbomResult:
    """Return the bill of materials of a package.

    The time in it is ``SOURCE_DATE_EPOCH``, else the package's own, else now: the same package gives the same bytes
    wherever one of the first two is there.

    Args:
        reference: The package: the registry's answer, else the local store's; or a model folder, which is hashed.
        spec: ``cyclonedx``, ``cyclonedx-1.7`` or ``spdx``.
        output: File to write; the result has the document when left out.
        session: Collaborators.

    Raises:
        NotFound: Nobody has the package.
        NotAPackage: It is something else.
        UsageError: ``output`` is no file, or there is no such ``spec``.
    """
    form = standard(spec)
    facts = facts_of(reference, session)
    for gap in facts.gaps:
        session.on_event(Notice(gap))
    document = predicate_of(facts, form, session)
    if output:
        _write(Path(output), document)
    return SbomResult(
        reference=facts.reference.with_digest(facts.digest),
        digest=facts.digest,
        spec=form.name,
        files=len(facts.files),
        libraries=len({(pin.name, pin.version) for pin in facts.libraries}),
        output=output,
        document={} if output else document,
        notices=facts.gaps,
    )


def standard(spec: str) -> Standard:
    """Return the standard that ``spec`` names.

    Raises:
        UsageError: There is no such one.
    """
    if spec not in STANDARDS:
        raise UsageError(f"{spec!r} is no bill of materials", hint=f"One of: {', '.join(STANDARDS)}", subject=spec)
    return STANDARDS[spec]


def predicate_of(facts: Facts, form: Standard, session: Session) -> dict[str, Any]:
    """Return the document of ``facts``; the same that ``sbom`` gives."""
    epoch = session.source_date_epoch
    timestamp = epoch if epoch is not None else facts.created
    return form.write(facts, tool=__version__, timestamp=int(session.clock()) if timestamp is None else timestamp)


def facts_of(reference: str | Found, session: Session) -> Facts:
    """Return what is known about a package, or about the one that a model folder makes.

    Args:
        reference: A reference, a folder, or what ``find`` found.
        session: Collaborators.
    """
    if isinstance(reference, str) and is_folder(reference):
        built = made(folder_of(reference), session)
        place = Reference(LOCAL, built.recipe.name, built.tag)
        return gather(read_package(built.manifest, reference), built.root.digest, built, place)
    found = find(reference, session) if isinstance(reference, str) else reference
    return gather(found.package(), found.descriptor.digest, found.source, found.reference)


def _write(path: Path, document: Mapping[str, Any]) -> None:
    if path.exists() and not path.is_file():
        raise UsageError(f"{path} is not a file", hint="Name a file to write.", subject=str(path))
    if not path.absolute().parent.is_dir():  # a slip of the pen is no wish for a folder
        raise UsageError(f"there is no folder {path.parent}", hint=f"mkdir -p {path.parent}", subject=str(path))
    write_whole(path, f"{written(document)}\n".encode())


def written(document: Mapping[str, Any]) -> str:
    """Return a document as it is shown and written: ASCII, so that every terminal and file system takes it."""
    return json.dumps(document, indent=2, ensure_ascii=True, allow_nan=False)
