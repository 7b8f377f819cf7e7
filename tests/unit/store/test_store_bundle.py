"""Bundles: a checkpoint as one file, read where it lies, checked when it arrives."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest
from attacks import beyond_any_file

import holdfast
from holdfast import Checkpointer
from holdfast.errors import (
    ChunkDamaged,
    HoldfastError,
    ManifestDamaged,
    StoreUnavailable,
    UsageError,
)
from holdfast.store.bundle import BundleStore


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """One checkpoint of a run of two."""
    store = holdfast.Store(tmp_path / "ckpts")
    for step in (1, 2):
        state = {"w": np.arange(300_000) + step, "name": "x", "empty": np.zeros((0, 3))}
        holdfast.save(store, state, run="r", step=step, metrics={"loss": 1 / step})
    store.copy("r@2", holdfast.Store(tmp_path / "best.holdfast"))
    return tmp_path / "best.holdfast"


def test_it_is_read_like_a_store(bundle: Path) -> None:
    assert {path.name for path in bundle.parent.iterdir()} == {"ckpts", "best.holdfast"}
    tree = holdfast.load(bundle, "r@latest")
    assert np.array_equal(tree["w"], np.arange(300_000) + 2) and tree["name"] == "x"
    store = holdfast.Store(bundle)
    assert [info.step for info in store.log("r")] == [2] and store.verify().ok
    assert store.info("r@2").metrics == {"loss": 0.5}
    into = {"w": np.zeros(300_000, dtype=np.int64)}
    holdfast.load(bundle, "r@2", into=into)
    assert into["w"][-1] == 300_001
    assert not list(bundle.parent.glob("best.holdfast*"))[1:]


def test_it_is_private_and_any_unpacker_knows_it(bundle: Path, tmp_path: Path) -> None:
    assert bundle.stat().st_mode & 0o777 == 0o600
    with zipfile.ZipFile(bundle) as archive:
        assert archive.testzip() is None
        archive.extractall(tmp_path / "unpacked")
    assert holdfast.Store(tmp_path / "unpacked").verify().ok


def test_it_goes_back_into_a_store(bundle: Path, tmp_path: Path) -> None:
    holdfast.Store(bundle).copy("r@2", holdfast.Store(tmp_path / "back"))
    assert np.array_equal(holdfast.load(tmp_path / "back", "r@2")["w"], np.arange(300_000) + 2)


def test_it_may_be_encrypted(bundle: Path, tmp_path: Path) -> None:
    key = holdfast.keys.passphrase("a long passphrase")
    sealed = holdfast.Store(tmp_path / "sealed.holdfast", keys=key)
    holdfast.Store(bundle).copy("r@2", sealed)
    assert b"loss" not in (tmp_path / "sealed.holdfast").read_bytes()
    assert holdfast.load(sealed, "r@2")["name"] == "x"
    with pytest.raises(holdfast.errors.KeyNeeded):
        holdfast.load(tmp_path / "sealed.holdfast", "r@2")


def test_it_is_not_changed(bundle: Path) -> None:
    before = bundle.read_bytes()
    for change in (
        lambda: holdfast.save(bundle, {"w": np.zeros(3)}, run="r", step=3),
        lambda: holdfast.Store(bundle).tag("r@2", "good"),
        lambda: Checkpointer(bundle, {"w": np.zeros(3)}, run="r").save(1).wait(),
    ):
        with pytest.raises(UsageError, match="only read"):
            change()
    assert bundle.read_bytes() == before


def test_one_that_is_there_is_not_replaced(bundle: Path) -> None:
    before = bundle.read_bytes()
    with pytest.raises(UsageError, match="already"):
        holdfast.Store(bundle.parent / "ckpts").copy("r@1", holdfast.Store(bundle))
    assert bundle.read_bytes() == before


def test_a_folder_that_is_not_there(bundle: Path, tmp_path: Path) -> None:
    with pytest.raises(StoreUnavailable, match="no folder"):
        holdfast.Store(bundle).copy("r@2", holdfast.Store(tmp_path / "none" / "x.holdfast"))


def test_what_was_changed_on_the_way_is_noticed(bundle: Path) -> None:
    good = bundle.read_bytes()
    with zipfile.ZipFile(bundle) as archive:
        (pack,) = (info for info in archive.infolist() if "/packs/" in info.filename)
    data = bytearray(good)
    data[pack.header_offset + 5000] ^= 1
    bundle.write_bytes(data)
    assert not holdfast.Store(bundle).verify().ok
    with pytest.raises(ChunkDamaged):
        holdfast.load(bundle, "r@2")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.9, 0.999])
def test_what_was_cut_short_is_refused(bundle: Path, share: float) -> None:
    data = bundle.read_bytes()
    bundle.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(HoldfastError, match=r"cut short|no bundle"):
        holdfast.load(bundle, "r@2")


def test_any_flipped_bit_is_noticed_or_changes_nothing(bundle: Path) -> None:
    good = bundle.read_bytes()
    rng = np.random.default_rng(0)
    ends = np.concatenate([rng.integers(0, 400, 60), len(good) - 1 - rng.integers(0, 1500, 140)])
    noticed = 0
    for at in ends:
        data = bytearray(good)
        data[at] ^= 1 << int(rng.integers(8))
        bundle.write_bytes(data)
        try:
            tree = holdfast.load(bundle, "r@2")
        except HoldfastError:
            noticed += 1
            continue
        assert np.array_equal(tree["w"], np.arange(300_000) + 2) and tree["name"] == "x"
    # Times and rights of members mean nothing to a load.
    assert 0 < noticed < len(ends)


@pytest.mark.parametrize("name", ["../outside", "/etc/x", "runs/../../x", "runs//x"])
def test_members_lead_nowhere_else(bundle: Path, name: str) -> None:
    with zipfile.ZipFile(bundle, "a") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(ManifestDamaged, match="no bundle"):
        BundleStore(bundle)


def test_compressed_members_are_refused(bundle: Path) -> None:
    with zipfile.ZipFile(bundle, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("runs/r/packs/x", bytes(10_000))
    with pytest.raises(ManifestDamaged, match="not as it should be"):
        BundleStore(bundle)


def test_members_without_a_name_or_beyond_the_file_are_refused(bundle: Path) -> None:
    whole = bundle.read_bytes()
    at = whole.find(b"PK\x01\x02")
    name, extra = (int.from_bytes(whole[at + i : at + i + 2], "little") for i in (28, 30))
    nameless = bytearray(whole)
    nameless[at + 28 : at + 32] = bytes(2) + (name + extra).to_bytes(2, "little")
    for data in (nameless, beyond_any_file(whole)):
        bundle.write_bytes(data)
        with pytest.raises(ManifestDamaged, match="no bundle"):
            holdfast.Store(bundle).runs()
