"""Kinds of object, which frameworks make known, beside codecs, which users register."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import holdfast
from holdfast.state import codecs, kinds


class Tally:
    def __init__(self, n: int) -> None:
        self.n = n


def put(tally: Tally, tree: dict[Any, Any]) -> Tally:
    tally.n = tree["n"]
    return tally


KIND = kinds.ObjectKind(lambda v: isinstance(v, Tally), lambda v: {"n": v.n}, put)


@pytest.fixture
def known() -> Iterator[None]:
    """The kind is known; afterwards neither it nor a codec is, and what else is known stays."""
    kinds.register_kind(KIND)
    yield
    kinds._kinds.remove(KIND)
    kinds._by_class.pop(Tally, None)
    codecs._by_name.pop(codecs._by_class.pop(Tally).name)


@pytest.mark.usefixtures("known")
def test_a_codec_goes_before_a_kind_even_if_it_comes_later(tmp_path: Path) -> None:
    for step in (0, 1):
        holdfast.save(tmp_path, {"tally": Tally(step)}, run="r", step=step)
        into = {"tally": Tally(9)}
        holdfast.load(tmp_path, f"r@{step}", into=into)
        assert into["tally"].n == step
        holdfast.register_codec(Tally, lambda tally: tally.n, Tally)
