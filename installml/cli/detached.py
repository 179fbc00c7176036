"""The process behind ``background.start``: ``python -P detached.py FOLDER ID``, the command line as JSON on stdin.

Says ``ready`` on standard output when its record is written; from then on both its streams are the log.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path


def main(arguments: list[str]) -> int:
    """Run the command line on stdin.

    Args:
        arguments: Folder of the records, and the id.
    """
    from installml.cli.background import Reporter, new_job
    from installml.cli.context import Cli
    from installml.cli.main import main as run

    folder, identity = Path(arguments[0]), arguments[1]
    order = json.loads(sys.stdin.buffer.read())
    cli = replace(Cli.of_process(), detached=True)
    reporter = Reporter(folder, new_job(identity, order["package"], order["words"], order["log"]), cli)
    reporter.begin()
    os.write(1, b"ready\n")
    os.dup2(2, 1)
    with Path(os.devnull).open("rb") as nothing:
        os.dup2(nothing.fileno(), 0)
    cli.endings.append(reporter.end)
    sys.argv[1:] = order["words"]
    return run(cli=cli)


if __name__ == "__main__":
    # Appended, not put first: the folder that holds installml may hold a package named as one of the standard library.
    sys.path.append(str(Path(__file__).resolve().parents[2]))
    raise SystemExit(main(sys.argv[1:]))
