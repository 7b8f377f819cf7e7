from __future__ import annotations

import hashlib
import json
import random
from itertools import islice

import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset, Subset, get_worker_info

from holdfast.data import DataLoader
from holdfast.errors import Mismatch, UsageError

WORKERS = [0, 2]
LENGTH, BATCH, PER_EPOCH = 11, 3, 4


class Augmented:
    """Draws from each global generator, a different number of times for each sample."""

    def __len__(self):
        return LENGTH

    def __getitem__(self, index):
        return {
            "index": index,
            "python": torch.tensor([random.random() for _ in range(1 + index % 3)][-1]),
            "numpy": torch.from_numpy(np.random.rand(1 + index % 2)[-1:]),
            "normal": torch.tensor(np.random.standard_normal()),
            "torch": torch.randn(2 + index % 2)[:2],
        }


class ManyAtOnce(Augmented):
    def __getitems__(self, indices):
        noise = torch.randn(len(indices))
        return [{"index": i, "noise": x} for i, x in zip(indices, noise, strict=True)]


def mixing_collate(samples):
    """Draws for the whole batch, as mix-up and masking do."""
    mix = torch.rand(()) * random.random() * np.random.rand()
    return {"mix": mix, "x": torch.stack([s["torch"] for s in samples])}


def make(num_workers=0, dataset=None, **more):
    dataset = Augmented() if dataset is None else dataset
    return DataLoader(dataset, batch_size=BATCH, seed=5, num_workers=num_workers, **more)


def digest(batch):
    """Every bit of a batch."""
    if isinstance(batch, dict):
        return hashlib.sha256("".join(k + digest(v) for k, v in batch.items()).encode()).hexdigest()
    return hashlib.sha256(
        f"{batch.dtype}{batch.shape}".encode() + batch.numpy().tobytes()
    ).hexdigest()


def consume(loader, batches):
    """Take batches across epochs, with a model that draws from the global generators."""
    taken = []
    while len(taken) < batches:
        for batch in loader:
            taken.append((loader.epoch, digest(batch)))
            if len(taken) == batches:
                break
    return taken


@pytest.fixture(scope="module")
def whole():
    return consume(make(), 2 * PER_EPOCH)


@pytest.mark.parametrize("num_workers", WORKERS)
def test_killed_at_every_batch_goes_on_bit_for_bit(num_workers, whole):
    total = 2 * PER_EPOCH
    for stop in range(total + 1):
        killed = make(num_workers)
        first = consume(killed, stop)
        state = json.loads(json.dumps(killed.state_dict()))
        del killed
        # Whatever the process' generators were: the data does not depend on them.
        torch.manual_seed(stop), np.random.seed(stop), random.seed(stop)
        resumed = make(num_workers)
        resumed.load_state_dict(state)
        assert first + consume(resumed, total - stop) == whole, f"killed after {stop} batches"


def test_saved_with_workers_and_resumed_without(whole):
    killed = make(2, prefetch_factor=4)
    first = consume(killed, 3)
    resumed = make(0)
    resumed.load_state_dict(killed.state_dict())
    assert first + consume(resumed, len(whole) - 3) == whole


@pytest.mark.parametrize("num_workers", [1, 2])
def test_batches_are_the_same_for_every_number_of_workers(num_workers, whole):
    assert consume(make(num_workers), len(whole)) == whole


@pytest.mark.parametrize("more", [{"collate_fn": mixing_collate}, {"dataset": ManyAtOnce()}])
def test_draws_for_a_whole_batch_are_resumed_too(more):
    batches = consume(make(0, **more), PER_EPOCH)
    assert consume(make(2, **more), PER_EPOCH) == batches
    resumed = make(0, **more)
    resumed.load_state_dict(make().state_dict() | {"position": 2})
    assert consume(resumed, 2) == batches[2:]


@pytest.mark.parametrize(
    ("key", "more"), [("mix", {"collate_fn": mixing_collate}), ("noise", {"dataset": ManyAtOnce()})]
)
def test_draws_for_a_whole_batch_differ(key, more):
    loader = make(shuffle=False, **more)
    values = [batch[key].reshape(-1)[0].item() for _ in range(2) for batch in loader]
    assert len(set(values)) == 2 * PER_EPOCH


def test_augmentation_differs_from_sample_to_sample_and_epoch_to_epoch():
    loader = make(shuffle=False)
    values = [v for _ in range(3) for batch in loader for v in batch["torch"][:, 0].tolist()]
    assert len(set(values)) == 3 * LENGTH


def test_augmentation_of_a_sample_is_its_own_at_any_world_size():
    def by_place(world_size, batch_size):
        found = {}
        for rank in range(world_size):
            loader = DataLoader(
                Augmented(), batch_size=batch_size, rank=rank, world_size=world_size, drop_last=True
            )
            for batch in loader:
                found |= dict(zip(batch["index"].tolist(), batch["torch"].tolist(), strict=True))
        return found

    assert by_place(1, 4) == by_place(2, 2) == by_place(4, 1)


@pytest.mark.parametrize("num_workers", WORKERS)
def test_the_models_own_draws_are_not_disturbed(num_workers):
    def draws(batches):
        torch.manual_seed(1), np.random.seed(2), random.seed(3)
        # An odd number of normal draws leaves a second half stored in the generator.
        found = [np.random.standard_normal()]
        for _ in batches:
            found += [torch.rand(()).item(), np.random.standard_normal(), random.gauss(0, 1)]
        return [*found, torch.rand(()).item()]

    assert draws(make(num_workers)) == draws(range(PER_EPOCH))


