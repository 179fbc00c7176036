"""Hypothesis strategies for the values of the package format: what is valid, and only that."""

from __future__ import annotations

import string

from ..digest import Digest
from ..errors import UsageError
from ..reference import Reference
from ..spec.descriptor import Descriptor
from ..spec.manifest import Index, Manifest
from ..spec.media import IMAGE_INDEX, IMAGE_MANIFEST, MODEL_CONFIG, MODEL_MANIFEST, Role, layer_media_type
from ..spec.paths import name_problem


class HypothesisMissing(UsageError):
    """The strategies need hypothesis, which InstallML itself does not."""

    reference = "hypothesis-missing"
    default_hint = "pip install hypothesis"


try:
    from hypothesis import strategies as st
except ImportError as error:
    raise HypothesisMissing("installml.testing.strategies needs the package hypothesis") from error

__all__ = [
    "HypothesisMissing",
    "annotation_maps",
    "descriptors",
    "digests",
    "file_names",
    "indexes",
    "manifests",
    "references",
    "registries",
    "repositories",
    "tags",
]

_ALNUM = string.ascii_lowercase + string.digits
_HEX = "0123456789abcdef"


def digests() -> st.SearchStrategy[Digest]:
    """Digests of both algorithms."""
    of = {"sha256": 64, "sha512": 128}
    return st.sampled_from(sorted(of)).flatmap(
        lambda algorithm: st.text(_HEX, min_size=of[algorithm], max_size=of[algorithm]).map(
            lambda value: Digest(algorithm, value)
        )
    )


def tags() -> st.SearchStrategy[str]:
    """Tags of distribution-spec."""
    first = string.ascii_letters + string.digits + "_"
    return st.builds(str.__add__, st.sampled_from(first), st.text(first + ".-", max_size=40))


def repositories() -> st.SearchStrategy[str]:
    """Repository names of distribution-spec whose first component is no registry."""
    word = st.text(_ALNUM, min_size=1, max_size=8)
    joint = st.sampled_from([".", "_", "__", "-", "---"])
    component = st.builds(
        lambda head, tail: head + "".join(map("".join, tail)), word, st.lists(st.tuples(joint, word), max_size=2)
    )
    return st.lists(component, min_size=1, max_size=4).map("/".join).filter(_unqualified)


def _unqualified(name: str) -> bool:
    first, slash, _ = name.partition("/")
    return not slash or not ("." in first or first in {"local", "localhost"})


def registries() -> st.SearchStrategy[str]:
    """Registry hosts, with and without port, IPv6 included."""
    label = st.text(string.ascii_letters + string.digits, min_size=1, max_size=10)
    host = st.one_of(
        st.just("localhost"),
        st.lists(label, min_size=2, max_size=4).map(".".join),
        st.ip_addresses(v=4).map(str),
    )
    port = st.integers(1, 65535).map(lambda number: f":{number}")
    ipv6 = st.ip_addresses(v=6).map(lambda address: f"[{address}]")
    return st.builds(str.__add__, st.one_of(host, ipv6), st.one_of(st.just(""), port))


def references() -> st.SearchStrategy[Reference]:
    """References with every combination of registry, tag and digest."""
    return st.builds(
        Reference,
        registry=st.one_of(st.just(""), st.just("local"), registries()),
        repository=repositories(),
        tag=st.one_of(st.just(""), tags()),
        digest=st.one_of(st.none(), digests()),
    )


def annotation_maps() -> st.SearchStrategy[dict[str, str]]:
    """Annotations: printable text by key."""
    text = st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=30)
    return st.dictionaries(st.text(_ALNUM + ".", min_size=1, max_size=20), text, max_size=4)


def file_names() -> st.SearchStrategy[str]:
    """Package-relative names that every operating system takes."""
    part = st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters='/\\<>:"|?*'), min_size=1)
    return st.lists(part, min_size=1, max_size=3).map("/".join).filter(lambda name: not name_problem(name))


def descriptors(media_types: st.SearchStrategy[str] | None = None) -> st.SearchStrategy[Descriptor]:
    """Descriptors of nothing in particular; layers of a model unless said otherwise."""
    layer = st.sampled_from([layer_media_type(role) for role in Role])
    return st.builds(
        Descriptor,
        media_type=layer if media_types is None else media_types,
        digest=digests(),
        size=st.integers(0, 1 << 50),
        annotations=annotation_maps(),
    )


def manifests() -> st.SearchStrategy[Manifest]:
    """Model manifests, some with a subject."""
    return st.builds(
        Manifest,
        config=descriptors(st.just(MODEL_CONFIG)),
        layers=st.lists(descriptors(), max_size=4).map(tuple),
        artifact_type=st.sampled_from(["", MODEL_MANIFEST]),
        annotations=annotation_maps(),
        subject=st.one_of(st.none(), descriptors(st.just(IMAGE_MANIFEST)).map(Descriptor.bare)),
    )


def indexes() -> st.SearchStrategy[Index]:
    """Indexes over manifests and other indexes."""
    entries = st.lists(descriptors(st.sampled_from([IMAGE_MANIFEST, IMAGE_INDEX])), max_size=4)
    return st.builds(
        Index,
        manifests=entries.map(tuple),
        artifact_type=st.sampled_from(["", MODEL_MANIFEST]),
        annotations=annotation_maps(),
    )
