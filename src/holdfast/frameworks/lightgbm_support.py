"""LightGBM: boosters by their own serialisation, with no pickle."""

from __future__ import annotations

from typing import Any

import lightgbm

from holdfast.state.codecs import register_codec


def _tree(booster: Any) -> dict[str, Any]:
    return {
        "model": booster.model_to_string(num_iteration=-1),
        "params": {key: value for key, value in booster.params.items() if _is_plain(value)},
        "best_iteration": booster.best_iteration,
    }


def _is_plain(value: object) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, bool | int | float | str | None)


def _new(tree: dict[str, Any]) -> Any:
    booster = lightgbm.Booster(params=dict(tree["params"]), model_str=tree["model"])
    booster.best_iteration = tree["best_iteration"]
    return booster


register_codec(lightgbm.Booster, _tree, _new, name="lightgbm:Booster")
