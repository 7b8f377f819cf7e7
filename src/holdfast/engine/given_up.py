"""Why rank 0 gave a save up: a note for the ranks that look for its commit.

It stands beside the parts, and is there before any of them is taken away: a rank that comes too
late for its part to be taken away finds the note instead, and waits for nobody.
"""

from __future__ import annotations

import json
import logging
from typing import Any

from holdfast.engine.job import SaveJob
from holdfast.errors import ChunkMissing, HoldfastError, RunBusy, SaveFailed
from holdfast.format.names import RunKeys
from holdfast.store.contract import ObjectStore

_log = logging.getLogger("holdfast")

_FACTS = ("path", "rank", "ranks")
_MOST_CHARS = 4000


def put_note(store: ObjectStore, keys: RunKeys, job: SaveJob, error: Exception) -> None:
    """Leave a note of why a save was given up; where that fails, the others learn only that.

    Who has taken the run meanwhile may still commit this save, and its ranks find that out alone.
    """
    if isinstance(error, RunBusy):
        return
    said: dict[str, Any] = {"message": "", "facts": {}}
    if isinstance(error, HoldfastError):
        facts = {name: error.facts[name] for name in _FACTS if name in error.facts}
        said = {"message": error.message[:_MOST_CHARS], "facts": facts}
    try:
        store.put(keys.given_up(job.id), json.dumps(said).encode())
    except HoldfastError as trouble:
        _log.warning("Why step %d was given up could not be told: %s", job.step, trouble)


def why(store: ObjectStore, keys: RunKeys, job: SaveJob) -> SaveFailed | None:
    """Return the error of a save that rank 0 has given up; None where it has left no note."""
    try:
        said = json.loads(store.get(keys.given_up(job.id)))
        message, facts = str(said["message"])[:_MOST_CHARS], dict(said["facts"])
    except ChunkMissing:
        return None
    except (ValueError, TypeError, KeyError):
        message, facts = "", {}
    known = {name: facts[name] for name in _FACTS if isinstance(facts.get(name), int | str)}
    return over(job, message, known)


def over(job: SaveJob, message: str = "", facts: dict[str, int | str] | None = None) -> SaveFailed:
    """Return the error of a save that rank 0 has given up, with what it has told of it."""
    told = message or (
        f"Step {job.step} was not saved: rank 0 has given it up, and says why. Checkpoints "
        "committed before are safe."
    )
    return SaveFailed(told, **{**(facts or {}), "step": job.step, "given_up": True})
