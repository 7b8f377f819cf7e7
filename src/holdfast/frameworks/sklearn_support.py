"""scikit-learn: estimators by what fitting has set in them, with no pickle."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator

from holdfast.errors import Mismatch
from holdfast.frameworks import sklearn_values
from holdfast.state.kinds import ObjectKind, register_kind
from holdfast.state.values import type_name

FITTED, PARAMS, CLASS = "fitted", "params", "class"


def take(estimator: Any) -> dict[Any, Any]:
    """Return what an estimator has learnt: all its attributes but for its parameters.

    Parameters are the script's; of those that learn themselves, the steps of a pipeline or a
    generator, what they have learnt is taken.
    """
    params = estimator.get_params(deep=False)
    return {
        CLASS: type_name(type(estimator)),
        FITTED: {
            name: sklearn_values.encode(value, take)
            for name, value in vars(estimator).items()
            if name not in params and not sklearn_values.is_made_anew(value)
        },
        PARAMS: {
            name: sklearn_values.encode_learning(value, take)
            for name, value in params.items()
            if sklearn_values.learns(value)
        },
    }


def put(estimator: Any, tree: dict[Any, Any]) -> Any:
    """Let an estimator know what another of its class had learnt."""
    if tree[CLASS] != type_name(type(estimator)):
        raise Mismatch(f"saved from a {tree[CLASS]}, wanted a {type_name(type(estimator))}")
    params = estimator.get_params(deep=False)
    fitted = {name: sklearn_values.decode(value, put) for name, value in tree[FITTED].items()}
    for name in [name for name in vars(estimator) if name not in params]:
        delattr(estimator, name)
    vars(estimator).update(fitted)
    for name, value in tree[PARAMS].items():
        sklearn_values.put_learning(params[name], value, put)
    return estimator


register_kind(ObjectKind(lambda value: isinstance(value, BaseEstimator), take, put, leafwise=False))
