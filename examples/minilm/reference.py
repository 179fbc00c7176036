"""Compute what the packaged model should answer, with none of its code: `python reference.py FOLDER`.

FOLDER holds the model's files as its authors published them. sentence-transformers reads them, tokenizes with
Hugging Face's tokenizers and computes with PyTorch in float32 on the CPU. Its answers go into `reference.json`, and
the vectors of the two sentences of `package/example.json` into `package/expected.json`.
"""

from __future__ import annotations

import json
import platform
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from sentence_transformers import SentenceTransformer

HERE = Path(__file__).resolve().parent
LIBRARIES = ("sentence-transformers", "transformers", "tokenizers", "torch")
PAIRS = (
    ("A man is playing a guitar on the stage.", "Someone performs music with an instrument."),
    ("The cat sat on the mat.", "Interest rates were raised by half a per cent."),
    ("How do I install a package?", "What is the way to set up software?"),
    ("The house is big.", "The house is not big."),
    ("Crème brûlée à la façon de Zoë", "creme brulee a la facon de zoe"),
    ("東京は日本の首都です。", "Tokyo is the capital of Japan."),
    ("Prices: $3.50 (incl. 20% VAT) - e-mail me@example.org!", "It costs three dollars and fifty cents with tax"),
    ("antidisestablishmentarianism ☃ 🤖 x\u200by\tz\u00a0w", "pneumonoultramicroscopicsilicovolcanoconiosis"),
    ("", "[MASK] of the [SEP] day"),
    ("The river rises in the mountains and flows to the sea. " * 60, "A river flows from the mountains to the sea."),
    ("a" * 120, "ΟΔΥΣΣΕΥΣ Straße ŁÓDŹ İstanbul"),
)


def main(folder: Path) -> None:
    """Write `reference.json` and `package/expected.json`."""
    model = SentenceTransformer(str(folder), device="cpu")
    sides = [model.encode([pair[side] for pair in PAIRS], normalize_embeddings=True) for side in (0, 1)]
    similarities = (torch.tensor(sides[0]).double() * torch.tensor(sides[1]).double()).sum(dim=1).tolist()
    made_by = {name: version(name) for name in LIBRARIES} | {"python": platform.python_version()}
    pairs = [{"texts": pair, "similarity": round(value, 6)} for pair, value in zip(PAIRS, similarities, strict=True)]
    write(HERE / "reference.json", {"made_by": made_by, "pairs": pairs})
    request = json.loads((HERE / "package" / "example.json").read_text(encoding="utf-8"))
    vectors = model.encode(request["inputs"][0]["data"], normalize_embeddings=True)
    data = [round(float(value), 6) for value in vectors.ravel()]
    output = {"name": "embedding", "datatype": "FP32", "shape": list(vectors.shape), "data": data}
    write(HERE / "package" / "expected.json", {"outputs": [output]}, indent=None)


def write(path: Path, value: object, indent: int | None = 2) -> None:
    """Write one JSON file."""
    path.write_text(json.dumps(value, ensure_ascii=False, indent=indent) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
