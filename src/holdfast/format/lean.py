"""What a part of several ranks says: which boxes it has, of arrays that one tree names for all.

The tree that all ranks agree on, the *shared tree*, is in rank 0's part only. Every part has its
digest, so that thousands of parts are known to belong together without a walk through any.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from holdfast.format.digests import DIGEST_BYTES, digest
from holdfast.format.schema import PartMessage, TreeMessage
from holdfast.format.tree import TreeColumns

REPLICA_BYTES = 16
_MAX_NUMBER = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Replicas:
    """Of which arrays a rank holds what others hold, too, and what it digests to.

    Attributes:
        array: For each, its number among the arrays of the shared tree, rising.
        first: For each, the first of the ranks that hold the same.
        digest: Their digests, one behind the other.
    """

    array: Sequence[int] = ()
    first: Sequence[int] = ()
    digest: bytes = b""


@dataclass(frozen=True, slots=True)
class Lean:
    """What a part has in the place of a tree of the whole.

    Attributes:
        plan: Digest of the shared tree, as bytes.
        array: For each box, the number of its array among those of the shared tree, rising. The
            boxes are the first of the part's arrays.
        at: Where the boxes begin, as many numbers for each as it has dims.
        shared: The shared tree as bytes; in rank 0's part only.
        replicas: What it holds that others hold, too, if anybody looked.
    """

    plan: bytes
    array: Sequence[int]
    at: Sequence[int]
    shared: bytes = b""
    replicas: Replicas = field(default_factory=Replicas)

    @property
    def n_boxes(self) -> int:
        """How many of the part's arrays are boxes."""
        return len(self.array)


def encode_tree(tree: TreeColumns) -> bytes:
    """Return a tree as bytes; equal trees give equal bytes."""
    message = TreeMessage()
    fill_tree(message, tree)
    return bytes(message.SerializeToString(deterministic=True))


def fill_tree(message: Any, tree: TreeColumns) -> None:
    """Write the columns of a tree into a message."""
    for column in fields(TreeColumns):
        getattr(message, column.name).extend(getattr(tree, column.name))


def columns_of(message: Any) -> TreeColumns:
    """Return the columns of a tree's message."""
    return TreeColumns(
        **{column.name: list(getattr(message, column.name)) for column in fields(TreeColumns)}
    )


def decode_shared(data: bytes) -> TreeColumns:
    """Return the shared tree of its bytes.

    Raises:
        google.protobuf.message.DecodeError: They are no tree.
    """
    return columns_of(TreeMessage.FromString(data))


def encode_lean(message: Any, lean: Lean) -> None:
    """Write what a part has of several ranks into its message."""
    message.plan, message.shared = lean.plan, lean.shared
    # Also where there is none: that the field is there says what kind of part it is.
    message.boxes.SetInParent()
    message.boxes.array.extend(lean.array)
    message.boxes.at.extend(lean.at)
    if lean.replicas.array:
        message.replicas.array.extend(lean.replicas.array)
        message.replicas.first.extend(lean.replicas.first)
        message.replicas.digest = lean.replicas.digest


def decode_lean(message: Any) -> Lean | None:
    """Return what a part's message has of several ranks, None where it is another kind of part.

    Raises:
        ValueError: It contradicts itself.
    """
    if not message.HasField("boxes"):
        if message.plan or message.shared or message.HasField("replicas"):
            raise ValueError("it has something of several ranks, but no boxes")
        return None
    lean = Lean(
        message.plan,
        list(message.boxes.array),
        list(message.boxes.at),
        message.shared,
        Replicas(
            list(message.replicas.array), list(message.replicas.first), message.replicas.digest
        ),
    )
    _check(lean, list(message.arrays.ndim))
    if bool(lean.shared) != (message.rank == 0):
        raise ValueError("the tree of all ranks is in rank 0's part, and in no other")
    return lean


def _check(lean: Lean, ndims: Sequence[int]) -> None:
    if len(lean.plan) != DIGEST_BYTES:
        raise ValueError("it has no digest of what all ranks agree on")
    if lean.shared and digest(lean.shared) != lean.plan:
        raise ValueError("the tree of all ranks is not what its digest says")
    if lean.n_boxes > len(ndims) or sum(ndims[: lean.n_boxes]) != len(lean.at):
        raise ValueError("the boxes are not as many as their offsets say")
    if any(number > _MAX_NUMBER for number in lean.at):
        raise ValueError("a box begins beyond all arrays")
    if any(a > b for a, b in zip(lean.array, lean.array[1:], strict=False)):
        raise ValueError("the boxes do not come in the order of their arrays")
    found = lean.replicas
    if not len(found.array) == len(found.first) == len(found.digest) / REPLICA_BYTES:
        raise ValueError("the digests of replicas are not as many as the replicas")


def answer(plan: bytes) -> bytes:
    """Return a part that shows the shared tree of a rank, and nothing else.

    Args:
        plan: The part that the rank has planned to write.
    """
    planned = PartMessage.FromString(plan)
    message = PartMessage(
        format=planned.format,
        run=planned.run,
        step=planned.step,
        checkpoint_id=planned.checkpoint_id,
        rank=planned.rank,
        world_size=planned.world_size,
        plan=planned.plan,
        shared=planned.shared,
    )
    return bytes(message.SerializeToString(deterministic=True))
