"""Text to token numbers, as uncased BERT reads it (Devlin et al. 2018; WordPiece: Wu et al. 2016, section 4.1)."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from pathlib import Path

MAX_WORD = 100
"""Longer words are unknown as a whole."""
_SPECIAL = re.compile(r"(\[(?:PAD|UNK|CLS|SEP|MASK)\])")
_IDEOGRAPHS = (
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B920, 0x2CEAF),
    (0xF900, 0xFAFF), (0x2F800, 0x2FA1F),
)  # fmt: skip
"""CJK ideographs, each a word of its own: the blocks that Hugging Face's tokenizers counts."""


class Tokenizer:
    """WordPiece over a vocabulary with one piece a line."""

    def __init__(self, vocabulary: Path) -> None:
        pieces = vocabulary.read_text(encoding="utf-8").split("\n")
        self.numbers = {piece: number for number, piece in enumerate(pieces) if piece}

    def encode(self, text: str, most: int) -> list[int]:
        """Return at most ``most`` token numbers, [CLS] first and [SEP] last; what is longer is cut."""
        inner = [number for part in _SPECIAL.split(text) for number in self._part(part)]
        return [self.numbers["[CLS]"], *inner[: most - 2], self.numbers["[SEP]"]]

    def _part(self, part: str) -> Iterator[int]:
        if _SPECIAL.fullmatch(part):
            yield self.numbers[part]
            return
        for word in words(part):
            yield from self._pieces(word)

    def _pieces(self, word: str) -> list[int]:
        """Return the longest pieces from the left; one unknown piece makes the whole word unknown."""
        unknown = [self.numbers["[UNK]"]]
        found: list[int] = []
        start = 0
        while start < len(word) <= MAX_WORD:
            lead = "##" if start else ""
            ends = range(len(word), start, -1)
            end = next((e for e in ends if lead + word[start:e] in self.numbers), 0)
            if not end:
                return unknown
            found.append(self.numbers[lead + word[start:end]])
            start = end
        return found or unknown


def words(text: str) -> Iterator[str]:
    """Yield lowercase words without accents; a punctuation mark or an ideograph is a word of its own."""
    spaced = "".join(_cleaned(letter) for letter in text)
    bare = "".join(letter for letter in unicodedata.normalize("NFD", spaced) if unicodedata.category(letter) != "Mn")
    lowered = "".join(letter.lower() for letter in bare)
    yield from "".join(f" {letter} " if _is_punctuation(letter) else letter for letter in lowered).split()


def _cleaned(letter: str) -> str:
    if letter in "\t\n\r":
        return " "
    if letter == "\ufffd" or unicodedata.category(letter).startswith("C"):
        return ""
    if letter.isspace() or any(first <= ord(letter) <= last for first, last in _IDEOGRAPHS):
        return f" {letter} "
    return letter


def _is_punctuation(letter: str) -> bool:
    # BERT counts every ASCII sign that is no letter, digit or space, such as $ and ^, which Unicode does not.
    return ("!" <= letter <= "~" and not letter.isalnum()) or unicodedata.category(letter).startswith("P")
