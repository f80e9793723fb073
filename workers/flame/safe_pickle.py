"""Reads a pickle as data and runs nothing.

A pickle is a program: `GLOBAL` fetches any importable object, `REDUCE` calls it. Python's own
unpickler therefore executes what a file asks for. The machine below knows the same instructions,
but its globals come from one table alone, an exact (module, name) pair to a stand-in of ours;
nothing is ever imported, and a pair that the table lacks ends the reading with its name. Sizes are
compared with the bytes at hand before anything is allocated, dictionary keys are plain values,
and no instruction recurses, so that a torn or hostile file ends in one line too.

Other readers use it with tables of their own: `workers/flame/pickled_arrays.py` holds what NumPy,
chumpy and SciPy write.

Source of the instruction set: Python's `pickletools` documentation (protocols 0 to 5).
"""

from __future__ import annotations

import codecs
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

HIGHEST_PROTOCOL = 5

Factory = Callable[..., object]
GlobalTable = Mapping[tuple[str, str], Factory]


class BadPickleError(ValueError):
    """The file is torn, malformed, or holds something this reader has no use for."""


class ForbiddenGlobalError(BadPickleError):
    """The file asks for a global that is not in the reader's table.

    Attributes:
        asked_for: the global, "module.name", as the file spells it.
    """

    def __init__(self, source: str, asked_for: str) -> None:
        super().__init__(
            f"{source} asks for the global {asked_for!r}, which no file of this kind needs; "
            "nothing of it was run: get the file from its publisher again"
        )
        self.asked_for = asked_for


@runtime_checkable
class Buildable(Protocol):
    """A stand-in that takes the state which `BUILD` hands over."""

    def build(self, state: object) -> None:
        """Take the state, or raise ValueError."""
        ...


@dataclass(frozen=True)
class GlobalRef:
    """A global that the file named and the table knows; it is data until `REDUCE` names it.

    Attributes:
        module: as the file spells it, Python 2's names included.
        name: of the object in the module.
        factory: the stand-in that is called in its place.
    """

    module: str
    name: str
    factory: Factory

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


def no_call(*_: object) -> object:
    """The stand-in of a global that a file may name but not call."""
    raise ValueError("it may be named there but not called")


def loads(
    data: bytes | memoryview,
    allowed: GlobalTable,
    *,
    source: str,
    persistent_load: Callable[[object], object] | None = None,
) -> object:
    """Read one pickle.

    Args:
        data: the whole file; a memoryview of a memory map keeps a large one out of memory.
        allowed: the exact (module, name) pairs that may be named, each with what is called
            instead. A stand-in whose result has a `build` method takes the object's state too.
        source: the file's name, for errors.
        persistent_load: what turns a persistent id into an object; None refuses them.

    Returns:
        Plain Python data with the stand-ins' results in it; bytes are views of `data` where they
        are long. Strings of Python 2 are decoded as
        latin-1, which keeps every byte.

    Raises:
        ForbiddenGlobalError: a global is not in `allowed`.
        BadPickleError: the file is torn or malformed.
    """
    machine = _Machine(memoryview(data), allowed, source, persistent_load)
    return machine.run()


