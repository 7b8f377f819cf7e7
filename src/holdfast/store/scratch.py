"""Page-aligned memory of each thread, touched before if it was used before."""

from __future__ import annotations

import threading

from holdfast.store.memory_pages import private_memory


class Scratch:
    """Gives every thread memory of its own, for each use the same one again.

    Args:
        usual: What is made when more than ``least`` is asked for, in bytes, so that it will do.
        least: What is made otherwise.
    """

    def __init__(self, usual: int, least: int = 0) -> None:
        self._usual, self._least = usual, least
        self._local = threading.local()

    def memory(self, use: str, nbytes: int) -> memoryview:
        """Return memory of this thread; what is in it is what was there.

        Args:
            use: What for; two uses never share memory.
            nbytes: How much.
        """
        if not nbytes:
            return memoryview(b"")
        held: memoryview | None = getattr(self._local, use, None)
        if held is None or held.nbytes < nbytes:
            size = self._least if nbytes <= self._least else max(nbytes, self._usual)
            held = memoryview(private_memory(size))
            setattr(self._local, use, held)
        return held[:nbytes]
