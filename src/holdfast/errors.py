"""Every error that holdfast raises on purpose, grouped by what a handler would do about it.

Each class has a stable ``kind`` (for machines: it appears in ``--json`` output) and an
``exit_code`` (for the command line): 1 something is wrong with the data, 2 wrong usage,
3 trouble with the environment. The facts named in the message are also attributes.
"""

from __future__ import annotations

from collections.abc import Sequence


class HoldfastError(Exception):
    """Base of all errors of this package; catch it to catch everything of ours."""

    kind = "error"
    exit_code = 1

    def __init__(self, message: str, **facts: object) -> None:
        super().__init__(message)
        self.message = message
        self.facts = facts

    def __getattr__(self, name: str) -> object:
        # Only reached for names that are no ordinary attributes.
        facts = self.__dict__.get("facts", {})
        if name in facts:
            return facts[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


# --- Something is wrong with the stored data (exit code 1) -------------------------------------


class DataError(HoldfastError):
    """Stored data is damaged, missing, or not what it claims to be."""

    kind = "data"


class ChunkDamaged(DataError):
    """A chunk's bytes do not have the digest that the manifest names."""

    kind = "chunk-damaged"


class ChunkMissing(DataError):
    """An object that a checkpoint needs is not in the store."""

    kind = "chunk-missing"


class ManifestDamaged(DataError):
    """A part manifest, commit record, tag or store marker is damaged or malformed."""

    kind = "manifest-damaged"


class NoGoodCheckpoint(DataError):
    """The run has checkpoints, but none of them verifies."""

    kind = "no-good-checkpoint"


class StoreTooNew(DataError):
    """The store or checkpoint was written by a newer format than this version can read.

    ``stand_in`` is, of a commit, as much as signatures and chains need, a ``CommitRecord``.
    """

    kind = "store-too-new"
    stand_in: object = None


class LinkInStore(DataError):
    """A symbolic link is where a store has an object or a folder; none is followed."""

    kind = "link-in-store"


class Untrusted(DataError):
    """No signature of a checkpoint is one that the trust policy accepts; nothing was used of it."""

    kind = "untrusted"


class RolledBack(DataError):
    """The run is not what the trusted head says: set back, or another history in its place."""

    kind = "rolled-back"


class RestoreIncomplete(DataError):
    """An object of the state refused its values after others had taken theirs."""

    kind = "restore-incomplete"


class JournalMixed(DataError):
    """The journal of a run has events of another run; no numbers can be made from it."""

    kind = "journal-mixed"


class PickleMalformed(DataError):
    """A pickle that ends too soon, or makes no sense; ``program`` is what it does until there."""

    kind = "pickle-malformed"


class ForeignRefused(DataError):
    """Someone's file asks for more than arrays and plain values; nothing of it was run or kept."""

    kind = "foreign-refused"


class ForeignDamaged(DataError):
    """A file of another format is not what it says, cut short, or contradicts itself."""

    kind = "foreign-damaged"


class SealBroken(DataError):
    """A sealed object or chunk does not open: changed, moved here from elsewhere, or another's."""

    kind = "seal-broken"


class IncompleteWrite(DataError):
    """What was planned is not what was written; nothing was committed."""

    kind = "incomplete-write"


# --- The caller asked for something that cannot be (exit code 2) --------------------------------


class UsageError(HoldfastError):
    """The call, its arguments or the state handed in are not possible."""

    kind = "usage"
    exit_code = 2


class NotFound(UsageError):
    """A store, run, checkpoint or tag of that name does not exist."""

    kind = "not-found"


class NoHistory(NotFound):
    """A run has no recorded history to measure."""

    kind = "no-history"


class NothingSaved(UsageError):
    """A script that is to be drilled leaves no checkpoint where it could be found."""

    kind = "nothing-saved"


class InvalidName(UsageError):
    """A run, tag, ref or pattern is not well formed."""

    kind = "invalid-name"


class UnsupportedLeaf(UsageError):
    """The state holds a value that no codec knows; names the place in the tree."""

    kind = "unsupported-leaf"


class Mismatch(UsageError):
    """Saved and wanted state differ in leaves, shapes, dtypes or kinds; nothing was changed."""

    kind = "mismatch"

    def __init__(self, message: str, *, problems: Sequence[str] = (), **facts: object) -> None:
        super().__init__(message, problems=tuple(problems), **facts)


class UnknownType(UsageError):
    """The checkpoint names a class that is not imported here, and holdfast imports none by name."""

    kind = "unknown-type"


class CannotConvert(UsageError):
    """A format has no place for something that is to be written in it."""

    kind = "cannot-convert"


class KeyNeeded(UsageError):
    """The store is encrypted, and no key was given that can open it."""

    kind = "key-needed"


class WrongKey(UsageError):
    """None of the keys that were given opens the store, or a passphrase is wrong."""

    kind = "wrong-key"


class InvalidKey(UsageError):
    """What was given is no key, or a file that holds none."""

    kind = "invalid-key"


class KeyExposed(UsageError):
    """A file with a secret can be read or written by others; it is not used."""

    kind = "key-exposed"


class AlreadyExists(UsageError):
    """A name that must be new is taken."""

    kind = "already-exists"


class BadKeyFile(UsageError):
    """A key file cannot be used: not a key, wrong passphrase, or open to others."""

    kind = "bad-key-file"


class BadTrustFile(UsageError):
    """A trust file cannot be used: not well formed, or others may write it."""

    kind = "bad-trust-file"


# --- The machine, the disk or another process is in the way (exit code 3) -----------------------


class EnvironmentTrouble(HoldfastError):
    """The environment does not allow the operation; the same call may work later."""

    kind = "environment"
    exit_code = 3


class StoreUnavailable(EnvironmentTrouble):
    """The store cannot be read or written: no permission, read-only, not a folder, I/O error."""

    kind = "store-unavailable"


class PeersUnavailable(StoreUnavailable):
    """Another host does not answer, or did not take what it shall hold a copy of."""

    kind = "peers-unavailable"


class NoSpace(EnvironmentTrouble):
    """The disk or its quota is full; nothing that was committed is affected."""

    kind = "no-space"


class RunBusy(EnvironmentTrouble):
    """Another live process is writing this run."""

    kind = "run-busy"


class SaveFailed(EnvironmentTrouble):
    """A background save did not become durable; the cause is chained or told in the message."""

    kind = "save-failed"


class SnapshotTorn(SaveFailed):
    """The state was changed while it was being copied; the step was not saved."""

    kind = "snapshot-torn"


class PersisterDied(SaveFailed):
    """The process that writes checkpoints ended while it had work in hand."""

    kind = "persister-died"


class SigningFailed(EnvironmentTrouble):
    """A signer gave no good signature; nothing was committed."""

    kind = "signing-failed"


class MissingDependency(EnvironmentTrouble):
    """An optional package is needed; the message has the ``pip install`` line."""

    kind = "missing-dependency"
