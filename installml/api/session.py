"""The collaborators of every verb, made once by whoever stands above and passed in."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..errors import ReferenceInvalid
from ..events import Listener, Notice, ignore
from ..reference import LOCAL, Reference
from ..signing.secret import ask_nobody
from ..store.disk import DiskRepository, DiskStore
from ..store.installed import InstalledStore
from ..store.recovery import recover

if TYPE_CHECKING:
    from ..digest import Digest
    from ..machines.machine import Machine
    from ..registry.auth import CredentialSource
    from ..registry.credentials import CredentialStore
    from ..registry.mirrors import Mirrors, MirrorSettings
    from ..registry.repository import Registry, Repository
    from ..runtime.index import Index
    from ..signing.secret import Ask
    from ..spec.descriptor import Descriptor
    from ..store.trusted import TrustFolder
    from ..transfer.download import Tuning
    from ..transfer.rate import Rate
    from ..trust.verdict import Verdict

__all__ = ["AMBIENT", "Session"]


@dataclass(frozen=True, slots=True)
class Session:
    """What a verb works with.

    Attributes:
        home: Folder of the store, installed models and runtimes.
        open_registry_as: Returns a registry by its host, with somebody's credentials.
        credentials: Where logins are kept.
        default_registry: Host and optional path prefix that bare names refer to; empty for none.
        index: Where wheels for runtime environments come from.
        jobs: Most connections at the same time.
        limit: Ceiling on bytes a second, shared by all that this session moves; None for no limit.
        part_size: Bytes asked for in one request; 0 to choose by size and speed.
        tuning: What downloads take for given besides, such as how long they go on without a byte; None for what is
            right on most networks.
        offline: Use nothing but this machine.
        on_event: Told what happens.
        clock: Seconds since the epoch.
        probe: Looks at this machine; given the folder whose disk counts.
        source_date_epoch: Build time that the caller asked for, or None.
        hub_caches: Folders where Hugging Face's tools keep what they fetched; only read.
        ollama_caches: Folders where Ollama does.
        environ: The environment, of which a model's process is given a few harmless variables.
        mirrors_of: What is configured about the mirrors of a registry, None for none.
        trusted_indexes: Given a manifest, returns the digests of chunk indexes of it that the caller has verified some
            other way, besides those that its signers vouch for.
        ask: Asks for a passphrase or PIN, given what is wanted.
        accept: Asks somebody whether the signers that a verdict names may be trusted; None where nobody can be asked.
        policy_file: Trust policy that is asked before the user's own; None for none.
        trust_config: Roots of trust for certificates: of Sigstore's public instance when None.
    """

    home: Path
    open_registry_as: Callable[[str, CredentialSource], Registry]
    credentials: CredentialStore
    index: Index
    default_registry: str = field(default="", repr=False)
    jobs: int = 16
    limit: Rate | None = None
    part_size: int = 0
    tuning: Tuning | None = None
    offline: bool = False
    on_event: Listener = ignore
    clock: Callable[[], float] = time.time
    probe: Callable[[Path], Machine] | None = None
    source_date_epoch: int | None = None
    hub_caches: tuple[Path, ...] = ()
    ollama_caches: tuple[Path, ...] = ()
    environ: Mapping[str, str] = field(default_factory=dict, repr=False)
    mirrors_of: Callable[[str], MirrorSettings | None] = lambda _: None
    trusted_indexes: Callable[[Descriptor], Collection[Digest]] = lambda _: ()
    ask: Ask = field(default=ask_nobody, repr=False)
    accept: Callable[[Verdict], bool] | None = None
    policy_file: Path | None = None
    trust_config: Path | None = None
    store: DiskStore = field(init=False)
    installed: InstalledStore = field(init=False)
    _registries: dict[str, Registry] = field(init=False, default_factory=dict, repr=False)
    _mirrors: dict[str, Mirrors | None] = field(init=False, default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "store", DiskStore(self.home, clock=self.clock))
        object.__setattr__(self, "installed", InstalledStore(self.home))
        recover(self.store, on_event=self.on_event)  # before any verb uses what a power cut may have damaged

    @property
    def runtimes(self) -> Path:
        """Folder of runtime environments."""
        return self.home / "runtimes"

    @property
    def keys(self) -> Path:
        """Folder of signing keys."""
        return self.home / "trust" / "keys"

    @property
    def trusted(self) -> TrustFolder:
        """Whom this machine trusts, and what it has seen."""
        from ..store.trusted import TrustFolder

        return TrustFolder(self.home / "trust")

    @property
    def servers(self) -> Path:
        """Folder of the records of running servers."""
        return self.home / "state" / "servers"

    @property
    def transfers(self) -> Path:
        """Folder of the records of transfers in the background."""
        return self.home / "state" / "transfers"

    def qualify(self, reference: Reference | str) -> Reference:
        """Return ``reference`` with its registry: the default one, or the local store's when there is none.

        Raises:
            ReferenceInvalid: It is outside the grammar, or the default registry is.
        """
        if isinstance(reference, str):
            reference = Reference.parse(reference)
        if reference.registry:
            return reference
        if not self.default_registry:
            return Reference(LOCAL, reference.repository, reference.tag, reference.digest)
        found = self._under_default(reference.repository)
        return Reference(found.registry, found.repository, reference.tag, reference.digest)

    def _under_default(self, repository: str) -> Reference:
        try:
            found = Reference.parse(f"{self.default_registry}/{repository}")
        except ReferenceInvalid:  # not chained: what somebody took for a registry may have a password in it
            found = Reference("", repository)
        if not found.registry or found.tag or found.digest:
            from ..runtime.index import without_secrets

            raise ReferenceInvalid(
                f"the default registry {without_secrets(self.default_registry)!r} is not a registry host, which has a "
                "dot, a port or is localhost, with or without a path",
                hint="Set registry.default (INSTALLML_REGISTRY) to a host such as ghcr.io/acme.",
                subject="registry.default",
            )
        return found

    def local(self, reference: Reference) -> DiskRepository:
        """Return the place of ``reference`` in the local store."""
        return self.store.repository(reference.registry, reference.repository)

    def remote(self, reference: Reference) -> Repository:
        """Return the place of ``reference`` in its registry, read through its mirrors where there are some.

        Raises:
            ReferenceInvalid: It has none.
        """
        host = reference.registry
        if host in ("", LOCAL):
            raise ReferenceInvalid(
                f"{reference.repository} names no registry",
                hint=f"Write the registry: REGISTRY/{reference.repository}, or set INSTALLML_REGISTRY.",
                subject=str(reference),
            )
        origin = self._registry(host).repository(reference.repository)
        mirrors = self._mirrors_for(host)
        return mirrors.around(origin) if mirrors else origin

    def _registry(self, host: str) -> Registry:
        if host not in self._registries:
            self._registries[host] = self.open_registry_as(host, self.credentials)
        return self._registries[host]

    def _mirrors_for(self, host: str) -> Mirrors | None:
        if host not in self._mirrors:
            settings = self.mirrors_of(host)
            self._mirrors[host] = self._open_mirrors(host, settings) if settings and settings.addresses else None
        return self._mirrors[host]

    def _open_mirrors(self, host: str, settings: MirrorSettings) -> Mirrors:
        from ..registry.mirrors import Mirrors

        return Mirrors(host, settings, self._registry, tell=lambda text: self.on_event(Notice(text)))

    def forget(self, host: str) -> None:
        """Open the registry ``host`` anew next time: who we are there has changed."""
        self._registries.pop(host, None)
        self._mirrors.clear()

    def machine(self) -> Machine:
        """Look at this machine, with the disk that the store is on."""
        if self.probe is not None:
            return self.probe(self.home)
        from ..machines.probe import probe

        return probe(self.home)


AMBIENT = cast(Session, None)
"""Default of every verb's ``session``: ``installml.<verb>`` puts one made from the environment in its place, which
the modules below cannot do for themselves because nothing below ``config`` may read a setting."""
