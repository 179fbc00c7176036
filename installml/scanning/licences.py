"""Licences: what a package may be used for, and whether it may be derived from what it was derived from.

The table is small and each entry names where it stands; a licence that is not in it is told as unknown and never
guessed. This is no legal advice: it says which clause somebody should read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum

from installml.errors import FormatError
from installml.packing.formats.documents import mapping, parse_yaml, text, texts
from installml.packing.formats.licenses import spdx
from installml.scanning.finding import Content, Finding, Rule, Severity

__all__ = ["RULES", "Terms", "check_licence", "identifiers", "licence_of_base", "read_card", "terms_of"]

_MAX_CARD = 256 << 10

RESTRICTED = Rule(
    "licence-restricted",
    Severity.low,
    "The licence restricts what the model may be used for",
    "It is not an open source licence: uses, users or sizes of businesses are excluded.",
    "Read the clause that is named before you use or pass on the model.",
)
CONFLICT = Rule(
    "licence-conflict",
    Severity.medium,
    "The licence is not one that the base model allows",
    "What is derived from a model keeps conditions of its licence; this package states a licence without them.",
    "State the base model's licence, or ask its owner.",
)
NONE = Rule(
    "licence-missing",
    Severity.info,
    "The package states no licence",
    "Without a licence nobody but its owner may use, copy or change it.",
    "Add license to the recipe or to the README's front matter.",
)
RULES = (RESTRICTED, CONFLICT, NONE)


class Keeps(Enum):
    """What a derived work must carry."""

    NOTHING = "may state any licence that keeps the notice"
    SAME = "must be under the same licence"
    TERMS = "must carry the same use restrictions"
    NO = "may not be made or passed on"


@dataclass(frozen=True, slots=True)
class Terms:
    """What a licence asks.

    Attributes:
        keeps: Of what is derived.
        restriction: What it excludes, in words; empty for an open licence.
        source: Where that stands.
    """

    keeps: Keeps
    restriction: str
    source: str


_OPEN = Terms(Keeps.NOTHING, "", "opensource.org or creativecommons.org")
_COMMERCIAL = "no commercial use"
_LLAMA = (
    "no use that its policy lists, a licence of its own above 700 million monthly users, and the name Llama is kept"
)
_RAIL = "no use that its attachment A lists; the restrictions are passed on with every copy"


_PERMISSIVE = """
    0BSD AFL-3.0 Apache-2.0 Artistic-2.0 BSD-2-Clause BSD-3-Clause BSD-3-Clause-Clear BSL-1.0 CC-BY-2.0
    CC-BY-3.0 CC-BY-4.0 CC0-1.0 ISC MIT MIT-0 MS-PL NCSA PDDL-1.0 PostgreSQL Unlicense WTFPL Zlib
    CDLA-Permissive-2.0 CDLA-Permissive-1.0 ECL-2.0 MulanPSL-2.0 Python-2.0
"""
_COPYLEFT = """
    GPL-2.0-only GPL-2.0-or-later GPL-3.0-only GPL-3.0-or-later AGPL-3.0-only AGPL-3.0-or-later LGPL-2.1-only
    LGPL-2.1-or-later LGPL-3.0-only LGPL-3.0-or-later MPL-2.0 EPL-1.0 EPL-2.0 EUPL-1.1 EUPL-1.2 CC-BY-SA-3.0
    CC-BY-SA-4.0 ODbL-1.0 OSL-3.0 CDLA-Sharing-1.0
