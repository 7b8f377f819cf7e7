"""What can be read of a store: nothing here changes a checkpoint."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from holdfast.errors import UsageError
from holdfast.history import catalog
from holdfast.history.info import CheckpointInfo, LeafInfo
from holdfast.history.known import require_run
from holdfast.history.lineage import Branch
from holdfast.history.log import (
    RunLog,
    judged_with_its_run,
    lineage,
    log,
    summarize,
    told,
)
from holdfast.history.refs import read_ref, resolve
from holdfast.history.summary import RunSummary
from holdfast.records import commits
from holdfast.records.opening import Location
from holdfast.records.place import Place, place_at
from holdfast.security.keys import Keys
from holdfast.security.signing import Signer
from holdfast.security.trust_policy import TrustPolicy
from holdfast.state.paths import Patterns
from holdfast.store.contract import ObjectStore
from holdfast.store.modes import Share

# ``actions`` is imported where it is used: see there.
if TYPE_CHECKING:
    from holdfast.effectiveness.advise import Advice
    from holdfast.effectiveness.report import Report
    from holdfast.format.commit import Link
    from holdfast.history.diff.report import DiffReport
    from holdfast.history.metrics import MetricsLog
    from holdfast.history.verify import VerifyReport
    from holdfast.policy.curve import Curve
    from holdfast.records.journal import GivenBack


class StoreReader:
    """What a store tells. It is not made by itself: ``Store`` is, which also changes it.

    Attributes:
        place: Where it is, and what it is opened with.
    """

    def __init__(
        self,
        location: Location | StoreReader,
        *,
        keys: Keys | None = None,
        sign: Signer | Sequence[Signer] | None = None,
        trust: TrustPolicy | str | os.PathLike[str] | None = None,
        share: Share | None = None,
    ) -> None:
        given = location.place.at if isinstance(location, StoreReader) else location
        place = place_at(given, keys=keys, sign=sign, trust=trust, share=share)
        self.place: Place = (
            place.filled_up(location.place) if isinstance(location, StoreReader) else place
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.path!r})"

    def _repr_html_(self) -> str:
        """What notebooks show."""
        from holdfast.history.cards.store import store_card

        return store_card(self.path, self.lineage, self.stored_bytes)

    def __fspath__(self) -> str:
        if isinstance(self.place.at, ObjectStore):
            raise UsageError(f"{self!r} was made of an ObjectStore; it is no path.")
        return self.path

    @property
    def path(self) -> str:
        """The folder, or whatever else its location is."""
        return self.place.path

    @property
    def _trust(self) -> TrustPolicy | None:
        return self.place.authenticity.trust

    @property
    def is_encrypted(self) -> bool:
        """Whether a key is needed; False too where there is no store yet."""
        return self.place.is_encrypted

    def runs(self) -> list[str]:
        """Return the names of the runs, sorted."""
        return commits.runs(self.place.open())

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
        return log(self.place.open(), run, self._trust)

    def summary(self, run: str) -> RunSummary:
        """Return a run at a glance: how many checkpoints, the newest, extremes of metrics.

        Raises:
            NotFound: There is no such run.
        """
        return summarize(self.place.open(), run, self._trust)

    def lineage(self) -> list[Branch]:
        """Return all runs at a glance, each below the one that it was forked from."""
        return lineage(self.place.open(), self._trust)

    def pulse(self, run: str | None = None) -> str:
        """Return a text that changes when there is something new in a run, or in the store."""
        from holdfast.history.pulse import pulse

        return pulse(self.place.open(), run)

    def stored_bytes(self, run: str | None = None) -> int:
        """Return what the packs and manifests of a run take in the store.

        Args:
            run: The run, with what it shares with others; None: all runs, what they share once.
        """
        store = self.place.open()
        if run is not None:
            return catalog.stored_bytes(store, run)
        from holdfast.history.stock import stored_in_all

        return stored_in_all(store)

    def given_back(self, run: str) -> GivenBack:
        """Return how many checkpoints of a run were removed so far, and the bytes that freed."""
        from holdfast.records import journal

        return journal.given_back(self.place.open(), run)

    def retention(self, run: str) -> tuple[str, ...]:
        """Return what the newest process of a run was told to keep, as texts; () where all stays.

        >>> import holdfast, tempfile
        >>> folder = tempfile.mkdtemp()
        >>> with holdfast.Checkpointer(folder, {"w": 1}, run="a", keep=holdfast.keep.last(3)) as c:
        ...     _ = c.save(1).wait()
        >>> holdfast.Store(folder).retention("a")
        ('last:3',)

        Raises:
            NotFound: There is no such run.
        """
        from holdfast.records import journal

        store = self.place.open()
        require_run(store, run)
        return journal.kept_by(store, run)

    def info(self, ref: str) -> CheckpointInfo:
        """Return what a ref names. Its chunks are not read: ``verify`` does that.

        With a trust policy it says in ``trust`` what that is worth. What is not trusted is
        described like any other, though nothing else would take it.

        Raises:
            NotFound: There is no such run or checkpoint.
        """
        store = self.place.open()
        return judged_with_its_run(
            store, told(store, resolve(store, ref), self._trust), self._trust
        )

    def leaves(self, ref: str) -> list[LeafInfo]:
        """Return the leaves of a checkpoint, in tree order, random generators included.

        Raises:
            Untrusted: The store's trust policy does not believe it.
        """
        # Not from ``actions``: a look at a checkpoint needs nothing of the rest.
        from holdfast.history.leaves import leaves

        store = self.place.open()
        return read_ref(store, ref, lambda record: leaves(store, record), self._trust)

    def head(self, run: str) -> Link:
        """Return the newest trusted commit of a run, to note it where nobody else may write.

        A policy that has it, ``holdfast.trust.policy(..., heads={run: head})``, refuses the run
        if it was set back since.

        Raises:
            NotFound: There is no such run, or it has no checkpoint that is trusted.
            RolledBack: It is not what the policy's head says.
        """
        from holdfast import actions

        return actions.head_of(self.place.open(), run, self._trust)

    def metrics(self, run: str) -> MetricsLog:
        """Return the metrics of every step that was logged, saved or not.

        Raises:
            NotFound: There is no such run.
        """
        from holdfast import actions

        store = self.place.open()
        require_run(store, run)
        return actions.read_metrics(store, run)

    def curves(self, run: str) -> dict[str, Curve]:
        """Return the metrics of a run, by name, as curves over all steps that were logged.

        Raises:
            NotFound: There is no such run.
        """
        from holdfast import actions

        return actions.curves(self.place.open(), run)

    def verify(
        self, ref: str | None = None, progress: Callable[[int, int], None] | None = None
    ) -> VerifyReport:
        """Read and check every byte of a checkpoint, of a run, or of the whole store.

        Args:
            ref: A ref, the name of a run, or None for everything.
            progress: Called with the bytes done and the bytes to do.
        """
        from holdfast import actions

        return actions.verify(self.place.open(), ref, progress, self._trust)

    def diff(
        self,
        a: str,
        b: str,
        *,
        other: Location | StoreReader | None = None,
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

        second = self if other is None else StoreReader(other)
        one = actions.Source(self.place.open(), a, self._trust)
        two = actions.Source(second.place.open(), b, second._trust)
        return actions.diff(one, two, only=only, skip=skip, progress=progress)

    def unpack(self, info: CheckpointInfo, folder: str | os.PathLike[str]) -> None:
        """Write a checkpoint into a folder as ``arrays.npz`` and ``checkpoint.json``.

        Types that NumPy does not know are widened, exactly: bfloat16 to float32, say.

        Raises:
            NotFound: It was removed.
            Untrusted: The store's trust policy does not believe it.
            DataError: It is damaged.
        """
        from holdfast import actions

        actions.unpack_listed(self.place.open(), info, Path(folder), self._trust)

    def report(self, run: str, *, budget_bytes: int | None = None) -> Report:
        """Return what checkpointing has cost a run and saved it, from its recorded history.

        Args:
            run: Its name.
            budget_bytes: What checkpoints may take; the report tells its share that is used.

        Raises:
            UsageError: The budget is not above 0.
            NotFound: There is no such run.
            NoHistory: Nothing was recorded of it.
            JournalMixed: Its journal has events of another run.
        """
        from holdfast.effectiveness.report import read_report

        store = self.place.open()
        require_run(store, run)
        return read_report(store, run, budget_bytes)

    def advise(
        self,
        run: str,
        *,
        mtbf_hours: float | None = None,
        max_overhead: float | None = None,
        budget_bytes: int | None = None,
        train_hours: float | None = None,
    ) -> Advice:
        """Return how often a run should save, by its own costs and failures.

        Args:
            run: Its name.
            mtbf_hours: Hours between failures that are expected; weighs as much as one failure.
            max_overhead: The share of the time that saves may cost.
            budget_bytes: What checkpoints may take.
            train_hours: Hours that it is still to train. If the run removes none by itself, no
                interval is advised at which its saves would not fit into the budget.

        Raises:
            NotFound: There is no such run.
            NoHistory: None of its saves was recorded.
            UsageError: A number cannot be, or there are hours and no budget.
        """
        from holdfast.effectiveness.advise import read_advice

        store = self.place.open()
        require_run(store, run)
        return read_advice(
            store,
            run,
            mtbf_hours=mtbf_hours,
            max_overhead=max_overhead,
            budget_bytes=budget_bytes,
            train_hours=train_hours,
        )
