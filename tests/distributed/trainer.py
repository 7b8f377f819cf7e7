"""One rank of a training with something that goes wrong in it, as its arguments say.

``STORE STEPS [NAME=VALUE …]``: ``kind``, ``kill=RANK@STEP``, ``odd=RANK`` (another learning rate
there), ``late=RANK@STEP`` (stops there until killed), ``patience=SECONDS``,
``term=RANK@STEP`` (SIGTERM there, and a clock that says when to save), ``slow=SECONDS`` for each
step, ``once=1`` (killed in the first life that a launcher gives it, not in the next),
``bit=RANK@STEP`` (one bit of a weight changes there), ``replicas=checked``, ``wrap=ddp`` (trained
by DistributedDataParallel),
``hosts=A,B`` (the host of each rank, which has a store of its own below STORE), ``copies=N``.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from dataclasses import replace

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel
from training import digest, made, train

from holdfast import Checkpointer, Peers, every, keep, on
from holdfast.distributed.ranks import ranks_here
from holdfast.errors import HoldfastError


def main(store: str, steps: str, *options: str) -> None:
    how = dict(option.split("=") for option in options)
    dist.init_process_group("gloo")
    rank = dist.get_rank()
    model, optimizer = made(how.get("kind", "ddp"))
    trained = DistributedDataParallel(model) if how.get("wrap") == "ddp" else model
    if how.get("odd") == str(rank):
        optimizer.param_groups[0]["lr"] = 0.5
    here = f"{rank}@"
    ranks = replace(ranks_here(), patience_s=float(how.get("patience", "60")))
    policy = every(steps=2) if "term" not in how else every(seconds=60) | on.signal()
    state = {"model": model, "optimizer": optimizer}
    peers = None
    if "hosts" in how:
        host = how["hosts"].split(",")[rank]
        store, peers = f"{store}/{host}", Peers(copies=int(how.get("copies", "1")), host=host)
    with Checkpointer(
        store,
        state,
        run="r",
        save=policy,
        keep=keep.last(3),
        ranks=ranks,
        peers=peers,
        check_replicas="replicas" in how,
    ) as ckpt:
        restored = ckpt.restore()
        print("restored", restored.step if restored else None, flush=True)
        for step in range(ckpt.next_step, int(steps)):
            loss = train(trained, optimizer, step)
            is_spared = "once" in how and os.environ.get("TORCHELASTIC_RESTART_COUNT") != "0"
            if how.get("kill") == f"{here}{step}" and not is_spared:
                os.kill(os.getpid(), signal.SIGKILL)
            if how.get("term") == f"{here}{step}":
                os.kill(os.getpid(), signal.SIGTERM)
            if how.get("bit") == f"{here}{step}":
                model.up.weight.data.view(torch.int32)[1, 2] ^= 1
            if how.get("late") == f"{here}{step}":
                time.sleep(600)
            ckpt.step(step, metrics={"loss": loss})
            print("did", step, flush=True)
            if "slow" in how:
                time.sleep(float(how["slow"]))
    print("ended", digest(model, optimizer), flush=True)
    dist.destroy_process_group()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except HoldfastError as error:
        print("refused", error.kind, error.message, flush=True)
        sys.exit(7)
