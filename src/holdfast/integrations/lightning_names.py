"""Lightning's classes, of whichever of its two packages the script trains with.

``lightning`` and ``pytorch_lightning`` are the same code twice; a Trainer of one takes no plug-in
of the other. Who has imported the second and not the first means the second.
"""

from __future__ import annotations

import sys
from typing import Any

# Any: two packages cannot both be the types of what follows.
if "pytorch_lightning" in sys.modules and "lightning" not in sys.modules:
    import lightning_fabric.plugins as _plugins
    import pytorch_lightning as _lightning
    from pytorch_lightning import callbacks as _callbacks
else:
    import lightning.fabric.plugins as _plugins
    import lightning.pytorch as _lightning
    from lightning.pytorch import callbacks as _callbacks

Callback: Any = _lightning.Callback
LightningModule: Any = _lightning.LightningModule
Trainer: Any = _lightning.Trainer
ModelCheckpoint: Any = _callbacks.ModelCheckpoint
CheckpointIO: Any = _plugins.CheckpointIO
TorchCheckpointIO: Any = _plugins.TorchCheckpointIO
