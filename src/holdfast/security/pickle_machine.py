"""A pickle followed step by step without doing what it says.

A pickle is a program for a small stack machine. This one takes the same steps, but where Python
would import or call, it notes what would have been imported or called, and goes on with a stand-in.
Nothing is imported, nothing is called; memory is bounded by the length of the pickle.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import BinaryIO

from holdfast.errors import PickleMalformed
from holdfast.security.pickle_opcodes import opcodes


@dataclass(frozen=True, slots=True)
class Global:
    """Something that would be imported: a function, a class, a constant."""

    module: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}.{self.name}"


@dataclass(slots=True, eq=False)
class Call:
    """A call that would be made, and stands for its result.

    Attributes:
        how: ``call``; ``fill`` where items would be put into an object by its own methods; or
            ``change`` where attributes would be changed of something that was not made here.
        function: What would be called, filled or changed; a ``Global``, or what a call gave.
        args: With what.
        named: With what by name, if anything.
        state: What ``__setstate__`` or ``__dict__`` of the result would be given, if anything.
        filled: Items that would be put into the result by its own methods.
        position: Where in the file, in bytes.
    """

    how: str
    function: object
    args: Sequence[object]
    position: int
    named: object = None
    state: object = None
    filled: list[object] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Persistent:
    """A value that the program asks its loader for, such as the storage of a tensor."""

    key: object


@dataclass(slots=True, eq=False)
class Items:
    """A dict in the making: pairs, whose keys need not be hashable here."""

    pairs: list[tuple[object, object]] = field(default_factory=list)


class Members(list[object]):
    """A set in the making, whose members need not be hashable here."""


class FrozenMembers(tuple[object, ...]):
    """A frozen set."""

    __slots__ = ()


@dataclass(slots=True)
class Program:
    """What a pickle would have done, in order.

    Attributes:
        result: What it would give, with stand-ins.
        imports: What it would import, with positions in bytes.
        calls: What it would call.
        asked: What it would ask its loader for.
        end: Position behind it.
    """

    result: object = None
    imports: list[tuple[Global, int]] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    asked: list[Persistent] = field(default_factory=list)
    end: int = 0


# Called after every BUILD with what was built; may move the file on, past bytes between opcodes.
AfterBuild = Callable[[object, BinaryIO, Program], None]

# More steps than any checkpoint has; each makes an object of some dozens of bytes at most.
MOST_STEPS = 50_000_000
_MARK = object()
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_IGNORED = {"PROTO", "FRAME", "READONLY_BUFFER"}


def follow(
    file: BinaryIO, after_build: AfterBuild | None = None, *, most_steps: int = MOST_STEPS
) -> Program:
    """Follow the pickle that begins where the file is.

    Args:
        file: Open for reading; sought forwards only.
        after_build: Called after every BUILD.
        most_steps: A pickle of more opcodes is not followed to its end.

    Raises:
        PickleMalformed: It is no whole pickle.
    """
    machine = _Machine(file, after_build)
    try:
        for count, opcode in enumerate(opcodes(file)):
            if count == most_steps:
                raise ValueError(f"it has more than {most_steps} steps")
            if machine.step(opcode.name, opcode.argument, opcode.position):
                machine.program.end = file.tell()
                return machine.program
    except (ValueError, IndexError, KeyError, TypeError, OverflowError, RecursionError) as error:
        reason = str(error) or type(error).__name__
        raise PickleMalformed(
            f"The pickle is malformed: {reason}.", program=machine.program
        ) from None
    raise PickleMalformed("The pickle ends before its end.", program=machine.program)


class _Machine:
    def __init__(self, file: BinaryIO, after_build: AfterBuild | None) -> None:
        self.program = Program()
        self._file = file
        self._after_build = after_build
        self._stack: list[object] = []
        self._memo: dict[int, object] = {}

    def step(self, name: str, argument: object, position: int) -> bool:
        """Take one step; say whether it was the last."""
        if name in _IGNORED:
            return False
        if name == "STOP":
            self.program.result = self._stack.pop()
            return True
        special = getattr(self, f"_on_{name.lower()}", None)
        if special is not None:
            special(position)
        elif name in ("PUT", "BINPUT", "LONG_BINPUT"):
            self._memo[_as_int(argument)] = self._stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self._stack.append(self._memo[_as_int(argument)])
        elif name == "GLOBAL":
            module, _, attribute = str(argument).partition(" ")
            self._import(module, attribute, position)
        elif name == "INST":
            arguments = self._pop_mark()
            module, _, attribute = str(argument).partition(" ")
            self._import(module, attribute, position)
            self._call(self._stack.pop(), arguments, position)
        elif name.startswith("EXT"):
            self._import("copyreg", f"extension {argument}", position)
        elif name == "PERSID":
            self._ask(argument)
        elif name in _CONSTANTS:
            self._stack.append(_CONSTANTS[name])
        elif name == "EMPTY_LIST":
            self._stack.append([])
        elif name == "EMPTY_SET":
            self._stack.append(Members())
        elif name == "EMPTY_TUPLE":
            self._stack.append(())
        elif name == "EMPTY_DICT":
            self._stack.append(Items())
        else:
            # Numbers, texts and bytes: all that is left has its value with it.
            self._stack.append(argument)
        return False

    # --- the stack ---

    def _on_mark(self, position: int) -> None:
        self._stack.append(_MARK)

    def _on_pop(self, position: int) -> None:
        self._stack.pop()

    def _on_pop_mark(self, position: int) -> None:
        self._pop_mark()

    def _on_dup(self, position: int) -> None:
        self._stack.append(self._stack[-1])

    def _on_memoize(self, position: int) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _on_next_buffer(self, position: int) -> None:
        self._ask("buffer")

    def _on_binpersid(self, position: int) -> None:
        self._ask(self._stack.pop())

    def _ask(self, key: object) -> None:
        found = Persistent(key)
        self.program.asked.append(found)
        self._stack.append(found)

    # --- containers ---

    def _on_tuple(self, position: int) -> None:
        self._stack.append(tuple(self._pop_mark()))

    def _on_tuple1(self, position: int) -> None:
        self._stack.append(tuple(self._pop(1)))

    def _on_tuple2(self, position: int) -> None:
        self._stack.append(tuple(self._pop(2)))

    def _on_tuple3(self, position: int) -> None:
        self._stack.append(tuple(self._pop(3)))

    def _on_list(self, position: int) -> None:
        self._stack.append(self._pop_mark())

    def _on_frozenset(self, position: int) -> None:
        self._stack.append(FrozenMembers(self._pop_mark()))

    def _on_dict(self, position: int) -> None:
        self._stack.append(Items(_pairs(self._pop_mark())))

    def _on_append(self, position: int) -> None:
        (item,) = self._pop(1)
        self._extend([item], position)

    def _on_appends(self, position: int) -> None:
        self._extend(self._pop_mark(), position)

    def _on_additems(self, position: int) -> None:
        self._extend(self._pop_mark(), position)

    def _on_setitem(self, position: int) -> None:
        self._update(self._pop(2), position)

    def _on_setitems(self, position: int) -> None:
        self._update(self._pop_mark(), position)

    def _extend(self, items: list[object], position: int) -> None:
        target = self._stack[-1]
        if isinstance(target, list):
            target.extend(items)
        else:
            # Methods of the object would be called: extend, append, add.
            self._fill(target, items, position)

    def _update(self, items: list[object], position: int) -> None:
        target = self._stack[-1]
        if isinstance(target, Items):
            target.pairs.extend(_pairs(items))
        else:
            self._fill(target, _pairs(items), position)

    def _fill(self, target: object, items: Sequence[object], position: int) -> None:
        if isinstance(target, Call):
            target.filled.extend(items)
        self.program.calls.append(Call("fill", target, items, position))

    # --- imports and calls ---

    def _on_stack_global(self, position: int) -> None:
        module, name = self._pop(2)
        known = isinstance(module, str) and isinstance(name, str)
        self._import(str(module) if known else "?", str(name) if known else "?", position)

    def _on_reduce(self, position: int) -> None:
        function, arguments = self._pop(2)
        self._call(function, _as_arguments(arguments), position)

    def _on_newobj(self, position: int) -> None:
        self._on_reduce(position)

    def _on_newobj_ex(self, position: int) -> None:
        function, arguments, named = self._pop(3)
        self._call(function, _as_arguments(arguments), position).named = named

    def _on_obj(self, position: int) -> None:
        function, *arguments = self._pop_mark()
        self._call(function, arguments, position)

    def _on_build(self, position: int) -> None:
        (state,) = self._pop(1)
        target = self._stack[-1]
        if isinstance(target, Call):
            target.state = state
        else:
            # Attributes of a class or function would be changed.
            self.program.calls.append(Call("change", target, [state], position))
        if self._after_build is not None:
            self._after_build(target, self._file, self.program)

    def _import(self, module: str, name: str, position: int) -> None:
        found = Global(module, name)
        self.program.imports.append((found, position))
        self._stack.append(found)

    def _call(self, function: object, arguments: Sequence[object], position: int) -> Call:
        call = Call("call", function, arguments, position)
        self.program.calls.append(call)
        self._stack.append(call)
        return call

    # --- helpers ---

    def _pop(self, count: int) -> list[object]:
        if len(self._stack) < count:
            raise IndexError("too little on the stack")
        found = self._stack[-count:]
        if any(item is _MARK for item in found):
            raise IndexError("a mark in the way")
        del self._stack[-count:]
        return found

    def _pop_mark(self) -> list[object]:
        at = len(self._stack) - 1
        while self._stack[at] is not _MARK:
            at -= 1
            if at < 0:
                raise IndexError("no mark")
        found = self._stack[at + 1 :]
        del self._stack[at:]
        return found


def _pairs(items: list[object]) -> list[tuple[object, object]]:
    return list(zip(items[::2], items[1::2], strict=True))


def _as_arguments(arguments: object) -> Sequence[object]:
    # Not copied, since any number of calls may be given the same. What is no tuple comes from
    # elsewhere: the call would fail, or hide what it is given.
    return arguments if isinstance(arguments, tuple) else (arguments,)


def _as_int(argument: object) -> int:
    if not isinstance(argument, int):
        raise ValueError("a place in the memo that is no number")
    return argument
