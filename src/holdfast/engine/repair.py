"""Repair: what is damaged is put right from wherever the same bytes are still good.

Objects are named by digest, so that there is never a doubt whether a copy is the right one. A
chunk may be found at another place of the store or in another store; a manifest, a commit record,
a tag, a note or metrics in another store only. What is put right is what was there before, byte for
byte; nothing is removed but the debris of saves that never ended.
"""

from __future__ import annotations

import errno
from collections.abc import Container, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field

from holdfast.engine.pack_repair import PackRepair
from holdfast.engine.writer_lock import without_writers
from holdfast.engine.written_repair import mend_written
from holdfast.errors import (
    DataError,
    HoldfastError,
    LinkInStore,
    RunBusy,
    StoreTooNew,
    StoreUnavailable,
)
from holdfast.format.commit import CommitRecord
from holdfast.format.digests import digest
from holdfast.format.names import RunKeys, checkpoint_of
from holdfast.format.part import Part
from holdfast.history.missing import Missing, missing_commits
from holdfast.history.sweep import bytes_of, find_debris, sweep_debris
from holdfast.history.verify import Progress, VerifyReport, verify
from holdfast.records import commits, keyring_repair, marker, tags
from holdfast.records.commits import DamagedCommit
from holdfast.records.tags import Tag
from holdfast.store.contract import Buffer, ObjectStore


@dataclass(frozen=True, slots=True)
class Fixed:
    """An object that was put right: its key, and what was done."""

    key: str
    what: str


@dataclass(frozen=True, slots=True)
class RepairReport:
    """What a repair has done, and what it could not do.

    Attributes:
        fixed: The objects that were put right, or would be.
        busy: Runs that somebody is writing, and that were left alone; with the reason.
        freed_bytes: Size of the debris that was removed.
        after: What verification found afterwards; None for a dry run.
        lost: What could not be found anywhere, in words.
        dry_run: Whether nothing was changed.
    """

    fixed: Sequence[Fixed]
    busy: Sequence[str]
    freed_bytes: int
    after: VerifyReport | None
    lost: Sequence[str]
    dry_run: bool

    @property
    def ok(self) -> bool:
        """Whether nothing is left to be put right."""
        return not self.busy and not self.lost and (self.after is None or self.after.ok)


