"""The public test kit: what proves InstallML's own stores, and what tests of other people's code can stand on.

- ``StoreContract``: inherit it, say how your place is made, and its promises are tested. ``AssemblerContract``: the
  same for places that take blobs in pieces.
- ``MemoryStore``, ``SettableClock`` and ``start`` (a real registry on loopback): doubles that are products.
- ``installml.testing.quirky``: the same registry with the habits of other people's (chunks of 4 MiB, no referrers
  API, storage elsewhere, tokens that end ...), for clients that must get along with all of them.
- ``installml.testing.sigstore``: a Sigstore in memory, whose bundles are right or have exactly one thing wrong.
- ``package_bytes``, ``small_package``: genuine packages without a folder.
- ``installml.testing.strategies``: hypothesis strategies; importing it needs ``hypothesis``, nothing else here does.

Not here: anything that the product imports. Importing this package imports neither pytest nor hypothesis nor a
web framework.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..store.memory import MemoryStore
from .clock import SettableClock
from .contract import AssemblerContract, StoreContract
from .packages import Packed, package_bytes, small_package

if TYPE_CHECKING:
    from ..registry_server import Faults, RunningRegistry, start

__all__ = [
    "AssemblerContract",
    "Faults",
    "MemoryStore",
    "Packed",
    "RunningRegistry",
    "SettableClock",
    "StoreContract",
    "package_bytes",
    "small_package",
    "start",
]

_REGISTRY = {"Faults", "RunningRegistry", "start"}


def __getattr__(name: str) -> Any:
    if name not in _REGISTRY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .. import registry_server

    return getattr(registry_server, name)
