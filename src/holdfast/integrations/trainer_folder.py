"""A checkpoint as a folder that Hugging Face's own tools read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from holdfast.integrations.trainer_state import state_text
from holdfast.oneshot import load
from holdfast.repository import Store

_STATE_FILE = "trainer_state.json"


def write_folder(folder: Path, trainer: Any, store: Store, ref: str) -> None:
    """Write what a Trainer writes of a model, and the state that a checkpoint has of the Trainer.

    Args:
        folder: Where to.
        trainer: Its model has the weights of the checkpoint already.
        store: The store of the checkpoint.
        ref: The checkpoint.
    """
    # The Trainer's own writer: adapters, shards, tied weights and processors are its business.
    trainer.save_model(str(folder))
    found = load(store, ref, only="trainer/**")
    (folder / _STATE_FILE).write_text(state_text(found["trainer"]), encoding="utf-8")