"""


def _table() -> Iterator[tuple[str, Terms]]:
    for name in _PERMISSIVE.split():
        yield name, _OPEN
    for name in _COPYLEFT.split():
        yield name, Terms(Keeps.SAME, "", "its section on derived works")
    for version in ("2.0", "3.0", "4.0"):
        source = f"creativecommons.org/licenses/by-nc/{version}, section 2"
        yield f"CC-BY-NC-{version}", Terms(Keeps.TERMS, _COMMERCIAL, source)
        yield f"CC-BY-NC-SA-{version}", Terms(Keeps.SAME, _COMMERCIAL, source)
        yield f"CC-BY-NC-ND-{version}", Terms(Keeps.NO, f"{_COMMERCIAL}, no adapted copies", source)
        yield (
            f"CC-BY-ND-{version}",
            Terms(Keeps.NO, "no adapted copies", f"creativecommons.org/licenses/by-nd/{version}"),
        )
    for name in ("llama2", "llama3", "llama3.1", "llama3.2", "llama3.3", "llama4"):
        yield f"LicenseRef-{name}", Terms(Keeps.TERMS, _LLAMA, "Llama community licence, sections 1.b and 2")
    for name in ("openrail", "openrail++", "creativeml-openrail-m", "bigscience-openrail-m", "bigcode-openrail-m"):
        yield f"LicenseRef-{name}", Terms(Keeps.TERMS, _RAIL, "its section 5 and attachment A")
    yield "LicenseRef-bigscience-bloom-rail-1.0", Terms(Keeps.TERMS, _RAIL, "its section 5 and attachment A")
    yield (
        "LicenseRef-gemma",
        Terms(
            Keeps.TERMS, "no use that its policy lists; the terms are passed on", "ai.google.dev/gemma/terms, section 3"
        ),
    )
    for name in (
        "deepseek",
        "fair-noncommercial-research-license",
        "qwen-research",
        "mistral-ai-research-licence",
        "mrl",
    ):
        restriction = "no use that its attachment lists" if name == "deepseek" else f"research only, {_COMMERCIAL}"
        yield f"LicenseRef-{name}", Terms(Keeps.TERMS, restriction, "its section on permitted use")


_TERMS: Mapping[str, Terms] = {name.lower(): terms for name, terms in _table()}
#: Families of models by the beginning of their name on a hub, and the licence that their makers publish.
_BASES: tuple[tuple[str, str], ...] = (
    ("meta-llama/llama-2", "LicenseRef-llama2"),
    ("meta-llama/meta-llama-3.1", "LicenseRef-llama3.1"),
    ("meta-llama/meta-llama-3", "LicenseRef-llama3"),
    ("meta-llama/llama-3.1", "LicenseRef-llama3.1"),
    ("meta-llama/llama-3.2", "LicenseRef-llama3.2"),
    ("meta-llama/llama-3.3", "LicenseRef-llama3.3"),
    ("meta-llama/llama-4", "LicenseRef-llama4"),
    ("google/gemma", "LicenseRef-gemma"),
    ("compvis/stable-diffusion", "LicenseRef-creativeml-openrail-m"),
    ("bigscience/bloom", "LicenseRef-bigscience-bloom-rail-1.0"),
    ("bigcode/starcoder", "LicenseRef-bigcode-openrail-m"),
    ("cohereforai/", "CC-BY-NC-4.0"),
)
_TOKEN = re.compile(r"\(|\)|[A-Za-z0-9.+:-]+")


def identifiers(expression: str) -> tuple[str, ...]:
    """Return the licences that an SPDX expression names, without exceptions and operators."""
    words = _TOKEN.findall(expression[:500])
    return tuple(
        word
        for place, word in enumerate(words)
        if word.upper() not in ("AND", "OR", "WITH", "(", ")") and (place == 0 or words[place - 1].upper() != "WITH")
    )


def terms_of(licence: str) -> Terms | None:
    """Return what a licence asks; None for one that the table does not have."""
    return _TERMS.get(_canonical(licence))


def _canonical(licence: str) -> str:
    """Return a licence's name as the table has it, whichever way a card spells it."""
    word = licence.strip().lower()
    spellings = (word, f"{word}-only", f"licenseref-{word}", spdx(licence).lower())
    return next((spelling for spelling in spellings if spelling in _TERMS), word)


def licence_of_base(base: str) -> str:
    """Return the licence that the makers of a well-known base model publish it under; empty for others."""
    return next((licence for start, licence in _BASES if base.lower().startswith(start)), "")


def check_licence(licence: str, bases: Mapping[str, str], path: str) -> Iterator[Finding]:
    """Yield what somebody should know about a package's licence.

    Args:
        licence: SPDX expression that the package states; empty for none.
        bases: Base models it was derived from, each with its licence, or empty where that is not known.
        path: File that states it.
    """
    named = identifiers(licence)
    if not named:
        yield Finding(NONE, path, "no licence is named")
    alternatives = " OR " in licence.upper()
    restricted = [(name, terms) for name in named if (terms := terms_of(name)) and terms.restriction]
    if restricted and not (alternatives and len(restricted) < len(named)):
        for name, terms in restricted:
            yield Finding(RESTRICTED, path, f"{name}: {terms.restriction} ({terms.source})")
    for base, base_licence in bases.items():
        yield from _against(licence, named, base, base_licence or licence_of_base(base), path)


def _against(licence: str, named: tuple[str, ...], base: str, base_licence: str, path: str) -> Iterator[Finding]:
    for name in identifiers(base_licence):
        terms = terms_of(name)
        if terms is None or terms.keeps is Keeps.NOTHING or not named:
            continue
        wanted = _family(name)
        same = any(_family(one) == wanted for one in named)
        if terms.keeps is Keeps.NO or not same:
            detail = f"{licence}, while what is derived from {base[:100]} under {name} {terms.keeps.value}"
            yield Finding(CONFLICT, path, detail)


def _family(licence: str) -> str:
    return _canonical(licence).removesuffix("-only").removesuffix("-or-later")


_FENCE = re.compile(rb"\A(?:\xef\xbb\xbf)?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)


def read_card(content: Content, path: str) -> tuple[str, tuple[str, ...]] | None:
    """Return licence and base models that a README's front matter names; None when there is none that can be read.

    Args:
        content: The README.
        path: Its path, for nothing but errors that stay inside.
    """
    match = _FENCE.match(content.read_at(0, _MAX_CARD))
    try:
        facts = mapping(parse_yaml(match[1], path)) if match else {}
    except FormatError:
        return None
    if not facts:
        return None
    licence = text(facts.get("license"))
    stated = (
        spdx(licence)
        or spdx(text(facts.get("license_name")))
        or ("" if licence.lower() in ("other", "unknown") else licence)
    )
    return stated, texts(facts.get("base_model"))[:100]