def test_generators_of_devices_are_not_seeded(monkeypatch):
    seeded = []
    # torch.manual_seed would call it, with or without a device.
    monkeypatch.setattr(torch.cuda, "manual_seed_all", seeded.append)
    list(make())
    assert seeded == []


def test_generators_are_put_back_when_a_sample_fails():
    class Broken(Augmented):
        def __getitem__(self, index):
            torch.rand(3), np.random.rand(), random.random()
            raise OSError("unreadable")

    before = torch.get_rng_state(), np.random.get_state()[1].tolist(), random.getstate()
    loader = make(dataset=Broken())
    with pytest.raises(OSError, match="unreadable"):
        next(iter(loader))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert (np.random.get_state()[1].tolist(), random.getstate()) == before[1:]
    assert loader.position == 0


@pytest.mark.parametrize("num_workers", WORKERS)
def test_what_the_loop_holds_counts_as_consumed(num_workers):
    loader = make(num_workers)
    seen = [(loader.epoch, loader.position, loader.state_dict()["position"]) for _ in loader]
    assert seen == [(0, k, k) for k in range(1, PER_EPOCH + 1)]
    assert (loader.epoch, loader.position, loader.epochs_done) == (1, 0, 1.0)
    assert len(loader) == PER_EPOCH


def test_first_loop_after_a_load_is_the_rest_then_whole_epochs():
    loader = make()
    loader.load_state_dict(make().state_dict() | {"epoch": 1, "position": PER_EPOCH})
    # The empty rest lets a script do what it does at the end of epoch 1.
    assert [len(list(loader)) for _ in range(3)] == [0, PER_EPOCH, PER_EPOCH]
    assert loader.epoch == 4


@pytest.mark.parametrize(
    "more",
    [{"num_workers": 0}, {"num_workers": 2}, {"num_workers": 2, "persistent_workers": True}],
)
def test_new_iter_goes_on_after_the_last_delivered_batch(more, whole):
    loader = make(**more)
    old = iter(loader)
    taken = [digest(next(old)), digest(next(old))]
    new = iter(loader)
    taken.append(digest(next(new)))
    with pytest.raises(UsageError, match="out of date"):
        next(old)
    taken += [digest(b) for b in new]
    taken += [digest(b) for b in loader]
    assert taken == [d for _, d in whole]


def test_an_epoch_taken_by_count_is_followed_by_the_next(whole):
    loader = make()
    taken = [digest(b) for _ in range(2) for b in islice(loader, PER_EPOCH)]
    assert taken == [d for _, d in whole]


def test_persistent_workers_are_used_again_and_resume(whole):
    loader = make(2, persistent_workers=True)
    loader.load_state_dict(make().state_dict() | {"position": 1})
    assert consume(loader, len(whole) - 1) == whole[1:]


def test_single_samples_without_batch_size():
    loader = DataLoader(Augmented(), batch_size=None, shuffle=False)
    first = next(iter(loader))
    assert first["index"] == 0
    assert first["torch"].shape == (2,)
    assert len(loader) == LENGTH
    assert [s["index"] for s in loader] == list(range(1, LENGTH))


def test_worker_init_fn_finds_the_dataset():
    loader = make(1, worker_init_fn=_check_dataset)
    assert len(list(loader)) == PER_EPOCH


def _check_dataset(_worker_id):
    info = get_worker_info()
    assert info is not None
    assert info.dataset.__class__.__name__ == "SeededFetch"
    assert isinstance(info.dataset.dataset, Augmented)


def test_subset_and_spawned_workers():
    dataset = Subset(Augmented(), range(4))
    loader = DataLoader(dataset, batch_size=2)
    spawned = DataLoader(dataset, batch_size=2, num_workers=1, multiprocessing_context="spawn")
    assert [digest(b) for b in spawned] == [digest(b) for b in loader]


@pytest.mark.parametrize(
    ("loader", "told"),
    [
        (lambda: make(dataset=range(12)), "dataset length: saved 11, wanted 12"),
        (lambda: DataLoader(Augmented(), batch_size=4, seed=5), "batch size: saved 3, wanted 4"),
        (lambda: DataLoader(Augmented(), batch_size=3, seed=6), "seed: saved 5, wanted 6"),
    ],
)
def test_position_of_other_data_is_refused(loader, told):
    saved = make()
    next(iter(saved))
    other = loader()
    with pytest.raises(Mismatch, match=told):
        other.load_state_dict(saved.state_dict())
    assert other.position == 0


def test_iterable_dataset_is_refused():
    class Stream(IterableDataset):
        def __iter__(self):
            yield from range(3)

    with pytest.raises(UsageError, match="IterableDataset"):
        DataLoader(Stream())


def test_dataset_without_a_length_is_refused():
    with pytest.raises(UsageError, match="__len__"):
        DataLoader(iter([1, 2]))


@pytest.mark.parametrize("name", ["sampler", "batch_sampler", "generator", "in_order"])
def test_arguments_that_would_take_the_order_away_are_refused(name):
    with pytest.raises(UsageError, match=name):
        make(**{name: None})


def test_tells_that_its_state_is_cheap():
    assert make().cheap_state is True


def test_a_seed_may_be_a_whole_number_of_numpys() -> None:
    batches = [
        [batch.tolist() for batch in DataLoader(list(range(9)), batch_size=2, seed=seed)]
        for seed in (3, np.int64(3))
    ]
    assert batches[0] == batches[1]
