from __future__ import annotations

import json
import subprocess
import sys
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from absent import required
from holdfast.data import Sampler
from holdfast.errors import Mismatch, UsageError


def through_text(state):
    """A state as it comes back from a store: plain values only."""
    return json.loads(json.dumps(state))


def consume(sampler, deliveries):
    """Take deliveries across epochs, as a training script would."""
    taken = []
    while len(taken) < deliveries:
        for delivery in sampler:
            taken.append((sampler.epoch, delivery))
            if len(taken) == deliveries:
                break
    return taken


settings = st.fixed_dictionaries(
    {
        "length": st.integers(1, 25),
        "batch_size": st.one_of(st.none(), st.integers(1, 6)),
        "shuffle": st.booleans(),
        "seed": st.integers(0, 2**64 - 1),
        "world_size": st.integers(1, 3),
    }
)


@given(settings, st.data())
def test_killed_anywhere_goes_on_exactly(given_settings, data):
    length = given_settings.pop("length")
    rank = data.draw(st.integers(0, given_settings["world_size"] - 1))

    def make():
        return Sampler(length, rank=rank, **given_settings)

    total = 2 * len(make()) + 1
    whole = consume(make(), total)
    kills = data.draw(st.lists(st.integers(0, total), max_size=3, unique=True).map(sorted))
    taken, state = [], None
    for stop in [*kills, total]:
        sampler = make()
        if state is not None:
            sampler.load_state_dict(state)
        taken += consume(sampler, stop - len(taken))
        state = through_text(sampler.state_dict())
    assert taken == whole


def test_state_is_of_plain_ints():
    sampler = Sampler(np.int64(10), batch_size=3, seed=np.int64(4), drop_last=True)
    assert all(type(v) is int for v in sampler.state_dict().values())
    sampler.load_state_dict(sampler.state_dict())


def test_takes_a_dataset_or_its_length():
    data = np.arange(7)
    assert list(Sampler(data)) == list(Sampler(7))


def test_yields_indices_or_batches():
    assert list(Sampler(5, shuffle=False)) == [0, 1, 2, 3, 4]
    assert list(Sampler(5, shuffle=False, batch_size=2)) == [[0, 1], [2, 3], [4]]
    assert list(Sampler(5, shuffle=False, batch_size=2, drop_last=True)) == [[0, 1], [2, 3]]
    assert list(Sampler(5, shuffle=False, batch_size=2, rank=1, world_size=2)) == [[1, 3], [0]]
    assert len(Sampler(5, batch_size=2)) == 3


def test_what_the_loop_holds_counts_as_consumed():
    sampler = Sampler(6, batch_size=2)
    assert (sampler.epoch, sampler.position) == (0, 0)
    seen = [(sampler.epoch, sampler.position, sampler.epochs_done) for _ in sampler]
    assert seen == [(0, 1, 1 / 3), (0, 2, 2 / 3), (0, 3, 1.0)]
    assert (sampler.epoch, sampler.position, sampler.epochs_done) == (1, 0, 1.0)


def test_first_iteration_after_a_load_is_the_rest_then_whole_epochs():
    sampler = Sampler(6, batch_size=2)
    next(iter(sampler))
    state = sampler.state_dict()
    resumed = Sampler(6, batch_size=2)
    resumed.load_state_dict(state)
    assert [len(list(resumed)) for _ in range(3)] == [2, 3, 3]


def test_saved_at_the_last_batch_the_end_of_the_epoch_is_still_to_come():
    def train(sampler, epochs, stop_at=None):
        done = []
        for epoch in range(sampler.epoch, epochs):
            for batch in sampler:
                done.append(batch)
                if len(done) == stop_at:
                    return done, sampler.state_dict()
            done.append(f"validate {epoch}")
        return done, None

    whole, _ = train(Sampler(4, batch_size=2), 3)
    for stop_at in (1, 2):
        first, state = train(Sampler(4, batch_size=2), 3, stop_at)
        resumed = Sampler(4, batch_size=2)
        resumed.load_state_dict(state)
        assert first + train(resumed, 3)[0] == whole


def test_an_epoch_taken_by_count_is_followed_by_the_next():
    sampler = Sampler(4, batch_size=2)
    # islice never asks for the end of the epoch.
    epochs = [list(islice(sampler, 2)) for _ in range(3)]
    asked = Sampler(4, batch_size=2)
    assert epochs == [list(asked) for _ in range(3)]


def test_new_iter_goes_on_after_the_last_delivery():
    sampler = Sampler(6, shuffle=False)
    old = iter(sampler)
    assert [next(old), next(old)] == [0, 1]
    new = iter(sampler)
    assert next(new) == 2
    with pytest.raises(UsageError, match="out of date"):
        next(old)
    assert list(new) == [3, 4, 5]


