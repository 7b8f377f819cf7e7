"""``Store``: a place of runs, to look at, check, name, copy and prune."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.history import catalog
from holdfast.history.info import CheckpointInfo, LeafInfo, info_of
from holdfast.history.lineage import Branch
from holdfast.history.log import RunLog, lineage, log, require_run, summarize
from holdfast.history.noting import write_note
from holdfast.history.refs import read_ref, resolve
from holdfast.history.summary import RunSummary
from holdfast.history.tagging import give_name, give_tag, take_tag
from holdfast.records import commits, notes, tags
from holdfast.records.marker import (
    Location,
    check_location,
    check_share,
    is_encrypted,
    open_store,
)
from holdfast.records.notes import Value
from holdfast.security.authenticity import Authenticity, authenticity
from holdfast.security.keys import Key, Keys, as_keys
from holdfast.security.signing import Signer
from holdfast.security.trust_policy import TrustPolicy
from holdfast.state.paths import Patterns
from holdfast.store.contract import ObjectStore
from holdfast.store.modes import Share

# ``actions`` is imported where it is used: see there.
if TYPE_CHECKING:
    from holdfast.effectiveness.advise import Advice
    from holdfast.effectiveness.report import Report
    from holdfast.engine.repair import RepairReport
    from holdfast.format.commit import CommitRecord, Link
    from holdfast.history.diff.report import DiffReport
    from holdfast.history.health import DoctorReport
    from holdfast.history.metrics import MetricsLog
    from holdfast.history.retention import PruneReport
    from holdfast.history.verify import VerifyReport
    from holdfast.policy import KeepPolicy
    from holdfast.policy.curve import Curve
    from holdfast.store_keys import StoreKeys


class Store:
    """A store, mostly in a folder.

    Args:
        location: The folder, or an ``ObjectStore``. It is made by the first save; until then
            there is nothing in it. Another ``Store``: the same one, with what is given here
            instead.
        keys: What opens it if it is encrypted, and makes it so if it is not there yet: one or
            several of ``holdfast.keys.passphrase``, ``identity`` and ``recipient``.
        sign: Who signs what is saved: a ``holdfast.signing.key_file``, a ``Signer`` of your own,
            or several of them.
        trust: Whom to believe: a ``holdfast.trust.policy``, or the path of a trust file. Nothing
            else is restored, loaded, tagged or copied. None: every checkpoint that is whole.
        share: ``private`` to you, or ``group``: to the group of the folder. Settled when the
            store is made; None: as it was made, private if it is new.

    Attributes:
        path: The folder, or whatever else its location is.
        authenticity: Who signs, and who is believed.

    Raises:
        UsageError: An argument is not possible.
        NotFound, BadTrustFile: ``trust`` names a file that is not there or cannot be used.
    """

    def __init__(
        self,
        location: Location | Store,
        *,
        keys: Keys | None = None,
        sign: Signer | Sequence[Signer] | None = None,
        trust: TrustPolicy | str | os.PathLike[str] | None = None,
        share: Share | None = None,
    ) -> None:
        self._keys: tuple[Key, ...] | None = as_keys(keys) if keys is not None else None
        if isinstance(location, Store):
            self._keys = self._keys or location._keys
        place = location._place if isinstance(location, Store) else check_location(location)
        self._place: str | ObjectStore
        if isinstance(place, ObjectStore):
            self._place, self.path = place, place.location
        else:
            self._place = self.path = os.path.abspath(place)
        self.authenticity = authenticity(sign, trust)
        self._share = None if share is None else check_share(share)
        if isinstance(location, Store):
            self._inherit(location)

    def __repr__(self) -> str:
        return f"Store({self.path!r})"

    def __fspath__(self) -> str:
        if isinstance(self._place, ObjectStore):
            raise UsageError(f"{self!r} was made of an ObjectStore; it is no path.")
        return self.path

    def open(self, *, create: bool) -> ObjectStore:
        """Return its objects, for the engine.

        Args:
            create: Make the store if it is not there.

        Raises:
            NotFound: It is not there.
            KeyNeeded, WrongKey: It is encrypted, and its keys do not open it.
        """
        return open_store(self._place, create=create, keys=self._keys, share=self._share)

    @property
    def keys(self) -> StoreKeys:
        """Who can open the store, if it is encrypted, and ways to change that."""
        from holdfast.store_keys import StoreKeys

        return StoreKeys(self._open)

    @property
    def is_encrypted(self) -> bool:
        """Whether a key is needed; False too where there is no store yet."""
        return is_encrypted(self._place)

    def runs(self) -> list[str]:
        """Return the names of the runs, sorted."""
        return commits.runs(self._open())

    def log(self, run: str) -> list[CheckpointInfo]:
        """Return a run's checkpoints, oldest first; also those that are not trusted.

        Raises:
            NotFound: There is no such run.
        """
        return list(self.history(run).checkpoints)

    def history(self, run: str) -> RunLog:
        """Return all that there is to tell of a run: checkpoints, damage, notes.

        Raises:
            NotFound: There is no such run.
        """
        return log(self._open(), run, self._trust)

    def summary(self, run: str) -> RunSummary:
        """Return a run at a glance: how many checkpoints, the newest, extremes of metrics.

        Raises:
            NotFound: There is no such run.
        """
        return summarize(self._open(), run, self._trust)

    def lineage(self) -> list[Branch]:
        """Return all runs at a glance, each below the one that it was forked from."""
        return lineage(self._open(), self._trust)

    def stored_bytes(self, run: str) -> int:
        """Return what a run's packs and manifests take in the store."""
        return catalog.stored_bytes(self._open(), run)

    def info(self, ref: str) -> CheckpointInfo:
        """Return what a ref names. Its chunks are not read: ``verify`` does that.

        With a trust policy it says in ``trust`` what that is worth. What is not trusted is
        described like any other, though nothing else would take it.

        Raises:
            NotFound: There is no such run or checkpoint.
        """
        store = self._open()
        return self._told(store, resolve(store, ref))

    def leaves(self, ref: str) -> list[LeafInfo]:
        """Return the leaves of a checkpoint, in tree order, random generators included.

        Raises:
            Untrusted: The store's trust policy does not believe it.
        """
        from holdfast import actions

        store = self._open()
        return read_ref(store, ref, lambda record: actions.leaves(store, record), self._trust)

    def sign(self, ref: str) -> CheckpointInfo:
        """Add the signatures of this store's signers to a checkpoint; others on it stay.

        All of it is read and checked first: who signs answers for what is there.

        Raises:
            UsageError: The store was opened without ``sign=``.
            DataError: The checkpoint is damaged; nothing was changed.
        """
        from holdfast import actions

        store = self._open()
        return self._told(store, actions.sign_checkpoint(store, ref, self.authenticity))

    def head(self, run: str) -> Link:
        """Return the newest trusted commit of a run, to note it where nobody else may write.

        A policy that has it, ``holdfast.trust.policy(..., heads={run: head})``, refuses the run
        if it was set back since.

        Raises:
            NotFound: There is no such run, or it has no checkpoint that is trusted.
            RolledBack: It is not what the policy's head says.
        """
        from holdfast import actions

        return actions.head_of(self._open(), run, self._trust)

    def verify(
        self, ref: str | None = None, progress: Callable[[int, int], None] | None = None
    ) -> VerifyReport:
        """Read and check every byte of a checkpoint, of a run, or of the whole store.

        Args:
            ref: A ref, the name of a run, or None for everything.
            progress: Called with the bytes done and the bytes to actions.
        """
        from holdfast import actions

        return actions.verify(self._open(), ref, progress, self._trust)

    def diff(
        self,
        a: str,
        b: str,
        *,
        other: Location | Store | None = None,
        only: Patterns = None,
        skip: Patterns = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> DiffReport:
        """Compare two checkpoints, of different runs or stores too, tensor by tensor.

        What is equal is known from digests and not read; of the rest a few chunks are in memory
        at a time.

        Args:
            a: Ref of the checkpoint to compare with.
            b: Ref of the checkpoint that is compared.
            other: The store that b is in; None: this one.
            only: Glob patterns on leaf paths; only leaves that match are compared.
            skip: Glob patterns on leaf paths; leaves that match are not compared.
            progress: Called with the bytes done and the bytes to do; from several threads.

        Raises:
            NotFound: A ref names no checkpoint.
            DataError: One of them is damaged; the message names the leaf.
        """
        from holdfast import actions

        second = self if other is None else Store(other)
        one = actions.Source(self._open(), a, self._trust)
        two = actions.Source(second._open(), b, second._trust)
        return actions.diff(one, two, only=only, skip=skip, progress=progress)

    def tag(self, ref: str, name: str, fixed: bool = False) -> None:
        """Give a checkpoint a name; a tag that named another moves.

        Args:
            ref: The checkpoint.
            name: The tag; afterwards ``RUN@NAME`` is a ref.
            fixed: Give the name for good: it never moves, and is never taken away.

        Raises:
            Untrusted: The store's trust policy does not believe it.
            AlreadyExists: The name was given for good before, or shall be and is taken.
        """
        (give_name if fixed else give_tag)(self._open(), ref, name, self._trust)

    def untag(self, run: str, name: str) -> None:
        """Take a tag away; the checkpoint stays.

        Raises:
            NotFound: The run has no such tag.
            UsageError: It is a name for good.
        """
        store = self._open()
        require_run(store, run)
        take_tag(store, run, name)

    def note(
        self, target: str, text: str | None = None, values: Mapping[str, Value | None] | None = None
    ) -> None:
        """Write a note on a checkpoint or a run.

        Args:
            target: A ref, or the name of a run.
            text: What it says; texts add up.
            values: What it sets, by name; the last value counts, and None takes one back.

        Raises:
            NotFound: There is no such run or checkpoint.
            UsageError: There is nothing to write, or a value is none that can be.
        """
        write_note(self._open(), target, text, values or {})

    def metrics(self, run: str) -> MetricsLog:
        """Return the metrics of every step that was logged, saved or not.

        Raises:
            NotFound: There is no such run.
        """
        from holdfast import actions

        store = self._open()
        require_run(store, run)
        return actions.read_metrics(store, run)

    def remove(self, ref: str) -> PruneReport:
        """Remove one checkpoint, its tags, and the bytes that it alone needed."""
        from holdfast import actions

        return actions.remove(self._open(), ref)

    def prune(self, run: str, keep: KeepPolicy, dry_run: bool = False) -> PruneReport:
        """Remove the checkpoints of a run that a policy does not keep.

        The newest and the tagged ones always stay. What a trust policy does not believe does not
        count, and is left alone.

        Raises:
            UsageError: It is no policy, or ranks by a metric that no checkpoint has.
        """
        from holdfast import actions

        if not isinstance(keep, actions.KeepPolicy):
            raise UsageError(f"keep takes a policy such as keep.last(3), not {keep!r}.")
        store = self._open()
        require_run(store, run)
        return actions.apply_retention(store, run, keep, dry_run=dry_run, trust=self._trust)

    def copy(self, ref: str, other_store: Location | Store) -> CheckpointInfo:
        """Copy a checkpoint into the run of the same name in another store, checked on the way.

        The copy is signed by the other store's signers, not as the original is.

        Raises:
            Untrusted: This store's trust policy does not believe it.
        """
        from holdfast import actions

        source, other = self._open(), Store(other_store)
        run = resolve(source, ref, self._trust).run  # Before a store is made for it.
        target = open_for_writing(other, run)
        if os.path.realpath(target.location) == os.path.realpath(source.location):
            raise UsageError("Both stores are the same place; there is nothing to copy.")
        saved = read_ref(
            source,
            ref,
            lambda record: actions.copy_checkpoint(source, record, target, other.authenticity),
            self._trust,
        )
        catalog.note(target, run)
        return info_of(saved.record, trust=other.authenticity.trust)

    def curves(self, run: str) -> dict[str, Curve]:
        """Return the metrics of a run, by name, as curves over its steps.

        Raises:
            NotFound: There is no such run.
        """
        from holdfast import actions

        return actions.curves(self._open(), run)

    def unpack(self, info: CheckpointInfo, folder: str | os.PathLike[str]) -> None:
        """Write a checkpoint into a folder as ``arrays.npz`` and ``checkpoint.json``.

        Types that NumPy does not know are widened, exactly: bfloat16 to float32, say.

        Raises:
            NotFound: It was removed.
            Untrusted: The store's trust policy does not believe it.
            DataError: It is damaged.
        """
        from holdfast import actions

        actions.unpack_listed(self._open(), info, Path(folder), self._trust)

    def rollback(self, ref: str) -> CheckpointInfo:
        """Make an older checkpoint the newest of its run again: the next start goes on from it.

        It is committed once more; nothing is removed, and what is stored already is not written
        again where the newest checkpoint has it too.

        Raises:
            UsageError: It is the newest already.
            RunBusy: The run is being written; its own process has ``Checkpointer.rollback``.
            Untrusted: The store's trust policy does not believe it, or who signs here.
            DataError: It is damaged; nothing was committed.
        """
        from holdfast import actions

        return actions.roll_back(self._open(), ref, self.authenticity)

    def repair(
        self,
        sources: Sequence[Location | Store] = (),
        dry_run: bool = False,
        progress: Callable[[int, int], None] | None = None,
    ) -> RepairReport:
        """Put right what is damaged, and say what cannot be.

        Chunks come from wherever in this store, or in other stores, the same bytes are still
        good; records from other stores. Debris of unfinished saves is removed. Runs that are being
        written are left alone.

        Args:
            sources: Other stores that may have what is damaged here: copies, backups.
            dry_run: Only tell what would be done.
            progress: Called with the bytes done and the bytes to do, run by run.
        """
        from holdfast import actions

        if isinstance(sources, str | os.PathLike | Store):
            raise UsageError(f"sources= takes a list of stores, not {sources!r} alone.")
        store = self._open()
        others = [Store(source).open(create=False) for source in sources]
        return actions.repair(store, others, dry_run=dry_run, progress=progress)

    def report(self, run: str) -> Report:
        """Return what checkpointing has cost a run and saved it, from its recorded history.

        Raises:
            NotFound: There is no such run.
            NoHistory: Nothing was recorded of it.
            JournalMixed: Its journal has events of another run.
        """
        from holdfast.effectiveness.report import read_report

        store = self._open()
        require_run(store, run)
        return read_report(store, run)

    def advise(
        self,
        run: str,
        *,
        mtbf_hours: float | None = None,
        max_overhead: float | None = None,
        budget_bytes: int | None = None,
    ) -> Advice:
        """Return how often a run should save, by its own costs and failures.

        Args:
            run: Its name.
            mtbf_hours: Hours between failures that are expected; weighs as much as one failure.
            max_overhead: The share of the time that saves may cost.
            budget_bytes: What checkpoints may take.

        Raises:
            NotFound: There is no such run.
            NoHistory: None of its saves was recorded.
        """
        from holdfast.effectiveness.advise import read_advice

        store = self._open()
        require_run(store, run)
        return read_advice(
            store,
            run,
            mtbf_hours=mtbf_hours,
            max_overhead=max_overhead,
            budget_bytes=budget_bytes,
        )

    def doctor(self) -> DoctorReport:
        """Return facts about the store's health, and what is wrong; make the catalog anew."""
        from holdfast import actions

        return actions.examine(self._open())

    def _told(self, store: ObjectStore, record: CommitRecord) -> CheckpointInfo:
        names = tags.tags_by_checkpoint(store, record.run).get(record.id, ())
        written = notes.of_run(store, record.run).get(record.id)
        return info_of(record, names, self._trust, written)

    @property
    def _trust(self) -> TrustPolicy | None:
        return self.authenticity.trust

    def _open(self) -> ObjectStore:
        return self.open(create=False)

    def _inherit(self, other: Store) -> None:
        """Take what was not given from the store that this one was made of."""
        self.authenticity = Authenticity(
            self.authenticity.signers or other.authenticity.signers,
            self.authenticity.trust or other.authenticity.trust,
        )
        self._share = self._share or other._share


def open_for_writing(store: Store, run: str) -> ObjectStore:
    """Open the objects of a store to save to a run, making the store if need be.

    Raises:
        Untrusted: Its trust policy would not believe what its signers sign now.
    """
    store.authenticity.require_fit(run)
    return store.open(create=True)
