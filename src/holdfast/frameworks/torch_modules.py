"""PyTorch modules, restored into the tensors that they hold already.

Reading straight into a module's own memory saves a copy of the whole model. It is done where
``load_state_dict`` would do nothing but copy; where hooks or overrides would do more, the values
are made anew and handed to ``load_state_dict``.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Any

import torch

from holdfast.format.tree import NodeKind
from holdfast.frameworks import torch_memory
from holdfast.frameworks.torch_dtensors import local
from holdfast.frameworks.torch_expanded import into_expanded
from holdfast.state.bind import Binder
from holdfast.state.nodes import Node
from holdfast.state.overlap import shares_elements
from holdfast.state.paths import join
from holdfast.state.reads import Thunk
from holdfast.state.sharding import held_of

# What torch.compile puts into the names of a module's state.
_COMPILED = "_orig_mod."
# What DistributedDataParallel and DataParallel put before all of them.
_WRAPPED = "module."


def bind_module(binder: Binder, node: Node, module: torch.nn.Module, path: str) -> Thunk:
    """Bind the saved ``state_dict`` of a module to one that stands."""
    live = module.state_dict()
    saved = _named_alike({child.key: child for child in node.children}, live)
    for key in live:
        if key not in saved:
            binder.note_missing(live[key], join(path, key))
    named = dict([*module.named_parameters(), *module.named_buffers()])
    there = [local(t) for t in named.values() if not t.is_meta and not _is_lazy(t)]
    own = {t.data_ptr() for t in there}
    memory = {t.untyped_storage().data_ptr() for t in there}
    plain = _copies_only(module)
    placed: list[Thunk] = []
    handed: dict[Any, Thunk] = {}
    for key, child in saved.items():
        if child.kind == NodeKind.OMITTED:
            continue
        if key not in live:
            binder.note_unexpected(child)
            continue
        value = live[key]
        if isinstance(value, torch.Tensor) and value.is_meta and not _is_lazy(value):
            # load_state_dict would only warn, and copy into nothing.
            binder.into(child, value, join(path, key))
        elif (held := held_of(value)) is not None:
            bound = binder.into(child, value, join(path, key))
            # In place whatever hooks there are: those of FSDP2 do nothing but that. What FSDP1
            # gives is a copy.
            if any(piece.value.untyped_storage().data_ptr() not in memory for piece in held.pieces):
                handed[key] = bound
            else:
                placed.append(bound)
        elif not isinstance(value, torch.Tensor) or child.row < 0:
            handed[key] = binder.fresh(child)
        elif key in named and not _is_lazy(value) and not torch_memory.is_writable(value):
            placed.append(binder.problem(join(path, key), torch_memory.READ_ONLY))
        elif plain and not _is_lazy(value) and value.data_ptr() in own:
            shares = not value.is_contiguous() and shares_elements(value.shape, value.stride())
            into = into_expanded if shares else Binder.into
            placed.append(into(binder, child, value, join(path, key)))
        else:
            if key in named:
                _check_fit(binder, child, value, join(path, key))
            handed[key] = binder.fresh(child)

    def load() -> torch.nn.Module:
        for thunk in placed:
            thunk()
        if handed:
            given = OrderedDict((key, thunk()) for key, thunk in handed.items())
            # What the module's classes say of the version of their state: that of their own.
            given._metadata = getattr(live, "_metadata", None)  # type: ignore[attr-defined]
            module.load_state_dict(given, strict=False)
        return module

    return load


def buffers_of(module: torch.nn.Module) -> set[str]:
    """Return the names of a module's buffers.

    Batch statistics are what each rank has seen. DistributedDataParallel gives all ranks those of
    rank 0 before each step, and those of several ranks mixed have never been anywhere.
    """
    return {name for name, _ in module.named_buffers(remove_duplicate=False)}


def _named_alike(saved: dict[Any, Node], live: Mapping[str, Any]) -> dict[Any, Node]:
    """Return what was saved by the names of the module that stands, compiled, wrapped or not."""
    if saved.keys() == live.keys():
        return saved
    texts = [key for key in saved if isinstance(key, str)]
    of_saved, of_live = _plain_names(texts, live), _plain_names(live, texts)
    names = {plain: key for key, plain in of_live.items()}
    if len(names) < len(live):
        return saved
    found = {names.get(of_saved.get(key, key), key): child for key, child in saved.items()}
    return found if len(found) == len(saved) else saved


def _plain_names(keys: Iterable[str], others: Iterable[str]) -> dict[str, str]:
    """Return the names of a state without what compiling and wrapping a whole module put there.

    What all names begin with may be a module of that name. It is taken for a wrapper's only where
    the other state has it nowhere.
    """
    plain = {key: key.replace(_COMPILED, "") for key in keys}
    is_wrapped = all(name.startswith(_WRAPPED) for name in plain.values())
    if is_wrapped and not any(o.replace(_COMPILED, "").startswith(_WRAPPED) for o in others):
        return {key: name.removeprefix(_WRAPPED) for key, name in plain.items()}
    return plain


def _copies_only(module: torch.nn.Module) -> bool:
    """Say whether load_state_dict of this module only copies, as far as can be seen."""
    base = torch.nn.Module
    return not any(
        m._load_state_dict_pre_hooks
        or m._load_state_dict_post_hooks
        or m._state_dict_hooks
        or type(m).load_state_dict is not base.load_state_dict
        or (
            type(m)._load_from_state_dict is not base._load_from_state_dict
            and not type(m).__module__.startswith("torch.nn.modules.")
        )
        for m in module.modules()
    )


def _is_lazy(value: torch.Tensor) -> bool:
    return isinstance(value, torch.nn.parameter.UninitializedTensorMixin)


def _check_fit(binder: Binder, child: Node, value: torch.Tensor, path: str) -> None:
    row = binder.spec(child.row)
    if _is_lazy(value):
        return
    dtype = str(value.dtype).removeprefix("torch.")
    if binder.convert and row.shape == tuple(value.shape) and row.dtype != dtype:
        # load_state_dict converts by itself.
        binder.converted.append(f"{path!r}: {row.dtype} to {dtype}")
        return
    if (row.dtype, row.shape) != (dtype, tuple(value.shape)):
        wanted = f"{dtype}{list(value.shape)}"
        binder.problem(path, f"saved as {row.dtype}{list(row.shape)}, wanted {wanted}")
