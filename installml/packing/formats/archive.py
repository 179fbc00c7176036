"""The table of contents of a ZIP file, and single members of it.

Nothing is extracted to disk. Written from PKWARE's APPNOTE 6.3 (sections 4.3 and 4.4): end record, its ZIP64
form, central directory, local headers; stored and deflated members only, which is what model formats use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from installml.packing.formats.reader import Reader, expand

__all__ = ["MAGIC", "Member", "archive", "member_bytes", "member_reader", "strip_root"]

MAGIC = b"PK\x03\x04"
MAX_MEMBERS = 200_000
_END, _END64, _LOCATOR64, _CENTRAL = b"PK\x05\x06", b"PK\x06\x06", b"PK\x06\x07", b"PK\x01\x02"
_END_SIZE, _LOCATOR_SIZE, _MAX_COMMENT = 22, 20, 0xFFFF
_STORED, _DEFLATED = 0, 8
_ENCRYPTED = 0x1
_ZIP64 = 0x0001


@dataclass(frozen=True, slots=True)
class Member:
    """One file inside an archive; sizes and offset in bytes."""

    name: str
    method: int
    flags: int
    compressed: int
    size: int
    offset: int


def archive(reader: Reader) -> dict[str, Member]:
    """List an archive's members by name.

    Raises:
        FormatError: No central directory, one outside the file, a name twice, or more than 200,000 members.
    """
    count, size, offset = _directory(reader)
    if count > MAX_MEMBERS:
        raise reader.fail(f"lists {count} members, more than the {MAX_MEMBERS} that are accepted")
    directory = reader.window(offset, size)
    found: dict[str, Member] = {}
    for _ in range(count):
        member = _member(directory)
        if member.name in found:
            raise directory.fail(f"lists {member.name!r} twice")
        found[member.name] = member
    return found


def _directory(reader: Reader) -> tuple[int, int, int]:
    tail = min(reader.size, _END_SIZE + _MAX_COMMENT)
    reader.seek(reader.size - tail)
    at = reader.bytes(tail, cap=_END_SIZE + _MAX_COMMENT).rfind(_END)
    if at < 0 or tail - at < _END_SIZE:
        raise reader.fail("has no table of contents at its end, as a ZIP file that was cut short")
    end = reader.size - tail + at
    reader.seek(end + 10)
    count, size, offset = reader.u16(), reader.u32(), reader.u32()
    if count == 0xFFFF or size == 0xFFFFFFFF or offset == 0xFFFFFFFF:
        return _directory64(reader, end)
    return count, size, offset


def _directory64(reader: Reader, end: int) -> tuple[int, int, int]:
    reader.seek(max(0, end - _LOCATOR_SIZE))
    if reader.bytes(4, cap=4) != _LOCATOR64:
        raise reader.fail("lacks the ZIP64 record that its end asks for", offset=end)
    reader.skip(4)
    reader.seek(min(reader.u64(), reader.size))
    if reader.bytes(4, cap=4) != _END64:
        raise reader.fail("lacks the ZIP64 record that its end asks for", offset=end)
    reader.skip(28)
    return reader.u64(), reader.u64(), reader.u64()


def _member(directory: Reader) -> Member:
    if directory.bytes(4, cap=4, what="the table of contents") != _CENTRAL:
        raise directory.fail("its table of contents is damaged", offset=directory.position - 4)
    directory.skip(4)
    flags, method = directory.u16(), directory.u16()
    directory.skip(8)
    compressed, size = directory.u32(), directory.u32()
    name_size, extra_size, comment_size = directory.u16(), directory.u16(), directory.u16()
    directory.skip(8)
    offset = directory.u32()
    name = directory.text(name_size, what="a member's name")
    extra = directory.window(directory.position, extra_size)
    directory.skip(extra_size + comment_size)
    size, compressed, offset = _large(extra, size, compressed, offset)
    return Member(name, method, flags, compressed, size, offset)


def _large(extra: Reader, *values: int) -> tuple[int, ...]:
    """Take from the ZIP64 extra field what did not fit into 32 bits, in the order of APPNOTE 4.5.3."""
    while extra.remaining >= 4:
        kind, size = extra.u16(), extra.u16()
        if kind == _ZIP64:
            return tuple(extra.u64("a ZIP64 size") if value == 0xFFFFFFFF else value for value in values)
        extra.skip(min(size, extra.remaining))
    return values


def member_reader(reader: Reader, member: Member) -> Reader:
    """Open one member; a deflated one can only be read forward.

    Raises:
        FormatError: Encrypted, of an unknown compression, or not where the table of contents says.
    """
    reader.seek(min(member.offset, reader.size))
    if reader.bytes(4, cap=4, what=f"member {member.name!r}") != MAGIC:
        raise reader.fail(f"has no member {member.name!r} where it says", offset=member.offset)
    if member.flags & _ENCRYPTED or member.method not in (_STORED, _DEFLATED):
        raise reader.fail(f"member {member.name!r} is encrypted or compressed in an unknown way", offset=member.offset)
    reader.skip(22)
    reader.skip(reader.u16() + reader.u16())
    packed = reader.window(reader.position, member.compressed)
    return packed if member.method == _STORED else expand(packed, "deflate", size=member.size)


def member_bytes(reader: Reader, member: Member, *, cap: int) -> bytes:
    """Read one whole member of at most cap bytes."""
    if member.size > cap:
        reason = f"member {member.name!r} of {member.size} bytes is larger than the {cap} that are accepted"
        raise reader.fail(reason, offset=min(member.offset, reader.size))
    return member_reader(reader, member).bytes(member.size, cap=cap, what=f"member {member.name!r}")


def strip_root(members: Mapping[str, Member]) -> dict[str, Member]:
    """Name members without the single folder that torch puts all of them into."""
    roots = {name.partition("/")[0] for name in members}
    if len(roots) != 1 or any("/" not in name for name in members):
        return dict(members)
    return {name.partition("/")[2]: member for name, member in members.items()}
