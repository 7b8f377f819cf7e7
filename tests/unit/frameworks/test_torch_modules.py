"""Modules restored in place, and through their own load_state_dict where that does more."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_checks import assert_same

import holdfast
from absent import required
from holdfast.errors import Mismatch, RestoreIncomplete

torch = required("torch")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore:ComplexHalf")
nn = torch.nn


def save(path: Path, **state: Any) -> holdfast.CheckpointInfo:
    info: holdfast.CheckpointInfo = holdfast.save(path, state, run="r", step=1, rng=False)
    return info


def load(path: Path, **state: Any) -> holdfast.Restored:
    result: holdfast.Restored = holdfast.load(path, "r@1", into=state)
    return result


def small(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(), nn.Linear(8, 2))


def trained(seed: int = 0) -> Any:
    model = small(seed)
    model(torch.randn(16, 4)).sum().backward()
    return model


def assert_equal(a: Any, b: Any) -> None:
    assert_same(dict(a.state_dict()), dict(b.state_dict()))


def test_a_module_is_filled_where_it_lies(store_path: Path) -> None:
    model, other = trained(0), small(1)
    save(store_path, model=model)
    pointers = {name: t.data_ptr() for name, t in other.state_dict().items()}
    parameters = list(other.parameters())
    result = load(store_path, model=other)
    assert (result.missing, result.unexpected) == ((), ())
    assert_equal(other, model)
    assert {name: t.data_ptr() for name, t in other.state_dict().items()} == pointers
    assert all(a is b for a, b in zip(other.parameters(), parameters, strict=True))
    assert all(p.requires_grad for p in other.parameters())


def test_a_module_as_a_new_tree_is_its_state_dict(store_path: Path) -> None:
    model = trained()
    save(store_path, model=model)
    found = holdfast.load(store_path, "r@1")["model"]
    assert list(found) == list(model.state_dict())
    other = small(1)
    other.load_state_dict(found)
    assert_equal(other, model)


def test_a_state_dict_can_be_saved_by_itself(store_path: Path) -> None:
    model, other = trained(), small(1)
    holdfast.save(store_path, model.state_dict(), run="r", step=1, rng=False)
    other.load_state_dict(holdfast.load(store_path, "r@1"))
    assert_equal(other, model)


def test_modules_inside_containers(store_path: Path) -> None:
    models = [trained(i) for i in range(3)]
    save(store_path, models=models, named={"a": models[0]})
    others = [small(7 + i) for i in range(3)]
    load(store_path, models=others, named={"a": others[0]})
    for model, other in zip(models, others, strict=True):
        assert_equal(other, model)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.head = nn.Linear(16, 50, bias=False)
        self.head.weight = self.embed.weight


class Untied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(50, 16)
        self.head = nn.Linear(16, 50, bias=False)


def test_tied_weights_are_stored_once_and_stay_tied(store_path: Path) -> None:
    model, other = Tied(), Tied()
    info = save(store_path, model=model)
    assert info.state_bytes == 50 * 16 * 4
    load(store_path, model=other)
    assert_equal(other, model)
    assert other.head.weight is other.embed.weight


def test_tied_weights_fill_a_module_that_has_them_apart(store_path: Path) -> None:
    model, other = Tied(), Untied()
    save(store_path, model=model)
    load(store_path, model=other)
    assert_equal(other, model)
    assert other.head.weight.data_ptr() != other.embed.weight.data_ptr()


def test_weights_that_were_apart_do_not_fill_tied_ones(store_path: Path) -> None:
    save(store_path, model=Untied())
    model = Tied()
    before = model.embed.weight.detach().clone()
    with pytest.raises(Mismatch, match="shares its memory"):
        load(store_path, model=model)
    assert torch.equal(model.embed.weight, before)


def test_weights_that_were_apart_and_equal_fill_tied_ones(store_path: Path) -> None:
    """As other tools' files have them."""
    apart = Untied()
    with torch.no_grad():
        apart.head.weight.copy_(apart.embed.weight)
    save(store_path, model=apart)
    model = Tied()
    load(store_path, model=model)
    assert_equal(model, apart)
    assert model.head.weight is model.embed.weight


def test_of_tied_weights_one_is_enough(store_path: Path) -> None:
    saved = Tied()
    weights = {name: t for name, t in saved.state_dict().items() if not name.startswith("head.w")}
    save(store_path, model=weights)
    model = Tied()
    result = load(store_path, model=model)
    assert result.missing == ()
    assert_equal(model, saved)


# --- what does not fit ---


