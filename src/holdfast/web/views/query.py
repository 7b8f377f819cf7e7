"""What a page is asked for, read from its address."""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request

from holdfast.errors import UsageError

MAX_PAGE = 1_000_000_000


def required(request: Request, name: str) -> str:
    """Return what the address says, or raise UsageError."""
    value = request.query_params.get(name, "")
    if not value:
        raise UsageError(f"The address of this page needs {name}=.")
    return value


def several(request: Request, name: str) -> list[str]:
    """Return all that the address says of that name."""
    return [value for value in request.query_params.getlist(name) if value]


def number(request: Request, name: str, default: int, low: int, high: int) -> int:
    """Return a whole number of the address, brought between two bounds."""
    text = request.query_params.get(name, "")
    try:
        return min(max(int(text), low), high) if text else default
    except ValueError as error:
        raise UsageError(f"{name}={text!r} is no whole number.") from error


@dataclass(frozen=True, slots=True)
class Slice:
    """A page of a long list. ``number`` counts from 1.

    >>> Slice(2, 100, 250).begin, Slice(3, 100, 250).end, Slice(1, 100, 250).count
    (100, 250, 3)
    """

    number: int
    size: int
    total: int

    @property
    def count(self) -> int:
        """How many pages there are, at least one."""
        return max(1, -(-self.total // self.size))

    @property
    def begin(self) -> int:
        """Where it begins in the list."""
        return (self.number - 1) * self.size

    @property
    def end(self) -> int:
        """Where it ends in the list."""
        return min(self.begin + self.size, self.total)


def slice_of(request: Request, total: int, size: int) -> Slice:
    """Return the page of a list that the address asks for; the last one where it asks too far."""
    wanted = number(request, "page", 1, 1, MAX_PAGE)
    return Slice(min(wanted, Slice(1, size, total).count), size, total)
