"""Arrays of JAX that lie on devices of several processes: which boxes are here, and who has them.

Any sharding will do, over meshes of any number of axes: a box is what JAX says that a device has.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import jax
import numpy as np

from holdfast.errors import UnsupportedLeaf
from holdfast.format.boxes import Box
from holdfast.state.sharding import Held, Piece, register_held


def is_spread(value: object) -> bool:
    """Say whether a value is an array, there or to be, on devices of other processes, too."""
    if not isinstance(value, jax.Array | jax.ShapeDtypeStruct) or _is_traced_or_keys(value):
        return False
    return value.sharding is not None and not value.sharding.is_fully_addressable


def held(value: Any, path: str) -> Held:
    """Return what this process holds of an array.

    Raises:
        UnsupportedLeaf: Its sharding takes dims away, as pmap's does.
    """
    shape, sharding = tuple(value.shape), value.sharding
    is_there = isinstance(value, jax.Array)
    if is_there and value.is_deleted():
        return Held(shape, (), value)
    here = {shard.device: shard.data for shard in value.addressable_shards} if is_there else {}
    arrays: dict[Box, Any] = {}
    for device, index in sharding.addressable_devices_indices_map(shape).items():
        box = _box(index, shape)
        if is_there and here[device].shape != box.shape:
            what = "is laid out in a way that is not known"
            raise UnsupportedLeaf(f"{path!r} {what}; nothing was saved.", path=path, what=what)
        # Devices of one process that have the same; one of them is enough.
        arrays.setdefault(box, here.get(device))
    holders = _holders(sharding, shape)
    ordered = sorted(arrays, key=lambda box: box.offset)
    return Held(shape, [Piece(box, arrays[box], holders[box]) for box in ordered], value)


def assembled(target: Any, boxes: Mapping[Box, np.ndarray[Any, Any]]) -> jax.Array:
    """Return an array that lies as target does.

    Args:
        target: An array, there or to be.
        boxes: The values of the boxes that this process holds.
    """
    shape, sharding = tuple(target.shape), target.sharding
    parts = [
        jax.device_put(boxes[_box(index, shape)], _on(device, sharding))
        for device, index in sharding.addressable_devices_indices_map(shape).items()
    ]
    # Of which there may be none; JAX would not know the dtype then.
    more = {} if parts else {"dtype": target.dtype}
    return jax.make_array_from_single_device_arrays(shape, sharding, parts, **more)


def _on(device: Any, sharding: Any) -> Any:
    return jax.sharding.SingleDeviceSharding(device, memory_kind=sharding.memory_kind)


def _is_traced_or_keys(value: Any) -> bool:
    if isinstance(value, jax.core.Tracer):
        return True
    # Typed keys are saved by the numbers that they are made of.
    return bool(jax.dtypes.issubdtype(value.dtype, jax.dtypes.prng_key))


@lru_cache(maxsize=4096)
def _holders(sharding: Any, shape: tuple[int, ...]) -> Mapping[Box, tuple[int, ...]]:
    """Return the processes that hold each box of an array, rising."""
    found: defaultdict[Box, set[int]] = defaultdict(set)
    for device, index in sharding.devices_indices_map(shape).items():
        found[_box(index, shape)].add(device.process_index)
    return {box: tuple(sorted(ranks)) for box, ranks in found.items()}


def _box(index: Any, shape: tuple[int, ...]) -> Box:
    """Return the box of an index as JAX gives it: a slice for each dim.

    >>> _box((slice(2, 4), slice(None)), (4, 3))
    Box(offset=(2, 0), shape=(2, 3))
    """
    spans = [
        range(n)[at] if isinstance(at, slice) else range(at, at + 1)
        for at, n in zip(index, shape, strict=True)
    ]
    return Box(tuple(span.start for span in spans), tuple(len(span) for span in spans))


def _is_distributed() -> bool:
    # JAX 0.5.0 has no name for it.
    return bool(getattr(jax.distributed, "is_initialized", lambda: True)())


register_held(is_spread, held, _is_distributed, by_class=False)
