"""all-MiniLM-L6-v2 with nothing but numpy: sentences to vectors whose scalar product says how alike they are.

The encoder of BERT (Devlin et al. 2018) with six layers; the vector is the mean over the tokens, of length one
(Reimers and Gurevych 2019, section 3). Sizes come from the weights and config.json.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizer import Tokenizer
from weights import read_weights

Array = NDArray[np.float32]

MOST_TOKENS = 256
"""The model was published with this limit (sentence_bert_config.json, "max_seq_length")."""
BATCH = 32
"""Sentences computed at once: bounds the memory, whatever a request holds."""


class Model:
    """Sentence encoder; ``predict`` takes ``text`` and gives ``embedding``."""

    def __init__(self, folder: Path) -> None:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        self.heads = int(config["num_attention_heads"])
        self.layers = int(config["num_hidden_layers"])
        self.epsilon = float(config["layer_norm_eps"])
        self.tokenizer = Tokenizer(folder / "vocab.txt")
        self.weights = read_weights(folder / "model.safetensors")

    @classmethod
    def load(cls, path: Path) -> Model:
        """Return the model that lies in the folder ``path``."""
        return cls(path)

    def predict(self, inputs: dict[str, NDArray[Any]]) -> dict[str, Array]:
        """Return one vector of length one for each sentence.

        Args:
            inputs: ``text``: one-dimensional, UTF-8 bytes.
        """
        texts = [item.decode() if isinstance(item, bytes) else str(item) for item in inputs["text"].tolist()]
        width = self.weights["embeddings.LayerNorm.bias"].size
        vectors = np.empty((len(texts), width), dtype=np.float32)
        for start in range(0, len(texts), BATCH):
            tokens = [self.tokenizer.encode(text, MOST_TOKENS) for text in texts[start : start + BATCH]]
            vectors[start : start + len(tokens)] = self._embed(tokens)
        return {"embedding": vectors}

    def _embed(self, tokens: list[list[int]]) -> Array:
        longest = max(map(len, tokens))
        numbers = np.array([row + [0] * (longest - len(row)) for row in tokens])
        present = np.array([[1.0] * len(row) + [0.0] * (longest - len(row)) for row in tokens], dtype=np.float32)
        hidden = self._encode(numbers, present)
        mean = (hidden * present[:, :, None]).sum(axis=1) / present.sum(axis=1, keepdims=True)
        return np.asarray(mean / np.linalg.norm(mean, axis=1, keepdims=True))

    def _encode(self, numbers: NDArray[np.int64], present: Array) -> Array:
        table = "embeddings.{}_embeddings.weight".format
        hidden = (
            self.weights[table("word")][numbers]
            + self.weights[table("position")][: numbers.shape[1]]
            + self.weights[table("token_type")][0]
        )
        hidden = self._norm("embeddings", hidden)
        mask = (1 - present)[:, None, None, :] * np.float32(-1e9)
        for layer in range(self.layers):
            name = f"encoder.layer.{layer}"
            mixed = self._dense(f"{name}.attention.output", self._attend(f"{name}.attention.self", hidden, mask))
            hidden = self._norm(f"{name}.attention.output", hidden + mixed)
            wide = gelu(self._dense(f"{name}.intermediate", hidden))
            hidden = self._norm(f"{name}.output", hidden + self._dense(f"{name}.output", wide))
        return hidden

    def _attend(self, name: str, hidden: Array, mask: Array) -> Array:
        query, key, value = (self._split(self._linear(f"{name}.{part}", hidden)) for part in ("query", "key", "value"))
        scores = query @ key.transpose(0, 1, 3, 2) / np.float32(np.sqrt(query.shape[-1])) + mask
        powers = np.exp(scores - scores.max(axis=-1, keepdims=True))
        mixed = (powers / powers.sum(axis=-1, keepdims=True)) @ value
        return np.asarray(mixed.transpose(0, 2, 1, 3).reshape(hidden.shape))

    def _split(self, tensor: Array) -> Array:
        sentences, tokens, width = tensor.shape
        return tensor.reshape(sentences, tokens, self.heads, width // self.heads).transpose(0, 2, 1, 3)

    def _dense(self, name: str, tensor: Array) -> Array:
        return self._linear(f"{name}.dense", tensor)

    def _linear(self, name: str, tensor: Array) -> Array:
        return np.asarray(tensor @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"])

    def _norm(self, name: str, tensor: Array) -> Array:
        centred = tensor - tensor.mean(axis=-1, keepdims=True)
        spread = np.sqrt((centred * centred).mean(axis=-1, keepdims=True) + np.float32(self.epsilon))
        scale, shift = (self.weights[f"{name}.LayerNorm.{part}"] for part in ("weight", "bias"))
        return np.asarray(centred / spread * scale + shift)


def gelu(x: Array) -> Array:
    """Return ``x`` times the normal distribution function of ``x`` (Hendrycks and Gimpel 2016).

    numpy has no error function: Abramowitz and Stegun 7.1.26, which is off by 1.5e-7 at most.
    """
    z = np.abs(x) * np.float32(np.sqrt(0.5))
    t = 1 / (1 + np.float32(0.3275911) * z)
    poly = np.full_like(t, 1.061405429)
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        poly = poly * t + np.float32(coefficient)
    erf = np.copysign(1 - poly * t * np.exp(-z * z), x)
    return np.asarray(x * (1 + erf) / 2, dtype=np.float32)
