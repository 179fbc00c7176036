"""``installml sbom``."""

from __future__ import annotations

from ..context import Cli
from ..options import DescribedArg, OutputOpt, SbomSpec, SpecOpt

__all__ = ["sbom"]


def sbom(cli: Cli, reference: DescribedArg, *, spec: SpecOpt = SbomSpec.CYCLONEDX, output: OutputOpt = "") -> None:
    """Write the bill of materials of a package: files, libraries, licence, base model, datasets."""
    from ...api.sbom import sbom as run

    with cli.session() as session:
        result = run(reference, spec=spec.value, output=output, session=session)
    cli.show(result)
