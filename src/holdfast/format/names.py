"""Names and keys: what runs and tags may be called, and where objects lie in a store.

Layout of a store (docs/spec/v1.md, section 2)::

    holdfast.json                          the marker
    runs/RUN/commits/SEQ                   commit records, numbered
    runs/RUN/parts/ID-RANK                 part manifests
    runs/RUN/packs/ID-N                    packs: the chunks that the save ID wrote
    runs/RUN/tags/TAG                      tags, which may move
    runs/RUN/names/NAME                    names, which are for good
    runs/RUN/notes/SEQ                     notes, numbered
    runs/RUN/metrics/SEQ[.jsonl]           metrics of all steps
    runs/RUN/pins/ID[-RANK]                saves under way
    runs/RUN/removals/ID-TOKEN             removals under way
    runs/RUN/drains/ID-TIER                copies to other tiers that are still to be made
    runs/RUN/events.jsonl, events/N        the journal
    runs/RUN/writer.lock, records.lock     local bookkeeping
    keys/RING/NUMBER                       keyrings of an encrypted store

RUN and TAG are percent-encoded, so that any name is one safe path component.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote, unquote

from holdfast.errors import InvalidName

MARKER_KEY = "holdfast.json"
RUNS_PREFIX = "runs/"
KEYRINGS_PREFIX = "keys/"
MAX_NAME_BYTES = 200
# What ends the key of metrics that still come.
LIVE = ".jsonl"
_EVENTS = "events.jsonl"
_RESERVED_TAGS = ("latest", "best", "head")
# What an encrypted store shows in the place of a name that cannot be told (holdfast.sealed).
_UNTOLD = re.compile(r"\?[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{32}")
_NUMBERED = re.compile(r"[0-9a-f]{32}-(?:[0-9]{5}|[1-9][0-9]{5,})")


def check_run(name: object) -> str:
    """Return name if a run may be called so, else raise InvalidName."""
    return _check(name, "run")


def check_tag(name: object) -> str:
    """Return name if a tag may be called so, else raise InvalidName.

    A tag that reads like a step, ``latest`` or ``best:…`` would hide that ref; it is refused.
    """
    tag = _check(name, "tag")
    if tag in _RESERVED_TAGS or tag.startswith("best:") or re.fullmatch(r"[+-]*\d+", tag):
        raise InvalidName(
            f"{tag!r} cannot be a tag: refs use it for steps, 'latest' or 'best:METRIC'.", name=tag
        )
    return tag


def _check(name: object, what: str) -> str:
    if not isinstance(name, str):
        raise InvalidName(f"The name of a {what} is a str, not {type(name).__name__}.", name=name)
    problem = ""
    if not name or name != name.strip():
        problem = "it is empty or begins or ends with a space"
    elif "@" in name:
        problem = "'@' separates run and checkpoint in a ref"
    elif any(not c.isprintable() for c in name):
        problem = "it has a character that cannot be printed"
    elif len(_quoted(name)) > MAX_NAME_BYTES:
        problem = f"it is longer than {MAX_NAME_BYTES} bytes"
    if problem:
        raise InvalidName(f"{name!r} cannot name a {what}: {problem}.", name=name)
    return name


def _quoted(name: str) -> str:
    if _UNTOLD.fullmatch(name):
        return name
    text = quote(name, safe=" +=,()[]!~")
    # A leading dot would make hidden files, "." and ".." worse.
    return "%2E" + text[1:] if text.startswith(".") else text


@dataclass(frozen=True, slots=True)
class RunKeys:
    """The keys of one run's objects."""

    run: str

    @property
    def root(self) -> str:
        """Prefix of everything of the run."""
        return f"{RUNS_PREFIX}{_quoted(self.run)}/"

    @property
    def commits(self) -> str:
        """Prefix of the commit records."""
        return self.root + "commits/"

    @property
    def parts(self) -> str:
        """Prefix of the part manifests."""
        return self.root + "parts/"

    @property
    def packs(self) -> str:
        """Prefix of the packs."""
        return self.root + "packs/"

    @property
    def tags(self) -> str:
        """Prefix of the tags."""
        return self.root + "tags/"

    @property
    def names(self) -> str:
        """Prefix of the names that are for good."""
        return self.root + "names/"

    @property
    def notes(self) -> str:
        """Prefix of the notes."""
        return self.root + "notes/"

    @property
    def metrics(self) -> str:
        """Prefix of the metrics of all steps."""
        return self.root + "metrics/"

    @property
    def pins(self) -> str:
        """Prefix of the pins."""
        return self.root + "pins/"

    @property
    def removals(self) -> str:
        """Prefix of the announcements of removals."""
        return self.root + "removals/"

    @property
    def drains(self) -> str:
        """Prefix of what is still to be copied to other tiers."""
        return self.root + "drains/"

    @property
    def events(self) -> str:
        """Key of the journal of events."""
        return self.root + _EVENTS

    @property
    def old_events_prefix(self) -> str:
        """Prefix of what was put away of the journal."""
        return self.root + "events/"

    @property
    def lock(self) -> str:
        """Key of the writer's lock file."""
        return self.root + "writer.lock"

    @property
    def records_lock(self) -> str:
        """Key of the lock of those who replace or remove records."""
        return self.root + "records.lock"

    def commit(self, seq: int) -> str:
        """Return the key of the commit with that sequence number."""
        return f"{self.commits}{seq:012d}"

    def part(self, checkpoint_id: str, rank: int) -> str:
        """Return the key of a rank's part manifest."""
        return f"{self.parts}{checkpoint_id}-{rank:05d}"

    def given_up(self, checkpoint_id: str) -> str:
        """Key of the note of why a save was given up: beside the parts, and swept like them."""
        return f"{self.parts}{checkpoint_id}-given-up"

    def pack(self, checkpoint_id: str, number: int) -> str:
        """Return the key of the save's pack with that number."""
        return f"{self.packs}{checkpoint_id}-{number:05d}"

    def tag(self, name: str) -> str:
        """Return the key of a tag."""
        return self.tags + _quoted(name)

    def name(self, name: str) -> str:
        """Return the key of a name that is for good."""
        return self.names + _quoted(name)

    def old_events(self, number: int) -> str:
        """Return the key of a piece of the journal that was put away."""
        return f"{self.old_events_prefix}{number:012d}"

    def note(self, seq: int) -> str:
        """Return the key of the note with that number."""
        return f"{self.notes}{seq:012d}"

    def pin(self, checkpoint_id: str, rank: int = 0) -> str:
        """Return the key of the pin that a rank puts for a save under way."""
        return self.pins + (f"{checkpoint_id}-{rank:05d}" if rank else checkpoint_id)

    def drain(self, checkpoint_id: str, tier: str) -> str:
        """Return the key that says that a tier shall get a checkpoint."""
        return f"{self.drains}{checkpoint_id}-{tier}"

    def removal(self, checkpoint_id: str, token: str) -> str:
        """Return the key by which one remover announces the removal of a checkpoint."""
        return f"{self.removals}{checkpoint_id}-{token}"


