"""The download engine: the blobs of one copy, in parts, over one set of connections whose number adapts.

What goes on at the same time:

- *Connections* (``connection``): threads that take the next part, read it into a buffer of their own and write it in
  its place. How many may work is ``pace``'s to say; which part is next is ``schedule``'s: the front of a blob first,
  because hashing follows the front; large blobs before small ones.
- *Blobs* (``bringer``): a thread for each large blob that is open, which opens its assembly (and may wait there for
  another process), lets local bytes be put in, hashes what has arrived, from the front on (``hashing``), and publishes.
  As many hash at once as there are cores.
- *The caller's thread* (``engine``) measures, looks for connections that stand still, opens blobs when the connections
  run out of parts, and is where Ctrl-C arrives.

How a request ends, and whether there is another, is decided in ``outcomes``: a part that breaks is asked for again from
where it broke; the wait grows while nothing new comes, and only a copy that gets no further for ``Tuning.patience``
seconds gives up. Anything that another attempt cannot mend ends the copy at once.

Decided elsewhere: what a range request is (``registry.downloads``), how bytes survive a crash (``store.partial``),
which bytes are on this machine already (``delta``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .places import Cancelled, Store, title
from .tuning import Tuning

if TYPE_CHECKING:
    from .engine import Download

__all__ = ["Cancelled", "Download", "Store", "Tuning", "title"]


def __getattr__(name: str) -> Any:
    """Load the engine when it is first used: a copy with nothing to bring does without."""
    if name != "Download":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .engine import Download

    return Download
