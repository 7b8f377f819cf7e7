"""Where a checkpoint comes from: what its process began at, its configuration, its data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from holdfast.format.names import is_id

MAX_STEP = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Origin:
    """A checkpoint that training began at; ``store`` is the id of the store it is in, if known."""

    store: str | None
    run: str
    step: int
    id: str

    @property
    def ref(self) -> str:
        """The ref that named it: ``RUN@STEP``."""
        return f"{self.run}@{self.step}"


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a commit tells of its past besides its parent.

    Attributes:
        resumed_from: The checkpoint of the same run that the process restored before it trained.
        forked_from: The checkpoint of another run, or in another store, that the run began at;
            all later checkpoints of the run have it too.
        config: What the user has set, as plain JSON; None where nothing was given.
        dataset: The fingerprint of the data; None where none was given.
        base: The checkpoint of the same store that has what this one leaves out, or None.
    """

    resumed_from: Origin | None = None
    forked_from: Origin | None = None
    config: Mapping[str, object] | None = None
    dataset: str | None = None
    base: Origin | None = None


def encode(lineage: Lineage) -> dict[str, object]:
    """Return the member ``lineage`` of a predicate."""
    found: dict[str, object] = {
        "resumed_from": _encode_origin(lineage.resumed_from),
        "forked_from": _encode_origin(lineage.forked_from),
        "config": None if lineage.config is None else dict(lineage.config),
        "dataset": lineage.dataset,
    }
    if lineage.base is not None:
        found["base"] = _encode_origin(lineage.base)
    return found


def decode(value: Mapping[str, object]) -> Lineage:
    """Return the lineage of ``encode``.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: It is malformed.
    """
    config, dataset = value["config"], value["dataset"]
    if not isinstance(config, dict | None) or not isinstance(dataset, str | None):
        raise ValueError("config is no object, or dataset no text")
    return Lineage(
        _decode_origin(value["resumed_from"]),
        _decode_origin(value["forked_from"]),
        config,
        dataset,
        _decode_origin(value.get("base")),
    )


def _encode_origin(origin: Origin | None) -> dict[str, object] | None:
    if origin is None:
        return None
    return {"store": origin.store, "run": origin.run, "step": origin.step, "id": origin.id}


def _decode_origin(value: object) -> Origin | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        raise ValueError("an origin is no object")
    store, run, step, name = value["store"], value["run"], value["step"], value["id"]
    is_step = isinstance(step, int) and not isinstance(step, bool) and 0 <= step <= MAX_STEP
    if not (isinstance(run, str) and is_step and is_id(name) and (store is None or is_id(store))):
        raise ValueError(f"{value!r} is no origin")
    return Origin(store, run, step, str(name))
