"""What the user's settings say of a store: the files with its keys, its policy, its signer."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path

from holdfast.errors import UsageError

KEYS = ("identity", "passphrase_file")
NAMES = (*KEYS, "trust", "sign")


def of_store(store: str) -> Mapping[str, str]:
    """Return the files that the user's settings name for a store, by what they are for.

    Raises:
        UsageError: The settings cannot be read.
    """
    folder = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    path = Path(folder) / "holdfast" / "config.toml"
    try:
        settings = tomllib.loads(path.read_text())
        stores = {
            os.path.realpath(Path(name).expanduser()): s for name, s in settings["stores"].items()
        }
        files = dict(stores[os.path.realpath(store)])
    except (FileNotFoundError, NotADirectoryError, KeyError):
        return {}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise UsageError(f"The settings in {str(path)!r} cannot be read: {error}.") from error
    if odd := [name for name in files if name not in NAMES]:
        # Not its value: it may be the secret itself.
        raise UsageError(
            f"The settings in {str(path)!r} have {odd[0]!r} for {store!r}; there are "
            f"{', '.join(NAMES[:-1])} and {NAMES[-1]}, each with the path of a file."
        )
    if not all(isinstance(file, str) for file in files.values()):
        raise UsageError(
            f"In the settings in {str(path)!r}, what is named for {store!r} is no path."
        )
    return {name: str(Path(file).expanduser()) for name, file in files.items() if file}
