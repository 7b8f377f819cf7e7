"""Hugging Face's Trainer, saved into a holdfast store and resumed exactly."""

from __future__ import annotations

from holdfast.integrations.needs import require

for _package in ("torch", "transformers", "accelerate"):
    require(_package, extra="huggingface", what="holdfast.huggingface")

from holdfast.integrations.trainer_callback import HoldfastCallback  # noqa: E402

__all__ = ["HoldfastCallback"]
