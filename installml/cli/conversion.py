"""Words of a command line that need nobody's help to become values.

typer hands every value, even text that stays text, to pydantic, whose import takes longer than all the rest of a pull
with nothing to do. Here: text, flags, choices and numbers within their range are read without it. Not here: telling
what is wrong with a value; that is left to typer, and so is everything that is not surely right.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from enum import Enum
from functools import partial
from types import NoneType
from typing import Any, get_args

__all__ = ["convert_plainly"]

_UNSURE = object()


def convert_plainly(command: Any) -> None:
    """Let ``command`` and those below it read plain values by themselves.

    Args:
        command: The parser that typer made of verbs (``context.verb``); changed in place.
    """
    declared = inspect.signature(command.callback).parameters if command.callback else {}
    for parameter in command.params:
        annotated = get_args(declared[parameter.name].annotation) if parameter.name in declared else ()
        reader = _reader(*annotated[:2]) if len(annotated) > 1 else None
        if reader is not None:
            parameter.process_value = partial(_process, parameter, reader, parameter.process_value)
    command.get_help_option = partial(_help, command.get_help_option)
    for below in getattr(command, "commands", {}).values():
        convert_plainly(below)


def _process(
    parameter: Any, reader: Callable[[Any], Any], otherwise: Callable[..., Any], context: Any, value: Any
) -> Any:
    """Return what typer's ``process_value`` would, by ourselves if that is sure."""
    read = reader(value) if value is not None else _UNSURE if parameter.required else () if parameter.multiple else None
    if read is _UNSURE:
        return otherwise(context, value)
    return read if parameter.callback is None else parameter.callback(context, parameter, read)


def _help(found: Callable[[Any], Any], context: Any) -> Any:
    """Return the flag ``--help``, which typer makes when it is first looked for."""
    option = found(context)
    if option is not None and "process_value" not in vars(option):
        option.process_value = partial(_process, option, _flag, option.process_value)
    return option


def _reader(kind: Any, info: Any) -> Callable[[Any], Any] | None:
    """Return what reads a value of this type, ``_UNSURE`` for one that it cannot; None where typer does all."""
    kinds = [part for part in get_args(kind) if part is not NoneType] if NoneType in get_args(kind) else [kind]
    if len(kinds) != 1 or info.parser is not None:
        return None
    [kind] = kinds
    if kind is int:
        return partial(_number, info.min, info.max)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return partial(_choice, kind)
    return next((reader for known, reader in _READERS if kind == known), None)


def _text(value: Any) -> Any:
    # A lone surrogate stands for a byte that is no UTF-8; typer refuses it.
    sure = isinstance(value, str) and (value.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in value))
    return value if sure else _UNSURE


def _texts(value: Any) -> Any:
    sure = isinstance(value, list | tuple) and value and all(_text(item) is item for item in value)
    return list(value) if sure else _UNSURE


def _flag(value: Any) -> Any:
    return value if isinstance(value, bool) else _UNSURE


_READERS: tuple[tuple[Any, Callable[[Any], Any]], ...] = ((str, _text), (bool, _flag), (list[str], _texts))


def _choice(kind: type[Enum], value: Any) -> Any:
    return next((member for member in kind if value is member or value == member.value), _UNSURE)


def _number(least: float | None, most: float | None, value: Any) -> Any:
    number = int(value) if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 10 else value
    sure = type(number) is int and (least is None or number >= least) and (most is None or number <= most)
    return number if sure else _UNSURE
