"""Processes that train together, each with a generator of its own: ``ranks.py WORLD [BUG]``.

The bug ``ranks``: the generator of rank 0 is put back in all of them.
"""

import os
import subprocess
import sys

WORLD = int(sys.argv[1])
BUG = sys.argv[2] if len(sys.argv) > 2 else ""

if "RANK" not in os.environ:
    if os.path.exists("meeting"):
        os.remove("meeting")
    ranks = [
        subprocess.Popen([sys.executable, *sys.argv], env={**os.environ, "RANK": str(rank)})
        for rank in range(WORLD)
    ]
    sys.exit(max(abs(rank.wait()) for rank in ranks))

import torch  # noqa: E402
import torch.distributed as dist  # noqa: E402

RANK = int(os.environ["RANK"])
STEPS = 24
torch.set_num_threads(1)
dist.init_process_group(
    "gloo", init_method=f"file://{os.path.abspath('meeting')}", rank=RANK, world_size=WORLD
)
torch.manual_seed(0)
model = torch.nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
torch.manual_seed(100 + RANK)
step = 0


def write(tree, name):
    torch.save(tree, f"{name}.tmp")
    os.replace(f"{name}.tmp", name)


def save():
    generators = [None] * WORLD
    dist.all_gather_object(generators, torch.get_rng_state())
    if RANK == 0:
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
        write({**state, "rng": generators[0] if BUG == "ranks" else generators}, "last.pt")


if os.path.exists("last.pt"):
    state = torch.load("last.pt", weights_only=False)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    step = state["step"]
    if BUG == "ranks":
        torch.set_rng_state(state["rng"])
    elif len(state["rng"]) > RANK:
        torch.set_rng_state(state["rng"][RANK])

while step < STEPS:
    x = torch.randn(8, 4)
    loss = ((model(x) - x.sum(1, keepdim=True)) ** 2).mean()
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= WORLD
    optimizer.step()
    step += 1
    if RANK == 0:
        print(f"step {step} loss {loss.item():.9g}")
    if step % 4 == 0:
        save()
dist.barrier()
dist.destroy_process_group()
