"""Kinds of files by their first bytes, for scanners that have to know what a file is not."""

from __future__ import annotations

from installml.scanning.finding import Content

__all__ = ["END_RECORD", "compression", "ends_as_zip", "is_container", "unscannable"]

#: Signature of a zip's end of central directory record (APPNOTE 4.3.16).
END_RECORD = b"PK\x05\x06"
_TAIL = 65_535 + 22

_COMPRESSIONS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "lzma",
    b"]\0\0": "lzma",
    b"\x28\xb5\x2f\xfd": "zstd",
}

#: Containers that nothing here opens, so that nothing can be said about what is in them.
_UNSCANNABLE = {
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!\x1a\x07": "rar",
    b"RE~^": "rar",
    b"MSCF\0\0\0\0": "cab",
    b"\x04\x22\x4d\x18": "lz4",
    b"\x02\x21\x4c\x18": "lz4",
    b"\x1f\x9d": "compress",
    b"\x1f\xa0": "compress",
    b"LZIP": "lzip",
    b"\x89LZO\0\r\n\x1a\n": "lzop",
    b"\xff\x06\0\0sNaPpY": "snappy",
    b"!<arch>\n": "ar",
    b"hsqs": "squashfs",
    b"070701": "cpio",
    b"070707": "cpio",
    b"xar!": "xar",
    b"`\xea": "arj",
    b"ZPAQ": "zpaq",
    b"zPQ": "zpaq",
    b"age-encryption.org/": "age",
    b"Salted__": "openssl enc",
}


def compression(head: bytes) -> str:
    """Return the name of the compression that a file begins with, "" if none does."""
    for magic, name in _COMPRESSIONS.items():
        if head.startswith(magic):
            return name
    # RFC 1950: method 8 with a window of 32 KiB (smaller ones look like text, and joblib knows none), and a check
    # value over both bytes; no preset dictionary.
    if len(head) > 2 and head[0] == 0x78 and int.from_bytes(head[:2], "big") % 31 == 0 and not head[1] & 0x20:
        return "zlib"
    return ""


def unscannable(head: bytes) -> str:
    """Return the kind of container that cannot be opened here, "" if it is none."""
    return next((name for magic, name in _UNSCANNABLE.items() if head.startswith(magic)), "")


def is_container(head: bytes) -> bool:
    """Say whether a file is a container or compressed, so that its name may speak of what is in it."""
    tar = head[257:262] == b"ustar"
    return tar or head.startswith((b"PK\x03\x04", END_RECORD)) or bool(compression(head) or unscannable(head))


def ends_as_zip(content: Content, *, exactly: bool) -> bool:
    """Say whether a zip with members ends where a file ends, whatever the file begins with.

    Args:
        content: The file.
        exactly: Nothing may follow the end record, though `zipfile` would not mind: other containers hold whole zips.
    """
    size = content.size
    start = max(0, size - _TAIL)
    tail = content.read_at(start, size - start)
    at = tail.rfind(END_RECORD)
    if at < 0 or len(tail) - at < 22:
        return False
    if exactly and at + 22 + int.from_bytes(tail[at + 20 : at + 22], "little") != len(tail):
        return False
    members, directory = int.from_bytes(tail[at + 10 : at + 12], "little"), tail[at + 12 : at + 16]
    begins = start + at - int.from_bytes(directory, "little")
    # The zip64 records stand between the directory and the end record: 56 + 20 bytes.
    places = (begins, begins - 76)
    return members > 0 and any(place >= 0 and content.read_at(place, 4) == b"PK\x01\x02" for place in places)
