"""``installml copy``."""

from __future__ import annotations

from ..context import Cli
from ..options import DestinationArg, PlaceArg

__all__ = ["copy"]


def copy(cli: Cli, source: PlaceArg, destination: DestinationArg) -> None:
    """Copy a package between registries, OCI layout folders and the local store."""
    from ...api.copy import copy as run

    with cli.session() as session:
        result = run(source, destination, session=session)
    cli.show(result)
