"""scikit-learn: estimators by what fitting has set in them, with no pickle."""

from __future__ import annotations

from typing import Any

from sklearn.base import BaseEstimator

from holdfast.errors import Mismatch
from holdfast.format.tree import NodeKind
from holdfast.frameworks import sklearn_values
from holdfast.state.kinds import ObjectKind, register_kind
from holdfast.state.nodes import Node, plain_value
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
            if name not in params and not sklearn_values.is_made_anew(estimator, name, value)
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
    if fitted:
        sklearn_values.make_anew(estimator)
    for name, value in tree[PARAMS].items():
        sklearn_values.put_learning(params[name], value, put)
    return estimator


def prepare(estimator: Any, node: Node) -> frozenset[Any]:
    """Look whether an estimator, and those that it was given, are of the classes that were saved.

    Raises:
        Mismatch: One is not, or there are more or fewer of them.
    """
    for child in node.children:
        if child.key == CLASS and child.kind is NodeKind.STR:
            _require(type_name(type(estimator)), plain_value(child), node.path)
        elif child.key == PARAMS:
            params = estimator.get_params(deep=False)
            for param in child.children:
                _prepare_learning(params.get(param.key), param)
    return frozenset()


def _prepare_learning(value: Any, node: Node) -> None:
    if isinstance(value, BaseEstimator):
        for child in node.children:
            if child.key == sklearn_values.ESTIMATOR:
                prepare(value, child)
    elif isinstance(value, list | tuple):
        _require(f"list of {len(value)}", f"list of {len(node.children)}", node.path)
        for part, child in zip(value, node.children, strict=True):
            _prepare_learning(part, child)


def _require(here: str, saved: object, path: str) -> None:
    if here != saved:
        problem = f"{path!r}: saved from a {saved}, wanted a {here}"
        raise Mismatch(f"{problem}. Nothing was changed.", problems=(problem,))


register_kind(
    ObjectKind(
        lambda value: isinstance(value, BaseEstimator), take, put, prepare=prepare, leafwise=False
    )
)
