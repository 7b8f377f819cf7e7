"""A framework that is not installed is told with the line that installs it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import holdfast
from absent import needs_package, required
from holdfast.errors import MissingDependency
from holdfast.state import arrays, codecs


def test_a_checkpoint_of_a_framework_that_is_not_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    jax = required("jax")
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


BOOSTER = """
import sys
import numpy as np
import holdfast

if sys.argv[1] == "save":
    import {name}

    x = np.arange(60.0).reshape(30, 2)
    given = dict({params})
    data = {name}.{data}
    holdfast.save(sys.argv[2], {{"booster": {name}.train(given, data, 2), "n": 3}}, run="r", step=0)
elif sys.argv[1] == "load":
    print(type(holdfast.load(sys.argv[2], "r@0")["booster"]).__name__)
"""
KINDS = {
    "xgboost": ("max_depth=2, nthread=1", "DMatrix(x, x[:, 0])"),
    "lightgbm": ("verbose=-1, min_data_in_leaf=2, num_threads=1", "Dataset(x, x[:, 0])"),
}


@pytest.mark.parametrize("name", KINDS)
def test_a_booster_where_its_package_is_not_loaded_yet_and_where_there_is_none(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs_package(name)
    params, data = KINDS[name]
    script, store = tmp_path / "script.py", tmp_path / "s"
    script.write_text(BOOSTER.format(name=name, params=params, data=data))
    said = ""
    for what in ("save", "load"):
        command = [sys.executable, str(script), what, str(store)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        said += done.stdout
    assert said.strip() == "Booster"
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("holdfast.frameworks.activate", lambda: None)
    monkeypatch.delitem(codecs._by_name, f"{name}:Booster", raising=False)
    with pytest.raises(MissingDependency, match=rf"pip install 'holdfast\[{name}\]'"):
        holdfast.load(store, "r@0")
    assert holdfast.load(store, "r@0", only="n") == {"n": 3}
