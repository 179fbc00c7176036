"""The process behind ``local.start``: ``python -P main.py STATE ID FD``, the plan as JSON on stdin.

Says on FD, in one line of JSON, that the model answers or why it does not; exits as ``local.serve`` does.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import Any


def main(arguments: list[str]) -> int:
    """Serve the plan on stdin.

    Args:
        arguments: Folder of the records, the server's id, the descriptor to report on.
    """
    from installml.errors import InstallMLError
    from installml.serving.local import serve
    from installml.serving.plan import from_json
    from installml.serving.records import Record, as_json

    state, identity, descriptor = Path(arguments[0]), arguments[1], int(arguments[2])
    os.set_inheritable(descriptor, False)

    def tell(news: dict[str, Any]) -> None:
        with contextlib.suppress(OSError):  # the caller has left; the server stays
            os.write(descriptor, json.dumps(news).encode() + b"\n")

    def ready(record: Record) -> None:
        tell({"record": as_json(record)})

    try:
        return serve(from_json(json.load(sys.stdin)), state=state, on_ready=ready, identity=identity)
    except InstallMLError as error:
        tell({"message": error.message, "hint": error.hint})
        return error.exit_code


if __name__ == "__main__":
    # Appended, not put first: the folder that holds installml may hold a package named as one of the standard library.
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    raise SystemExit(main(sys.argv[1:]))