def is_journal(key: str) -> bool:
    """Say whether an object grows by lines: the events of a run, or its metrics while they come."""
    parts = key.split("/")
    if len(parts) < 3 or parts[0] != RUNS_PREFIX.rstrip("/"):
        return False
    return parts[2:] == [_EVENTS] or (
        len(parts) == 4 and parts[2] == "metrics" and parts[3].endswith(LIVE)
    )


def is_id(text: object) -> bool:
    """Say whether text is the id of a checkpoint or of an incarnation."""
    return isinstance(text, str) and _ID.fullmatch(text) is not None


def is_part_key(run: str, key: str) -> bool:
    """Say whether key is that of some part of the run; one that leaves the store never is."""
    return _is_numbered(key, RunKeys(run).parts)


def is_pack_key(run: str, key: str) -> bool:
    """Say whether key is that of some pack of the run; one that leaves the store never is."""
    return _is_numbered(key, RunKeys(run).packs)


def _is_numbered(key: str, prefix: str) -> bool:
    return key.startswith(prefix) and _NUMBERED.fullmatch(key, len(prefix)) is not None


def checkpoint_of(key: str) -> str:
    """Return the id of the save that wrote a pack or part."""
    return last_component(key).partition("-")[0]


def keyring_key(ring: str, number: int) -> str:
    """Return the key of a keyring after so many changes."""
    return f"{KEYRINGS_PREFIX}{ring}/{number:012d}"


def run_of_component(component: str) -> str:
    """Return the run's name of a path component below ``runs/``."""
    return unquote(component)


def last_component(key: str) -> str:
    """Return what follows the last slash, decoded."""
    return unquote(key.rsplit("/", 1)[-1])
