"""What estimators keep in their attributes, as plain values and arrays, and back.

Nothing is imported and no constructor is called: a class must be one of scikit-learn's that is
loaded already, and gets the attributes that it had.
"""

from __future__ import annotations

import inspect
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch

from holdfast.errors import DataError, UnsupportedLeaf
from holdfast.frameworks import sklearn_trees
from holdfast.frameworks.sklearn_layouts import laid, strides_of
from holdfast.state.values import known_class, type_name

ESTIMATOR, GIVEN = "@estimator", "given"
OBJECT, ARRAY, SLICE, DTYPE, SCALAR = "@object", "@objects", "@slice", "@dtype", "@scalar"
PAIRS, LAID, BUNCH, MASKED, SPARSE = "@pairs", "@laid", "@bunch", "@masked", "@sparse"
_COMPRESSED = ("csr", "csc")
_COMPRESSED_CLASSES = {
    cls.__name__: cls
    for cls in (
        *(scipy.sparse.csr_matrix, scipy.sparse.csc_matrix),
        *(scipy.sparse.csr_array, scipy.sparse.csc_array),
    )
}
_KEYS = (bool, int, float, str, type(None))
_GENERATORS = (np.random.RandomState, np.random.Generator)
# Classes that encoders are given as dtype=, besides those of NumPy's scalars.
_SCALARS = {cls.__name__: cls for cls in (bool, int, float, str, bytes, object)}
# A class made by C code does not have this flag of CPython's.
_MADE_BY_PYTHON = 1 << 9

Take = Callable[[Any], dict[Any, Any]]
Put = Callable[[Any, dict[Any, Any]], Any]


def encode(value: Any, take: Take) -> Any:
    """Return an attribute as a value that holdfast saves; what it does not know stays as it is."""
    if isinstance(value, BaseEstimator):
        return {ESTIMATOR: take(value), GIVEN: _given(value, take)}
    if isinstance(value, np.ma.MaskedArray):
        parts = value.data, np.ma.getmaskarray(value), value.fill_value
        return {MASKED: [encode(part, take) for part in parts]}
    if isinstance(value, np.ndarray) and value.dtype.hasobject:
        elements = [encode(element, take) for element in value.ravel().tolist()]
        return {ARRAY: elements, "shape": value.shape}
    if isinstance(value, np.ndarray) and (strides := strides_of(value)) is not None:
        return {LAID: value, "strides": strides}
    if type(value) is Bunch:
        return {BUNCH: _mapping(value, take)}
    if type(value) in (dict, defaultdict):
        return _mapping(value, take)
    if sklearn_trees.is_tree(value):
        return sklearn_trees.encode(value)
    if isinstance(value, list | tuple) and not hasattr(value, "_fields"):
        children = [encode(child, take) for child in value]
        return tuple(children) if isinstance(value, tuple) else children
    if scipy.sparse.issparse(value) and value.format in _COMPRESSED:
        parts = value.data, value.indices, value.indptr
        return {SPARSE: type(value).__name__, "parts": parts, "shape": value.shape}
    if isinstance(value, slice):
        return {SLICE: [value.start, value.stop, value.step]}
    if isinstance(value, np.dtype) and value.fields is None:
        return {DTYPE: value.str}
    if isinstance(value, type) and issubclass(value, np.generic):
        return {SCALAR: np.dtype(value).str}
    if isinstance(value, type) and value in _SCALARS.values():
        return {SCALAR: value.__name__}
    return _helper(value, take) if _is_helper(value) else value


def _given(estimator: BaseEstimator, take: Take) -> dict[str, Any]:
    return {
        # A folder whose pickles joblib would load is for the script to say.
        name: None if name == "memory" else encode(param, take)
        for name, param in estimator.get_params(deep=False).items()
    }


def _mapping(value: dict[Any, Any], take: Take) -> dict[Any, Any]:
    if any(type(key) not in _KEYS for key in value):
        # Labels, which are NumPy's numbers mostly.
        return {PAIRS: [[key, encode(child, take)] for key, child in value.items()]}
    return {key: encode(child, take) for key, child in value.items()}


def _helper(value: Any, take: Take) -> dict[str, Any]:
    if not _is_told_by_attributes(type(value)):
        raise UnsupportedLeaf(_refusal(value), type_name=type_name(type(value)))
    inner = {name: encode(child, take) for name, child in vars(value).items()}
    return {OBJECT: type_name(type(value)), "vars": inner}


def decode(value: Any, put: Put) -> Any:
    """Return the attribute of ``encode``."""
    if isinstance(value, dict):
        for mark, make in _MADE_OF.items():
            if mark in value:
                return make(value, put)
        return {key: decode(child, put) for key, child in value.items()}
    if type(value) in (list, tuple):
        return type(value)(decode(child, put) for child in value)
    return value


def _made_estimator(value: dict[str, Any], put: Put) -> Any:
    tree = value[ESTIMATOR]
    made = _bare(tree["class"], BaseEstimator)
    vars(made).update({name: decode(param, put) for name, param in value[GIVEN].items()})
    return put(made, tree)


def _made_helper(value: dict[str, Any], put: Put) -> Any:
    made = _bare(value[OBJECT], None)
    vars(made).update({name: decode(child, put) for name, child in value["vars"].items()})
    return made


def _made_array(value: dict[str, Any], put: Put) -> np.ndarray[Any, Any]:
    array = np.empty(len(value[ARRAY]), object)
    array[:] = [decode(child, put) for child in value[ARRAY]]
    return array.reshape(value["shape"])


