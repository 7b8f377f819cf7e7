"""What Hugging Face's Trainer knows besides model and optimizer, as one object with a state."""

from __future__ import annotations

import dataclasses
import json
from typing import Any, final

from transformers.trainer_callback import ExportableState, TrainerControl, TrainerState

_KEY = "trainer_state"


@final
class TrainerProgress:
    """The Trainer's own state, in the words of its ``trainer_state.json``.

    It is only saved through this: the Trainer reads its state itself, from the folder that it
    resumes from, before anybody else may set it.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer
        self._state: TrainerState | None = None
        self._control: TrainerControl | None = None

    def follow(self, state: TrainerState, control: TrainerControl) -> None:
        """Take these as the state to save."""
        self._state, self._control = state, control

    def state_dict(self) -> dict[str, str]:
        """Return the state as JSON, states of callbacks included."""
        assert self._state is not None
        content = dataclasses.asdict(self._state)
        content["stateful_callbacks"] = self._of_callbacks()
        return {_KEY: json.dumps(content, indent=2, sort_keys=True) + "\n"}

    def load_state_dict(self, state: dict[str, str]) -> None:
        """Do nothing: the Trainer has it already."""

    def _of_callbacks(self) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for callback in [*self._trainer.callback_handler.callbacks, self._control]:
            if not isinstance(callback, ExportableState):
                continue
            name, own = type(callback).__name__, callback.state()
            # As the Trainer does: one as it is, several of a class as a list.
            if name not in found:
                found[name] = own
            elif isinstance(found[name], list):
                found[name].append(own)
            else:
                found[name] = [found[name], own]
        return found


def state_text(tree: dict[str, Any]) -> str:
    """Return the content of ``trainer_state.json`` from what was saved of a TrainerProgress."""
    text: str = tree[_KEY]
    return text
