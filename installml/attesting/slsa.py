"""Provenance of a package: SLSA Provenance v1 (slsa.dev/spec/v1.0/provenance), section names in quotes are its own.

A build by a person on a machine of their own says so in ``builder.id``: it is SLSA build level 1, that provenance is
there. A build service passes its own id, and signs with an identity of its own, for more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ..digest import Digest
from ..reference import Reference
from ..spec.media import LOCK_PATH, RECIPE_NAME
from ..trust.statement import PROVENANCE
from .facts import Facts

__all__ = ["BUILD_TYPE", "LOCAL_BUILDER", "PREDICATE_TYPE", "Run", "provenance"]

PREDICATE_TYPE = PROVENANCE
BUILD_TYPE = "https://installml.dev/build/v1"
"""Explained in docs/reference/predicates.md, as the specification asks ("buildType")."""
LOCAL_BUILDER = "https://installml.dev/builder/local"
_COMMIT = re.compile("[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a build.

    Attributes:
        tool: Version of installml.
        builder: URI of whoever is trusted to have built what it says ("builder.id").
        invocation: What the builder calls this run; may be empty.
        started: Seconds since the epoch, or None.
        finished: Likewise.
        commit: Commit of the source folder; empty to take the recipe's ``revision`` when that is one.
    """

    tool: str
    builder: str = LOCAL_BUILDER
    invocation: str = ""
    started: int | None = None
    finished: int | None = None
    commit: str = ""


def provenance(facts: Facts, run: Run) -> dict[str, Any]:
    """Return the predicate that says how a package was built.

    Args:
        facts: What is known about the package.
        run: What is known about the build.
    """
    metadata = {"invocationId": run.invocation, "startedOn": _time(run.started), "finishedOn": _time(run.finished)}
    return {
        "buildDefinition": {
            "buildType": BUILD_TYPE,
            "externalParameters": _filled(
                {"recipe": RECIPE_NAME, "name": facts.name, "version": facts.version, "source": facts.source}
            ),
            "internalParameters": _filled({"installml": run.tool, "sourceDate": _time(facts.created)}),
            "resolvedDependencies": _dependencies(facts, run),
        },
        "runDetails": _filled(
            {
                "builder": {"id": run.builder, "version": {"installml": run.tool}},
                "metadata": _filled(metadata),
            }
        ),
    }


def _filled(value: dict[str, Any]) -> dict[str, Any]:
    return {key: item for key, item in value.items() if item not in ("", [], {}, None)}


def _time(seconds: int | None) -> str:
    return "" if seconds is None else datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _dependencies(facts: Facts, run: Run) -> list[dict[str, Any]]:
    """Return what the build read from outside ("resolvedDependencies"), each with the digest that it had."""
    return [
        *_source(facts, run),
        *_packaged("recipe", RECIPE_NAME, facts.recipe),
        *_packaged("lock", LOCK_PATH, facts.locked),
        *_base(facts),
        *_image(facts.runtime.image if facts.runtime else ""),
    ]


def _packaged(name: str, path: str, digest: Digest | None) -> list[dict[str, Any]]:
    """Return a small file that decided the build and lies in the package as well."""
    return [{"name": name, "uri": f"file:{path}", "digest": {digest.algorithm: digest.hex}}] if digest else []


def _source(facts: Facts, run: Run) -> list[dict[str, Any]]:
    """Return the commit that the folder was at. Whether its files were changed since is not known and not claimed."""
    commit = run.commit or facts.revision
    if not _COMMIT.fullmatch(commit):
        return []
    found = {"name": "source", "digest": {"gitCommit": commit}, "annotations": {"worktree": "not compared"}}
    if re.fullmatch(r"(?:https?|git|ssh)://[!-~]{1,2000}", facts.source):
        found["uri"] = f"git+{facts.source}@{commit}"
    return [found]


def _base(facts: Facts) -> list[dict[str, Any]]:
    base = facts.base
    if base is None:
        return []
    digest = base.digest or Reference.parse(base.ref).digest
    found = {
        "name": "base",
        "uri": f"oci://{base.ref}",
        "digest": {digest.algorithm: digest.hex} if digest else {},
        "annotations": {"relation": base.relation},
    }
    return [_filled(found)]


def _image(image: str) -> list[dict[str, Any]]:
    match = re.search(r"@(sha256):([0-9a-f]{64})$", image)
    return [{"name": "image", "uri": f"oci://{image}", "digest": {match[1]: match[2]}}] if match else []
