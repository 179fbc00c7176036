"""From the license names that model cards use to SPDX expressions (spdx.org/licenses); only unambiguous ones."""

from __future__ import annotations

__all__ = ["spdx"]

_SPDX = (
    "0BSD", "AFL-3.0", "AGPL-3.0-only", "Apache-2.0", "Artistic-2.0", "BSD-2-Clause", "BSD-3-Clause",
    "BSD-3-Clause-Clear", "BSL-1.0", "CC0-1.0", "CC-BY-2.0", "CC-BY-3.0", "CC-BY-4.0", "CC-BY-SA-3.0",
    "CC-BY-SA-4.0", "CC-BY-NC-2.0", "CC-BY-NC-3.0", "CC-BY-NC-4.0", "CC-BY-ND-4.0", "CC-BY-NC-SA-3.0",
    "CC-BY-NC-SA-4.0", "CC-BY-NC-ND-3.0", "CC-BY-NC-ND-4.0", "EPL-1.0", "EPL-2.0", "EUPL-1.1", "EUPL-1.2",
    "GPL-2.0-only", "GPL-3.0-only", "ISC", "LGPL-2.1-only", "LGPL-3.0-only", "MIT", "MPL-2.0", "MS-PL",
    "NCSA", "ODbL-1.0", "OFL-1.1", "PDDL-1.0", "PostgreSQL", "Unlicense", "WTFPL", "Zlib",
)  # fmt: skip
_KNOWN = {name.lower(): name for name in _SPDX} | {
    name.lower().removesuffix("-only"): name for name in _SPDX if name.endswith("-only")
}


def spdx(license_name: str) -> str:
    """Spell a license as SPDX does.

    Args:
        license_name: Such as ``apache-2.0`` or ``llama3.1``.

    Returns:
        The SPDX identifier; ``LicenseRef-...`` for one that SPDX does not list; an empty text for "other",
        "unknown" and for sentences.
    """
    word = license_name.strip()
    known = _KNOWN.get(word.lower())
    if known or not word or word.lower() in ("other", "unknown", "none") or len(word) > 64:
        return known or ""
    plain = all(letter.isascii() and (letter.isalnum() or letter in ".-") for letter in word)
    if not plain:
        return ""
    return word if word.startswith("LicenseRef-") else f"LicenseRef-{word}"
