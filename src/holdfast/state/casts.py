"""Arrays that are saved in fewer bits because somebody asked for it by name: ``cast=``.

Only arrays of floats are, and none of a single element: a counter of steps in a tensor would come
back as another number. What does not fit into the narrower type is an error, never an infinity.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, final

import numpy as np

from holdfast.errors import UnsupportedLeaf, UsageError
from holdfast.format import casting
from holdfast.format.floats import count_not_finite
from holdfast.state import arrays, narrowing
from holdfast.state.numpy_arrays import memory_at
from holdfast.state.paths import Choice, selector

_TYPES = tuple(dict.fromkeys(name for names in casting.NARROWER.values() for name in names))


@final
class Casts:
    """Says as what each array is saved.

    Args:
        wanted: Types by glob patterns on leaf paths; of several that match, the first counts.

    Raises:
        UsageError: A pattern or a type is none.
    """

    def __init__(self, wanted: Mapping[str, str] | None = None) -> None:
        self._rules: list[tuple[Choice, str]] = []
        if wanted is None:
            return
        if not isinstance(wanted, Mapping):
            raise UsageError(
                "cast= takes types by patterns on leaf paths, as "
                f"{{'optimizer/**': 'bfloat16'}}, not a {type(wanted).__name__}."
            )
        for pattern, dtype in wanted.items():
            if not isinstance(pattern, str):
                raise UsageError(f"cast= takes glob patterns (str), not {pattern!r}.")
            if dtype not in _TYPES:
                raise UsageError(
                    f"cast= for {pattern!r} is {dtype!r}; arrays can be cast to "
                    f"{', '.join(_TYPES)}, by name."
                )
            chosen = selector(pattern, None)
            assert chosen is not None
            self._rules.append((chosen, dtype))

    def __bool__(self) -> bool:
        return bool(self._rules)

    def spec_of(self, path: str, spec: arrays.ArraySpec, n_elements: int) -> arrays.ArraySpec:
        """Return what an array is saved as.

        Args:
            path: Its path.
            spec: What it is, or a box of it.
            n_elements: Of the whole array.
        """
        wanted = next((dtype for chosen, dtype in self._rules if chosen(path)), "")
        if n_elements <= 1 or not casting.is_cast(wanted, spec.dtype):
            return spec
        nbytes = casting.stored_bytes(spec.nbytes, wanted, spec.dtype)
        return spec._replace(dtype=wanted, nbytes=nbytes, cast_from=spec.dtype)


def differing(path: str, other: str) -> UsageError:
    """Return the error of an array that has two names and is to be saved as two things."""
    return UsageError(
        f"{path!r} and {other!r} are one array, and cast= does not name both alike. Nothing was "
        "saved. Name both, or neither."
    )


def export_cast(
    adapter: arrays.ArrayAdapter, value: Any, spec: arrays.ArraySpec, path: str, into: memoryview
) -> None:
    """Fill into with an array's values in fewer bits.

    Args:
        adapter: The one of its framework.
        value: The array.
        spec: What it is saved as.
        path: Where it is, for messages.
        into: As many bytes as ``spec`` says.

    Raises:
        UnsupportedLeaf: Some finite value of it is beyond the narrower type.
    """
    dtype, cast_from = spec.dtype, spec.cast_from
    if isinstance(adapter, arrays.NarrowingAdapter):
        adapter.export_as(value, dtype, into)
    else:
        narrowing.narrow(_plain(adapter, value, path), cast_from, into, dtype)
    bad = _not_finite(into, dtype)
    if bad and bad != _not_finite(_plain(adapter, value, path), cast_from):
        raise UnsupportedLeaf(
            f"{path!r} has values that {dtype} cannot hold: they would become infinite. Nothing "
            "was saved. bfloat16 has the range of float32; or take it out of cast=.",
            path=path,
        )


def _plain(adapter: arrays.ArrayAdapter, value: Any, path: str) -> memoryview:
    """Return the bytes of an array as it is, in host memory."""
    spec, _, address = adapter.describe(value, path)
    if address is not None:
        return memory_at(address, spec.nbytes)
    found = memoryview(bytearray(spec.nbytes))
    adapter.export(value, found)
    return found


def _not_finite(raw: memoryview, dtype: str) -> int:
    return count_not_finite(np.frombuffer(raw, np.uint8), dtype)
