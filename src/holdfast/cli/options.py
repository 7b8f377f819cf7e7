"""What the commands share: the global settings, the store they name, and ``--json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.errors import UsageError

if TYPE_CHECKING:
    from holdfast.repository import Store

STORE_VARIABLE = "HOLDFAST_STORE"

Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Ref = Annotated[
    str,
    typer.Argument(
        metavar="REF",
        help="RUN@STEP, RUN@latest, RUN@best:METRIC, RUN@best:METRIC:max or RUN@TAG.",
        show_default=False,
    ),
]


@dataclass(frozen=True, slots=True)
class Settings:
    """What was said before the command's name."""

    store: str | None


def named_store(context: typer.Context) -> str | None:
    """Return the location that ``--store`` or the environment names."""
    settings = context.find_object(Settings)
    return (settings.store or None) if settings is not None else None


def open_store(context: typer.Context) -> Store:
    """Open the store that was named.

    Raises:
        UsageError: None was named.
        NotFound: There is none at that place.
        StoreUnavailable: It cannot be read.
    """
    location = named_store(context)
    if location is None:
        raise UsageError(
            "No store was named. Say where the checkpoints are, with 'holdfast --store S COMMAND' "
            f"or in the environment: 'export {STORE_VARIABLE}=S'."
        )
    from holdfast.repository import Store

    return Store(location)
