"""The Python SDK in one sitting: `python examples/sdk/quickstart.py`.

A registry on loopback, a model that goes through it, a server, ten answers. Everything it makes is in a temporary
folder; nothing is left behind.
"""

from __future__ import annotations

import importlib.resources
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

import installml
from installml.testing import start


def main(folder: Path) -> None:
    """Build, push, install, serve, ask."""
    model = folder / "digits"
    with importlib.resources.as_file(importlib.resources.files("installml") / "demo_model") as shipped:
        shutil.copytree(shipped, model)
    images: list[dict[str, Any]] = json.loads((model / "held_out.json").read_text(encoding="utf-8"))["images"]

    with start(folder / "registry") as registry:
        reference = f"{registry.address}/demo/digits:1.0.0"
        pushed = installml.push(model, reference)  # straight from the folder: no second copy on this disk
        print(f"pushed {pushed.digest}")
        installed = installml.install(reference)
        print(f"installed {installed.name} {installed.version}, {installed.moved} bytes fetched")

    passed = installml.test(reference).passed
    print(f"the packaged example {'passes' if passed else 'fails'}")
    with installml.serve(reference) as server:
        answer = server.predict({"image": [image["pixels"] for image in images]})
    print("truth ", [image["label"] for image in images])
    print("answer", answer["digit"].tolist())


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        os.environ["INSTALLML_HOME"] = f"{scratch}/home"
        main(Path(scratch))
