"""A checkpoint copied to another place, with what was written about it: a store, or one file."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import replace

from holdfast.engine.belongings import take_along
from holdfast.engine.transfer import copy_checkpoint
from holdfast.errors import StoreUnavailable, UsageError
from holdfast.format.commit import CommitRecord
from holdfast.history import catalog
from holdfast.history.info import CheckpointInfo
from holdfast.history.log import told
from holdfast.history.refs import read_ref, resolve
from holdfast.records.place import Place
from holdfast.store.bundle_writing import is_bundle_path, write_bundle
from holdfast.store.local import LocalStore
from holdfast.store.os_errors import translated


def copy(source: Place, ref: str, target: Place) -> CheckpointInfo:
    """Copy a checkpoint into the run of the same name at another place, and sign it there.

    Its tags, names and notes go along, but for tags and names that are taken there.
    A place whose name ends in ``.holdfast`` becomes a bundle: one file.

    Raises:
        UsageError: Both places are the same, or the bundle is there already.
        Untrusted: The policy of the source does not believe it, or that of the target its signers.
        DataError: It is damaged; nothing was committed.
    """
    if is_bundle_path(target.at):
        return _bundle(source, ref, target)
    store, trust = source.open(), source.authenticity.trust
    run = resolve(store, ref, trust).run  # Before a store is made for it.
    other = target.open_to_save(run)
    if os.path.realpath(other.location) == os.path.realpath(store.location):
        raise UsageError("Both stores are the same place; there is nothing to copy.")

    def over(record: CommitRecord) -> CheckpointInfo:
        saved = copy_checkpoint(store, record, other, target.authenticity)
        catalog.note(other, saved.record.run)
        take_along(store, record, other, saved.record)
        return told(other, saved.record, target.authenticity.trust)

    return read_ref(store, ref, over, trust)


def _bundle(source: Place, ref: str, target: Place) -> CheckpointInfo:
    """Copy a checkpoint into one file: a store of its own beside it, then that in a bundle."""
    if os.path.lexists(target.path):
        raise UsageError(
            f"There is something at {target.path!r} already. Nothing was changed. Remove it, or "
            "give the bundle another name.",
            path=target.path,
        )
    beside = os.path.dirname(target.path)
    if not os.path.isdir(beside):
        raise StoreUnavailable(
            f"There is no folder {beside!r} to put a bundle into. Nothing was changed.", path=beside
        )
    with translated("write", target.path):
        folder = tempfile.mkdtemp(prefix=".holdfast-bundle-", dir=beside)
    try:
        inside = replace(target, at=os.path.join(folder, "store"))
        info = copy(source, ref, inside)
        write_bundle(LocalStore(inside.path), target.path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return info