def repair(
    store: ObjectStore,
    sources: Sequence[ObjectStore] = (),
    *,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> RepairReport:
    """Put right what can be, and say what cannot.

    Args:
        store: What to repair.
        sources: Other stores that may have what is damaged here, in the order to ask them.
        dry_run: Only look.
        progress: Called with the bytes checked and the bytes to check, run by run.
    """
    job = _Repair(store, sources, dry_run, progress)
    job.fix_marker_and_keyring()
    for run in commits.runs(store):
        job.fix_run(run)
    after = None if dry_run else verify(store, progress=progress)
    return RepairReport(job.fixed, job.busy, job.freed_bytes, after, job.lost, dry_run)


@dataclass(slots=True)
class _Repair:
    store: ObjectStore
    sources: Sequence[ObjectStore]
    dry_run: bool
    progress: Progress | None
    fixed: list[Fixed] = field(default_factory=list)
    busy: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    freed_bytes: int = 0

    def fix_marker_and_keyring(self) -> None:
        if marker.problems(self.store):
            self._note("holdfast.json", "written anew; checkpoints do not depend on it")
            if not self.dry_run:
                marker.renew(self.store)
        for key, what in keyring_repair.mend(self.store, dry_run=self.dry_run):
            self._note(key, what)

    def fix_run(self, run: str) -> None:
        if self.dry_run:
            self._fix_records(run)
            self.freed_bytes += bytes_of(find_debris(self.store, run))
            return
        with ExitStack() as held:
            try:
                held.enter_context(without_writers(self.store, run))
            except RunBusy as error:
                self.busy.append(error.message)
                return
            except LinkInStore as error:
                # In the place of this run's lock. The other runs can be put right.
                self.lost.append(error.message)
                return
            self._fix_records(run)
            self.freed_bytes += sweep_debris(self.store, run)

    def _fix_records(self, run: str) -> None:
        for found in list(commits.all_commits(self.store, run)):
            if isinstance(found, DamagedCommit) and not found.is_too_new:
                self._fix_commit(run, found)
        for missing in missing_commits(self.store, run):
            self._bring_back(missing)
        self._fix_tags(run)
        done, lost = mend_written(self.store, run, self.sources, dry_run=self.dry_run)
        self.fixed += [Fixed(key, what) for key, what in done]
        self.lost += lost
        self._fix_packs(list(self._parts(run)))

    def _fix_commit(self, run: str, damaged: DamagedCommit) -> None:
        for source in self.sources:
            try:
                record = commits.read_commit(source, run, damaged.seq)
            except HoldfastError:
                continue
            if self._is_of_this_run(source, record):
                self._put(source, damaged.key, "commit record")
                return
        self.lost.append(str(damaged.error))

    def _bring_back(self, missing: Missing) -> None:
        key = RunKeys(missing.run).commit(missing.seq)
        listed = {info.key for info in self.store.list(RunKeys(missing.run).commits)}
        for source in self.sources:
            try:
                record = commits.read_commit(source, missing.run, missing.seq)
            except HoldfastError:
                continue
            # Never in the place of another one.
            if record.id == missing.id and key not in listed:
                self._put(source, key, "commit record")
                return
        self.lost.append(missing.problem)

    def _is_of_this_run(self, source: ObjectStore, record: CommitRecord) -> bool:
        """Say whether a commit record was this run's: another store may have one of that name."""
        ours = marker.store_id(self.store)
        if ours is not None and ours == marker.store_id(source):
            return True
        keys = RunKeys(record.run)
        found = (info for prefix in (keys.parts, keys.packs) for info in self.store.list(prefix))
        return any(checkpoint_of(info.key) == record.id for info in found)

    def _fix_tags(self, run: str) -> None:
        ids = {record.id for record in commits.good_commits(self.store, run)}
        for name in {tag.name for source in self.sources for tag in tags.all_tags(source, run)}:
            # An encrypted store cannot tell the name of one that does not open, unless it has
            # been asked by that name before.
            tags.find(self.store, run, name)
        for tag in tags.all_tags(self.store, run):
            if tag.error is None:
                continue
            source = next((s for s in self.sources if _has_tag(s, run, tag, ids)), None)
            if source is None:
                self.lost.append(f"{tag.error} Give it anew with 'holdfast tag'.")
            elif tag.is_fixed:
                self._put(source, RunKeys(run).name(tag.name), "name")
            else:
                self._put(source, RunKeys(run).tag(tag.name), "tag")

    def _parts(self, run: str) -> Iterator[Part]:
        """Yield the readable manifests of a run, those first put right that can be."""
        for record in commits.good_commits(self.store, run):
            for ref in record.parts:
                try:
                    yield commits.read_part(self.store, record, ref)
                except StoreTooNew:
                    continue
                except DataError as error:
                    source = self._source_of(ref.key, ref.digest)
                    if source is None:
                        self.lost.append(str(error))
                        continue
                    self._put(source, ref.key, f"manifest of {run}@{record.step}")
                    yield commits.read_part(source, record, ref)

    def _source_of(self, key: str, expected: bytes) -> ObjectStore | None:
        for source in self.sources:
            try:
                if digest(source.get(key)) == expected:
                    return source
            except HoldfastError:
                continue
        return None

    def _put(self, source: ObjectStore, key: str, what: str) -> None:
        self._replace(key, source.get(key), f"{what} taken from {source.location}")

    def _replace(self, key: str, content: Buffer, what: str) -> None:
        try:
            if not self.dry_run:
                self.store.put(key, content)
        except StoreUnavailable as error:
            if error.facts.get("errno") not in (errno.EISDIR, errno.ENOTDIR):
                raise
            # Of this one object: a folder is in its place. The others can be put right.
            self.lost.append(error.message)
        else:
            self._note(key, what)

    def _note(self, key: str, what: str) -> None:
        self.fixed.append(Fixed(key, what))

    def _fix_packs(self, parts: Sequence[Part]) -> None:
        repair = PackRepair(self.store, self.sources, parts, self.progress)
        for pack in repair.damaged():
            content, origins, missing = repair.made_anew(pack)
            if missing:
                self.lost.append(f"{missing} of the chunks of {pack.key}")
            if origins:
                self._replace(pack.key, content, f"chunks taken from {', '.join(sorted(origins))}")


def _has_tag(store: ObjectStore, run: str, tag: Tag, ids: Container[str]) -> bool:
    """Say whether a store has a good record of a tag or name, of one of some checkpoints."""
    same = (
        found
        for found in tags.all_tags(store, run)
        if (found.name, found.is_fixed) == (tag.name, tag.is_fixed)
    )
    found = next(same, None)
    return found is not None and found.error is None and found.checkpoint_id in ids
