"""Names of packages and their grammar; nothing here touches a network, a file or a setting.

Sources: distribution-spec, "Pulling manifests" (``<name>``, ``<reference>`` as tag); the Docker reference
grammar for telling a registry host from a first path component: it has a dot, a port, or is ``localhost``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from .digest import Digest, DigestInvalid
from .errors import ReferenceInvalid

__all__ = [
    "DOCKER_HUB",
    "LOCAL",
    "Location",
    "Reference",
    "canonical_host",
    "check_repository",
    "check_tag",
    "parse_location",
]

LOCAL = "local"
"""The registry's place for packages that were built here and never given a registry; ``local/NAME`` spells one. A
host has a dot, a port, or is ``localhost``, so it never shadows one."""
DOCKER_HUB = "docker.io"
_HUB_ALIASES = {"docker.io", "index.docker.io", "registry-1.docker.io", "registry.hub.docker.com"}

_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_REPOSITORY = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}")
_LABEL = r"[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?"
_HOST = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-fA-F:.]{{2,45}}\])(?::[0-9]{{1,5}})?")
_SCHEMES = ("oci-layout:", "dir:")
_MAX_NAME = 255  # distribution-spec: many clients limit <registry>/<name> to 255 characters


def check_repository(name: str) -> str:
    """Return ``name`` when it is a repository name of distribution-spec, or raise ReferenceInvalid."""
    if not _REPOSITORY.fullmatch(name) or len(name) > _MAX_NAME:
        hint = ""
        if name != name.lower() and _REPOSITORY.fullmatch(name.lower()):
            hint = f"Repository names are lowercase: {name.lower()}"
        raise ReferenceInvalid(f"{name!r} is not a repository name", hint=hint, subject=name)
    return name


def check_tag(tag: str) -> str:
    """Return ``tag`` when it is a tag of distribution-spec, or raise ReferenceInvalid."""
    if not _TAG.fullmatch(tag):
        raise ReferenceInvalid(
            f"{tag!r} is not a tag",
            hint="A tag has at most 128 letters, digits, dots, underscores and dashes, starting with neither . nor -.",
            subject=tag,
        )
    return tag


def canonical_host(registry: str) -> str:
    """Return the one name of a registry that has several."""
    return DOCKER_HUB if registry in _HUB_ALIASES else registry


def _is_host(component: str) -> bool:
    return component in {"localhost", LOCAL} or "." in component or ":" in component


@dataclass(frozen=True, slots=True, order=True)
class Reference:
    """A package in a registry.

    Attributes:
        registry: Host and optional port; empty for a bare name that nobody has qualified yet.
        repository: Path inside the registry.
        tag: Tag, or empty.
        digest: Digest, or None. With both, the digest decides and the tag is for people.
    """

    registry: str
    repository: str
    tag: str = ""
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> Reference:
        """Return the reference that ``text`` spells.

        Args:
            text: ``[registry/]path[:tag][@digest]``.

        Raises:
            ReferenceInvalid: It is outside the grammar; the hint says what would be inside.
        """
        if not text or text != text.strip() or not text.isprintable():
            raise ReferenceInvalid(f"{text!r} is not a reference", subject=text)
        cls._check_scheme(text)
        rest, digest = cls._split_digest(text)
        head, slash, tail = rest.rpartition("/")
        tail, colon, tag = tail.partition(":")
        if colon:
            check_tag_or_range(tag)
        path = f"{head}{slash}{tail}"
        first, slash, others = path.partition("/")
        registry, repository = (first, others) if slash and _is_host(first) else ("", path)
        if registry:
            cls._check_host(registry, text)
        return cls(registry, check_repository(repository), tag, digest)

    @staticmethod
    def _check_scheme(text: str) -> None:
        if text.startswith(_SCHEMES):
            raise ReferenceInvalid(
                f"{text!r} is a place, and a package's name is needed here",
                hint=f"Bring it into the local store first: installml copy {text} NAME:VERSION",
                subject=text,
            )

    @staticmethod
    def _split_digest(text: str) -> tuple[str, Digest | None]:
        rest, at, spelled = text.partition("@")
        if not at:
            return rest, None
        try:
            return rest, Digest.parse(spelled)
        except DigestInvalid as error:
            raise ReferenceInvalid(f"{spelled!r} in {text!r} is not a digest", subject=text) from error

    @staticmethod
    def _check_host(registry: str, text: str) -> None:
        port = registry.rpartition(":")[2] if re.search(r":[0-9]+$", registry) else "1"
        if not _HOST.fullmatch(registry) or not 0 < int(port) < 65536:
            raise ReferenceInvalid(f"{registry!r} in {text!r} is not a registry host", subject=text)

    @property
    def name(self) -> str:
        """The last component of the repository: the package's own name."""
        return self.repository.rpartition("/")[2]

    @property
    def pointer(self) -> str:
        """What a registry is asked for: the digest if there is one, else the tag, else ``latest``."""
        return str(self.digest) if self.digest else self.tag or "latest"

    def with_tag(self, tag: str) -> Reference:
        """Return the same repository under ``tag``, without a digest."""
        return replace(self, tag=check_tag(tag), digest=None)

    def with_digest(self, digest: Digest) -> Reference:
        """Return the same reference pinned to ``digest``."""
        return replace(self, digest=digest)

    def __str__(self) -> str:
        text = f"{self.registry}/{self.repository}" if self.registry else self.repository
        if self.tag:
            text += f":{self.tag}"
        return f"{text}@{self.digest}" if self.digest else text


def check_tag_or_range(tag: str) -> str:
    """Return ``tag``; a version range in its place gets an error that says so."""
    if tag[:1] in {"^", "~", ">", "<", "=", "*"}:
        raise ReferenceInvalid(
            f"{tag!r} is a version range, and ranges are not resolved yet",
            hint="Name an exact tag or a digest; list the tags with: installml tags REF",
            subject=tag,
        )
    return check_tag(tag)


@dataclass(frozen=True, slots=True)
class Location:
    """A place that packages come from or go to, before anybody opens it.

    Attributes:
        scheme: ``registry``, ``oci-layout`` or ``dir``.
        reference: For ``registry``.
        path: For ``oci-layout`` and ``dir``.
        tag: For ``oci-layout``: the tag inside the layout, or empty.
    """

    scheme: str
    reference: Reference | None = None
    path: str = ""
    tag: str = ""

    def __str__(self) -> str:
        if self.reference is not None:
            return str(self.reference)
        return f"{self.scheme}:{self.path}" + (f":{self.tag}" if self.tag else "")


def parse_location(text: str) -> Location:
    """Return the place that ``text`` names: ``oci-layout:PATH[:tag]``, ``dir:PATH`` or a reference.

    Raises:
        ReferenceInvalid: It is none of them.
    """
    scheme, colon, rest = text.partition(":")
    if colon and scheme == "dir" and rest:
        return Location("dir", path=rest)
    if colon and scheme == "oci-layout" and rest:
        path, colon, tag = rest.rpartition(":")
        if colon and path and "/" not in tag:
            return Location("oci-layout", path=path, tag=check_tag(tag))
        return Location("oci-layout", path=rest)
    return Location("registry", reference=Reference.parse(text))
