"""What the witness notes of an optimizer's step, and when."""

from __future__ import annotations

from typing import Any

import torch
from torch.optim import optimizer as optimizers

from holdfast.drill.witness import torch_eyes


class Rows:
    """A writer that keeps what is written."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def write(self, kind: str, **facts: Any) -> None:
        self.rows.append({"kind": kind, **facts})


def test_with_a_closure_a_step_has_the_data_of_its_own_forward_pass():
    rows, call = Rows(), torch.nn.modules.module.Module.__call__
    hooks = dict(optimizers._global_optimizer_pre_hooks)
    model = torch.nn.Linear(2, 1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
    batches = [torch.ones(3, 2), torch.zeros(5, 2)]

    def closure(batch: torch.Tensor) -> torch.Tensor:
        optimizer.zero_grad()
        loss = model(batch).sum()
        loss.backward()
        return loss

    try:
        torch_eyes.on_calls(torch.nn.modules.module, rows)  # type: ignore[arg-type]
        torch_eyes.on_steps(optimizers, rows)  # type: ignore[arg-type]
        losses = [optimizer.step(lambda b=batch: closure(b)) for batch in batches]
        closure(batches[0])
        optimizer.step()
    finally:
        torch.nn.modules.module.Module.__call__ = call
        optimizers._global_optimizer_pre_hooks.clear()
        optimizers._global_optimizer_pre_hooks.update(hooks)
    assert all(loss is not None for loss in losses)
    assert [len(row["inputs"]) for row in rows.rows] == [3, 5, 3]
    # As the step found it: the gradients of its own pass, the moments of the one before.
    assert [bool(row["moments"]) for row in rows.rows] == [False, True, True]
    assert rows.rows[0]["grads"] == rows.rows[2]["grads"] != rows.rows[1]["grads"]