def test_load_puts_a_running_iterator_out_of_date():
    sampler = Sampler(6, shuffle=False)
    start = sampler.state_dict()
    running = iter(sampler)
    next(running)
    sampler.load_state_dict(start)
    with pytest.raises(UsageError, match="out of date"):
        next(running)
    assert list(sampler) == [0, 1, 2, 3, 4, 5]


def test_set_epoch():
    sampler = Sampler(10, seed=3)
    sampler.set_epoch(2)
    third = list(sampler)
    fresh = Sampler(10, seed=3)
    assert [list(fresh) for _ in range(3)][2] == third
    with pytest.raises(UsageError):
        sampler.set_epoch(-1)


def test_set_epoch_of_the_one_under_way_keeps_the_position():
    sampler = Sampler(10)
    sampler.load_state_dict(Sampler(10).state_dict() | {"epoch": 4, "position": 7})
    sampler.set_epoch(4)
    assert len(list(sampler)) == 3


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"dataset_or_length": 90}, "dataset length: saved 100, wanted 90"),
        ({"batch_size": 8}, "batch size: saved 10, wanted 8"),
        ({"batch_size": None}, "batch size: saved 10, wanted none"),
        ({"seed": 1}, "seed: saved 0, wanted 1"),
        ({"shuffle": False}, "shuffle: saved 1, wanted 0"),
        ({"drop_last": True}, "drop_last: saved 0, wanted 1"),
        ({"world_size": 2}, "batch size: saved 10, wanted 10 on each of 2 ranks"),
    ],
)
def test_position_of_other_data_is_refused(changed, told):
    saved = Sampler(100, batch_size=10)
    next(iter(saved))
    other = Sampler(**({"dataset_or_length": 100, "batch_size": 10} | changed))
    with pytest.raises(Mismatch, match=told) as caught:
        other.load_state_dict(saved.state_dict())
    assert caught.value.problems == (told,)
    assert (other.epoch, other.position) == (0, 0)


@pytest.mark.parametrize(
    "damage",
    [
        {"position": 11},
        {"position": -1},
        {"epoch": -1},
        {"position": None},
        {"position": 1.0},
        {"position": True},
        {"rule": 2},
    ],
)
def test_impossible_positions_are_refused(damage):
    sampler = Sampler(10)
    with pytest.raises(Mismatch):
        sampler.load_state_dict(sampler.state_dict() | damage)
    with pytest.raises(Mismatch):
        sampler.load_state_dict({k: v for k, v in sampler.state_dict().items() if k not in damage})


def test_goes_on_at_another_world_size_with_the_same_global_batch():
    one = Sampler(48, batch_size=12)
    expected = [set(b) for b in one]
    saved = Sampler(48, batch_size=12)
    next(iter(saved))
    ranks = [Sampler(48, batch_size=4, rank=r, world_size=3) for r in range(3)]
    for sampler in ranks:
        sampler.load_state_dict(saved.state_dict())
    together = [set().union(*batches) for batches in zip(*ranks, strict=True)]
    assert together == expected[1:]


def test_all_ranks_have_the_same_state():
    ranks = [Sampler(20, batch_size=2, rank=r, world_size=2) for r in range(2)]
    for sampler in ranks:
        next(iter(sampler))
    assert ranks[0].state_dict() == ranks[1].state_dict()


def test_tells_that_its_state_is_cheap():
    assert Sampler(3).cheap_state is True


def test_does_not_import_torch():
    code = """
import sys
import holdfast.data
list(holdfast.data.Sampler(5))
assert 'torch' not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_loader_without_torch_says_what_to_install():
    code = """
import sys
sys.modules['torch'] = None
import holdfast.data
from holdfast.errors import MissingDependency
try:
    holdfast.data.DataLoader
except MissingDependency as error:
    assert 'pip install' in str(error)
else:
    raise SystemExit('no error')
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("epoch", ["a", 1.5, -1, True, None])
def test_an_epoch_that_is_none_is_refused(epoch) -> None:
    with pytest.raises(UsageError, match="An epoch is a whole number"):
        Sampler(5).set_epoch(epoch)


def test_a_position_that_is_none_is_refused() -> None:
    with pytest.raises(UsageError, match="A data position is a dict"):
        Sampler(5).load_state_dict(None)


@pytest.mark.parametrize("given_as", ["sampler", "batch_sampler"])
def test_a_loader_whose_workers_fetch_ahead_is_refused(given_as):
    torch_data = required("torch").utils.data
    sampler = Sampler(64, batch_size=4 if given_as == "batch_sampler" else None)
    loader = torch_data.DataLoader(list(range(64)), num_workers=2, **{given_as: sampler})
    with pytest.raises(UsageError, match=r"holdfast\.data\.DataLoader"):
        next(iter(loader))
    assert (sampler.epoch, sampler.position) == (0, 0)
    alone = torch_data.DataLoader(list(range(64)), **{given_as: sampler})
    assert len(list(islice(alone, 3))) == 3
    assert sampler.position == 3
