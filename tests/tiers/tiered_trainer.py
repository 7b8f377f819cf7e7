"""A training script with tiers that is killed.

It tells on standard output, one line each: ``persister PID``, ``fresh`` or ``restored STEP TIER``,
``saved STEP`` once a save of the step is whole where it shall be, and ``done``.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from tiered import new_state, train

from holdfast import Checkpointer, every, keep, tier
from holdfast.tier import Tier


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("home")
    parser.add_argument("--memory", type=Path)
    parser.add_argument("--far")
    parser.add_argument("--home-every", type=int, default=5)
    parser.add_argument("--far-every", type=int, default=10)
    parser.add_argument("--bandwidth")
    parser.add_argument("--elements", type=int, default=50_000)
    parser.add_argument("--until", type=int, default=10_000)
    parser.add_argument("--stay-at", type=int, help="wait at this step until killed")
    return parser.parse_args()


def main() -> None:
    args = arguments()
    state = new_state(args.elements)
    with Checkpointer(
        args.home,
        state,
        run="r",
        save=every(steps=args.home_every),
        keep=keep.last(2),
        tiers=tiers_of(args),
    ) as ckpt:
        print("persister", ckpt._saver.client.pid, flush=True)
        restored = ckpt.restore()
        if restored is None:
            print("fresh", flush=True)
        else:
            if not (state["w"] == restored.step + 1).all():
                sys.exit(f"the state is not that of step {restored.step}")
            print("restored", restored.step, restored.tier, flush=True)
        for step in range(ckpt.next_step, args.until):
            train(state, step)
            handle = ckpt.step(step)
            if handle is not None:
                handle.wait()
                print("saved", step, flush=True)
            while step == args.stay_at:
                time.sleep(1)
    print("done", flush=True)


def tiers_of(args: argparse.Namespace) -> list[Tier]:
    tiers: list[Tier] = []
    if args.memory is not None:
        tiers.append(tier.memory(save=every(steps=2), folder=args.memory))
    if args.far is not None:
        every_far = every(steps=args.far_every)
        tiers.append(tier.far(args.far, save=every_far, bandwidth=args.bandwidth, wait_s=0))
    return tiers


if __name__ == "__main__":
    main()
