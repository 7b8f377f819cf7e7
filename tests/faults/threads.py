"""holdfast without threads: for what counts calls by thread, and for what is done very often."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from typing import Any
from unittest import mock

_PATCHED = ("holdfast.chunks.write", "holdfast.chunks.read", "holdfast.chunks.check")


class Inline(Executor):
    """An executor that does everything at once, in the thread of who asks."""

    def __init__(self, *_: object, **__: object) -> None: ...

    def submit(self, work: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(work(*args, **kwargs))
        except BaseException as error:
            future.set_exception(error)
        return future


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    with contextlib.ExitStack() as stack:
        for module in _PATCHED:
            stack.enter_context(mock.patch(f"{module}.ThreadPoolExecutor", Inline))
        yield
