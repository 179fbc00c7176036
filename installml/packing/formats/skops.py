"""skops files: a ZIP whose schema.json names every class (skops.readthedocs.io, "Persistence")."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from installml.packing.formats.archive import archive, member_bytes
from installml.packing.formats.documents import MAX_JSON, integer, mapping, parse_json, text
from installml.packing.formats.model import Finding, Tensor
from installml.packing.formats.reader import open_reader
from installml.packing.formats.sklearn import task

__all__ = ["SCHEMA", "read"]

SCHEMA = "schema.json"
_MAX_NODES = 1_000_000
_MAX_DETAIL = 20


def read(path: Path, name: str) -> Finding:
    """Read a skops file's schema: root class, classes, scikit-learn's version, features.

    Args:
        path: The file.
        name: Its path in the model folder.

    Raises:
        FormatError: Not a ZIP file, or without a schema.
    """
    with open_reader(path, name) as reader:
        members = archive(reader)
        if SCHEMA not in members:
            raise reader.fail("is not a skops file: it lacks schema.json", offset=0)
        member = members[SCHEMA]
        schema = mapping(parse_json(member_bytes(reader, member, cap=MAX_JSON), name, offset=member.offset))
        if "__class__" not in schema or "protocol" not in schema:
            raise reader.fail("is not a skops file: its schema.json names no class", offset=member.offset)
    nodes = list(_nodes(schema))
    classes = list(dict.fromkeys(_class(node) for node in nodes if _is_library(node)))
    version = next((_plain(node["_sklearn_version"]) for node in nodes if "_sklearn_version" in node), "")
    return Finding(
        format="skops",
        engine="sklearn",
        files=(name,),
        architecture=text(schema.get("__class__")),
        task=task(_last(text(schema.get("__class__")), classes)),
        inputs=_inputs(nodes, classes),
        requirements=(f"scikit-learn=={version}" if version else "scikit-learn", *_skops(schema)),
        details={
            "class": _class(schema),
            "classes": ", ".join(classes[:_MAX_DETAIL]),
            "protocol": text(schema.get("protocol")),
        },
    )


def _inputs(nodes: list[dict[str, Any]], classes: list[str]) -> tuple[Tensor, ...]:
    """Give what the outermost fitted part takes: a number of features, or texts."""
    if any("Stacking" in one for one in classes):
        return ()  # the first count in the file may be that of the last step
    words = [one.rpartition(".")[0] for one in classes]
    if "sklearn.feature_extraction.text" in words and "sklearn.compose._column_transformer" not in words:
        return (Tensor("x", "BYTES", (-1,)),)
    features = next((integer(_plain(node["n_features_in_"])) for node in nodes if "n_features_in_" in node), None)
    return (Tensor("x", "FP64", (-1, features)),) if features and features > 0 else ()


def _last(root: str, classes: list[str]) -> str:
    """Name the class that predicts: of a pipeline or search the last one whose task is known."""
    if not (root == "Pipeline" or root.endswith("SearchCV")):
        return root
    return next((one for path in reversed(classes) if task(one := path.rpartition(".")[2])), "")


def _skops(schema: Any) -> tuple[str, ...]:
    version = text(schema.get("_skops_version"))
    return (f"skops=={version}" if version else "skops",)


def _nodes(schema: object) -> Iterator[dict[str, Any]]:
    """Give every object of the tree, outermost first, with a stack of our own instead of recursion."""
    waiting = [schema]
    for _ in range(_MAX_NODES):
        if not waiting:
            return
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
        inside = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
        waiting.extend(one for one in reversed(inside) if isinstance(one, dict | list))


def _class(node: Any) -> str:
    return f"{text(node.get('__module__'))}.{text(node.get('__class__'))}"


def _is_library(node: Any) -> bool:
    module = text(node.get("__module__")).partition(".")[0]
    return module not in ("", "builtins", "numpy") and node.get("__loader__") == "ObjectNode"


def _plain(node: Any) -> str:
    """Give the value of a JsonNode: its content is JSON in a text."""
    content = mapping(node).get("content")
    return content.strip('"')[:64] if isinstance(content, str) else ""
