"""LightGBM's text model: the header before the first tree (lightgbm.readthedocs.io, `Booster.save_model`)."""

from __future__ import annotations

from pathlib import Path

from installml.packing.formats.documents import integer
from installml.packing.formats.model import Finding, Tensor
from installml.packing.formats.reader import Reader, open_reader

__all__ = ["MAGIC", "read"]

MAGIC = b"tree\n"
MAX_HEADER = 4 << 20
_STEP = 64 << 10


def read(path: Path, name: str) -> Finding:
    """Read a LightGBM model's header: features, classes, objective, format version.

    Args:
        path: The file.
        name: Its path in the model folder.

    Raises:
        FormatError: The header is not LightGBM's or does not end.
    """
    with open_reader(path, name) as reader:
        facts = _header(reader)
        last = integer(facts.get("max_feature_idx", ""))
        if last is None or last < 0:
            raise reader.fail("is not a LightGBM model: no max_feature_idx in its header", offset=0)
    objective = facts.get("objective", "").partition(" ")[0]
    classes = integer(facts.get("num_class", "")) or 1
    details = {"objective": objective, "classes": str(classes), "format": facts.get("version", "")}
    return Finding(
        format="lightgbm",
        engine="lightgbm",
        files=(name,),
        task=_TASKS.get(objective, "tabular-regression" if objective else ""),
        inputs=(Tensor("x", "FP64", (-1, last + 1)),),
        outputs=(Tensor("y", "FP64", (-1, classes) if classes > 1 else (-1,)),),
        details={key: value for key, value in details.items() if value},
    )


_TASKS = {
    "binary": "tabular-classification",
    "multiclass": "tabular-classification",
    "multiclassova": "tabular-classification",
    "cross_entropy": "tabular-classification",
    "lambdarank": "",
    "rank_xendcg": "",
    "custom": "",
}


def _header(reader: Reader) -> dict[str, str]:
    if reader.bytes(min(len(MAGIC), reader.remaining), cap=_STEP) != MAGIC:
        raise reader.fail("does not begin with the line 'tree'", offset=0)
    data = b""
    while b"\n\n" not in data and b"\nTree=" not in data:
        if not reader.remaining or len(data) > MAX_HEADER:
            raise reader.fail("its header does not end with an empty line")
        data += reader.bytes(min(_STEP, reader.remaining), cap=_STEP)
    head = data.partition(b"\n\n")[0].decode("utf-8", "replace")
    pairs = (line.partition("=") for line in head.splitlines())
    return {key: value.strip() for key, separator, value in pairs if separator}
