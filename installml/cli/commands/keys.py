"""``installml keys``: generate, import, list, export, rotate. A passphrase is never an argument."""

from __future__ import annotations

from ..context import Cli
from ..options import CosignOpt, KeyArg, KeySourceArg, NewKeyArg, NoPassphraseOpt, OptionalKeyArg, RotationOpt

__all__ = ["export", "generate", "import_", "list_", "rotate"]


def generate(cli: Cli, name: NewKeyArg, *, no_passphrase: NoPassphraseOpt = False) -> None:
    """Make a key that signs packages, kept under a passphrase."""
    from ...api.keys import keys_generate as run

    with cli.session() as session:
        result = run(name, no_passphrase=no_passphrase, session=session)
    cli.show(result)


def import_(
    cli: Cli, source: KeySourceArg, name: OptionalKeyArg = "", *, no_passphrase: NoPassphraseOpt = False
) -> None:
    """Keep a private key, a public key, or the address of a key in a device or service."""
    from ...api.keys import keys_import as run

    with cli.session() as session:
        result = run(source, name, no_passphrase=no_passphrase, session=session)
    cli.show(result)


def list_(cli: Cli) -> None:
    """List the keys of this machine."""
    from ...api.keys import keys_list as run

    with cli.session() as session:
        result = run(session=session)
    cli.show(result)


def export(cli: Cli, name: KeyArg, *, cosign: CosignOpt = "", rotation: RotationOpt = False) -> None:
    """Print the public key, for those who shall trust it."""
    from ...api.keys import keys_export as run

    with cli.session() as session:
        result = run(name, cosign=cosign, rotation=rotation, session=session)
    cli.show(result)


def rotate(cli: Cli, name: KeyArg, *, no_passphrase: NoPassphraseOpt = False) -> None:
    """Make the successor of a key; both sign that the one follows the other."""
    from ...api.keys import keys_rotate as run

    with cli.session() as session:
        result = run(name, no_passphrase=no_passphrase, session=session)
    cli.show(result)
