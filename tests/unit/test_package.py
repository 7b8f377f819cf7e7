"""The package as a whole: its names, what importing it costs, its errors."""

from __future__ import annotations

import subprocess
import sys

import pytest

import holdfast
from holdfast import errors
from holdfast.errors import HoldfastError, Mismatch

NAMES = {
    *(
        "CheckpointInfo",
        "Checkpointer",
        "LeafInfo",
        "Peers",
        "RemoteStore",
        "Restored",
        "SaveHandle",
        "SaveTimes",
        "Store",
    ),
    *(
        "__version__",
        "adaptive",
        "convert",
        "data",
        "errors",
        "every",
        "foreign",
        "keep",
        "keys",
        "load",
        "on",
        "only",
        "preview",
    ),
    *("register_codec", "save", "signing", "testing", "tier", "trust", "watch"),
}


def test_the_public_names_are_these() -> None:
    assert set(holdfast.__all__) == NAMES
    assert set(dir(holdfast)) == NAMES
    for name in NAMES:
        assert getattr(holdfast, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = holdfast.nothing  # type: ignore[attr-defined]


def run(code: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    return done.stdout


HEAVY = "{'torch', 'tensorflow', 'jax', 'sklearn', 'scipy', 'pandas', 'rich', 'typer', 'keras'}"


@pytest.mark.parametrize(
    "use",
    [
        "import holdfast",
        "from holdfast import *",
        "import holdfast; holdfast.Checkpointer; holdfast.load; holdfast.save; holdfast.Store",
    ],
    ids=["import", "star", "every name"],
)
def test_importing_pulls_in_no_framework(use: str) -> None:
    code = f"import sys; {use}; print(sorted({HEAVY} & set(sys.modules)))"
    assert run(code).strip() == "[]"


def test_importing_takes_no_time() -> None:
    code = "import time; a = time.perf_counter(); import holdfast; print(time.perf_counter() - a)"
    assert min(float(run(code)) for _ in range(3)) < 0.150


def test_saving_pulls_in_no_framework(store_path: object) -> None:
    code = (
        "import sys, holdfast, numpy; "
        f"holdfast.save({str(store_path)!r}, {{'a': numpy.ones(3)}}, run='r', step=1); "
        f"holdfast.load({str(store_path)!r}, 'r@latest'); "
        f"print(sorted({HEAVY} & set(sys.modules)))"
    )
    assert run(code).strip() == "[]"


# --- errors ---


def all_errors() -> list[type[HoldfastError]]:
    return [
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, HoldfastError)
    ]


def test_every_kind_is_its_own_and_every_exit_code_one_of_three() -> None:
    kinds = [cls.kind for cls in all_errors()]
    assert len(kinds) == len(set(kinds))
    assert {cls.exit_code for cls in all_errors()} == {1, 2, 3}
    for cls in all_errors():
        assert issubclass(cls, Exception) and cls.__doc__
        for base, code in (
            (errors.DataError, 1),
            (errors.UsageError, 2),
            (errors.EnvironmentTrouble, 3),
        ):
            if issubclass(cls, base):
                assert cls.exit_code == code


def test_facts_are_attributes() -> None:
    error = errors.ChunkDamaged("text", leaf="model/w", chunk="9f")
    assert (str(error), error.message, error.leaf, error.chunk) == ("text", "text", "model/w", "9f")
    assert error.facts == {"leaf": "model/w", "chunk": "9f"}
    with pytest.raises(AttributeError, match="'nothing'"):
        _ = error.nothing
    assert Mismatch("text", problems=["a", "b"]).problems == ("a", "b")


def test_errors_can_be_copied_and_pickled() -> None:
    # As multiprocessing does with what a worker raises.
    import copy
    import pickle

    error = errors.ChunkDamaged("text", leaf="model/w")
    for found in (copy.copy(error), pickle.loads(pickle.dumps(error))):
        assert type(found) is errors.ChunkDamaged
        assert str(found) == "text"
        assert found.leaf == "model/w"