class _Machine:
    """The pickle machine: a stack, marks in it, and a memo."""

    def __init__(
        self,
        data: memoryview,
        allowed: GlobalTable,
        source: str,
        persistent_load: Callable[[object], object] | None,
    ) -> None:
        self._data = data
        self._at = 0
        self._allowed = allowed
        self._source = source
        self._persistent_load = persistent_load
        self._marks: list[int] = []
        self._memo: dict[int, object] = {}
        self.stack: list[object] = []

    def run(self) -> object:
        while True:
            code = self.take(1)[0]
            if code == _STOP:
                return self.pop()
            step = _STEPS.get(code)
            if step is None:
                raise self.error(f"instruction 0x{code:02x} has no place in a file of this kind")
            step(self)

    def error(self, reason: str) -> BadPickleError:
        return BadPickleError(f"{self._source} cannot be read at byte {self._at}: {reason}")

    # Bytes of the file.

    def take(self, num_bytes: int) -> memoryview:
        if not 0 <= num_bytes <= len(self._data) - self._at:
            raise self.error(f"{num_bytes} more bytes announced than there are: the file is torn")
        taken = self._data[self._at : self._at + num_bytes]
        self._at += num_bytes
        return taken

    def number(self, layout: str) -> int:
        value: int = struct.unpack(layout, self.take(struct.calcsize(layout)))[0]
        return value

    def sized(self, layout: str) -> memoryview:
        return self.take(self.number(layout))

    def line(self) -> bytes:
        """Bytes up to the next line feed, looked for a block at a time."""
        end = self._at
        while (block := bytes(self._data[end : end + _BLOCK_BYTES])) and b"\n" not in block:
            end += len(block)
        taken = bytes(self.take(end + max(block.find(b"\n"), 0) - self._at))
        self.take(1)  # the line feed, or the error that the file ends before it
        return taken

    def text(self, raw: memoryview | bytes, encoding: str = "utf-8") -> str:
        try:
            return str(raw, encoding, "surrogatepass")
        except ValueError:
            raise self.error(f"a string is not {encoding}") from None

    def decimal(self) -> int:
        line = self.line()
        digits = line[:-1] if line.endswith(b"L") else line
        if not digits.lstrip(b"-").isdigit() or len(digits) > _MAX_DIGITS:
            raise self.error("a number is not decimal")
        return int(digits)

    def decimal_or_bool(self) -> int | bool:
        flags = {b"00": False, b"01": True}
        ahead = bytes(self._data[self._at : self._at + 2])
        value = self.decimal()
        return flags.get(ahead, value) if value in (0, 1) else value

    def real(self) -> float:
        line = self.line()
        try:
            return float(line)
        except ValueError:
            raise self.error("a number is not a float") from None

    def quoted(self) -> str:
        """A string of protocol 0 as Python 2 writes it: its repr, with escapes for bytes."""
        line = self.line().strip()
        if len(line) < 2 or line[:1] not in b"'\"" or line[-1:] != line[:1]:
            raise self.error("a string is not quoted")
        try:
            decoded: tuple[bytes, int] = codecs.escape_decode(line[1:-1])
        except ValueError:
            raise self.error("a string has a broken escape") from None
        return decoded[0].decode("latin-1")

    # The stack.

    def push(self, value: object) -> None:
        self.stack.append(value)

    def pop(self) -> object:
        floor = self._marks[-1] if self._marks else 0
        if len(self.stack) <= floor:
            raise self.error("the stack is empty")
        return self.stack.pop()

    def top(self) -> object:
        value = self.pop()
        self.push(value)
        return value

    def mark(self) -> None:
        self._marks.append(len(self.stack))

    def pop_mark(self) -> list[object]:
        if not self._marks:
            raise self.error("a mark is missing")
        start = self._marks.pop()
        items = self.stack[start:]
        del self.stack[start:]
        return items

    def pop_or_unmark(self) -> None:
        """POP takes a mark away where the mark is what lies on top."""
        if self._marks and self._marks[-1] == len(self.stack):
            self._marks.pop()
        else:
            self.pop()

    def tuple_of(self, num_items: int) -> None:
        items = [self.pop() for _ in range(num_items)]
        self.push(tuple(reversed(items)))

    def remember(self, number: int) -> None:
        self._memo[number] = self.top()

    def memoize(self) -> None:
        self.remember(len(self._memo))

    def recall(self, number: int) -> None:
        if number not in self._memo:
            raise self.error(f"memo {number} was never stored")
        self.push(self._memo[number])

    # Containers.

    def extend_list(self, items: list[object]) -> None:
        target = self.top()
        if not isinstance(target, list):
            raise self.error("items for a list that is none")
        target.extend(items)

    def extend_dict(self, items: list[object]) -> None:
        target = self.top()
        if not isinstance(target, dict) or len(items) % 2:
            raise self.error("items for a dictionary that is none, or a key without its value")
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[self.plain(key)] = value

    def extend_set(self, items: list[object]) -> None:
        target = self.top()
        if not isinstance(target, set):
            raise self.error("items for a set that is none")
        target.update(self.plain(item) for item in items)

    def plain(self, value: object) -> object:
        """A key: never a nested value, whose hash could recurse without end."""
        if value is not None and not isinstance(value, str | bytes | int | float):
            raise self.error(f"a key is a {type(value).__name__}, not a string or number")
        return value

    def pop_pair(self) -> list[object]:
        value = self.pop()
        return [self.pop(), value]

    def dict_of(self, items: list[object]) -> None:
        self.push({})
        self.extend_dict(items)

    # Globals and objects.

    def find_global(self, module: object, name: object) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise self.error("a global is not named by two strings")
        factory = self._allowed.get((module, name))
        if factory is None:
            raise ForbiddenGlobalError(self._source, f"{module}.{name}"[:_MAX_NAME])
        self.push(GlobalRef(module, name, factory))

    def find_global_by_lines(self) -> None:
        module = self.text(self.line())
        self.find_global(module, self.text(self.line()))

    def find_global_on_stack(self) -> None:
        module, name = self.pop_pair()
        self.find_global(module, name)

    def call(self) -> None:
        """REDUCE and NEWOBJ: the stand-in of a global, called with a tuple."""
        ref, args = self.pop_pair()
        if not isinstance(ref, GlobalRef) or not isinstance(args, tuple):
            raise self.error("a call of something that is not a global")
        try:
            self.push(ref.factory(*args))
        except (TypeError, ValueError, OverflowError) as error:
            raise self.error(f"{ref}: {error}") from None

    def instantiate(self) -> None:
        """INST, protocol 0: a global named in line and called with all items above the mark."""
        items = self.pop_mark()
        self.find_global_by_lines()
        self.push(tuple(items))
        self.call()

    def build(self) -> None:
        state = self.pop()
        target = self.top()
        if not isinstance(target, Buildable):
            raise self.error(f"state for a {type(target).__name__}, which takes none")
        try:
            target.build(state)
        except (TypeError, ValueError, OverflowError) as error:
            raise self.error(str(error)) from None

    def persistent(self, key: object) -> None:
        if self._persistent_load is None:
            raise self.error("a persistent id has no place in a file of this kind")
        self.push(self._persistent_load(key))

    def check_protocol(self) -> None:
        protocol = self.number("<B")
        if protocol > HIGHEST_PROTOCOL:
            raise self.error(f"protocol {protocol} is newer than {HIGHEST_PROTOCOL}")


