"""``keys``: make, import, list, export and rotate the keys that sign packages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..errors import NotFound, UsageError
from ..signing.errors import KeyNotFound
from ..signing.keyfile import PrivateKey, is_locked, read_private, write_cosign, write_pkcs8
from ..signing.keyring import Holding, KeyEntry, KeyRing, private_file, read_key_file, uri_file, write_private
from ..signing.secret import Ask, Secret, chosen
from ..signing.signers import Signer, is_uri, open_signer, remote_key
from ..trust.keys import PublicKey, is_private_pem
from ..trust.rotation import Rotation, rotation_bytes
from .results import KeyExportResult, KeyInfo, KeyListResult, KeyResult, KeyRotateResult
from .session import AMBIENT, Session

__all__ = ["key_ring", "keys_export", "keys_generate", "keys_import", "keys_list", "keys_rotate", "signer_of"]

_OPEN = "whoever can read {} can sign as you"


def key_ring(session: Session) -> KeyRing:
    """Return the keys of this machine."""
    return KeyRing(session.keys)


def signer_of(label: str, session: Session) -> Signer:
    """Return who signs with the key of that name, or in that file; the only one when ``label`` is empty.

    Raises:
        KeyNotFound: No such key, or only its public half, or several to choose from.
    """
    return open_signer(label, key_ring(session), session.ask)


def keys_generate(name: str, *, no_passphrase: bool = False, session: Session = AMBIENT) -> KeyResult:
    """Make a key: ECDSA on P-256, kept under a passphrase that is asked for.

    Args:
        name: What it will be called here.
        no_passphrase: Keep it open: whoever can read the file can sign.
        session: Collaborators; its ``ask`` is asked for the passphrase, twice.

    Raises:
        KeyExists: There is a key of that name.
        PassphraseRefused: The passphrase protects nothing.
        PassphraseMissing: There is nobody to ask.
    """
    ring = key_ring(session)
    ring.check_free(name)
    key = PrivateKey.generate()
    entry = ring.add(name, key.public_key, _sealed(key, name, session.ask, open_=no_passphrase))
    return KeyResult(_info(entry), notices=_notices(entry))


def keys_import(source: str, name: str = "", *, no_passphrase: bool = False, session: Session = AMBIENT) -> KeyResult:
    """Keep a key that was made elsewhere: a private key, a public key, or the address of one in a device or service.

    Args:
        source: PEM file (PKCS #8, ``cosign.key``, ``EC PRIVATE KEY``, ``PUBLIC KEY``), or a URI such as
            ``hsm:2?label=token`` or ``awskms:alias/release``.
        name: What it will be called here; the file's name without its ending when left out.
        no_passphrase: Keep a private key open although, or because, it was.
        session: Collaborators. An encrypted key keeps its passphrase; for an open one a new one is asked for.

    Raises:
        KeyExists: There is a key of that name.
        KeyInvalid: It is no key, or of a kind that is not accepted.
        PassphraseRefused: The passphrase is wrong, or protects nothing.
        SignerUnavailable: The device or service cannot be reached.
    """
    ring = key_ring(session)
    remote = is_uri(source)
    if remote and not name:
        raise UsageError("a key in a device or service needs a name", hint=f"installml keys import '{source}' NAME")
    name = name or Path(source).stem
    ring.check_free(name)
    if remote:
        uri, public = remote_key(source, session.ask)
        entry = ring.add(name, public, uri_file(uri))
    else:
        entry = _import_file(source, name, ring, session.ask, open_=no_passphrase)
    notices = _notices(entry)
    if entry.holding in {Holding.ENCRYPTED, Holding.OPEN}:
        notices += (f"{source} is still there; remove it once the key is kept somewhere safe",)
    return KeyResult(_info(entry), source, notices)


def _import_file(source: str, name: str, ring: KeyRing, ask: Ask, *, open_: bool) -> KeyEntry:
    path = Path(source)
    if not path.exists():
        raise NotFound(f"there is no file {source}", subject=source)
    data = read_key_file(path)
    if not is_private_pem(data):
        return ring.add(name, PublicKey.parse(data, source), {})
    locked = is_locked(data)
    heard: list[Secret] = []
    key = read_private(data, _remembering(ask, heard), source)
    if locked and heard and len(heard[0]) and not open_:
        return ring.add(name, key.public_key, private_file(write_pkcs8(key, heard[0])))
    return ring.add(name, key.public_key, _sealed(key, name, ask, open_=open_))


def _remembering(ask: Ask, heard: list[Secret]) -> Ask:
    def asked(what: str) -> Secret:
        heard.append(ask(what))
        return heard[-1]

    return asked


def keys_list(*, session: Session = AMBIENT) -> KeyListResult:
    """List the keys of this machine, every version."""
    return KeyListResult(tuple(_info(entry) for entry in key_ring(session).entries()))


def keys_export(name: str, *, cosign: str = "", rotation: bool = False, session: Session = AMBIENT) -> KeyExportResult:
    """Return a public key in PEM, for those who shall trust it.

    Args:
        name: ``NAME``, or ``NAME@VERSION``.
        cosign: Write the private key too, as ``PREFIX.key`` and ``PREFIX.pub`` for cosign, under the same passphrase.
        rotation: Return the statement by which the version before handed over to this one instead.
        session: Collaborators.

    Raises:
        KeyNotFound: There is no such key, or what is wanted of it is not here.
        KeyExposed: Others can read its file.
        StoreError: A file is there already, or cannot be written.
    """
    entry = key_ring(session).find(name)
    if rotation and cosign:
        raise UsageError("--rotation and --cosign are two things", hint="Ask for one after the other.")
    if rotation:
        return KeyExportResult(entry.label, entry.public.fingerprint, entry.rotation.decode())
    if not cosign:
        return KeyExportResult(entry.label, entry.public.fingerprint, entry.public.pem)
    heard: list[Secret] = []
    key = entry.private(_remembering(session.ask, heard))
    secret = heard[0] if heard else chosen(f"{cosign}.key", session.ask)
    files = {f"{cosign}.key": write_cosign(key, secret), f"{cosign}.pub": entry.public.pem.encode()}
    _write_new(files)
    return KeyExportResult(entry.label, entry.public.fingerprint, written=tuple(files))


def _write_new(files: dict[str, bytes]) -> None:
    there = [path for path in files if Path(path).exists()]
    if there:
        raise UsageError(f"{there[0]} is there already", hint="Choose another prefix.", subject=there[0])
    for path, data in files.items():
        write_private(Path(path), data)


def keys_rotate(name: str, *, no_passphrase: bool = False, session: Session = AMBIENT) -> KeyRotateResult:
    """Make the successor of a key; each signs that the one follows the other. The old one stays as ``NAME@VERSION``.

    Args:
        name: The key's name.
        no_passphrase: Keep the new key open.
        session: Collaborators; asked for the old passphrase, then for a new one, twice.

    Raises:
        KeyNotFound: There is no such key, or it cannot sign here.
        KeyExists: Somebody else rotated it in the meantime.
    """
    ring = key_ring(session)
    old = ring.find(name)
    if not old.current or old.holding not in {Holding.ENCRYPTED, Holding.OPEN}:
        where = f"is in {old.uri}" if old.uri else "has no private half here" if old.current else "was followed already"
        raise KeyNotFound(
            f"the key {old.label} {where}; only a current key in a file here is followed by a new one",
            hint=f"installml keys rotate {old.name}" if not old.current else "installml keys generate NAME",
            subject=old.label,
        )
    signer, key = old.private(session.ask), PrivateKey.generate()
    files = _sealed(key, f"{old.name}, version {old.version + 1}", session.ask, open_=no_passphrase)
    rotation = Rotation(old.public, key.public_key, int(session.clock()))
    entry = ring.follow(old, key.public_key, files, rotation_bytes(rotation, signer.sign, key.sign))
    previous = replace(old, current=False)
    statement = str(entry.path / "rotation.json")
    return KeyRotateResult(_info(entry), _info(previous), statement, _notices(entry))


def _sealed(key: PrivateKey, name: str, ask: Ask, *, open_: bool) -> dict[str, bytes]:
    return private_file(write_pkcs8(key, None if open_ else chosen(f"the key {name}", ask)))


def _notices(entry: KeyEntry) -> tuple[str, ...]:
    return (_OPEN.format(entry.path),) if entry.holding is Holding.OPEN else ()


def _info(entry: KeyEntry) -> KeyInfo:
    return KeyInfo(
        entry.name, entry.version, entry.current, str(entry.public.kind), entry.public.fingerprint, str(entry.holding),
        str(entry.path), entry.uri,
    )  # fmt: skip
