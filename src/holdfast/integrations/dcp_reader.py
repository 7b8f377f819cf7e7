"""A ``StorageReader`` with which ``dcp.load`` loads what ``HoldfastWriter`` has saved.

Every chunk is checked before a tensor changes. What covers a whole tensor is read straight into
it; of shards that are cut anew the pieces are copied once all of a part is read and good.
"""

from __future__ import annotations

import io
import os
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, StorageMeta
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, LoadPlanner, ReadItem
from torch.distributed.checkpoint.storage import StorageReader
from torch.futures import Future

from holdfast.errors import ChunkMissing, NotFound, UsageError
from holdfast.format.names import check_run
from holdfast.history.info import CheckpointInfo
from holdfast.integrations.dcp_index import INDEX_KEY, Index, PartRef, Path, Place, decode
from holdfast.integrations.dcp_paths import get, put
from holdfast.integrations.dcp_steps import names_step, step_of
from holdfast.integrations.newest import newest_good
from holdfast.oneshot import load
from holdfast.records.opening import Location
from holdfast.repository import Store


@dataclass(frozen=True, slots=True)
class _Target:
    """What a stored item is read into: the user's own tensor, another, or none for a value."""

    tensor: torch.Tensor | None
    is_own: bool = False


@final
class HoldfastReader(StorageReader):  # type: ignore[misc]
    """Loads a checkpoint of a run that ``HoldfastWriter`` has saved.

    Args:
        location: Folder of the store, or a ``Store``.
        run: Name of the run.
        step: Step of the checkpoint; the number at the end of ``checkpoint_id`` says it too. None:
            the newest that verifies; damaged ones are stepped over, with a warning.
    """

    def __init__(self, location: Location | Store, *, run: str, step: int | None = None) -> None:
        self._store = Store(location)
        self.run = check_run(run)
        self.step = step
        self._index: Index | None = None
        self._ref = ""

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Take the step of the checkpoint from its id."""
        self._index = None
        if checkpoint_id is not None:
            self.step = step_of(checkpoint_id)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Say whether an id ends in a number."""
        return names_step(checkpoint_id)

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        """Return what is in the checkpoint.

        Raises:
            NotFound: There is no such run or checkpoint.
            DataError: It is damaged, or none of the run is good.
        """
        step = self.step
        if step is None:
            step = newest_good(self._store, self.run, self._refs_of).step
        self._ref = f"{self.run}@{step}"
        self._index = self._read_index(self._ref)
        metadata = self._index.metadata
        metadata.storage_data = self._index.places
        metadata.storage_meta = StorageMeta(checkpoint_id=self._ref)
        return metadata

    def set_up_storage_reader(
        self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any
    ) -> None:
        """Do nothing: what is needed was read with the metadata."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """Return the plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """Return the plans as they are."""
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        """Read all items, part by part.

        Raises:
            DataError: A part is damaged or missing; tensors of that part were not changed.
        """
        assert self._index is not None
        by_part: dict[int, list[ReadItem]] = defaultdict(list)
        for item in plan.items:
            by_part[self._place(item.storage_index).part].append(item)
        for part, items in sorted(by_part.items()):
            ref = self._ref if part < 0 else self._ref_of_part(self._index.parts[part])
            self._read_part(ref, items, planner)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    def _place(self, index: MetadataIndex) -> Place:
        assert self._index is not None
        return self._index.places[index]

    def _read_part(self, ref: str, items: Iterable[ReadItem], planner: LoadPlanner) -> None:
        wanted: dict[Path, list[ReadItem]] = defaultdict(list)
        for item in items:
            wanted[self._place(item.storage_index).path].append(item)
        targets = {path: self._target(of_path, planner) for path, of_path in wanted.items()}
        tree = self._loaded(ref, targets)
        for path, of_path in wanted.items():
            for item in of_path:
                if targets[path].is_own:
                    planner.commit_tensor(item, targets[path].tensor)
                else:
                    self._hand_over(item, get(tree, path), planner)

    def _loaded(self, ref: str, targets: Mapping[Path, _Target]) -> dict[Any, Any]:
        tree: dict[Any, Any] = {}
        for path, target in targets.items():
            put(tree, path, target.tensor)
        restored = load(self._store, ref, into=tree, strict=False)
        if restored.missing:
            raise ChunkMissing(
                f"{ref} lacks {restored.missing[0]!r}, which the index of {self._ref} names.",
                ref=ref,
            )
        return tree

    def _target(self, items: list[ReadItem], planner: LoadPlanner) -> _Target:
        first = items[0]
        if first.type == LoadItemType.BYTE_IO:
            return _Target(None)
        entry, chunk = self._stored(first.storage_index)
        if len(items) == 1 and first.lengths == chunk:
            own = planner.resolve_tensor(first).detach()
            if own.size() == chunk and own.dtype == entry.properties.dtype:
                return _Target(own, is_own=True)
        return _Target(torch.empty(chunk, dtype=entry.properties.dtype))

    def _stored(self, index: MetadataIndex) -> tuple[Any, torch.Size]:
        assert self._index is not None
        entry = self._index.metadata.state_dict_metadata[index.fqn]
        size = next(c.sizes for c in entry.chunks if c.offsets == index.offset)
        return entry, size

    def _hand_over(self, item: ReadItem, value: Any, planner: LoadPlanner) -> None:
        if item.type == LoadItemType.BYTE_IO:
            planner.load_bytes(item, self._bytes_of(item, value))
            return
        for dim, (offset, length) in enumerate(
            zip(item.storage_offsets, item.lengths, strict=True)
        ):
            value = value.narrow(dim, offset, length)
        target = planner.resolve_tensor(item).detach()
        target.copy_(value)
        planner.commit_tensor(item, target)

    def _bytes_of(self, item: ReadItem, value: Any) -> io.BytesIO:
        if self._place(item.storage_index).opaque:
            return io.BytesIO(value)
        # Planners take bytes as torch.save makes them; these are made here, of what was checked.
        stream = io.BytesIO()
        torch.save(value, stream)
        stream.seek(0)
        return stream

    # --- finding the checkpoint ---

    def _read_index(self, ref: str) -> Index:
        try:
            found = load(self._store, ref, only=INDEX_KEY)
        except UsageError as error:
            # Of its own class is what has another reason: no such checkpoint, no key.
            if type(error) is not UsageError:
                raise
            raise UsageError(
                f"{ref} was not saved by HoldfastWriter: dcp.load cannot load it. Nothing was "
                f"changed. Load it with holdfast.load(location, {ref!r}, into=…).",
                ref=ref,
            ) from error
        return decode(found[INDEX_KEY], ref)

    def _ref_of_part(self, part: PartRef) -> str:
        ref = f"{part.run}@{part.step}"
        try:
            is_it = self._store.info(ref).id == part.id
        except NotFound:
            is_it = False
        if not is_it:
            raise ChunkMissing(
                f"{ref}, a part of the checkpoint, is no longer there or was saved again since. "
                "Nothing of it was used. Load another step.",
                ref=ref,
            )
        return ref

    def _refs_of(self, info: CheckpointInfo) -> list[str]:
        index = self._read_index(info.ref)
        return [info.ref, *map(self._ref_of_part, index.parts)]
