"""Package URLs (purl-spec, "PURL-SPECIFICATION.rst" and the types ``oci`` and ``pypi``)."""

from __future__ import annotations

from urllib.parse import quote

from ..digest import Digest
from ..reference import LOCAL, Reference

__all__ = ["oci_purl", "pypi_purl"]


def _quoted(text: str) -> str:
    return quote(text, safe=".-_~:")


def pypi_purl(name: str, version: str) -> str:
    """Return the purl of a Python distribution; ``name`` is canonical already (PEP 503)."""
    return f"pkg:pypi/{_quoted(name)}@{_quoted(version)}"


def oci_purl(reference: Reference, digest: Digest) -> str:
    """Return the purl of an artifact in a registry.

    The name is the repository's last component, the version the digest (type ``oci``); where it lies is a qualifier,
    left out for what no registry has. A tag may move, so it is not named.
    """
    purl = f"pkg:oci/{_quoted(reference.name)}@{digest}"
    if reference.registry in ("", LOCAL):
        return purl
    return f"{purl}?repository_url={quote(f'{reference.registry}/{reference.repository}', safe='.-_~:/')}"
