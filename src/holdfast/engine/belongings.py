"""What a copy of a checkpoint takes along: tags, names for good, notes and their values."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace

from holdfast.errors import AlreadyExists, HoldfastError
from holdfast.format.commit import CommitRecord
from holdfast.records import notes, tags
from holdfast.records.notes import Note
from holdfast.records.tags import Tag
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")


def take_along(
    source: ObjectStore, record: CommitRecord, target: ObjectStore, copied: CommitRecord
) -> tuple[str, ...]:
    """Give a copy what was written about the checkpoint; return its tags and names.

    A tag or name that another checkpoint has there stays with that, which is told in a warning; so
    is other trouble, since the copy itself is there.

    Args:
        source: Where the checkpoint is.
        record: The checkpoint.
        target: Where the copy is.
        copied: The copy.
    """
    given = []
    try:
        for tag in _tags_of(source, record):
            if _give(target, copied, tag):
                given.append(tag.name)
            else:
                _log.warning(
                    "%s@%s is copied, but the %s %r stays with another checkpoint there.",
                    copied.run,
                    copied.step,
                    "name" if tag.is_fixed else "tag",
                    tag.name,
                )
        for note in notes.all_notes(source, record.run):
            if isinstance(note, Note) and note.checkpoint_id == record.id:
                notes.add(target, copied.run, replace(note, checkpoint_id=copied.id))
    except HoldfastError as error:
        _log.warning(
            "%s@%s is copied, but not all that was written about it: %s",
            copied.run,
            copied.step,
            error,
        )
    return tuple(given)


def _tags_of(store: ObjectStore, record: CommitRecord) -> Iterator[Tag]:
    for tag in tags.all_tags(store, record.run):
        if tag.error is None and tag.checkpoint_id == record.id:
            yield tag


def _give(store: ObjectStore, record: CommitRecord, tag: Tag) -> bool:
    try:
        if tag.is_fixed:
            tags.put_name(store, record.run, tag.name, record.id)
        elif tags.find(store, record.run, tag.name) is None:
            tags.put_tag(store, record.run, tag.name, record.id)
        else:
            return False
    except AlreadyExists:
        return False
    return True
