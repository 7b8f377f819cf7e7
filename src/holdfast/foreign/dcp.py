"""PyTorch's distributed checkpoints: a pickle that says which stretch of which file holds what."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from holdfast.foreign.arguments import as_int, as_text
from holdfast.foreign.arrays import ForeignArray, boxed_array
from holdfast.foreign.covering import require_cover
from holdfast.foreign.layout import Box
from holdfast.foreign.session import Session
from holdfast.foreign.sources import FileRange
from holdfast.foreign.torch_rules import sizes, torch_dtype
from holdfast.foreign.torch_zip import read_members
from holdfast.foreign.tree import ForeignTree
from holdfast.foreign.zip_members import zip_members
from holdfast.security.pickle_machine import Call, Global, Items

METADATA = ".metadata"
_MODULE = "torch.distributed.checkpoint.metadata"
_Place = tuple[str, tuple[int, ...]]


def read_dcp(session: Session) -> ForeignTree:
    """Return the tree of a folder."""
    path = os.path.join(session.path, METADATA)
    session.account.file_bytes = _regular_bytes(session, METADATA)
    source = FileRange(path, 0, session.size)
    with source.open() as file:
        program = session.follow(file)
    # Refused where it would do more than describe; what it describes is read below.
    session.builder(source).check(program)
    try:
        metadata = _record(program.result, "Metadata")
        folder = _Folder(session, _stored(metadata.get("storage_data")))
        found = {
            as_text(name): folder.read(as_text(name), described)
            for name, described in _items(metadata.get("state_dict_metadata"))
        }
        root = _nested(session, found, metadata.get("planner_data"))
    except (ValueError, TypeError, KeyError, IndexError) as error:
        raise session.damaged(f"its metadata make no sense: {error}.") from error
    return session.tree("PyTorch, distributed", root)


@dataclass(frozen=True, slots=True)
class _Stretch:
    name: str
    begin: int
    nbytes: int


class _Folder:
    """The files of a checkpoint; each is opened by its name in this folder, and is no link."""

    def __init__(self, session: Session, stored: Mapping[_Place, _Stretch]) -> None:
        self._session, self._stored = session, stored
        self._sizes = {
            name: _regular_bytes(session, name) for name in {s.name for s in stored.values()}
        }
        session.account.file_bytes += sum(self._sizes.values())

    def read(self, name: str, described: object) -> object:
        """Return the tensor or value of a name."""
        if isinstance(described, Call) and described.function == Global(
            _MODULE, "BytesStorageMetadata"
        ):
            return self._value(self._stored[name, ()])
        tensor = _record(described, "TensorStorageMetadata")
        chunks = tensor.get("chunks")
        if not isinstance(chunks, list):
            raise ValueError("a tensor without chunks")
        dtype, shape = _dtype(tensor.get("properties")), sizes(tensor.get("size"))
        boxes = [box for chunk in chunks for box in self._boxes(name, chunk, dtype)]
        require_cover(shape, boxes)
        return boxed_array(dtype, shape, tuple(boxes), "torch")

    def _boxes(self, name: str, chunk: object, dtype: str) -> Iterator[Box]:
        record = _record(chunk, "ChunkStorageMetadata")
        at, shape = sizes(record.get("offsets")), sizes(record.get("sizes"))
        found = self._value(self._stored[name, at])
        if not isinstance(found, ForeignArray) or (found.dtype, found.shape) != (dtype, shape):
            raise ValueError(f"what is stored of {name!r} is not what is said of it")
        yield Box(at, found.boxes[0].view)

    def _value(self, stretch: _Stretch) -> object:
        end = stretch.begin + stretch.nbytes
        if not 0 <= stretch.begin <= end <= self._sizes[stretch.name]:
            raise ValueError(f"{stretch.name!r} is shorter than it should be")
        path = os.path.join(self._session.path, stretch.name)
        archive = FileRange(path, stretch.begin, end)
        return read_members(self._session, zip_members(self._session, archive))


def _regular_bytes(session: Session, name: str) -> int:
    if name in ("", ".", "..") or any(c in name for c in "/\\\0"):
        raise session.refused(f"it names the file {name[:80]!r}, which would be outside of it.")
    path = os.path.join(session.path, name)
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        raise session.damaged(f"its file {name!r} is missing.") from None
    if not stat.S_ISREG(found.st_mode):
        raise session.refused(f"its file {name!r} is no plain file, but a link or the like.")
    return found.st_size


# --- the pickle ---


def _record(value: object, name: str) -> dict[str, object]:
    """Return the fields of an object of one of the classes that metadata are made of."""
    if not isinstance(value, Call) or not isinstance(value.function, Global):
        raise ValueError(f"no {name}")
    if value.function.name != name or value.args or not isinstance(value.state, Items):
        raise ValueError(f"no {name}, but {value.function}")
    return {as_text(key): item for key, item in value.state.pairs}


def _items(value: object) -> list[tuple[object, object]]:
    if not isinstance(value, Items):
        raise ValueError("a table is missing")
    return value.pairs


def _stored(table: object) -> dict[_Place, _Stretch]:
    found: dict[_Place, _Stretch] = {}
    for index, info in _items(table):
        key, fields = _record(index, "MetadataIndex"), _record(info, "_StorageInfo")
        if fields.get("transform_descriptors"):
            raise ValueError("its files are compressed or encrypted by an extension")
        at = key.get("offset")
        place = as_text(key.get("fqn")), () if at is None else sizes(at)
        name, begin = as_text(fields.get("relative_path")), as_int(fields.get("offset"))
        found[place] = _Stretch(name, begin, as_int(fields.get("length")))
    return found


def _dtype(properties: object) -> str:
    state = properties.state if isinstance(properties, Call) else None
    if isinstance(state, tuple) and state:
        return torch_dtype(state[0])
    return torch_dtype(_record(properties, "TensorProperties").get("dtype"))


# --- the tree ---


def _nested(session: Session, found: dict[str, object], planner_data: object) -> object:
    """Return the flat names as the tree that they were flattened from, if that is said."""
    if not isinstance(planner_data, Items) or not planner_data.pairs:
        return found
    paths = {as_text(name): path for name, path in planner_data.pairs}
    root: dict[object, object] = {}
    for name, value in found.items():
        path = paths.get(name, (name,))
        if not isinstance(path, tuple) or not path or len(path) > session.limits.depth:
            raise ValueError(f"{name!r} has no place in the tree")
        _put(root, path, value)
    return _with_lists(root)


def _put(node: dict[object, object], path: Sequence[object], value: object) -> None:
    for key in path[:-1]:
        inner = node.setdefault(_step(key), {})
        if not isinstance(inner, dict):
            raise ValueError("a value is at a place where a container is")
        node = inner
    if _step(path[-1]) in node:
        raise ValueError("two values are at one place")
    node[_step(path[-1])] = value


def _step(key: object) -> object:
    return key if isinstance(key, str) else as_int(key)


def _with_lists(node: object) -> object:
    if not isinstance(node, dict):
        return node
    made = {key: _with_lists(inner) for key, inner in node.items()}
    if made and all(isinstance(key, int) for key in made):
        if sorted(made) != list(range(len(made))):
            raise ValueError("a list has holes")
        return [made[i] for i in range(len(made))]
    return made
