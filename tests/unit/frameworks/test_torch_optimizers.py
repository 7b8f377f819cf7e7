"""Optimizers, schedulers and scalers: training goes on as if it had never stopped."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from state_checks import assert_same

import holdfast
from absent import required
from holdfast.errors import Mismatch

torch = required("torch")
nn = torch.nn
optim = torch.optim
lr_scheduler = torch.optim.lr_scheduler


def train(model: Any, optimizer: Any, steps: int, *more: Any) -> None:
    for _ in range(steps):

        def loss() -> Any:
            optimizer.zero_grad()
            value = (model(torch.randn(4, 3, dtype=next(model.parameters()).dtype)) ** 2).sum()
            value.backward()
            return value

        optimizer.step(loss)
        for scheduler in more:
            scheduler.step()


def go_on(run: tuple[Any, ...], steps: int = 3) -> None:
    torch.manual_seed(11)
    train(*run[:2], steps, *run[2:])


def assert_same_end(found: tuple[Any, ...], expected: tuple[Any, ...]) -> None:
    assert_same(list(found[0].parameters()), list(expected[0].parameters()))
    for a, b in zip(found[1:], expected[1:], strict=True):
        assert repr(a.state_dict()) == repr(b.state_dict())


def model(seed: int = 0) -> Any:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))


OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda p: optim.SGD(p, 0.1),
    "momentum": lambda p: optim.SGD(p, 0.1, momentum=0.9, nesterov=True),
    "adam": lambda p: optim.Adam(p, 0.01),
    "amsgrad": lambda p: optim.Adam(p, 0.01, amsgrad=True),
    "adamw": lambda p: optim.AdamW(p, 0.01, foreach=True),
    "capturable": lambda p: optim.Adam(p, torch.tensor(0.01), foreach=False),
    "adagrad": lambda p: optim.Adagrad(p, 0.1),
    "adadelta": lambda p: optim.Adadelta(p),
    "rmsprop": lambda p: optim.RMSprop(p, 0.01, momentum=0.5, centered=True),
    "rprop": lambda p: optim.Rprop(p),
    "radam": lambda p: optim.RAdam(p),
    "nadam": lambda p: optim.NAdam(p),
    "asgd": lambda p: optim.ASGD(p),
    "lbfgs": lambda p: optim.LBFGS(p, 0.1, max_iter=3, history_size=3),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_training_goes_on_as_if_it_had_not_stopped(store_path: Path, name: str) -> None:
    def make(seed: int, steps: int) -> tuple[Any, Any]:
        net = model(seed)
        optimizer = OPTIMIZERS[name](net.parameters())
        train(net, optimizer, steps)
        return net, optimizer

    def state(pair: tuple[Any, Any]) -> dict[str, Any]:
        return {"model": pair[0], "optimizer": pair[1]}

    never_stopped = make(0, steps=3)
    holdfast.save(store_path, state(never_stopped), run="r", step=3)
    fresh, stepped = make(1, steps=0), make(2, steps=2)
    holdfast.load(store_path, "r@3", into=state(fresh))
    holdfast.load(store_path, "r@3", into=state(stepped))
    go_on(never_stopped)
    for other in (fresh, stepped):
        go_on(other)
        assert_same_end(other, never_stopped)


def test_the_settings_of_the_one_that_stands_do_not_matter(store_path: Path) -> None:
    first = model()
    optimizer = optim.AdamW(first.parameters(), 0.01)
    train(first, optimizer, 3)
    holdfast.save(store_path, {"model": first, "optimizer": optimizer}, run="r", step=3)
    second = model(1)
    second_optimizer = optim.AdamW(second.parameters(), 0.5, weight_decay=0.9, amsgrad=False)
    holdfast.load(store_path, "r@3", into={"model": second, "optimizer": second_optimizer})
    go_on((first, optimizer))
    go_on((second, second_optimizer))
    assert_same_end((second, second_optimizer), (first, optimizer))


def test_the_moments_of_a_stepped_optimizer_are_filled_where_they_lie(store_path: Path) -> None:
    first = model()
    optimizer = optim.Adam(first.parameters())
    train(first, optimizer, 2)
    holdfast.save(store_path, {"o": optimizer}, run="r", step=1)
    saved = [t.clone() for s in optimizer.state.values() for t in s.values()]
    train(first, optimizer, 2)
    pointers = [t.data_ptr() for s in optimizer.state.values() for t in s.values()]
    holdfast.load(store_path, "r@1", into={"o": optimizer})
    found = [t for s in optimizer.state.values() for t in s.values()]
    assert_same(found, saved)
    assert [t.data_ptr() for t in found] == pointers


def test_an_optimizer_that_had_not_stepped_forgets_its_steps(store_path: Path) -> None:
    first = model()
    optimizer = optim.Adam(first.parameters(), 0.5)
    holdfast.save(store_path, {"o": optimizer}, run="r", step=0)
    train(first, optimizer, 2)
    holdfast.load(store_path, "r@0", into={"o": optimizer})
    assert len(optimizer.state) == 0


def test_groups_come_back_with_all_their_settings(store_path: Path) -> None:
    def make(lr: float) -> Any:
        net = model()
        groups = [
            {"params": net[0].parameters(), "lr": lr, "name": "body"},
            {"params": net[2].parameters(), "weight_decay": lr, "betas": (0.5, lr)},
        ]
        return net, optim.AdamW(groups, lr=lr)

    net, optimizer = make(0.25)
    train(net, optimizer, 1)
    holdfast.save(store_path, {"o": optimizer}, run="r", step=1)
    _, other = make(0.75)
    holdfast.load(store_path, "r@1", into={"o": other})
    assert_same(other.state_dict()["param_groups"], optimizer.state_dict()["param_groups"])
    assert other.param_groups[1]["betas"] == (0.5, 0.25)


def test_moments_in_higher_precision_are_not_cast(store_path: Path) -> None:
    """Adam keeping float32 moments for bfloat16 parameters: PyTorch itself would cast them."""

    def make() -> Any:
        net = nn.Linear(3, 3).bfloat16()
        optimizer = optim.Adam(net.parameters())
        for p in net.parameters():
            optimizer.state[p] = {
                "step": torch.tensor(5.0),
                "exp_avg": torch.rand(p.shape),
                "exp_avg_sq": torch.rand(p.shape),
                "master": p.detach().float() + 1e-4,
            }
        return optimizer

    optimizer = make()
    holdfast.save(store_path, {"o": optimizer}, run="r", step=1)
    fresh = optim.Adam(nn.Linear(3, 3).bfloat16().parameters())
    for other in (make(), fresh):
        holdfast.load(store_path, "r@1", into={"o": other})
        found = [t for s in other.state.values() for t in s.values()]
        assert {t.dtype for t in found} == {torch.float32}
        assert_same(found, [t for s in optimizer.state.values() for t in s.values()])


def test_groups_of_other_sizes_do_not_fit(store_path: Path) -> None:
    first = model()
    optimizer = optim.Adam(first.parameters())
    train(first, optimizer, 1)
    holdfast.save(store_path, {"m": first, "o": optimizer}, run="r", step=1)
    other = model(1)
    before = [p.detach().clone() for p in other.parameters()]
    with pytest.raises(Mismatch, match=r"groups of \[4\] parameters, wanted \[2\]"):
        target = {"m": other, "o": optim.Adam(other[0].parameters())}
        holdfast.load(store_path, "r@1", into=target)
    assert_same([p.detach() for p in other.parameters()], before)


def test_moments_of_other_shapes_do_not_fit(store_path: Path) -> None:
    def make(width: int) -> Any:
        net = nn.Linear(3, width)
        optimizer = optim.Adam(net.parameters())
        train(net, optimizer, 1)
        return optimizer

    holdfast.save(store_path, {"o": make(4)}, run="r", step=1)
    other = make(5)
    with pytest.raises(Mismatch, match="o/state/0/exp_avg"):
        holdfast.load(store_path, "r@1", into={"o": other})
    go = [s["exp_avg"].shape for s in other.state.values()]
    assert go == [(5, 3), (5,)]


def named_pair(*order: str) -> tuple[Any, Any]:
    net = nn.ModuleDict({name: nn.Linear(3, 3, bias=False) for name in ("a", "b")})
    named = [(name, net[name].weight) for name in order]
    return net, optim.SGD(named, lr=0.1, momentum=0.9)


def test_moments_do_not_go_to_parameters_of_other_names(store_path: Path) -> None:
    net, optimizer = named_pair("a", "b")
    (net["a"].weight.sum() + 2 * net["b"].weight.sum()).backward()
    optimizer.step()
    holdfast.save(store_path, {"m": net, "o": optimizer}, run="r", step=1)
    turned, other = named_pair("b", "a")
    before = copy.deepcopy(turned.state_dict())
    with pytest.raises(Mismatch, match="'b' is parameter 0 here, and was 1 when it was saved"):
        holdfast.load(store_path, "r@1", into={"m": turned, "o": other})
    assert_same(turned.state_dict(), before)
    # Other names alone tell nothing, and a hook may put names in order, as PyTorch's guide does.
    renamed = optim.SGD([("c", net["a"].weight), ("d", net["b"].weight)], lr=0.1, momentum=0.9)
    holdfast.load(store_path, "r@1", into={"o": renamed}, only="o/**")

    def by_name(optimizer: Any, state: dict[str, Any]) -> dict[str, Any]:
        (group,) = state["param_groups"]
        moments = dict(zip(group["param_names"], state["state"].values(), strict=True))
        names = optimizer.param_groups[0]["param_names"]
        order = {index: moments[name] for index, name in enumerate(names)}
        return {"state": order, "param_groups": [{**group, "param_names": names}]}

    other.register_load_state_dict_pre_hook(by_name)
    holdfast.load(store_path, "r@1", into={"m": turned, "o": other})
    found = other.state[turned["b"].weight]["momentum_buffer"]
    assert found.tolist() == optimizer.state[net["b"].weight]["momentum_buffer"].tolist()


# --- a part of an optimizer ---


def test_the_learning_rate_alone(store_path: Path) -> None:
    net = model()
    optimizer = optim.Adam(net.parameters(), 0.5)
    train(net, optimizer, 2)
    holdfast.save(store_path, {"o": optimizer}, run="r", step=1)
    other = optim.Adam(net.parameters(), 0.1, betas=(0.5, 0.6))
    train(net, other, 1)
    moments = [t.clone() for s in other.state.values() for t in s.values()]
    holdfast.load(store_path, "r@1", into={"o": other}, only="o/param_groups/0/lr")
    assert other.param_groups[0]["lr"] == 0.5
    assert other.param_groups[0]["betas"] == (0.5, 0.6)
    assert_same([t for s in other.state.values() for t in s.values()], moments)
    train(net, other, 1)


def test_what_is_skipped_of_an_optimizer_stays_as_it_is(store_path: Path) -> None:
    net = model()
    optimizer = optim.Adam(net.parameters(), 0.5)
    train(net, optimizer, 2)
    holdfast.save(store_path, {"o": optimizer}, run="r", step=1)
    train(net, optimizer, 1)
    moments = [t.clone() for s in optimizer.state.values() for t in s.values()]
    optimizer.param_groups[0]["lr"] = 0.1
    holdfast.load(store_path, "r@1", into={"o": optimizer}, skip="o/state/**")
    assert optimizer.param_groups[0]["lr"] == 0.5
    assert_same([t for s in optimizer.state.values() for t in s.values()], moments)


def test_an_optimizer_saved_without_its_moments(store_path: Path) -> None:
    net = model()
    optimizer = optim.Adam(net.parameters(), 0.5)
    train(net, optimizer, 2)
    holdfast.save(store_path, {"o": optimizer}, run="r", step=1, skip="o/state/**")
    other = optim.Adam(net.parameters(), 0.1)
    holdfast.load(store_path, "r@1", into={"o": other})
    assert other.param_groups[0]["lr"] == 0.5
    train(net, other, 1)


# --- schedulers and scalers ---


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "step": lambda o: lr_scheduler.StepLR(o, 2),
    "milestones": lambda o: lr_scheduler.MultiStepLR(o, [2, 4, 4]),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 7),
    "restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 2, 2),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, 20),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 0.01, 0.1, 3, cycle_momentum=False),
    "polynomial": lambda o: lr_scheduler.PolynomialLR(o, 9),
    "exponential": lambda o: lr_scheduler.ExponentialLR(o, 0.9),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, total_iters=2), lr_scheduler.ExponentialLR(o, 0.9)], [2]
    ),
    "chained": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.LinearLR(o, total_iters=2), lr_scheduler.ExponentialLR(o, 0.9)]
    ),
}


@pytest.mark.parametrize("name", SCHEDULERS)
def test_schedulers_go_on_where_they_were(store_path: Path, name: str) -> None:
    def make(seed: int) -> tuple[Any, Any, Any]:
        net = model(seed)
        optimizer = optim.SGD(net.parameters(), 0.05)
        return net, optimizer, SCHEDULERS[name](optimizer)

    first, second = make(0), make(1)
    train(*first[:2], 3, first[2])
    names = ("model", "optimizer", "scheduler")
    holdfast.save(store_path, dict(zip(names, first, strict=True)), run="r", step=3)
    holdfast.load(store_path, "r@3", into=dict(zip(names, second, strict=True)))
    assert second[2].get_last_lr() == first[2].get_last_lr()
    go_on(first, steps=6)
    go_on(second, steps=6)
    assert_same_end(second, first)


def test_a_plateau_scheduler(store_path: Path) -> None:
    optimizer = optim.SGD(model().parameters(), 0.1)
    scheduler = lr_scheduler.ReduceLROnPlateau(optimizer, patience=1)
    for loss in (1.0, 0.5, 0.6, float("nan"), 0.7):
        scheduler.step(loss)
    holdfast.save(store_path, {"s": scheduler, "o": optimizer}, run="r", step=1)
    other_optimizer = optim.SGD(model().parameters(), 0.1)
    other = lr_scheduler.ReduceLROnPlateau(other_optimizer, patience=9)
    holdfast.load(store_path, "r@1", into={"s": other, "o": other_optimizer})
    assert other.state_dict() == scheduler.state_dict()
    assert other_optimizer.param_groups[0]["lr"] == optimizer.param_groups[0]["lr"]


def test_a_gradient_scaler(store_path: Path) -> None:
    def make(scale: float) -> tuple[Any, Any, Any]:
        net = model()
        return net, optim.SGD(net.parameters(), 0.1), torch.amp.GradScaler("cpu", scale)

    net, optimizer, scaler = make(512.0)
    for _ in range(2):
        optimizer.zero_grad()
        scaler.scale(net(torch.full((1, 3), float("inf"))).sum()).backward()
        scaler.step(optimizer)
        scaler.update()
    assert scaler.get_scale() == 128.0
    holdfast.save(store_path, {"scaler": scaler}, run="r", step=1)
    other = make(2.0)[2]
    holdfast.load(store_path, "r@1", into={"scaler": other})
    assert other.get_scale() == 128.0
    assert other.state_dict() == scaler.state_dict()


def test_a_scaler_that_is_off_has_no_state(store_path: Path) -> None:
    scaler = torch.amp.GradScaler("cpu", enabled=False)
    holdfast.save(store_path, {"a": 1, "scaler": scaler}, run="r", step=1)
    holdfast.load(store_path, "r@1", into={"a": 0, "scaler": scaler})


def trained(kind: Any, **options: Any) -> tuple[torch.nn.Module, Any]:
    torch.manual_seed(0)
    module = torch.nn.Linear(3, 2)
    optimizer = kind(module.parameters(), lr=0.1, **options)
    module(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    return module, optimizer


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW, torch.optim.Adagrad])
def test_an_optimizer_of_another_class_is_told_and_left_alone(tmp_path: Path, kind: Any) -> None:
    module, optimizer = trained(torch.optim.Adam)
    holdfast.save(tmp_path, {"m": module, "o": optimizer}, run="r", step=1, rng=False)
    other_module, other = trained(kind, weight_decay=0.25)
    before = copy.deepcopy(other.state_dict())
    into = {"m": other_module, "o": other}
    with pytest.raises(Mismatch, match=f"'o': saved from a Adam, wanted a {kind.__name__}"):
        holdfast.load(tmp_path, "r@1", into=into)
    told = holdfast.load(tmp_path, "r@1", into=into, strict=False)
    assert told.differing == (f"'o': saved from a Adam, wanted a {kind.__name__}",)
    assert torch.equal(other_module.weight, module.weight)
    assert str(other.state_dict()) == str(before)
    other.step()
