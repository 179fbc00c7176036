"""The table of all clauses, in the order of the specification."""

from __future__ import annotations

from tests.contract.registry_protocol import discovery, manifests, pull, push
from tests.contract.registry_protocol.place import CLAUSES, Clause

__all__ = ["TABLE"]

TABLE: tuple[Clause, ...] = tuple(
    clause
    for module in (pull, push, manifests, discovery)
    for clause in CLAUSES
    if clause.check.__module__ == module.__name__
)
