"""XGBoost: boosters by their own serialisation, with no pickle."""

from __future__ import annotations

from typing import Any

import numpy as np
import xgboost

from holdfast.state.codecs import register_codec


def _tree(booster: Any) -> dict[str, Any]:
    raw = booster.save_raw(raw_format="ubj")
    return {
        "model": np.frombuffer(bytes(raw), np.uint8),
        "config": booster.save_config(),
        # Neither of the two has them.
        "attributes": dict(booster.attributes()),
        "names": booster.feature_names,
        "types": booster.feature_types,
    }


def _load(booster: Any, tree: dict[str, Any]) -> None:
    booster.load_model(bytearray(np.asarray(tree["model"]).tobytes()))
    booster.load_config(tree["config"])
    booster.set_attr(**tree["attributes"])
    booster.feature_names, booster.feature_types = tree["names"], tree["types"]


def _new(tree: dict[str, Any]) -> Any:
    booster = xgboost.Booster()
    _load(booster, tree)
    return booster


register_codec(xgboost.Booster, _tree, _new, name="xgboost:Booster", update=_load)
