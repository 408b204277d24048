"""A pickle that remembers only what it will need again: the unpickler lets go of an object as soon as its owner does.

The pickler has the unpickler note every object, in case that it comes again. So an array whose content a tree has
copied would be held until the end, and the notes of a model of millions of strings are a tenth of its memory.
`pickletools.optimize` drops those notes, too, in ten times the time and with the whole pickle in memory.
"""

import pickletools
import struct
from array import array
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

_CODES = {opcode.name: ord(opcode.code) for opcode in pickletools.opcodes}
_FRAME, _MEMOIZE, _GET, _LONG_GET = (_CODES[name] for name in ("FRAME", "MEMOIZE", "BINGET", "LONG_BINGET"))
_SHORT_TEXT = _CODES["SHORT_BINUNICODE"]

# Of the operations with content of any length: how many bytes say the length. Those that end with a line are of older
# protocols, as is PUT.
_LENGTH_IN = {
    _CODES[name]: size
    for size, names in {
        1: ["SHORT_BINUNICODE", "SHORT_BINBYTES", "LONG1"],
        4: ["BINUNICODE", "BINBYTES", "LONG4"],
        8: ["BINUNICODE8", "BINBYTES8", "BYTEARRAY8"],
    }.items()
    for name in names
}
_OLD = {_CODES[name] for name in ("PUT", "BINPUT", "LONG_BINPUT")}
# How long each operation of fixed length is; 0 stands for all others, which need a look.
_SIZE = [0] * 256
for _each in pickletools.opcodes:
    if (_each.arg is None or _each.arg.n >= 0) and ord(_each.code) not in {_FRAME, _MEMOIZE, _GET, _LONG_GET, *_OLD}:
        _SIZE[ord(_each.code)] = 1 + (_each.arg.n if _each.arg else 0)

_COPIED = 1024 * 1024  # what of large content is copied at a time


@dataclass(frozen=True)
class _Block:
    """Operations that are whole: of a frame, or one that stands alone; large content, if any, is still to be read."""

    framed: bool
    operations: bytes
    content: int


def forget(pickled: BinaryIO, write: Callable[[bytes], object]) -> None:
    """Write the pickle of protocol 5 that `pickled` holds from its beginning, without the notes that nobody needs.

    Raises ValueError when that is no such pickle.
    """
    needed: set[int] = set()
    marks = []
    for block in _blocks(pickled):
        marks.append(_marks(block, needed))
        pickled.seek(block.content, 1)
    pickled.seek(0)
    rewrite = _Rewriter(needed)
    for block, places in zip(_blocks(pickled), marks, strict=True):
        operations = rewrite(block.operations, places)
        if operations:
            write((bytes([_FRAME]) + struct.pack("<Q", len(operations)) if block.framed else b"") + operations)
        for size in _pieces(block.content):
            write(pickled.read(size))


def _blocks(pickled: BinaryIO) -> Iterator[_Block]:
    while code := pickled.read(1):
        if code[0] == _FRAME:
            (size,) = struct.unpack("<Q", pickled.read(8))
            yield _Block(True, pickled.read(size), 0)
        elif code[0] in _LENGTH_IN:
            length = pickled.read(_LENGTH_IN[code[0]])
            yield _Block(False, code + length, int.from_bytes(length, "little"))
        else:
            size = {_GET: 2, _LONG_GET: 5, _MEMOIZE: 1}.get(code[0]) or _SIZE[code[0]] or 1
            yield _Block(False, code + pickled.read(size - 1), 0)


def _marks(block: _Block, needed: set[int]) -> "array[int]":
    """Return where notes are made and asked for, and add to `needed` the numbers of those that are asked for."""
    operations, place, end = block.operations, 0, len(block.operations)
    found = array("I")
    while place < end:
        code = operations[place]
        if size := _SIZE[code]:
            place += size
        elif code == _MEMOIZE:
            found.append(place)
            place += 1
        elif code == _SHORT_TEXT and place + 1 < end:  # the next would do, but of this there is most
            place += 2 + operations[place + 1]
        elif code in _LENGTH_IN:
            begin = place + 1 + _LENGTH_IN[code]
            place = begin + int.from_bytes(operations[place + 1 : begin], "little")
        elif code in (_GET, _LONG_GET):
            found.append(place)
            number, place = _asked_for(operations, place)
            needed.add(number)
        else:
            raise ValueError(f"{code:#x} is no operation of protocol 5")
    if place != end + block.content:
        raise ValueError("an operation is cut off")
    return found


def _asked_for(operations: bytes, place: int) -> tuple[int, int]:
    """Return the number of the note that the operation at `place` asks for, and where the operation ends."""
    end = place + (2 if operations[place] == _GET else 5)
    return int.from_bytes(operations[place + 1 : end], "little"), end


class _Rewriter:
    """Drops the notes that are not needed, and gives the others new numbers: from 0, in the order of the notes."""

    def __init__(self, needed: set[int]) -> None:
        self._needed = needed
        self._met = 0
        self._new: dict[int, int] = {}

    def __call__(self, operations: bytes, marks: "array[int]") -> bytes:
        out, copied = bytearray(), 0
        for place in marks:
            if operations[place] == _MEMOIZE:
                number, self._met = self._met, self._met + 1
                if number in self._needed:
                    self._new[number] = len(self._new)
                else:
                    out += operations[copied:place]
                    copied = place + 1
            else:
                out += operations[copied:place]
                number, copied = _asked_for(operations, place)
                out += _get(self._new[number])
        return bytes(out) + operations[copied:]


def _get(number: int) -> bytes:
    return bytes([_GET, number]) if number < 256 else struct.pack("<BI", _LONG_GET, number)


def _pieces(size: int) -> Iterator[int]:
    while size > 0:
        yield min(size, _COPIED)
        size -= _COPIED
