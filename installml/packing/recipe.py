"""Finding, reading and writing ``installml.yaml``; what its words mean is ``spec.recipe``'s business."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from ..errors import NotFound, RecipeInvalid
from ..spec.media import RECIPE_NAME
from ..spec.recipe import Recipe, parse_recipe
from ..store.files import disk_errors, write_whole

__all__ = ["load_recipe", "load_yaml", "recipe_path", "recipe_text", "write_recipe"]

MAX_RECIPE = 256 << 10
"""Largest recipe in bytes."""


class _Loader(yaml.SafeLoader):
    """YAML 1.1's safe subset without duplicate keys; plain values only."""


def _mapping(loader: _Loader, node: yaml.MappingNode) -> dict[Any, Any]:
    seen: set[Any] = set()
    for key_node, _ in node.value:
        key = key_node.value if isinstance(key_node, yaml.ScalarNode) else repr(key_node)
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"the key {key!r} stands twice", key_node.start_mark)
        seen.add(key)
    return yaml.SafeLoader.construct_mapping(loader, node, deep=True)


def _text(loader: _Loader, node: yaml.ScalarNode) -> str:
    """Keep a date as its author wrote it."""
    return str(loader.construct_scalar(node))


_Loader.add_constructor(yaml.resolver.BaseResolver.DEFAULT_MAPPING_TAG, _mapping)
_Loader.add_constructor("tag:yaml.org,2002:timestamp", _text)


def load_yaml(data: bytes, origin: str, *, cap: int = MAX_RECIPE) -> Any:
    """Return the plain value of a YAML document.

    Aliases are refused: nested ones grow exponentially for whoever walks them.

    Raises:
        RecipeInvalid: Too large, not YAML, a key twice, or an alias.
    """
    if len(data) > cap:
        raise RecipeInvalid(origin, [f"it has {len(data)} bytes, at most {cap} are read"])
    try:
        text = data.decode("utf-8")
        if any(isinstance(token, yaml.AliasToken) for token in yaml.scan(text, Loader=_Loader)):
            raise RecipeInvalid(origin, ["it uses a YAML alias (*name); write the value out"])
        return yaml.load(text, Loader=_Loader)  # noqa: S506 - a subclass of SafeLoader
    except UnicodeDecodeError as error:
        raise RecipeInvalid(origin, [f"it is not UTF-8: {error.reason} at byte {error.start}"]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else " ".join(str(error).split())
        raise RecipeInvalid(origin, [f"it is not acceptable YAML: {reason}"]) from error


def recipe_path(folder: Path) -> Path:
    """Return where the recipe of ``folder`` is.

    Raises:
        NotFound: There is no such folder, or no recipe in it.
    """
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise NotFound(f"{folder} {what}; a model folder is needed", subject=str(folder))
    path = folder / RECIPE_NAME
    if not path.is_file():
        raise NotFound(f"{folder} has no {RECIPE_NAME}", hint=f"installml init {folder}", subject=str(folder))
    return path


def load_recipe(folder: Path) -> Recipe:
    """Return the recipe of a model folder.

    Raises:
        NotFound: There is none.
        RecipeInvalid: Every violation at once.
    """
    path = recipe_path(folder)
    with disk_errors(path):
        data = path.read_bytes()
    return parse_recipe(load_yaml(data, str(path)), str(path))


class _Dumper(yaml.SafeDumper):
    """Block style for structure; lists of plain values, and tensors, on one line."""


def _plain(value: object) -> bool:
    return not isinstance(value, (dict, list))


def _list(dumper: _Dumper, value: list[Any]) -> yaml.Node:
    return dumper.represent_sequence("tag:yaml.org,2002:seq", value, flow_style=all(map(_plain, value)))


def _dict(dumper: _Dumper, value: dict[str, Any]) -> yaml.Node:
    return dumper.represent_mapping("tag:yaml.org,2002:map", value.items(), flow_style="datatype" in value)


_Dumper.add_representer(list, _list)
_Dumper.add_representer(dict, _dict)


def recipe_text(value: dict[str, Any]) -> str:
    """Return a recipe as YAML that people will edit: keys in the order given."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=100)


def write_recipe(path: Path, value: dict[str, Any], schema: str) -> None:
    """Write a recipe with its schema named for editors."""
    write_whole(path, f"# yaml-language-server: $schema={schema}\n{recipe_text(value)}".encode())
