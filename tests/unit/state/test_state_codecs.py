"""Codecs that users register, and those for generators."""

from __future__ import annotations

import random
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_checks import assert_same, roundtrip

import holdfast
from holdfast import frameworks
from holdfast.errors import UnknownType, UsageError
from holdfast.state import codecs


class Version:
    def __init__(self, numbers: list[int], blob: Any = None) -> None:
        self.numbers = numbers
        self.blob = blob


@pytest.fixture(autouse=True)
def registry() -> Iterator[None]:
    """Codecs of a test are forgotten after it; not those of a framework that came meanwhile."""
    frameworks.activate()
    before = dict(codecs._by_class), dict(codecs._by_name)
    yield
    for known, now in zip(before, (codecs._by_class, codecs._by_name), strict=True):
        now.clear()
        now.update(known)


def register(**options: Any) -> None:
    def encode(version: Version) -> Any:
        return version.numbers, {"blob": version.blob}

    holdfast.register_codec(Version, encode, lambda t: Version(t[0], t[1]["blob"]), **options)


def test_a_registered_class_is_saved_and_loaded(store_path: Path) -> None:
    register()
    found = roundtrip(store_path, {"v": [Version([1, 2], np.arange(3))]})["v"][0]
    assert type(found) is Version
    assert_same(vars(found), {"numbers": [1, 2], "blob": np.arange(3)})


def test_a_standing_value_is_updated(store_path: Path) -> None:
    def update(version: Version, tree: Any) -> None:
        version.numbers = tree[0]

    register(update=update)
    holdfast.save(store_path, {"v": Version([1, 2])}, run="r", step=1)
    standing = Version([0], "kept")
    target = {"v": standing}
    holdfast.load(store_path, "r@1", into=target)
    assert target["v"] is standing
    assert (standing.numbers, standing.blob) == ([1, 2], "kept")


def test_without_update_a_standing_value_is_replaced(store_path: Path) -> None:
    register()
    holdfast.save(store_path, {"v": Version([1, 2])}, run="r", step=1)
    standing = Version([0])
    target = {"v": standing}
    holdfast.load(store_path, "r@1", into=target)
    assert target["v"] is not standing
    assert target["v"].numbers == [1, 2]


def test_subclasses_are_not_meant(store_path: Path) -> None:
    class Special(Version):
        pass

    register()
    with pytest.raises(holdfast.errors.UnsupportedLeaf, match="Special"):
        holdfast.save(store_path, {"v": Special([1])}, run="r", step=1)


def test_a_codec_by_name_outlives_a_class_that_moved(store_path: Path) -> None:
    register(name="acme:version")
    holdfast.save(store_path, {"v": Version([1])}, run="r", step=1)
    codecs._by_class.clear()
    codecs._by_name.clear()
    with pytest.raises(UnknownType, match="acme:version"):
        holdfast.load(store_path, "r@1")
    holdfast.register_codec(Fraction, lambda f: 1, lambda t: Fraction(t[0][0]), name="acme:version")
    assert holdfast.load(store_path, "r@1") == {"v": Fraction(1)}


def test_two_classes_cannot_share_a_name() -> None:
    register(name="acme:version")
    with pytest.raises(UsageError, match="acme:version"):
        holdfast.register_codec(Fraction, list, Fraction, name="acme:version")
    register(name="acme:version")


def test_a_class_that_was_defined_again_may_be_registered_again() -> None:
    # A notebook's cell that ran twice.
    register()
    again = type("Version", (), {"__module__": __name__, "__qualname__": "Version"})
    holdfast.register_codec(again, vars, lambda t: again())


def test_a_class_registered_later_is_known_at_the_next_save(store_path: Path) -> None:
    with pytest.raises(holdfast.errors.UnsupportedLeaf):
        holdfast.save(store_path, {"v": Version([1])}, run="r", step=1)
    register()
    holdfast.save(store_path, {"v": Version([1])}, run="r", step=1)


GENERATORS = {
    "python": lambda: random.Random(5),
    "default": lambda: np.random.default_rng(5),
    "mt19937": lambda: np.random.Generator(np.random.MT19937(5)),
    "philox": lambda: np.random.Generator(np.random.Philox(5)),
    "sfc64": lambda: np.random.Generator(np.random.SFC64(5)),
    "pcg64dxsm": lambda: np.random.Generator(np.random.PCG64DXSM(5)),
    "legacy": lambda: np.random.RandomState(5),
    "legacy over pcg64": lambda: np.random.RandomState(np.random.PCG64(5)),
}


@pytest.mark.parametrize("name", GENERATORS)
def test_generators_go_on_where_they_were(store_path: Path, name: str) -> None:
    generator = GENERATORS[name]()
    [generator.random() for _ in range(1000)]
    # An odd draw leaves half of the bits, or one of two normal values, for the next.
    if name == "python":
        generator.gauss(0, 1)
    elif name.startswith("legacy"):
        generator.normal()
    else:
        generator.integers(0, 100, dtype=np.int32)
    found = roundtrip(store_path, {"g": generator})["g"]
    assert type(found) is type(generator)
    expected = [generator.random() for _ in range(10)]
    assert [found.random() for _ in range(10)] == expected
    if name == "python":
        assert found.gauss(0, 1) == generator.gauss(0, 1)
    else:
        assert found.normal() == generator.normal()


@pytest.mark.parametrize(
    "seed", [5, [1, 2**40], np.array([3, 4], np.uint32), np.random.SeedSequence(6).spawn(2)[1]]
)
def test_generators_spawn_what_they_would_have_spawned(store_path: Path, seed: Any) -> None:
    generator = np.random.default_rng(seed)
    generator.spawn(3)
    standing = np.random.default_rng(9)
    holdfast.save(store_path, {"g": generator}, run="r", step=1)
    made_anew = holdfast.load(store_path, "r@1")["g"]
    holdfast.load(store_path, "r@1", into={"g": standing})
    expected = [child.random() for child in generator.spawn(2)]
    for found in (made_anew, standing):
        assert [child.random() for child in found.spawn(2)] == expected


def test_a_generator_that_was_saved_without_its_seeds_keeps_those_that_it_has() -> None:
    codec = codecs.codec_of(np.random.Generator)
    assert codec is not None and codec.update is not None
    tree = {k: v for k, v in codec.encode(np.random.default_rng(1)).items() if k != "seed_seq"}
    standing = np.random.default_rng(2)
    codec.update(standing, tree)
    assert standing.random() == np.random.default_rng(1).random()
    assert standing.spawn(1)[0].random() == np.random.default_rng(2).spawn(1)[0].random()
