"""Everything in an encrypted store sealed anew with its newest keys, so that older ones can go.

Objects are replaced one by one, each in one step, by the same bytes under another key; nothing that
names them changes. Whenever it is interrupted, every object opens, with one key or the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field

from holdfast.chunks.batch import ChunkRead, read_of
from holdfast.chunks.check import Place, place_of_read
from holdfast.chunks.fetch import fetch_both
from holdfast.engine.writer_lock import without_writers
from holdfast.errors import ChunkMissing, DataError, HoldfastError, RunBusy
from holdfast.format.names import RunKeys
from holdfast.history.sweep import sweep_debris
from holdfast.plan.layout import CHUNK_ALIGNMENT, align
from holdfast.records import commits, key_changes
from holdfast.records.commits import DamagedCommit
from holdfast.records.rewriting import alone
from holdfast.sealed.store import SealedStore, passes_as_it_is

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class ReencryptReport:
    """What a re-encryption has done.

    Attributes:
        objects: How many objects were written anew.
        retired: Generations of keys that nothing needs any more, and that were thrown away.
        busy: Runs that somebody is writing, and that were left alone; with the reason.
        problems: What could not be written anew since it is damaged.
    """

    objects: int
    retired: Sequence[int]
    busy: Sequence[str]
    problems: Sequence[str]

    @property
    def ok(self) -> bool:
        """Whether nothing is left that was sealed with older keys."""
        return not self.busy and not self.problems


def reencrypt(store: SealedStore, progress: Progress | None = None) -> ReencryptReport:
    """Seal everything with the newest keys, and throw the older ones away if nothing needs them."""
    job = _Reencryption(store, progress or (lambda done, total: None))
    with ExitStack() as held:
        # Held to the end: a writer that began before with older keys would write with them.
        runs = [run for run in commits.runs(store) if job.take(run, held)]
        job.count(runs)
        for run in runs:
            job.rewrite(run)
        old = sorted(set(store.unlocked.keyring.generations) - {store.unlocked.keyring.newest})
        retired = old if not job.busy and not job.problems else []
        if retired:
            key_changes.retire(store)
    return ReencryptReport(job.objects, retired, job.busy, job.problems)


@dataclass(slots=True)
class _Reencryption:
    store: SealedStore
    progress: Progress
    objects: int = 0
    busy: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    done_bytes: int = 0
    total_bytes: int = 0

    def take(self, run: str, held: ExitStack) -> bool:
        """Keep writers away from a run, and clear away what dead ones have left."""
        try:
            held.enter_context(without_writers(self.store, run))
        except RunBusy as error:
            self.busy.append(error.message)
            return False
        sweep_debris(self.store, run)
        return True

    def count(self, runs: Sequence[str]) -> None:
        """Find out how much there is to do."""
        keys = [RunKeys(run).root for run in runs]
        self.total_bytes = sum(info.size for root in keys for info in self.store.list(root))

    def rewrite(self, run: str) -> None:
        """Seal all objects of a run anew."""
        keys = RunKeys(run)
        rows = self._chunks(run)
        for info in list(self.store.list(keys.root)):
            # The file of a lock is the lock; its note is sealed anew by who takes it. Hints are of
            # moments, and not to come back when they were taken away.
            if not info.key.startswith((keys.lock, keys.records_lock, keys.pins, keys.removals)):
                try:
                    self.objects += self._rewrite_one(run, info.key, rows)
                except ChunkMissing:
                    pass  # Removed meanwhile.
                except DataError as error:
                    self.problems.append(error.message)
            self.done_bytes += info.size
            self.progress(self.done_bytes, self.total_bytes)

    def _rewrite_one(self, run: str, key: str, rows: dict[str, list[ChunkRead]] | None) -> bool:
        if not passes_as_it_is(key):
            with alone(self.store, run):
                return self.store.reseal(key)
        return rows is not None and self._rewrite_pack(key, rows.get(key, []))

    def _rewrite_pack(self, key: str, rows: Sequence[ChunkRead]) -> bool:
        if not self._is_old(key, rows):
            return False
        content = memoryview(bytearray(self._size(key)))
        form = self.store.chunk_form
        for read in rows:
            row, found = read.row, fetch_both(self.store, read)
            if found is None:
                raise DataError(f"A chunk in {key} is damaged: 'holdfast repair' first.", key=key)
            nbytes = row.stored_length
            padded = memoryview(bytearray(align(nbytes, CHUNK_ALIGNMENT)))
            padded[:nbytes] = found[1]
            with form.stored([padded], [nbytes], [row.digest].__getitem__) as stored:
                content[row.offset : row.offset + stored[0].nbytes] = stored[0]
        if not self.store.exists(key):
            return False  # Swept meanwhile; it would be debris.
        self.store.put(key, content)
        return True

    def _is_old(self, key: str, rows: Sequence[ChunkRead]) -> bool:
        seals, found = self.store.seals, set()
        trailer = memoryview(bytearray(self.store.chunk_form.trailer_bytes))
        with closing(self.store.open(key)) as reader:
            for read in rows:
                reader.read(trailer, read.row.offset + read.row.stored_length)
                found.add(seals.generation_of_chunk(bytes(trailer)))
        return bool(found - {seals.keyring.newest})

    def _size(self, key: str) -> int:
        with closing(self.store.open(key)) as reader:
            return reader.size

    def _chunks(self, run: str) -> dict[str, list[ChunkRead]] | None:
        """Return the chunks that the manifests of a run name, by pack; None if one is damaged.

        A pack may hold chunks that only the damaged one names: it must stay what it is.
        """
        rows: dict[str, list[ChunkRead]] = {}
        seen: set[Place] = set()
        try:
            for found in commits.all_commits(self.store, run):
                if isinstance(found, DamagedCommit):
                    raise found.error
                for ref in found.parts:
                    part = commits.read_part(self.store, found, ref)
                    for row in part.chunks:
                        read = read_of(part, row)
                        place = place_of_read(read)
                        if place not in seen:
                            seen.add(place)
                            rows.setdefault(place[0], []).append(read)
        except HoldfastError as error:
            self.problems.append(error.message)
            return None
        return rows
