"""Where a data loader that Accelerate has prepared is in its epochs."""

from __future__ import annotations

from typing import Any, final

import torch
from accelerate.data_loader import SeedableRandomSampler
from torch.utils.data import RandomSampler

from holdfast.errors import UsageError


@final
class LoaderPosition:
    """The position of a prepared data loader, as an object with a state.

    Accelerate's own state leaves out which epoch a loader is in, so that a resumed one is shuffled
    like the first. Within an epoch only a loader knows its place that was prepared with
    ``use_stateful_dataloader=True``; others begin the epoch again.

    A loader without a generator would draw from the model's random numbers whenever an epoch is
    begun or taken up; it is given one of its own.

    Args:
        loader: What ``accelerator.prepare`` returned for a data loader.

    Raises:
        UsageError: It shall know its place in the epoch, but not the order that the place is in.
    """

    def __init__(self, loader: Any) -> None:
        self._loader = loader
        sampler = self._sampler(RandomSampler)
        if self._is_stateful and sampler and not isinstance(sampler, SeedableRandomSampler):
            raise UsageError(
                "A data loader that shuffles has use_stateful_dataloader=True, but its order is "
                "drawn anew at every start: after a resume it would go on in another order. Give "
                "DataLoaderConfiguration(use_seedable_sampler=True) besides."
            )
        base = loader.base_dataloader
        if getattr(base, "generator", None) is None:
            base.generator = torch.Generator().manual_seed(torch.initial_seed() % 2**63)

    def state_dict(self) -> dict[str, Any]:
        """Return the epoch, the seed of the order, and the place in the epoch where it is known."""
        sampler = self._sampler(SeedableRandomSampler)
        return {
            "iteration": self._loader.iteration,
            "initial_seed": sampler.initial_seed if sampler is not None else None,
            "place": self._loader.state_dict() if self._is_stateful else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Let the next ``for`` go on from there."""
        place = state["place"]
        finished = bool(place and place.get("_iterator_finished"))
        self._loader.iteration = state["iteration"] + finished
        sampler = self._sampler(SeedableRandomSampler)
        if sampler is not None:
            sampler.set_epoch(self._loader.iteration)
            if state["initial_seed"] is not None:
                sampler.initial_seed = state["initial_seed"]
        if self._is_stateful and place is not None and not finished:
            self._loader.load_state_dict(place)

    @property
    def _is_stateful(self) -> bool:
        return bool(getattr(self._loader, "use_stateful_dataloader", False))

    def _sampler(self, kind: type) -> Any:
        """Return the sampler of that class, through whatever makes batches of it, or None."""
        outer = getattr(self._loader, "batch_sampler", None)
        while outer is not None:
            inner = getattr(outer, "sampler", None) or getattr(outer, "batch_sampler", None)
            if isinstance(inner, kind):
                return inner
            outer = inner
        return None
