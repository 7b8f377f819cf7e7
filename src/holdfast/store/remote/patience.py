"""Requests that are made again where the client itself gives up: an answer that broke off midway.

Only for requests that may be made twice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

_FIRST_S = 0.1
_LONGEST_S = 10.0


def patiently(request: Callable[[], T], patience_s: float) -> T:
    """Return what a request gives, trying again for a while where the way to the server fails.

    Args:
        request: Makes it; may be called several times.
        patience_s: After so many seconds no new try is begun.
    """
    from obstore.exceptions import GenericError

    deadline = time.monotonic() + patience_s
    wait_s = _FIRST_S
    while True:
        try:
            return request()
        except GenericError as error:
            if is_answer(error) or time.monotonic() + wait_s > deadline:
                raise
        # Not all clients at the same moment.
        time.sleep(wait_s * random.uniform(0.5, 1.0))
        wait_s = min(2 * wait_s, _LONGEST_S)


def is_answer(error: Exception) -> bool:
    """Say whether a server has answered, and would answer the same again."""
    from obstore.exceptions import GenericError

    if not isinstance(error, GenericError):
        return True  # Each other kind stands for a status that a server has sent.
    told = str(error)
    return "status code: 4" in told and "status code: 429" not in told
