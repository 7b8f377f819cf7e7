"""A CPU-bound training loop, and how much of its time a background save takes."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any

from holdfast.bench.peers import Pending
from holdfast.bench.state import need_torch

_WIDTH, _BATCH, _LAYERS = 512, 256, 4
_BASELINE_S = 1.5


class TrainingLoop:
    """A small MLP trained with Adam on all cores: matrix products, and Python between them."""

    def __init__(self) -> None:
        torch = need_torch()
        layers: list[Any] = []
        for _ in range(_LAYERS):
            layers += [torch.nn.Linear(_WIDTH, _WIDTH), torch.nn.ReLU()]
        self._model = torch.nn.Sequential(*layers)
        self._optimizer = torch.optim.Adam(self._model.parameters(), lr=1e-4)
        self._inputs = torch.randn(_BATCH, _WIDTH)
        for _ in range(10):
            self.step()

    def step(self) -> None:
        """Train one step."""
        self._optimizer.zero_grad()
        output = self._model(self._inputs)
        (output - self._inputs).pow(2).mean().backward()
        self._optimizer.step()

    def step_s(self, window_s: float = _BASELINE_S) -> float:
        """Return the median time of a step when nothing else of ours goes on."""
        times: list[float] = []
        stop = time.perf_counter() + window_s
        while (start := time.perf_counter()) < stop:
            self.step()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def lost_s(self, begin: Callable[[], Pending], window_s: float = _BASELINE_S) -> float:
        """Return the seconds of training that one save costs: while it holds and while it persists.

        Training goes on until the save is durable; what is lost is the time that went by, less the
        time that the steps done in it take undisturbed. That is measured just before and just
        after; the shorter one counts, since whatever else disturbs it is not to hide the cost.
        """
        before = self.step_s(window_s)
        steps, start = 0, time.perf_counter()
        pending = begin()
        while not pending.done():
            self.step()
            steps += 1
        elapsed = time.perf_counter() - start
        pending.wait()
        return elapsed - steps * min(before, self.step_s(window_s))
