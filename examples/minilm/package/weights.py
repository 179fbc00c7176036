"""Reading a safetensors file: a length, a JSON header, then the tensors (huggingface/safetensors, "Format")."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAX_HEADER = 1 << 20
FLOAT32 = np.dtype("<f4")


class WeightsDamaged(Exception):
    """The file is not what its own header says."""


def read_weights(path: Path) -> dict[str, NDArray[np.float32]]:
    """Return the float32 tensors by name; they stay on disk until they are used, shared by all who map them.

    Raises:
        WeightsDamaged: The header and the bytes disagree.
    """
    data = np.memmap(path, mode="r")
    length = int.from_bytes(data[:8].tobytes(), "little")
    if data.size < 8 or length > min(MAX_HEADER, data.size - 8):
        raise WeightsDamaged(f"{path.name}: the header does not fit the file")
    header = json.loads(data[8 : 8 + length].tobytes())
    header.pop("__metadata__", None)
    body = data[8 + length :]
    return {name: _tensor(name, entry, body) for name, entry in header.items() if entry["dtype"] == "F32"}


def _tensor(name: str, entry: dict[str, Any], body: NDArray[np.uint8]) -> NDArray[np.float32]:
    first, last = entry["data_offsets"]
    shape = entry["shape"]
    if not 0 <= first <= last <= body.size or last - first != 4 * math.prod(shape):
        raise WeightsDamaged(f"tensor {name}: its offsets and its shape disagree")
    return np.asarray(body[first:last].view(FLOAT32).reshape(shape))
