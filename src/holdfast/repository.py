"""``Store``: a place of runs, to look at, check, name, copy and prune."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, final

from holdfast.errors import UsageError
from holdfast.history.info import CheckpointInfo
from holdfast.history.known import require_run
from holdfast.history.log import told
from holdfast.history.noting import write_note
from holdfast.history.tagging import give_name, give_tag, take_tag
from holdfast.reading import StoreReader
from holdfast.records.notes import Value
from holdfast.records.opening import Location

# ``actions`` is imported where it is used: see there.
if TYPE_CHECKING:
    from holdfast.engine.repair import RepairReport
    from holdfast.history.health import DoctorReport
    from holdfast.history.retention import PruneReport
    from holdfast.policy.keep_policy import KeepPolicy
    from holdfast.store_keys import StoreKeys


@final
class Store(StoreReader):
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
        place: Where it is, and what it is opened with.

    Raises:
        UsageError: An argument is not possible.
        NotFound, BadTrustFile: ``trust`` names a file that is not there or cannot be used.
    """

    @property
    def keys(self) -> StoreKeys:
        """Who can open the store, if it is encrypted, and ways to change that."""
        from holdfast.store_keys import StoreKeys

        return StoreKeys(self.place.open)

    def sign(self, ref: str) -> CheckpointInfo:
        """Add the signatures of this store's signers to a checkpoint; others on it stay.

        All of it is read and checked first: who signs answers for what is there.

        Raises:
            UsageError: The store was opened without ``sign=``.
            DataError: The checkpoint is damaged; nothing was changed.
        """
        from holdfast import actions

        store = self.place.open()
        signed = actions.sign_checkpoint(store, ref, self.place.authenticity)
        return told(store, signed, self._trust)

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
        (give_name if fixed else give_tag)(self.place.open(), ref, name, self._trust)

    def untag(self, run: str, name: str) -> None:
        """Take a tag away; the checkpoint stays.

        Raises:
            NotFound: The run has no such tag.
            UsageError: It is a name for good.
        """
        store = self.place.open()
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
        write_note(self.place.open(), target, text, values or {})

    def remove(self, ref: str) -> PruneReport:
        """Remove one checkpoint, its tags, and the bytes that it alone needed."""
        from holdfast import actions

        return actions.remove(self.place.open(), ref)

    def prune(self, run: str, keep: KeepPolicy, dry_run: bool = False) -> PruneReport:
        """Remove the checkpoints of a run that a policy does not keep.

        The newest and the tagged ones always stay. What a trust policy does not believe does not
        count, and is left alone.

        Raises:
            UsageError: It is no policy, or goes by a metric or by epochs that no checkpoint has.
        """
        from holdfast import actions

        if not isinstance(keep, actions.KeepPolicy):
            raise UsageError(f"keep takes a policy such as keep.last(3), not {keep!r}.")
        store = self.place.open()
        require_run(store, run)
        return actions.prune(store, run, keep, self._trust, dry_run=dry_run)

    def copy(self, ref: str, other_store: Location | Store) -> CheckpointInfo:
        """Copy a checkpoint into the run of the same name in another store, checked on the way.

        Metrics, configuration and lineage are part of it; tags, names for good and notes go along,
        but for tags and names that another checkpoint has there, of which a warning tells. The copy
        is signed by the other store's signers, not as the original is. A path that ends in
        ``.holdfast`` becomes a bundle: the checkpoint as one file, which can be read like a store.

        Raises:
            Untrusted: This store's trust policy does not believe it.
        """
        from holdfast import actions

        return actions.copy(self.place, ref, Store(other_store).place)

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

        return actions.roll_back(self.place, ref)

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
        store = self.place.open()
        others = [Store(source).place.open() for source in sources]
        return actions.repair(store, others, dry_run=dry_run, progress=progress)

    def doctor(self) -> DoctorReport:
        """Return facts about the store's health, and what is wrong; make the catalog anew."""
        from holdfast import actions

        return actions.examine(self.place.open())
