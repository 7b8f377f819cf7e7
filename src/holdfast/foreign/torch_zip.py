"""PyTorch's files since 1.6: a zip archive of one pickle and one member for each storage."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from holdfast.foreign.build import Builder
from holdfast.foreign.session import Session
from holdfast.foreign.sources import FileRange
from holdfast.foreign.storages import Storage
from holdfast.foreign.torch_rules import persistent_storage
from holdfast.foreign.tree import ForeignTree
from holdfast.foreign.zip_members import Member
from holdfast.format import dtypes

_PICKLE = "data.pkl"


def is_torch_zip(members: Mapping[str, Member]) -> bool:
    """Say whether an archive is PyTorch's."""
    return any(name.rpartition("/")[2] == _PICKLE for name in members)


def read_torch_zip(session: Session, members: Mapping[str, Member]) -> ForeignTree:
    """Return the tree of an archive of PyTorch's."""
    return session.tree("PyTorch", read_members(session, members))


def read_members(session: Session, members: Mapping[str, Member]) -> object:
    """Return the value that an archive holds."""
    pickles = [name for name in members if name.rpartition("/")[2] == _PICKLE]
    if len(pickles) != 1 or pickles[0].count("/") > 1:
        raise session.damaged("it has not exactly one data.pkl.")
    prefix = pickles[0].removesuffix(_PICKLE)
    if any(name.startswith((f"{prefix}code/", f"{prefix}constants")) for name in members):
        raise session.refused("it is a program of TorchScript, which is code.")
    pickle = members[pickles[0]]
    is_big_endian = _is_big_endian(session, members.get(f"{prefix}byteorder"))
    loader = _Loader(members, prefix, is_big_endian, session.account.new_storage)
    with pickle.open() as file:
        program = session.follow(file)
    return session.build(program, pickle, loader)


def _is_big_endian(session: Session, member: Member | None) -> bool:
    if member is None:
        return False
    with member.open() as file:
        order = file.read(16)
    if order not in (b"little", b"big"):
        raise session.damaged(f"it has the unknown byte order {order!r}.")
    return order == b"big"


class _Loader:
    """Gives storages by their names; a name is only looked up among those of the members."""

    def __init__(
        self,
        members: Mapping[str, Member],
        prefix: str,
        is_big_endian: bool,
        new_number: Callable[[], int],
    ) -> None:
        self._members, self._prefix, self._big_endian = members, prefix, is_big_endian
        self._new_number, self._numbers = new_number, dict[str, int]()

    def storage(self, key: object) -> Storage:
        """Return the storage of a persistent id."""
        dtype, name, count, _ = persistent_storage(key)
        member = self._members.get(f"{self._prefix}data/{name}")
        if member is None:
            raise ValueError(f"the archive has no storage {name[:80]!r}")
        nbytes = count * dtypes.itemsize(dtype or "uint8")
        if nbytes > (member.nbytes if isinstance(member, FileRange) else member.most_bytes):
            raise ValueError(f"the storage {name[:80]!r} is shorter than {nbytes} bytes")
        if name not in self._numbers:
            self._numbers[name] = self._new_number()
        return Storage(member, 0, nbytes, self._numbers[name], dtype, self._big_endian)

    def value(self, builder: Builder, key: object) -> object:
        """Refuse it: storages are only there for tensors."""
        builder.refuse("it asks its loader for something that is no tensor")
