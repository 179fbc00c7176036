"""``installml predict``."""

from __future__ import annotations

import json
from typing import Any

from ...errors import UsageError
from ..context import Cli
from ..options import AllowUnsignedOpt, InputOpt, ServedArg

__all__ = ["predict"]

MAX_INPUT = 64 << 20
"""Bytes of one request."""


def predict(
    cli: Cli,
    target: ServedArg,
    *,
    input: InputOpt = "",  # noqa: A002 - the flag's name
    allow_unsigned: AllowUnsignedOpt = False,
) -> None:
    """Ask a model: the server that runs under its name, else a worker for this one question."""
    from ...api.serve import predict as run

    asked = _asked(cli, input) if input else {}
    with cli.session() as session:
        result = run(target, allow_unsigned=allow_unsigned, session=session, **asked)
    cli.show(result)


def _asked(cli: Cli, path: str) -> dict[str, dict[str, Any]]:
    """Return the argument that a document means: a v2 request has a list under ``inputs``, else names to values."""
    try:
        document = json.loads(cli.read(path, MAX_INPUT))
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path} is not JSON: {error}", subject=path) from error
    if not isinstance(document, dict):
        raise UsageError(
            f"{path} is a JSON {type(document).__name__}, not an object",
            hint='Write {"input name": values}, or a request of the Open Inference Protocol v2.',
            subject=path,
        )
    whole = isinstance(document.get("inputs"), list) and all(isinstance(item, dict) for item in document["inputs"])
    return {"request" if whole else "inputs": document}
