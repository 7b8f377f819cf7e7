"""What a pickle describes, made of arrays and plain values only.

The machine of ``holdfast.security`` has followed the pickle and called nothing. Here each stand-in
becomes a value by a rule for its name; what has no rule is refused, or kept as the plain values
that it holds, if the caller has said so. A rule takes arguments that it has checked, and no class
or function is ever looked up by a name from the file.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NoReturn

from holdfast.errors import ForeignDamaged, ForeignRefused
from holdfast.foreign.arguments import shown_key
from holdfast.foreign.arrays import ForeignArray
from holdfast.foreign.limits import Account
from holdfast.foreign.sources import InMemory, Source
from holdfast.foreign.storages import Loader
from holdfast.security.pickle_machine import (
    Call,
    FrozenMembers,
    Global,
    Items,
    Members,
    Persistent,
    Program,
)
from holdfast.security.pickle_opcodes import Bulk
from holdfast.security.pickle_verdicts import called, is_safe, judge

Unknown = Literal["refuse", "keep"]
Rule = Callable[["Builder", Call], object]
_PLAIN = (type(None), bool, int, float, complex, str, bytes)


@dataclass(frozen=True, slots=True)
class Replaced:
    """A value that became another kind of value: where it is, what it was, what it became."""

    path: str
    what: str
    became: str


class Builder:
    """Makes the values of one pickle.

    Args:
        file: The file's path, for errors.
        rules: What to do with calls, by the full name of what would be called.
        source: The file that long byte strings were left in.
        loader: Gives what the pickle asks for.
        unknown: What to do with classes that have no rule.
        account: Counts what is made, and knows how much there may be.
    """

    def __init__(
        self,
        file: str,
        rules: Mapping[str, Rule],
        source: Source,
        loader: Loader,
        unknown: Unknown,
        account: Account,
    ) -> None:
        self.source, self.loader, self.unknown = source, loader, unknown
        self.replaced: list[Replaced] = []
        self._file, self._rules, self._account = file, rules, account
        self._keys: list[str] = []
        # The stand-in is kept, so that its id stays its own.
        self._built: dict[int, tuple[object, object, int]] = {}
        self._under_way: set[int] = set()

    def run(self, program: Program) -> object:
        """Return the value of a program.

        Raises:
            ForeignRefused: It would do more than build arrays and plain values.
            ForeignDamaged: It contradicts itself.
        """
        self._refuse("dangerous", program)
        try:
            made = self.value(program.result)
        except RecursionError:
            self.refuse("its containers are too deep")
        self.check(program)
        return made

    def check(self, program: Program) -> None:
        """Refuse a program that would do more than it may, whatever comes of its result."""
        self._refuse("dangerous", program)
        if self.unknown == "refuse":
            self._refuse("unknown", program)

    def _refuse(self, level: str, program: Program) -> None:
        for finding in judge(program):
            if finding.level == level:
                raise ForeignRefused(
                    f"{self._file!r} is refused: loading it {finding.what} (byte "
                    f"{finding.position} of the pickle). Nothing of it was run, and nothing was "
                    "kept.",
                    file=self._file,
                    what=finding.what,
                    position=finding.position,
                    level=level,
                )

    # --- values ---

    @property
    def path(self) -> str:
        """Where in the tree the value is that is being made."""
        return "/".join(self._keys)

    def value(self, item: object, key: str = "") -> object:
        """Return what a stand-in becomes, at a key below the value that is being made."""
        known = None if isinstance(item, _PLAIN) else self._built.get(id(item))
        # What is shared counts each time: whoever walks the tree meets it each time.
        if not self._account.add_values(known[2] if known is not None else 1):
            self.refuse(f"it has more than {self._account.limits.values} values")
        if isinstance(item, _PLAIN):
            return item
        if known is not None:
            return known[1]
        return self._made_once(item, key)

    def _made_once(self, item: object, key: str) -> object:
        if id(item) in self._under_way:
            self.refuse("it contains itself")
        if len(self._keys) >= self._account.limits.depth:
            self.refuse(f"it is more than {self._account.limits.depth} containers deep")
        before = self._account.values - 1
        self._keys += [key] if key else []
        self._under_way.add(id(item))
        made = self._made(item)
        self._under_way.discard(id(item))
        if key:
            self._keys.pop()
        self._built[id(item)] = item, made, self._account.values - before
        return made

    def _made(self, item: object) -> object:
        match item:
            case Call():
                return self.called(item)
            case Items():
                return {
                    self.key(name): self.value(inner, shown_key(name)) for name, inner in item.pairs
                }
            case Members():
                return {self.key(member) for member in item}
            case FrozenMembers():
                return frozenset(self.key(member) for member in item)
            case list():
                return [self.value(inner, str(i)) for i, inner in enumerate(item)]
            case tuple():
                return tuple(self.value(inner, str(i)) for i, inner in enumerate(item))
            case Global():
                return self._named(item)
            case Bulk() | bytearray():
                return self.bytes_of(item)
            case Persistent():
                return self.loader.value(self, item.key)
        return self.damaged(f"a {type(item).__name__} has no meaning there")

    def key(self, item: object) -> object:
        """Return a value that stands in a set or as a key, and can."""
        made = self.value(item)
        if not _is_hashable(made):
            self.refuse(f"a {type(made).__name__} is a key, or a member of a set")
        return made

    def called(self, call: Call) -> object:
        """Return what the result of a call becomes, by the rule for what would be called."""
        function = called(call.function)
        if isinstance(function, Persistent):
            # A class that came with its source, in PyTorch's old files of whole modules.
            return self.loader.value(self, function.key)
        if not isinstance(function, Global):
            self.refuse("it calls what another call gave")
        rule = self._rules.get(str(function))
        try:
            return self.kept(call) if rule is None else rule(self, call)
        except (ValueError, TypeError, IndexError, KeyError, OverflowError) as error:
            self.damaged(f"{function} makes no sense: {error}")

    def _named(self, found: Global) -> object:
        if not is_safe(found) and self.unknown == "refuse":
            self._refuse_class(found)
        self.note(str(found), "its name")
        return str(found)

    # --- what has no rule ---

    def kept(self, call: Call) -> object:
        """Return what an object of an unknown class holds, or refuse it.

        One that has only attributes becomes a dict of them; one made of a single plain value, as
        members of an enum are, that value; one made of several, as named tuples are, a tuple; one
        that was filled, a dict or list.
        """
        assert isinstance(call.function, Global)
        if self.unknown == "refuse" or is_safe(call.function):
            self._refuse_class(call.function)
        args = [arg for arg in call.args if not isinstance(arg, Global)]
        held = [part for part in (call.state, args or None, call.filled or None) if part]
        if call.named is not None or len(held) > 1 or len(args) != len(call.args):
            self.refuse(f"{call.function} is made in a way that plain values cannot tell")
        if call.filled:
            became = self.filled(call)
        elif call.args:
            became = self.value(call.args[0] if len(call.args) == 1 else tuple(call.args))
        else:
            became = self.attributes(call.state)
        self.note(str(call.function), type(became).__name__)
        return became

    def _refuse_class(self, found: Global) -> NoReturn:
        self.refuse(
            f"a {found} is there, which is no array and no plain value; loading it would run code "
            "of its package. Where it may be left as the plain values that it holds, read with "
            "unknown='keep'"
            if not is_safe(found)
            else f"a {found} is there, which has no meaning as a plain value"
        )

    def attributes(self, state: object) -> dict[object, object]:
        """Return an object's attributes as a dict, those in slots too."""
        made: dict[object, object] = {}
        for part in state if isinstance(state, tuple) and len(state) == 2 else (state,):
            if isinstance(part, Items):
                # As a part of what is being made: it has no key of its own.
                made |= {self.key(k): self.value(v, shown_key(k)) for k, v in part.pairs}
            elif part is not None:
                self.refuse("an object keeps its state in a way that only its class knows")
        return made

    def filled(self, call: Call) -> object:
        """Return what was put into an object: a dict where it is pairs, else a list."""
        if all(isinstance(item, tuple) and len(item) == 2 for item in call.filled):
            pairs = [item for item in call.filled if isinstance(item, tuple)]
            return {self.key(k): self.value(v, shown_key(k)) for k, v in pairs}
        return [self.value(item, str(i)) for i, item in enumerate(call.filled)]

    # --- bytes and arrays ---

    def bytes_of(self, item: object) -> bytes:
        """Return the bytes of a byte string, or raise ValueError."""
        source, offset, nbytes = self.stored(item)
        data = bytearray(nbytes)
        source.read(memoryview(data), offset)
        return bytes(data)

    def stored(self, item: object) -> tuple[Source, int, int]:
        """Return where the bytes of a byte string are, and how many."""
        if isinstance(item, Bulk):
            return self.source, item.position, item.length
        made = self.value(item) if isinstance(item, Call) else item
        if not isinstance(made, bytes | bytearray):
            raise ValueError("there are no bytes")
        return InMemory(bytes(made)), 0, len(made)

    def new_storage(self) -> int:
        """Return a number for a storage that nothing else looks at."""
        return self._account.new_storage()

    def array(self, made: ForeignArray) -> ForeignArray:
        """Return an array, counted."""
        if not self._account.add_array(made.nbytes):
            self.refuse("its arrays have far more bytes than the file")
        return made

    # --- what is told ---

    def note(self, what: str, became: str) -> None:
        """Note that a value became another kind of value."""
        self.replaced.append(Replaced(self.path, what, became))

    def refuse(self, why: str) -> NoReturn:
        """Raise ForeignRefused for the value that is being made."""
        raise ForeignRefused(
            f"{self._file!r} is refused at {self.path or 'the root'!r}: {why}. Nothing of it was "
            "run, and nothing was kept.",
            file=self._file,
            path=self.path,
            what=why,
        )

    def damaged(self, why: str) -> NoReturn:
        """Raise ForeignDamaged for the value that is being made."""
        raise ForeignDamaged(
            f"{self._file!r} contradicts itself at {self.path or 'the root'!r}: {why}. Nothing was "
            "kept of it.",
            file=self._file,
            path=self.path,
        )


def _is_hashable(value: object) -> bool:
    if isinstance(value, tuple):
        return all(map(_is_hashable, value))
    return not isinstance(value, list | dict | set | slice | ForeignArray)
