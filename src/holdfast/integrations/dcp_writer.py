"""A ``StorageWriter`` with which ``dcp.save`` and ``dcp.async_save`` save into a holdfast store.

In one process all goes into one checkpoint, with the index, when everything is there. Of several
processes each saves what the plan gives it as a part of its own, when it is ready; the index names
the parts, and is committed last: without it there is no checkpoint.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, final

from torch.distributed.checkpoint import DefaultSavePlanner
from torch.distributed.checkpoint.metadata import Metadata, MetadataIndex, StorageMeta
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem, WriteItemType
from torch.distributed.checkpoint.storage import StorageWriter, WriteResult
from torch.futures import Future

from holdfast.errors import UsageError
from holdfast.format.names import check_run
from holdfast.integrations.dcp_index import (
    INDEX_KEY,
    SHARDS_KEY,
    Index,
    PartRef,
    Path,
    Place,
    encode,
    shard_name,
)
from holdfast.integrations.dcp_paths import put
from holdfast.integrations.dcp_steps import names_step, step_of
from holdfast.oneshot import save
from holdfast.policy.keep_policy import KeepPolicy
from holdfast.records.opening import Location
from holdfast.repository import Store

_HERE = -1


@dataclass(frozen=True, slots=True)
class _Written:
    """What one rank tells the coordinator of an item: where it is, and in which part."""

    place: Place
    part: PartRef | None


@final
class HoldfastWriter(StorageWriter):  # type: ignore[misc]
    """Saves what PyTorch's distributed checkpoint plans into a run of a holdfast store.

    A new save never takes an older one's place before it is durable. Values that are no tensors
    are saved as what they are, not pickled.

    Args:
        location: Folder of the store, or a ``Store``.
        run: Name of the run.
        step: Step of the next checkpoint; the number at the end of ``checkpoint_id`` says it too.
        keep: Which checkpoints stay; None: all.
        metrics: Numbers that go with the checkpoint.
    """

    def __init__(
        self,
        location: Location | Store,
        *,
        run: str,
        step: int | None = None,
        keep: KeepPolicy | None = None,
        metrics: Mapping[str, Any] | None = None,
    ) -> None:
        self.location = location
        self.run = check_run(run)
        self.step = step
        self.keep = keep
        self.metrics = metrics
        self._rank = 0
        self._tree: dict[Any, Any] = {}

    def reset(self, checkpoint_id: str | os.PathLike[str] | None = None) -> None:
        """Take the step of the next checkpoint from its id."""
        self._tree = {}
        if checkpoint_id is not None:
            self.step = step_of(checkpoint_id)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | os.PathLike[str]) -> bool:
        """Say whether an id ends in a number."""
        return names_step(checkpoint_id)

    def storage_meta(self) -> StorageMeta | None:
        """Return what planners are told of the checkpoint."""
        return StorageMeta(checkpoint_id=f"{self.run}@{self.step}")

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Begin a save.

        Raises:
            UsageError: There is no step, or ranks shall save without telling one another.
        """
        if self.step is None:
            raise UsageError(
                "There is no step to save as: give checkpoint_id='step-500' to dcp.save, or "
                "step= to HoldfastWriter. Nothing was saved."
            )
        if not kwargs.get("use_collectives", True):
            raise UsageError(
                "HoldfastWriter needs use_collectives=True: a checkpoint of which some rank's "
                "part may be missing would be no whole one. Nothing was saved."
            )
        self._rank = int(kwargs.get("rank") or 0)
        self._tree = {}

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """Return the plan as it is."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Tell every rank how many there are."""
        return [replace(plan, storage_data=len(plans)) for plan in plans]

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Save this rank's items as a part; in one process only gather them for ``finish``."""
        alone = plan.storage_data in (None, 1)
        tree, placed = _gathered(plan, planner, alone)
        part = None
        if alone:
            self._tree = tree
        elif tree:
            run = _part_run(self.run, self._rank)
            info = save(self.location, tree, run=run, step=self._step, rng=False)
            part = PartRef(info.run, info.step, info.id)
        done: Future[list[WriteResult]] = Future()
        done.set_result([_result(item, _Written(place, part)) for item, place in placed])
        return done

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """Commit the checkpoint: all parts are durable."""
        written = {result.index: result.storage_data for of_rank in results for result in of_rank}
        parts, numbers = _parts_of(written)
        places = {
            index: replace(found.place, part=numbers.get(found.part, _HERE))
            for index, found in written.items()
        }
        tree, self._tree = self._tree, {}
        tree[INDEX_KEY] = encode(Index(metadata, places, parts))
        save(self.location, tree, run=self.run, step=self._step, metrics=self.metrics, rng=False)
        if self.keep is not None:
            self._prune(self.keep)

    @property
    def _step(self) -> int:
        assert self.step is not None
        return self.step

    def _prune(self, keep: KeepPolicy) -> None:
        """Remove old checkpoints: first the index, by which one is found, then its parts."""
        store = Store(self.location)
        store.prune(self.run, keep)
        stay = {info.step for info in store.log(self.run)}
        # Also of ranks that there are no more: another number of them may have saved before.
        is_part = re.compile(re.escape(_part_run(self.run, "")) + r"\d+").fullmatch
        for run in filter(is_part, store.runs()):
            for info in store.log(run):
                if info.step not in stay:
                    store.remove(info.ref)


def _part_run(run: str, rank: int | str) -> str:
    return f"{run}~part-{rank}"


def _gathered(
    plan: SavePlan, planner: SavePlanner, alone: bool
) -> tuple[dict[Any, Any], list[tuple[WriteItem, Place]]]:
    """Return a plan's items as a tree, and where in it each is; the part is not known yet."""
    paths = plan.planner_data if isinstance(plan.planner_data, Mapping) else {}
    tree: dict[Any, Any] = {}
    placed: list[tuple[WriteItem, Place]] = []
    for item in plan.items:
        value, opaque = _value_of(item, planner)
        path = _path_of(item, paths, alone)
        put(tree, path, value)
        placed.append((item, Place(_HERE, path, opaque)))
    return tree, placed


def _value_of(item: WriteItem, planner: SavePlanner) -> tuple[object, bool]:
    """Return what to save of an item, and whether it is bytes of a planner's own making."""
    if item.type != WriteItemType.BYTE_IO:
        return planner.resolve_data(item).detach(), False
    own = getattr(type(planner), "transform_object", None)
    if own is DefaultSavePlanner.transform_object:
        # What the default planner would pickle is saved as what it is.
        return planner.lookup_object(item.index), False
    return planner.resolve_data(item).getvalue(), True


def _path_of(item: WriteItem, paths: Mapping[str, Path], alone: bool) -> Path:
    """Return where to put an item: where the user has it, if all of it is here."""
    name = item.index.fqn
    data = item.tensor_data
    if alone and (data is None or data.chunk.sizes == data.size):
        path = tuple(paths.get(name, (name,)))
        if path[0] not in (INDEX_KEY, SHARDS_KEY):
            return path
    return (SHARDS_KEY, name, shard_name(item.index.offset if data is not None else None))


def _result(item: WriteItem, written: _Written) -> WriteResult:
    return WriteResult(
        index=item.index, size_in_bytes=item.tensor_storage_size() or 0, storage_data=written
    )


def _parts_of(
    written: Mapping[MetadataIndex, _Written],
) -> tuple[tuple[PartRef, ...], dict[PartRef | None, int]]:
    found = {w.part for w in written.values() if w.part is not None}
    parts = tuple(sorted(found, key=lambda part: part.run))
    return parts, {part: i for i, part in enumerate(parts)}
