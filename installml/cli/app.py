"""The table of verbs: what ``installml --help`` lists, in this order, and nothing else."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any

import typer

from .. import __version__
from ..errors import UsageError
from .context import Cli, verb
from .conversion import convert_plainly

__all__ = ["GROUPS", "VERBS", "app", "command"]

VERBS: Mapping[str, Mapping[str, str]] = {
    "Make": {"init": "init", "build": "build", "test": "test", "sbom": "sbom", "scan": "scan"},
    "Move": {
        "push": "push",
        "pull": "pull",
        "copy": "copy",
        "export": "export",
        "tags": "tags",
        "tag": "tags",
        "index": "index",
        "remove": "remove",
        "login": "login",
        "logout": "login",
    },
    "Use": {
        "install": "install",
        "uninstall": "install",
        "list": "info",
        "info": "info",
        "serve": "serve",
        "predict": "predict",
        "ps": "ps",
        "logs": "ps",
        "stop": "ps",
    },
    "Trust": {"sign": "sign", "verify": "verify", "attest": "attest"},
    "Machine": {"doctor": "doctor", "demo": "demo"},
}
"""Panel to verb to the module of ``commands`` that has it."""

GROUPS: Mapping[str, tuple[str, str, tuple[str, ...]]] = {
    "hardware": ("hardware", "Show what this machine has, and whether a package fits.", ("check",)),
    "cache": ("cache", "Show, clean and verify the local store.", ("df", "gc", "verify", "repair", "path")),
    "keys": ("keys", "Make and keep the keys that sign packages.", ("generate", "import", "list", "export", "rotate")),
    "trust": (
        "trust",
        "Say whom to trust, and see why a package may be used.",
        ("add", "list", "remove", "rotate", "policy", "test"),
    ),
    "registry": ("registry", "Run an OCI registry.", ("serve",)),
    "config": ("config", "Show settings.", ("show",)),
}
"""Group to module, summary and verbs; all on the panel Machine."""

_ABOUT = """Models as installable packages: pack, push, pull, install and serve them through any OCI registry."""


def _root(
    _cli: Cli,
    *,
    version: Annotated[bool, typer.Option("--version", help="Show the version.")] = False,
) -> None:
    if version:
        _cli.screen.print(f"installml {__version__}")
        raise typer.Exit
    if not _cli.subcommand:
        raise UsageError("no verb is named", hint="installml --help")


def _nothing(_cli: Cli) -> None:
    pass


def _function(module: str, name: str) -> Callable[..., None]:
    # A verb whose name is a builtin or a keyword of its module carries an underscore there.
    found = importlib.import_module(f".commands.{module}", __package__)
    function: Callable[..., None] = getattr(found, f"{name}_", None) or getattr(found, name)
    return function


def _typer(**settings: Any) -> typer.Typer:
    return typer.Typer(
        context_settings={"help_option_names": ["-h", "--help"]},
        pretty_exceptions_enable=False,
        **{"add_completion": False, **settings},
    )


def app(only: str = "") -> typer.Typer:
    """Return the application.

    Args:
        only: The one verb or group that it has besides the flags of all; every one when left out.
    """
    root = _typer(help=_ABOUT, add_completion=not only)
    root.callback(invoke_without_command=True)(verb(_root))
    for panel, verbs in VERBS.items():
        for name, module in verbs.items():
            if only in {"", name}:
                root.command(name, rich_help_panel=panel)(verb(_function(module, name)))
    for name, (module, summary, members) in GROUPS.items():
        if only in {"", name}:
            root.add_typer(_group(module, summary, members), name=name, rich_help_panel="Machine")
    return root


def _group(module: str, summary: str, verbs: tuple[str, ...]) -> typer.Typer:
    group = _typer(help=summary)
    alone = getattr(importlib.import_module(f".commands.{module}", __package__), "alone", None)
    group.callback(invoke_without_command=alone is not None)(verb(alone or _nothing))
    for name in verbs:
        group.command(name)(verb(_function(module, name)))
    return group


def command(words: Sequence[str] = ()) -> Any:
    """Return the parser that typer makes of the application; its type is typer's own affair.

    Args:
        words: What it will be given. Where they begin with a verb the parser has only this one: thirty others take
            longer to build than most verbs to do.
    """
    first = words[0] if words else ""
    known = first in GROUPS or any(first in verbs for verbs in VERBS.values())
    parser = typer.main.get_command(app(first if known else ""))
    convert_plainly(parser)
    return parser
