"""The example of Ray Train in one Ray: a run that nobody disturbs, and one of which a worker dies.

    python ray_killed.py FOLDER

It dies by SIGKILL between two saves, while the other one waits for its gradients.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

import ray.train
from ray.train import FailureConfig, RunConfig, ScalingConfig
from ray.train.torch import TorchTrainer

import holdfast
from holdfast.ray import ref_of

EXAMPLES = str(Path(__file__).parents[2] / "examples")
STEPS, KILL_AT = 200, 120


def train(config: dict[str, Any]) -> None:
    """What each worker does: the example; in its first life the second one dies."""
    sys.path.insert(0, config["examples"])
    import ray_train

    is_first_life = ray.train.get_checkpoint() is None
    dies = config["kill_at"] and is_first_life and ray.train.get_context().get_world_rank() == 1

    class Dying(ray_train.DistributedDataParallel):  # type: ignore[misc]
        steps_done = 0

        def forward(self, *args: Any) -> Any:
            if dies and self.steps_done == config["kill_at"]:
                os.kill(os.getpid(), signal.SIGKILL)
            self.steps_done += 1
            return super().forward(*args)

    ray_train.DistributedDataParallel = Dying
    ray_train.train(config)


def main() -> None:
    folder = Path(sys.argv[1]).absolute()
    ray.init(num_cpus=2, include_dashboard=False)
    for run, kill_at in (("steady", 0), ("stormy", KILL_AT)):
        result = TorchTrainer(
            train,
            train_loop_config={
                "store": str(folder),
                "run": run,
                "steps": STEPS,
                "kill_at": kill_at,
                "examples": EXAMPLES,
            },
            scaling_config=ScalingConfig(num_workers=2),
            run_config=RunConfig(
                name=run,
                storage_path=str(folder / "ray"),
                failure_config=FailureConfig(max_failures=1),
            ),
        ).fit()
        assert result.checkpoint is not None
        assert ref_of(result.checkpoint) == f"{run}@{STEPS - 1}"
        assert "loss" in result.metrics
        print(f"{run} ended, {len(holdfast.Store(folder).log(run))} checkpoints", flush=True)
    ray.shutdown()


if __name__ == "__main__":
    main()
