"""Tags and names: small objects that name a checkpoint's id.

A tag may move to another checkpoint, and be taken away. A name is for good: it is created only if
nobody has it, and nobody replaces or removes it. A ref finds both in the same way.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from holdfast.errors import AlreadyExists, ChunkMissing, DataError, InvalidName
from holdfast.format import envelope
from holdfast.format.commit import CommitRecord
from holdfast.format.names import RunKeys, check_tag, last_component
from holdfast.records.rewriting import alone
from holdfast.records.visible import wait_until_seen
from holdfast.store.contract import ObjectStore

PAYLOAD_TYPE = "application/vnd.holdfast.tag+json"
NAME_PAYLOAD_TYPE = "application/vnd.holdfast.name+json"


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag or name, and the checkpoint that it names; ``error`` where its record is damaged."""

    name: str
    checkpoint_id: str
    error: DataError | None = None
    is_fixed: bool = False


def put_tag(store: ObjectStore, run: str, name: str, checkpoint_id: str) -> None:
    """Let a tag name a checkpoint; one that named another moves, in one step.

    Raises:
        AlreadyExists: It is a name for good.
    """
    if store.exists(RunKeys(run).name(check_tag(name))):
        raise AlreadyExists(
            f"{run}@{name} is a name for good, and cannot be a tag that moves. Nothing was "
            "changed; choose another tag.",
            run=run,
            tag=name,
        )
    payload = {"run": run, "tag": name, "id": checkpoint_id}
    key = RunKeys(run).tag(name)
    with alone(store, run):
        store.put(key, envelope.wrap(PAYLOAD_TYPE, payload))
    wait_until_seen(store, key)


def put_name(store: ObjectStore, run: str, name: str, checkpoint_id: str) -> None:
    """Let a name name a checkpoint, for good; to do so again changes nothing.

    Raises:
        AlreadyExists: It names another checkpoint, or is a tag.
        ManifestDamaged: It is taken, and what it names cannot be read.
    """
    keys = RunKeys(run)
    taken = "is a tag that moves" if store.exists(keys.tag(check_tag(name))) else ""
    payload = {"run": run, "name": name, "id": checkpoint_id}
    if not taken and not store.put_new(keys.name(name), envelope.wrap(NAME_PAYLOAD_TYPE, payload)):
        found = find(store, run, name)
        if found is not None and found.error is not None:
            raise found.error
        taken = "" if found and found.checkpoint_id == checkpoint_id else "names another checkpoint"
    if taken:
        raise AlreadyExists(
            f"{run}@{name} {taken}, and names for good are given once. Nothing was changed; "
            "choose another name.",
            run=run,
            tag=name,
        )
    wait_until_seen(store, keys.name(name))


def put_missing_names(store: ObjectStore, run: str, records: Iterable[CommitRecord]) -> None:
    """Let every name that a commit tells of, and that nobody has, name its checkpoint."""
    for record in records:
        for name in record.names:
            if find(store, run, name) is None:
                put_name(store, run, name, record.id)


def delete_tag(store: ObjectStore, run: str, name: str) -> None:
    """Remove a tag; the checkpoint stays."""
    with alone(store, run):
        store.delete([RunKeys(run).tag(name)])


def take_back_name(store: ObjectStore, run: str, name: str) -> None:
    """Remove a name that was given just now to a checkpoint that turned out to be gone."""
    with alone(store, run):
        store.delete([RunKeys(run).name(name)])


def find(store: ObjectStore, run: str, name: str) -> Tag | None:
    """Return the name or tag that is called so, or None; a name goes before a tag."""
    try:
        check_tag(name)
    except InvalidName:
        return None
    for key, is_fixed in ((RunKeys(run).name(name), True), (RunKeys(run).tag(name), False)):
        try:
            return _read(store, run, key, is_fixed=is_fixed)
        except ChunkMissing:
            continue
    return None


def all_tags(store: ObjectStore, run: str) -> list[Tag]:
    """Return a run's tags, then its names, each sorted; damaged ones with their error."""
    keys, found = RunKeys(run), []
    for prefix, is_fixed in ((keys.tags, False), (keys.names, True)):
        for info in store.list(prefix):
            try:
                found.append(_read(store, run, info.key, is_fixed=is_fixed))
            except ChunkMissing:
                continue
    return found


def tags_by_checkpoint(store: ObjectStore, run: str) -> dict[str, tuple[str, ...]]:
    """Return the tags and names of each checkpoint, by its id."""
    out: dict[str, tuple[str, ...]] = {}
    for tag in all_tags(store, run):
        if tag.error is None:
            out[tag.checkpoint_id] = (*out.get(tag.checkpoint_id, ()), tag.name)
    return out


def next_version(store: ObjectStore, run: str, base: str) -> str:
    """Return the name that follows those of a sequence: ``base_v1``, ``base_v2`` and so on."""
    version = re.compile(re.escape(base) + r"_v([1-9][0-9]*)")
    taken = (version.fullmatch(tag.name) for tag in all_tags(store, run))
    return f"{base}_v{1 + max((int(found[1]) for found in taken if found), default=0)}"


def _read(store: ObjectStore, run: str, key: str, *, is_fixed: bool) -> Tag:
    name = last_component(key)
    kind, payload_type = ("name", NAME_PAYLOAD_TYPE) if is_fixed else ("tag", PAYLOAD_TYPE)
    what = f"the {kind} {name!r} of run {run!r}"
    try:
        payload = envelope.unwrap(store.get(key), payload_type, what=what)
        if (payload.get("run"), payload.get(kind)) != (run, name) or "id" not in payload:
            raise DataError(f"The {what.removeprefix('the ')} is another {kind}'s record.")
    except ChunkMissing:
        raise
    except DataError as error:
        return Tag(name, "", error, is_fixed)
    return Tag(name, str(payload["id"]), None, is_fixed)