def test_shapes_that_differ_are_named_and_nothing_changes(store_path: Path) -> None:
    save(store_path, a=trained(), model=nn.Linear(4, 8), z=trained(1))
    target = {"a": small(5), "model": nn.Linear(5, 8), "z": small(6)}
    before = copy.deepcopy(target)
    with pytest.raises(Mismatch) as caught:
        load(store_path, **target)
    assert caught.value.problems == (
        "'model/weight': saved as float32[8, 4], wanted float32[8, 5]",
    )
    for name in target:
        assert_equal(target[name], before[name])


def test_dtypes_that_differ_are_named(store_path: Path) -> None:
    save(store_path, model=nn.Linear(2, 2))
    with pytest.raises(Mismatch, match=r"saved as float32\[2, 2\], wanted bfloat16\[2, 2\]"):
        load(store_path, model=nn.Linear(2, 2).bfloat16())


def test_keys_that_differ_are_named(store_path: Path) -> None:
    save(store_path, model=nn.ModuleDict({"a": nn.Linear(2, 2), "old": nn.Linear(2, 1)}))
    other = nn.ModuleDict({"a": nn.Linear(2, 2), "new": nn.Linear(2, 1, bias=False)})
    before = copy.deepcopy(other)
    with pytest.raises(Mismatch) as caught:
        load(store_path, model=other)
    text = str(caught.value)
    for path in ("model/new.weight", "model/old.weight", "model/old.bias"):
        assert repr(path) in text
    assert_equal(other, before)
    result = holdfast.load(store_path, "r@1", into={"model": other}, strict=False)
    assert result.missing == ("model/new.weight",)
    assert set(result.unexpected) == {"model/old.weight", "model/old.bias"}
    assert torch.equal(other["new"].weight, before["new"].weight)
    assert not torch.equal(other["a"].weight, before["a"].weight)


def test_some_of_a_module(store_path: Path) -> None:
    model, other = trained(), small(1)
    before = copy.deepcopy(other)
    save(store_path, model=model)
    result = holdfast.load(store_path, "r@1", into={"model": other}, only="model/3.*")
    assert (result.missing, result.unexpected) == ((), ())
    assert torch.equal(other[3].weight, model[3].weight)
    assert torch.equal(other[0].weight, before[0].weight)


# --- modules whose load_state_dict does more than copy ---


class Renaming(nn.Module):
    """An old name is still understood."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3))
        self.name = name
        self._register_load_state_dict_pre_hook(self._rename)
        self.loaded = 0

    def _rename(self, state: dict[str, Any], prefix: str, *rest: Any) -> None:
        self.loaded += 1


class Scaling(nn.Module):
    """What is stored is not what is held."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(3))

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[prefix + "weight"] = self.weight.detach() * 2

    def _load_from_state_dict(self, state: Any, prefix: str, *rest: Any) -> None:
        with torch.no_grad():
            self.weight.copy_(state[prefix + "weight"] / 2)


class Overriding(nn.Linear):
    """load_state_dict itself does more."""

    seen: tuple[str, ...] = ()

    def load_state_dict(self, state: Any, *args: Any, **more: Any) -> Any:
        self.seen = tuple(state)
        return super().load_state_dict(state, *args, **more)


def test_hooks_are_run(store_path: Path) -> None:
    model, other = nn.Sequential(Renaming("a")), nn.Sequential(Renaming("b"))
    save(store_path, model=model)
    load(store_path, model=other)
    assert other[0].loaded == 1
    assert_equal(other, model)


def test_post_hooks_are_run(store_path: Path) -> None:
    model, other = nn.Linear(2, 2), nn.Linear(2, 2)
    seen = []
    other.register_load_state_dict_post_hook(lambda module, keys: seen.append(1))
    save(store_path, model=model)
    load(store_path, model=other)
    assert seen == [1]
    assert_equal(other, model)


def test_a_module_that_stores_something_else_than_it_holds(store_path: Path) -> None:
    model, other = (
        nn.Sequential(nn.Linear(3, 3), Scaling()),
        nn.Sequential(nn.Linear(3, 3), Scaling()),
    )
    save(store_path, model=model)
    load(store_path, model=other)
    assert torch.equal(other[1].weight, model[1].weight)
    assert_equal(other, model)


def test_an_override_is_called(store_path: Path) -> None:
    model, other = Overriding(2, 2), Overriding(2, 2)
    save(store_path, model=model)
    load(store_path, model=other)
    assert other.seen == ("weight", "bias")
    assert_equal(other, model)


