"""``installml init``."""

from __future__ import annotations

from ..context import Cli
from ..options import DryRunOpt, FolderArg, ForceOpt, NameOpt, VersionOpt

__all__ = ["init"]


def init(
    cli: Cli,
    folder: FolderArg,
    *,
    name: NameOpt = "",
    version: VersionOpt = "",
    force: ForceOpt = False,
    dry_run: DryRunOpt = False,
) -> None:
    """Look at a model folder and write its recipe, installml.yaml."""
    from ...api.init import init as run

    cli.show(run(folder, name=name, version=version, force=force, dry_run=dry_run))
