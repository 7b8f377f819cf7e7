"""PyTorch's distributed checkpoints on a holdfast store.

>>> import torch.distributed.checkpoint as dcp
>>> from holdfast.dcp import HoldfastReader, HoldfastWriter  # doctest: +SKIP
>>> dcp.save(state, storage_writer=HoldfastWriter("ckpts", run="r", step=5))  # doctest: +SKIP
"""

from __future__ import annotations

from holdfast.integrations.needs import require

require("torch", extra="torch", what="holdfast.dcp")

from holdfast.integrations.dcp_reader import HoldfastReader  # noqa: E402
from holdfast.integrations.dcp_writer import HoldfastWriter  # noqa: E402

__all__ = ["HoldfastReader", "HoldfastWriter"]
