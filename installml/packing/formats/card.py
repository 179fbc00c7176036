"""Model cards: the YAML front matter of README.md (huggingface.co/docs/hub/model-cards) and its first paragraph."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from installml.packing.formats.documents import mapping, parse_yaml, text, texts
from installml.packing.formats.licenses import spdx
from installml.packing.formats.model import Card
from installml.packing.formats.reader import open_reader

__all__ = ["FILE", "MAX_CARD", "front_matter", "read"]

FILE = "README.md"
MAX_CARD = 256 << 10
_FENCE = re.compile(rb"\A(?:\xef\xbb\xbf)?---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.DOTALL | re.MULTILINE)
# No class below holds its own opening character, so that a page of "<<<<" is passed over in one step each.
_MARKUP = re.compile(r"!\[[^\[\]\n]*\]\([^()\n]*\)|<[^<>\n]*>|[*`]")
_LINK = re.compile(r"\[([^\[\]\n]*)\]\([^()\n]*\)")
_MAX_DESCRIPTION = 500


def front_matter(data: bytes, name: str) -> tuple[Mapping[str, Any], bytes]:
    """Return what the YAML at the head of a model card says, all of it text, and the rest of the card.

    Args:
        data: The card, or its first ``MAX_CARD`` bytes.
        name: Its path, for errors.

    Raises:
        FormatError: The front matter is not YAML.
    """
    match = _FENCE.match(data)
    if match is None:
        return {}, data
    return mapping(parse_yaml(match[1], name, offset=match.start(1))), data[match.end() :]


def read(path: Path, name: str) -> Card:
    """Read a card's front matter and first paragraph; only the first 256 KiB are looked at.

    Args:
        path: README.md.
        name: Its path in the model folder.

    Raises:
        FormatError: The front matter is not YAML.
    """
    with open_reader(path, name) as reader:
        facts, body = front_matter(reader.some(MAX_CARD), name)
    return Card(
        license=spdx(text(facts.get("license"))) or spdx(text(facts.get("license_name"))),
        tags=texts(facts.get("tags")),
        task=text(facts.get("pipeline_tag")),
        base_models=texts(facts.get("base_model")),
        datasets=texts(facts.get("datasets")),
        languages=texts(facts.get("language")),
        library=text(facts.get("library_name")),
        description=_paragraph(body.decode("utf-8", "replace")),
    )


def _paragraph(body: str) -> str:
    """Give the first paragraph of prose: no heading, list, table, code, picture or comment."""
    fenced = False
    for block in re.split(r"\n[ \t]*\n", body.replace("\r\n", "\n")):
        opens = block.count("```") % 2
        if not fenced and not opens and (plain := _plain(block)):
            return plain
        fenced ^= bool(opens)
    return ""


def _plain(block: str) -> str:
    lines = [line.strip() for line in block.strip().splitlines() if not line.lstrip().startswith("#")]
    if not lines or lines[0].startswith(("- ", "* ", "+ ", "|", ">", "```", "<!--", "1.", "---")):
        return ""
    words = _MARKUP.sub("", _LINK.sub(r"\1", " ".join(lines))).split()
    return " ".join(words)[:_MAX_DESCRIPTION] if len(words) > 2 else ""
