"""JSON and YAML that come from outside: capped, and every failure a `FormatError` with an offset.

Also the small accessors that readers use on parsed documents of unknown shape. No format is known here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Never

import yaml

from installml.errors import FormatError
from installml.packing.formats.model import printable
from installml.packing.formats.reader import Reader

__all__ = ["integer", "items", "mapping", "parse_json", "parse_yaml", "read_json", "text", "texts"]

MAX_JSON = 16 << 20
MAX_YAML = 512 << 10
_MAX_WORD = 1024
_MAX_VALUES = 4_000_000
_MAX_INTEGER = 2**63
_INTEGER = re.compile(r"-?[0-9]{1,18}")


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands twice in one object")
    return found


def parse_json(data: bytes, name: str, *, offset: int = 0) -> Any:
    """Parse JSON, refusing keys that stand twice.

    Args:
        data: The bytes, already capped.
        name: The file, for errors.
        offset: Where the JSON begins in it.

    Raises:
        FormatError: Not JSON, nested too deeply, numbers too long, or not UTF-8.
    """
    if data.count(b",") + data.count(b"[") + data.count(b"{") > _MAX_VALUES:
        raise FormatError(name, f"its JSON holds more than {_MAX_VALUES} values", offset=offset)
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_unique)
    except json.JSONDecodeError as error:
        raise FormatError(name, f"is not JSON: {error.msg}", offset=offset + error.pos) from error
    except UnicodeDecodeError as error:
        raise FormatError(name, "its JSON is not UTF-8", offset=offset + error.start) from error
    except (ValueError, RecursionError, MemoryError) as error:
        reason = "is nested too deeply" if isinstance(error, RecursionError) else str(error)
        raise FormatError(name, f"its JSON cannot be used: {reason}", offset=offset) from error


def read_json(reader: Reader, *, cap: int = MAX_JSON, what: str = "JSON") -> Any:
    """Parse all that is left in a reader as JSON."""
    start = reader.position
    return parse_json(reader.bytes(reader.remaining, cap=cap, what=what), reader.name, offset=start)


class _PlainLoader(yaml.BaseLoader):
    """YAML of texts, lists and mappings; nothing else is constructed, so no number can be made to cost minutes.

    Aliases are refused: ten lines of them can unfold to billions of items.
    """

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.composer.ComposerError(None, None, "aliases are not accepted", mark)
        return super().compose_node(parent, index)


_NULL = "tag:yaml.org,2002:null"
_PlainLoader.add_implicit_resolver(_NULL, re.compile(r"(?:~|null|Null|NULL|)\Z"), ["~", "n", "N", ""])
_PlainLoader.add_constructor(_NULL, lambda _loader, _node: None)


def _refuse_yaml(name: str, offset: int, error: Exception) -> Never:
    mark = getattr(error, "problem_mark", None)
    reason = getattr(error, "problem", None) or "is nested too deeply or holds a value that cannot be used"
    at = offset + (mark.index if mark is not None else 0)
    raise FormatError(name, f"is not YAML that can be used: {reason}", offset=at) from error


def parse_yaml(data: bytes, name: str, *, offset: int = 0) -> Any:
    """Parse YAML to texts, lists and mappings; numbers and dates stay texts, null is None.

    Args:
        data: The bytes, at most 512 KiB.
        name: The file, for errors.
        offset: Where the YAML begins in it.

    Raises:
        FormatError: It is not such YAML.
    """
    if len(data) > MAX_YAML:
        raise FormatError(name, f"YAML of {len(data)} bytes is larger than the {MAX_YAML} that are accepted")
    try:
        return yaml.load(data.decode("utf-8"), Loader=_PlainLoader)  # noqa: S506 - a BaseLoader: it constructs texts only
    except UnicodeDecodeError as error:
        raise FormatError(name, "its YAML is not UTF-8", offset=offset + error.start) from error
    except (yaml.YAMLError, ValueError, RecursionError, TypeError, AttributeError, KeyError) as error:
        _refuse_yaml(name, offset, error)


def mapping(value: object) -> Mapping[str, Any]:
    """Give an object's members, or nothing where it is not an object."""
    return value if isinstance(value, dict) else {}


def items(value: object, *, cap: int = 100_000) -> list[Any]:
    """Give a list's first items, or nothing where it is not a list."""
    return value[:cap] if isinstance(value, list) else []


def text(value: object) -> str:
    """Give a short text or number as text, or an empty text for anything else."""
    if isinstance(value, str):
        return printable(value.strip()[:_MAX_WORD])
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < _MAX_INTEGER:
        return ""
    return str(value)


def texts(value: object) -> tuple[str, ...]:
    """Give the texts of a list; a single text counts as a list of one."""
    values = value if isinstance(value, list) else [value]
    return tuple(word for word in map(text, values[:1000]) if word)


def integer(value: object) -> int | None:
    """Give an integer below 2**63, also where it is written as text; None for anything else."""
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if abs(value) < _MAX_INTEGER else None
