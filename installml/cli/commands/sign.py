"""``installml sign``."""

from __future__ import annotations

from ..context import Cli
from ..options import Classic, ClassicOpt, ExpiresOpt, KeyOpt, ProvenanceOpt, RefArg, SbomOpt, ScanOpt

__all__ = ["sign"]


def sign(
    cli: Cli,
    reference: RefArg,
    *,
    key: KeyOpt = "",
    cosign_classic: ClassicOpt = Classic.AUTO,
    expires: ExpiresOpt = "",
    sbom: SbomOpt = False,
    provenance: ProvenanceOpt = False,
    scan: ScanOpt = False,
) -> None:
    """Sign a package and its files, where it is."""
    from ...api.sign import sign as run

    with cli.session() as session:
        result = run(
            reference,
            key=key,
            cosign_classic=cosign_classic.value,
            expires=expires,
            sbom=sbom,
            provenance=provenance,
            scan=scan,
            session=session,
        )
    cli.show(result)
