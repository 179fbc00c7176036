"""What a shell may complete: references of the local store. Nothing is fetched; a broken store completes nothing."""

from __future__ import annotations

import typer

__all__ = ["complete_installed", "complete_reference"]


def _spelled(reference: str) -> str:
    """Return how people type it: the local place is not written."""
    from ..reference import LOCAL

    return reference.partition("@")[0].removeprefix(f"{LOCAL}/")


def complete_reference(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the references of the local store that begin with ``incomplete``."""
    from ..config import load
    from ..errors import InstallMLError
    from ..store.disk import DiskStore

    try:
        home = load({"home": ctx.params.get("home")}).home
        names = {_spelled(str(ref.reference)) for ref in DiskStore(home).refs()}
    except InstallMLError:
        return []
    return sorted(name for name in names if name.startswith(incomplete))


def complete_installed(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the installed packages that begin with ``incomplete``."""
    from ..config import load
    from ..errors import InstallMLError
    from ..store.installed import InstalledStore

    try:
        home = load({"home": ctx.params.get("home")}).home
        names = {_spelled(str(record.reference)) for record in InstalledStore(home).records()}
    except InstallMLError:
        return []
    return sorted(name for name in names if name.startswith(incomplete))
