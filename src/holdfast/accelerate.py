"""Accelerate on a holdfast store: all that an Accelerator has prepared, saved and resumed."""

from __future__ import annotations

from holdfast.integrations.needs import require

for _package in ("torch", "accelerate"):
    require(_package, extra="accelerate", what="holdfast.accelerate")

from holdfast.integrations.accelerate_state import load_state, save_state, state_of  # noqa: E402

__all__ = ["load_state", "save_state", "state_of"]
