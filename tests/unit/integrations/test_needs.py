from __future__ import annotations

import subprocess
import sys

import pytest

from holdfast.errors import MissingDependency
from holdfast.integrations.needs import require

# Each drop-in, a package that it needs, and the extra that has it.
NEEDED = [
    ("dcp", "torch", "torch"),
    ("torchtitan", "torch", "torch"),
    ("lightning", "lightning", "lightning"),
    ("huggingface", "transformers", "huggingface"),
    ("accelerate", "accelerate", "accelerate"),
    ("jax", "jax", "jax"),
    ("tensorflow", "tensorflow", "tensorflow"),
    ("keras", "keras", "keras"),
    ("wandb", "wandb", "wandb"),
    ("mlflow", "mlflow", "mlflow"),
    ("ray", "ray", "ray"),
]
WITHOUT = """
import sys
sys.modules[sys.argv[2]] = None  # As if it was not installed.
import holdfast
try:
    getattr(holdfast, sys.argv[1])
except holdfast.errors.MissingDependency as error:
    print(error)
"""


@pytest.mark.parametrize(("name", "package", "extra"), NEEDED)
def test_what_is_missing_is_named_with_the_way_to_get_it(
    name: str, package: str, extra: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT, name, package], capture_output=True, text=True, check=True
    )
    assert f"holdfast.{name} needs the package {package}" in done.stdout
    assert f"pip install 'holdfast[{extra}]'" in done.stdout


def test_a_package_that_is_there_is_not_imported() -> None:
    sys.modules.pop("wsgiref.headers", None)
    require("wsgiref.headers", extra="x", what="y")
    assert "wsgiref.headers" not in sys.modules
    with pytest.raises(MissingDependency) as caught:
        require("no_such_package.at_all", extra="x", what="y")
    assert caught.value.package == "no_such_package.at_all"


def test_holdfast_alone_imports_no_framework() -> None:
    packages = {package for _, package, _ in NEEDED}
    script = f"import holdfast, sys; print({packages} & sys.modules.keys())"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"