@pytest.mark.parametrize("hooked", [False, True])
def test_a_misfit_is_settled_before_hooks_run(store_path: Path, hooked: bool) -> None:
    save(store_path, a=nn.Linear(2, 2), model=nn.Linear(2, 2))
    other = nn.Linear(2, 2).double()
    if hooked:
        other.register_load_state_dict_post_hook(lambda module, keys: None)
    standing = nn.Linear(2, 2)
    before = copy.deepcopy(standing)
    with pytest.raises(Mismatch, match=r"'model/weight': saved as float32\[2, 2\], wanted float64"):
        load(store_path, a=standing, model=other)
    assert_equal(standing, before)


class Extra(nn.Module):
    def __init__(self, extra: Any) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(2))
        self.extra = extra

    def get_extra_state(self) -> Any:
        return self.extra

    def set_extra_state(self, state: Any) -> None:
        self.extra = state


@pytest.mark.parametrize(
    ("saved", "standing"),
    [
        ({"a": [1, (2, "x")], "t": torch.ones(3)}, {}),
        (5, None),
        (torch.arange(3), torch.arange(3) * 0),
        (torch.arange(7, dtype=torch.uint8), torch.arange(3, dtype=torch.uint8)),
        (torch.arange(7, dtype=torch.uint8), None),
    ],
    ids=["dict", "number", "tensor", "tensor of another size", "tensor for nothing"],
)
def test_extra_state(store_path: Path, saved: Any, standing: Any) -> None:
    model, other = Extra(saved), Extra(standing)
    save(store_path, model=nn.Sequential(model))
    load(store_path, model=nn.Sequential(other))
    assert_same(other.extra, saved)
    assert torch.equal(other.weight, model.weight)


def test_parametrized_modules(store_path: Path) -> None:
    def make() -> Any:
        return nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(3, 3)),
            nn.utils.parametrizations.orthogonal(nn.Linear(3, 3)),
            nn.utils.parametrizations.spectral_norm(nn.Linear(3, 3)),
        ).eval()

    model, other = make(), make()
    save(store_path, model=model)
    load(store_path, model=other)
    assert_equal(other, model)
    x = torch.randn(2, 3)
    assert torch.equal(other(x), model(x))


def test_a_compiled_module(store_path: Path) -> None:
    model, other = torch.compile(nn.Linear(3, 3)), torch.compile(nn.Linear(3, 3))
    save(store_path, model=model)
    load(store_path, model=other)
    assert torch.equal(other.weight, model.weight)
    assert [leaf.path for leaf in holdfast.Store(store_path).leaves("r@1")] == [
        "model/_orig_mod.weight",
        "model/_orig_mod.bias",
    ]


def test_a_compiled_module_and_a_plain_one_take_each_others_state(store_path: Path) -> None:
    def make(compiled: bool) -> Any:
        inner = nn.Linear(3, 3)
        return nn.Sequential(torch.compile(inner) if compiled else inner, nn.Linear(3, 1))

    for compiled in (True, False):
        model, other = make(compiled), make(not compiled)
        save(store_path, model=model)
        load(store_path, model=other)
        assert torch.equal(other[0].weight, model[0].weight)
    save(store_path, model=torch.compile(model))
    load(store_path, model=other)
    assert torch.equal(other[1].weight, model[1].weight)


def test_a_wrapped_module_and_a_plain_one_take_each_others_state(store_path: Path) -> None:
    # DistributedDataParallel names its state alike.
    def make(wrapped: bool, compiled: bool = False) -> Any:
        inner = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 1))
        inner = torch.compile(inner) if compiled else inner
        return nn.DataParallel(inner) if wrapped else inner

    for wrapped in (True, False):
        for compiled in (True, False):
            model, other = make(wrapped, compiled), make(not wrapped)
            save(store_path, model=model)
            load(store_path, model=other)
            assert_same(list(other.parameters()), list(model.parameters()))


def test_a_part_that_is_called_module_is_no_wrapper(store_path: Path) -> None:
    def make(**parts: nn.Module) -> nn.Module:
        model = nn.Module()
        for name, part in parts.items():
            model.add_module(name, part)
        return model

    save(store_path, model=make(module=nn.Linear(3, 3)))
    with pytest.raises(Mismatch, match=r"'model/other.weight': wanted"):
        load(store_path, model=make(module=nn.Linear(3, 3), other=nn.Linear(3, 3)))
    with pytest.raises(Mismatch, match=r"'model/other.weight': wanted"):
        load(store_path, model=make(other=nn.Linear(3, 3)))


def test_lazy_modules_are_filled_or_told_of(store_path: Path) -> None:
    model = nn.LazyLinear(3)
    model(torch.ones(1, 2))
    save(store_path, model=model)
    other = nn.LazyLinear(3)
    try:
        load(store_path, model=other)
    except holdfast.errors.HoldfastError as error:
        assert "model/weight" in str(error)
    else:
        assert_equal(other, model)


