"""A framework that is not installed is told with the line that installs it."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

import holdfast
from holdfast.errors import MissingDependency
from holdfast.state import arrays


@pytest.mark.parametrize("name", ["jax", "keras", "tensorflow"])
def test_drop_ins_say_what_to_install(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.delitem(sys.modules, f"holdfast.{name}", raising=False)
    with pytest.raises(MissingDependency, match=rf"pip install 'holdfast\[{name}\]'"):
        importlib.import_module(f"holdfast.{name}")


def test_a_checkpoint_of_a_framework_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jax = pytest.importorskip("jax")
    weak = jax.jit(lambda: jax.numpy.sin(1.0))()
    holdfast.save(tmp_path, {"w": jax.numpy.ones(3), "weak": weak, "n": 3}, run="r", step=0)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for framework in ("jax", "jax-weak"):
        monkeypatch.delitem(arrays._adapters, framework)
    for skip in ("weak", "w"):
        with pytest.raises(MissingDependency, match=r"pip install 'holdfast\[jax\]'") as caught:
            holdfast.load(tmp_path, "r@0", skip=skip)
        assert caught.value.package == "jax"
    assert holdfast.load(tmp_path, "r@0", only="n") == {"n": 3}
