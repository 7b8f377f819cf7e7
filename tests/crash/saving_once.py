"""A script that saves one checkpoint, or says which error there was: saving_once.py STORE STEP."""

from __future__ import annotations

import sys

from training_state import TrainingState

import holdfast


def main() -> None:
    store, step = sys.argv[1], int(sys.argv[2])
    state = TrainingState("tiny")
    state.put(step)
    try:
        holdfast.save(store, state.tree, run="run", step=step)
    except holdfast.errors.HoldfastError as error:
        print("failed", step, error.kind, flush=True)
    else:
        print("durable", step, flush=True)


if __name__ == "__main__":
    main()
