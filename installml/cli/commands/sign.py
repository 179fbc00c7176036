"""``installml sign``."""

from __future__ import annotations

from ..context import Cli
from ..identity import login_of
from ..options import (
    Classic,
    ClassicOpt,
    ExpiresOpt,
    IdentityTokenOpt,
    KeylessOpt,
    KeyOpt,
    ProvenanceOpt,
    RefArg,
    SbomOpt,
    ScanOpt,
)

__all__ = ["sign"]


def sign(
    cli: Cli,
    reference: RefArg,
    *,
    key: KeyOpt = "",
    keyless: KeylessOpt = False,
    identity_token: IdentityTokenOpt = "",
    cosign_classic: ClassicOpt = Classic.AUTO,
    expires: ExpiresOpt = "",
    sbom: SbomOpt = False,
    provenance: ProvenanceOpt = False,
    scan: ScanOpt = False,
) -> None:
    """Sign a package and its files, where it is."""
    from ...api.sign import sign as run

    login = login_of(cli, keyless, identity_token)
    with cli.session() as session:
        result = run(
            reference,
            key=key,
            login=login,
            cosign_classic=cosign_classic.value,
            expires=expires,
            sbom=sbom,
            provenance=provenance,
            scan=scan,
            session=session,
        )
    cli.show(result)
