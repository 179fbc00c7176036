"""Train a small tabular classifier and make its model folder: `python train.py FOLDER`.

Data: R. A. Fisher's iris measurements (1936), as scikit-learn carries them. The model is saved with skops, which,
unlike a pickle, runs no code when it is opened.
"""

from __future__ import annotations

import json
import shutil
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import skops.io
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler

PACKAGE = Path(__file__).resolve().parent / "package"


def tensor(name: str, datatype: str, values: Any) -> dict[str, Any]:
    """Return an Open Inference Protocol v2 tensor."""
    array = np.asarray(values)
    return {"name": name, "datatype": datatype, "shape": list(array.shape), "data": array.ravel().tolist()}


def write(folder: Path, model: Pipeline, example: Any) -> None:
    """Write model, requirements, request and answer beside the recipe."""
    shutil.copytree(PACKAGE, folder, dirs_exist_ok=True)
    skops.io.dump(model, folder / "model.skops")
    # What was fitted by one scikit-learn is promised to work in that one only (its guide, "Model persistence").
    pins = [f"{name}=={version(name)}" for name in ("scikit-learn", "skops", "numpy")]
    (folder / "requirements.txt").write_text("\n".join(pins) + "\n", encoding="utf-8")
    request = {"inputs": [tensor("measurements", "FP64", example)]}
    answer = {
        "outputs": [
            tensor("species", "INT64", model.predict(example)),
            tensor("probabilities", "FP64", model.predict_proba(example)),
        ]
    }
    for name, value in (("example.json", request), ("expected.json", answer)):
        (folder / name).write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")


def main(folder: Path) -> None:
    """Train, write, and print the accuracy on what was held out."""
    flowers = load_iris()
    parts = train_test_split(flowers.data, flowers.target, test_size=0.3, random_state=0, stratify=flowers.target)
    seen, unseen, labels, truth = parts
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(seen, labels)
    write(folder, model, unseen[:3])
    print(f"held out: {int((model.predict(unseen) == truth).sum())} of {len(truth)} right")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
