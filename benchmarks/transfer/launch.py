"""Runs commands one after the other and writes what they cost; started by ``measuring.py`` as a process of its own.

A process inherits its parent's peak memory over fork and exec, so whoever measures must be small: this file is run
with ``python -I -S`` and imports little. What it reports as peak memory is never less than its own, about 9 MB.
"""

import json
import os
import resource
import sys
import time


def one(command: list[str]) -> tuple[float, int, "resource.struct_rusage"]:
    """Run one command to its end; return wall seconds, exit code and what the system counted for it."""
    began = time.perf_counter()
    child = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(child, 0)
    return time.perf_counter() - began, os.waitstatus_to_exitcode(status), usage


def main() -> None:
    """Run the commands of the JSON document in argv[2] until one fails; write the sums to the file argv[1]."""
    wall = cpu = 0.0
    peak = code = 0
    for command in json.loads(sys.argv[2]):
        seconds, code, usage = one(command)
        wall += seconds
        cpu += usage.ru_utime + usage.ru_stime
        peak = max(peak, usage.ru_maxrss)
        if code:
            break
    with open(sys.argv[1], "w") as out:  # noqa: PTH123  # pathlib would double this process's memory
        json.dump({"wall": wall, "cpu": cpu, "peak": peak * 1024, "code": code}, out)


if __name__ == "__main__":
    main()
