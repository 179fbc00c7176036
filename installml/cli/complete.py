"""What a shell may complete: references of the local store, names of keys.

Nothing is fetched; a broken store completes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from ..reference import Reference

__all__ = ["complete_installed", "complete_key", "complete_reference"]


def _spelled(reference: str) -> str:
    """Return how people type it: the local place is not written."""
    from ..reference import LOCAL

    return reference.partition("@")[0].removeprefix(f"{LOCAL}/")


def complete_reference(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the references of the local store that begin with ``incomplete``."""
    from ..store.disk import DiskStore

    return _completed(ctx, incomplete, lambda home: (ref.reference for ref in DiskStore(home).refs()))


def complete_installed(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the installed packages that begin with ``incomplete``."""
    from ..store.installed import InstalledStore

    return _completed(ctx, incomplete, lambda home: (record.reference for record in InstalledStore(home).records()))


def complete_key(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the keys of this machine that begin with ``incomplete``."""
    from ..config import load
    from ..errors import InstallMLError
    from ..signing.keyring import KeyRing

    try:
        home = load({"home": ctx.params.get("home")}).home
        return [each.label for each in KeyRing(home / "trust" / "keys").entries() if each.label.startswith(incomplete)]
    except InstallMLError:
        return []


def _completed(ctx: typer.Context, incomplete: str, known: Callable[[Path], Iterable[Reference]]) -> list[str]:
    from ..config import load
    from ..errors import InstallMLError

    try:
        names = {_spelled(str(reference)) for reference in known(load({"home": ctx.params.get("home")}).home)}
    except InstallMLError:
        return []
    return sorted(name for name in names if name.startswith(incomplete))
