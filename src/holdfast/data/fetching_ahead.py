"""Who takes indices ahead of the training loop, whose position they then would not tell."""

from __future__ import annotations

import sys

from holdfast.errors import UsageError

# Between a sampler and the loader that asks it there are a sampler of batches and its generators.
_FRAMES = 8


def require_no_workers() -> None:
    """Raise UsageError where a PyTorch loader with workers asks for the first index.

    Workers fetch ahead: what they have fetched would count as delivered, and a run that resumes
    would never see it.
    """
    loaders = sys.modules.get("torch.utils.data.dataloader")
    ahead = getattr(loaders, "_MultiProcessingDataLoaderIter", None)
    if ahead is None:
        return
    frame = sys._getframe(2)
    for _ in range(_FRAMES):
        if isinstance(frame.f_locals.get("self"), ahead):
            raise UsageError(
                "A torch.utils.data.DataLoader with workers fetches ahead: what it has fetched "
                "from this Sampler would count as delivered, and be lost to a run that resumes. "
                "holdfast.data.DataLoader takes the same dataset and any num_workers, and counts "
                "what the loop has got; or give num_workers=0."
            )
        if frame.f_back is None:
            return
        frame = frame.f_back