def test_other_modules_with_state_of_their_own(store_path: Path) -> None:
    def make(seed: int) -> Any:
        torch.manual_seed(seed)
        layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        return nn.ModuleDict(
            {
                "encoder": nn.TransformerEncoder(layer, 2),
                "lstm": nn.LSTM(4, 4, 2),
                "norm": nn.InstanceNorm1d(3, affine=True, track_running_stats=True),
                "embed": nn.Embedding(5, 3, padding_idx=0),
                "average": torch.optim.swa_utils.AveragedModel(nn.Linear(2, 2)),
            }
        )

    model, other = make(0), make(1)
    save(store_path, model=model)
    load(store_path, model=other)
    assert_equal(other, model)


def test_buffers_that_are_not_persistent_are_left_alone(store_path: Path) -> None:
    def make(value: float) -> Any:
        module = nn.Linear(2, 2)
        module.register_buffer("cache", torch.full((3,), value), persistent=False)
        return module

    model, other = make(1.0), make(2.0)
    save(store_path, model=model)
    load(store_path, model=other)
    assert other.cache.tolist() == [2.0] * 3
    assert_equal(other, model)


def test_a_module_that_refuses_is_told_of(store_path: Path) -> None:
    class Refusing(nn.Linear):
        def load_state_dict(self, *args: Any, **more: Any) -> Any:
            raise RuntimeError("not today")

    save(store_path, a=nn.Linear(1, 1), model=nn.Linear(2, 2))
    with pytest.raises(RestoreIncomplete, match=r"not today.*do not go on"):
        load(store_path, a=nn.Linear(1, 1), model=Refusing(2, 2))


def test_a_module_without_memory_is_refused(store_path: Path) -> None:
    holdfast.save(store_path, {"m": torch.nn.Linear(4, 4), "n": np.ones(3)}, run="r", step=0)
    with torch.device("meta"):
        module = torch.nn.Linear(4, 4)
    other = np.zeros(3)
    for target in (module, {"weight": module.weight, "bias": module.bias}):
        for strict in (True, False):
            with pytest.raises(Mismatch, match=r"'m/weight'.*meta device") as caught:
                holdfast.load(store_path, "r@0", into={"m": target, "n": other}, strict=strict)
            assert "Nothing was saved" not in str(caught.value)
    assert not other.any()


def test_memory_that_numpy_and_pytorch_look_at_goes_back_to_itself(store_path: Path) -> None:
    array = np.arange(5.0)
    state = {"n": array, "t": torch.from_numpy(array)}
    holdfast.save(store_path, state, run="r", step=0)
    array[:] = 0
    holdfast.load(store_path, "r@0", into=state)
    assert array.tolist() == [0, 1, 2, 3, 4]


def test_memory_that_was_saved_with_other_values_is_told(store_path: Path) -> None:
    holdfast.save(store_path, {"n": np.zeros(5), "t": torch.ones(5).double()}, run="r", step=0)
    array = np.arange(5.0)
    with pytest.raises(RestoreIncomplete, match="share memory"):
        holdfast.load(store_path, "r@0", into={"n": array, "t": torch.from_numpy(array)})


def expanded(value: float) -> Any:
    module = nn.Module()
    module.weight = nn.Parameter(torch.full((1,), value).expand(6))
    module.register_buffer("mask", torch.full((2, 1), value).expand(2, 3))
    return module


def test_expanded_tensors_of_a_module_take_what_was_saved(store_path: Path) -> None:
    save(store_path, model=expanded(7.0))
    other = expanded(1.0)
    weight = other.weight
    load(store_path, model=other)
    assert other.weight is weight and weight.stride() == (0,)
    assert weight.tolist() == [7.0] * 6
    assert other.mask.tolist() == [[7.0] * 3] * 2


def test_many_values_do_not_fit_where_one_stands_for_all(store_path: Path) -> None:
    model = nn.Module()
    model.register_buffer("mask", torch.arange(6.0).view(2, 3))
    save(store_path, model=model)
    other = nn.Module()
    other.register_buffer("mask", torch.zeros(2, 1).expand(2, 3))
    with pytest.raises(RestoreIncomplete, match=r"'model/mask' .*an expanded tensor"):
        load(store_path, model=other)
    assert other.mask.tolist() == [[0.0] * 3] * 2


def test_elements_that_overlap_otherwise_are_refused(store_path: Path) -> None:
    model, other = nn.Module(), nn.Module()
    model.register_buffer("windows", torch.arange(6.0).view(3, 2))
    other.register_buffer("windows", torch.zeros(4).unfold(0, 2, 1))
    save(store_path, model=model)
    with pytest.raises(Mismatch, match="share memory"):
        load(store_path, model=other)
