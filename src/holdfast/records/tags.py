"""Tags: names of checkpoints, each a small object that names the checkpoint's id."""

from __future__ import annotations

from dataclasses import dataclass

from holdfast.errors import DataError
from holdfast.format import envelope
from holdfast.format.names import RunKeys, check_tag, last_component
from holdfast.records.visible import wait_until_seen
from holdfast.store.contract import ObjectStore

PAYLOAD_TYPE = "application/vnd.holdfast.tag+json"


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag and the checkpoint that it names; ``error`` where its record is damaged."""

    name: str
    checkpoint_id: str
    error: DataError | None = None


def put_tag(store: ObjectStore, run: str, name: str, checkpoint_id: str) -> None:
    """Let a tag name a checkpoint; one that named another moves, in one step."""
    payload = {"run": run, "tag": check_tag(name), "id": checkpoint_id}
    key = RunKeys(run).tag(name)
    store.put(key, envelope.wrap(PAYLOAD_TYPE, payload))
    wait_until_seen(store, key)


def delete_tag(store: ObjectStore, run: str, name: str) -> None:
    """Remove a tag; the checkpoint stays."""
    store.delete([RunKeys(run).tag(name)])


def all_tags(store: ObjectStore, run: str) -> list[Tag]:
    """Return a run's tags, sorted by name, damaged ones with their error."""
    found = []
    for info in store.list(RunKeys(run).tags):
        name = last_component(info.key)
        try:
            payload = envelope.unwrap(
                store.get(info.key), PAYLOAD_TYPE, what=f"the tag {name!r} of run {run!r}"
            )
            if (payload.get("run"), payload.get("tag")) != (run, name) or "id" not in payload:
                raise DataError(f"The tag {name!r} of run {run!r} is another tag's record.")
            found.append(Tag(name, str(payload["id"])))
        except DataError as error:
            found.append(Tag(name, "", error))
    return found


def tags_by_checkpoint(store: ObjectStore, run: str) -> dict[str, tuple[str, ...]]:
    """Return the tags of each checkpoint, by its id."""
    out: dict[str, tuple[str, ...]] = {}
    for tag in all_tags(store, run):
        if tag.error is None:
            out[tag.checkpoint_id] = (*out.get(tag.checkpoint_id, ()), tag.name)
    return out