def _made_masked(value: dict[str, Any], put: Put) -> np.ma.MaskedArray[Any, Any]:
    data, mask, fill_value = (decode(part, put) for part in value[MASKED])
    return np.ma.MaskedArray(data, mask, fill_value=fill_value)


def _made_sparse(value: dict[str, Any], put: Put) -> Any:
    cls = _COMPRESSED_CLASSES.get(value[SPARSE])
    if cls is None:
        raise UnsupportedLeaf(f"{value[SPARSE]} is no class of SciPy.", type_name=value[SPARSE])
    try:
        made = cls(tuple(value["parts"]), shape=tuple(value["shape"]))
        # What multiplies it goes where its indices lead.
        made.check_format(full_check=True)
    except (ValueError, TypeError) as error:
        raise DataError(f"A {value[SPARSE]} that was saved is none: {error}.") from error
    return made


_MADE_OF: dict[str, Callable[[dict[str, Any], Put], Any]] = {
    ESTIMATOR: _made_estimator,
    OBJECT: _made_helper,
    ARRAY: _made_array,
    BUNCH: lambda value, put: Bunch(**decode(value[BUNCH], put)),
    MASKED: _made_masked,
    SPARSE: _made_sparse,
    sklearn_trees.TREE: lambda value, put: sklearn_trees.decode(value),
    LAID: lambda value, put: laid(value[LAID], value["strides"]),
    SLICE: lambda value, put: slice(*value[SLICE]),
    PAIRS: lambda value, put: {key: decode(child, put) for key, child in value[PAIRS]},
    DTYPE: lambda value, put: np.dtype(value[DTYPE]),
    SCALAR: lambda value, put: _SCALARS.get(value[SCALAR]) or np.dtype(value[SCALAR]).type,
}


def is_made_anew(estimator: Any, name: str, value: Any) -> bool:
    """Say whether an attribute is code that each fit makes anew from the parameters: a loss."""
    if name == "scorer_" and _own(estimator, "_get_scorers"):
        return True  # Of several metrics, or a function of the script.
    if name == "f_" and _own(estimator, "_build_f"):
        return True
    module = type(value).__module__
    return _is_helper(value) and (
        module.startswith(("sklearn._loss", "sklearn.linear_model._sgd_fast", "sklearn.metrics"))
    )


def make_anew(estimator: Any) -> None:
    """Give a fitted estimator what its fit has made of its parameters, where others call it.

    A loss, the scorer of a threshold, a function between thresholds, which predictions need; the
    scorer of a search, for ``score``.
    """
    if find := _own(estimator, "_get_loss"):
        if "sample_weight" in inspect.signature(find).parameters:
            estimator._loss = find(sample_weight=None)
        else:
            estimator._base_loss = find()
    if find := _own(estimator, "_get_curve_scorer"):
        estimator._curve_scorer = find()
    if (build := _own(estimator, "_build_f")) and hasattr(estimator, "X_thresholds_"):
        build(estimator.X_thresholds_, estimator.y_thresholds_)
    if find := _own(estimator, "_get_scorers"):
        # With which of several scorers refits go by.
        estimator.scorer_ = find()[0]


def _own(estimator: Any, name: str) -> Any:
    """Return a method of scikit-learn's own, or None."""
    found = getattr(estimator, name, None)
    return found if getattr(found, "__module__", "").startswith("sklearn.") else None


# --- parameters that learn ---


def learns(value: Any) -> bool:
    """Say whether a parameter holds an estimator or a generator."""
    if isinstance(value, list | tuple):
        return any(map(learns, value))
    return isinstance(value, (BaseEstimator, *_GENERATORS))


def encode_learning(value: Any, take: Take) -> Any:
    """Return what a parameter has learnt; None stands for what does not learn."""
    if isinstance(value, list | tuple):
        return [encode_learning(child, take) for child in value]
    return encode(value, take) if learns(value) else None


def put_learning(value: Any, tree: Any, put: Put) -> None:
    """Let a parameter know what it had learnt."""
    if isinstance(value, list | tuple):
        for child, saved in zip(value, tree, strict=True):
            put_learning(child, saved, put)
    elif isinstance(value, BaseEstimator):
        put(value, tree[ESTIMATOR])
    elif isinstance(value, np.random.RandomState):
        value.set_state(tree.get_state())
    elif isinstance(value, np.random.Generator):
        value.bit_generator.state = tree.bit_generator.state


# --- objects ---


def _is_helper(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "sklearn"


def _is_told_by_attributes(cls: type) -> bool:
    """Say whether objects of a class have all that they know in their attributes.

    What a class of C code keeps in its own structure, as trees of neighbours do, is in none.
    """
    return all(base.__flags__ & _MADE_BY_PYTHON for base in cls.__mro__[:-1])


def _bare(name: str, base: type | None) -> Any:
    cls: Any = known_class(name, base, name)
    own = cls.__module__.partition(".")[0] == "sklearn" or issubclass(cls, BaseEstimator)
    if not own:
        raise UnsupportedLeaf(f"{name} is no class of scikit-learn.", type_name=name)
    return cls.__new__(cls)


def _refusal(value: Any) -> str:
    what = type_name(type(value))
    if type(value).__name__.startswith(("KDTree", "BallTree")):
        return (
            f"it holds a {what}: scikit-learn has no form of it but pickle, which holdfast does "
            "not use. With algorithm='brute' there is none; or fit it again"
        )
    return f"it holds a {what}, which scikit-learn can only pickle, and holdfast does not"
