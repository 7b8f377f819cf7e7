"""A training script that saves at every step and is killed all the time.

It tells on standard output, one line each: ``persister PID``, ``fresh`` or ``restored STEP``,
``durable STEP`` or ``failed STEP KIND``, and ``done`` at the end.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from pathlib import Path

from training_state import TrainingState

from holdfast import Checkpointer, every, keep
from holdfast.engine.handle import SaveHandle
from holdfast.errors import HoldfastError

RUN = "run"


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("store")
    parser.add_argument("size")
    parser.add_argument("--until", type=int, default=sys.maxsize)
    parser.add_argument("--in-flight", type=int, default=1)
    parser.add_argument("--keep", type=int, default=2, help="0 keeps all")
    parser.add_argument("--on-error", default="raise")
    parser.add_argument("--compress", default="none")
    parser.add_argument("--after", type=Path, help="train only when this file is there")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    logging.basicConfig(level=logging.INFO)
    state = TrainingState(args.size, gentle=args.compress == "delta")
    state.put(0)
    with Checkpointer(
        args.store,
        state.tree,
        run=RUN,
        save=every(steps=1),
        keep=keep.last(args.keep) if args.keep else None,
        in_flight=args.in_flight,
        on_error=args.on_error,
        compress=args.compress,
    ) as ckpt:
        pid = tell_persister(ckpt, 0)
        restore(ckpt, state)
        while args.after is not None and not args.after.exists():
            time.sleep(0.005)
        train(ckpt, state, args, pid)
    print("done", flush=True)


def restore(ckpt: Checkpointer, state: TrainingState) -> None:
    restored = ckpt.restore()
    if restored is None:
        print("fresh", flush=True)
        return
    wrong = state.wrong(restored.step)
    assert not wrong, f"{restored.ref} is not what was saved: {wrong}"
    assert not restored.stepped_over, restored.stepped_over
    print("restored", restored.step, flush=True)


def train(ckpt: Checkpointer, state: TrainingState, args: argparse.Namespace, pid: int) -> None:
    waiting: list[SaveHandle] = []
    for step in range(max(ckpt.next_step, 1), args.until):
        state.put(step)
        handle = ckpt.step(step)
        assert handle is not None
        waiting.append(handle)
        while waiting and waiting[0].done:
            tell(waiting.pop(0), args.on_error)
        pid = tell_persister(ckpt, pid)
    for handle in waiting:
        tell(handle, args.on_error)


def tell(handle: SaveHandle, on_error: str) -> None:
    try:
        print("durable", handle.wait().step, flush=True)
    except HoldfastError as error:
        if on_error == "raise":
            raise
        print("failed", handle.step, error.kind, flush=True)


def tell_persister(ckpt: Checkpointer, known: int) -> int:
    pid = ckpt._saver.client.pid
    if pid != known:
        print("persister", pid, flush=True)
    return pid


if __name__ == "__main__":
    main()