_STOP = ord(".")
_BLOCK_BYTES = 4096
_MAX_DIGITS = 1000
_MAX_NAME = 200

_STEPS: dict[int, Callable[[_Machine], object]] = {
    # Framing: a frame only announces a length, which every read checks for itself.
    0x80: _Machine.check_protocol,
    0x95: lambda m: m.take(8),
    # Numbers and constants.
    ord("N"): lambda m: m.push(None),
    0x88: lambda m: m.push(True),
    0x89: lambda m: m.push(False),
    ord("I"): lambda m: m.push(m.decimal_or_bool()),
    ord("L"): lambda m: m.push(m.decimal()),
    ord("J"): lambda m: m.push(m.number("<i")),
    ord("K"): lambda m: m.push(m.number("<B")),
    ord("M"): lambda m: m.push(m.number("<H")),
    0x8A: lambda m: m.push(int.from_bytes(m.sized("<B"), "little", signed=True)),
    0x8B: lambda m: m.push(int.from_bytes(m.sized("<i"), "little", signed=True)),
    ord("F"): lambda m: m.push(m.real()),
    ord("G"): lambda m: m.push(struct.unpack(">d", m.take(8))[0]),
    # Strings: of Python 2 (latin-1), unicode, bytes.
    ord("S"): lambda m: m.push(m.quoted()),
    ord("T"): lambda m: m.push(m.text(m.sized("<i"), "latin-1")),
    ord("U"): lambda m: m.push(m.text(m.sized("<B"), "latin-1")),
    ord("V"): lambda m: m.push(m.text(m.line(), "raw-unicode-escape")),
    ord("X"): lambda m: m.push(m.text(m.sized("<I"))),
    0x8C: lambda m: m.push(m.text(m.sized("<B"))),
    0x8D: lambda m: m.push(m.text(m.sized("<Q"))),
    # Long ones stay where they lie: a checkpoint is gigabytes of them.
    ord("B"): lambda m: m.push(m.sized("<I")),
    ord("C"): lambda m: m.push(bytes(m.sized("<B"))),
    0x8E: lambda m: m.push(m.sized("<Q")),
    0x96: lambda m: m.push(bytearray(m.sized("<Q"))),
    # Containers.
    ord("]"): lambda m: m.push([]),
    ord("a"): lambda m: m.extend_list([m.pop()]),
    ord("e"): lambda m: m.extend_list(m.pop_mark()),
    ord("l"): lambda m: m.push(m.pop_mark()),
    ord(")"): lambda m: m.push(()),
    ord("t"): lambda m: m.push(tuple(m.pop_mark())),
    0x85: lambda m: m.tuple_of(1),
    0x86: lambda m: m.tuple_of(2),
    0x87: lambda m: m.tuple_of(3),
    ord("}"): lambda m: m.push({}),
    ord("d"): lambda m: m.dict_of(m.pop_mark()),
    ord("s"): lambda m: m.extend_dict(m.pop_pair()),
    ord("u"): lambda m: m.extend_dict(m.pop_mark()),
    0x8F: lambda m: m.push(set()),
    0x90: lambda m: m.extend_set(m.pop_mark()),
    0x91: lambda m: m.push(frozenset(m.plain(item) for item in m.pop_mark())),
    # The stack and the memo.
    ord("("): _Machine.mark,
    ord("0"): _Machine.pop_or_unmark,
    ord("1"): lambda m: m.pop_mark(),
    ord("2"): lambda m: m.push(m.top()),
    ord("p"): lambda m: m.remember(m.decimal()),
    ord("q"): lambda m: m.remember(m.number("<B")),
    ord("r"): lambda m: m.remember(m.number("<I")),
    0x94: _Machine.memoize,
    ord("g"): lambda m: m.recall(m.decimal()),
    ord("h"): lambda m: m.recall(m.number("<B")),
    ord("j"): lambda m: m.recall(m.number("<I")),
    # Globals and objects. OBJ, NEWOBJ_EX, the EXT registry and out-of-band buffers have no place
    # in files of this kind and are refused like any unknown instruction.
    ord("c"): _Machine.find_global_by_lines,
    ord("i"): _Machine.instantiate,
    0x93: _Machine.find_global_on_stack,
    ord("R"): _Machine.call,
    0x81: _Machine.call,
    ord("b"): _Machine.build,
    ord("P"): lambda m: m.persistent(m.text(m.line())),
    ord("Q"): lambda m: m.persistent(m.pop()),
}
