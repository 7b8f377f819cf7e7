"""Damage to any file of a store: what is loaded is what was saved, or an error of ours, always."""

from __future__ import annotations

import os
import random
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from crash_running import IS_FULL, budget_s

import holdfast
from absent import required
from holdfast import every, keep
from holdfast.errors import DataError, HoldfastError

RUN = "run"
Leaves = dict[str, Any]
# Files whose every byte matters to a checkpoint, so that verification must see any damage.
PROVEN = ("commits", "parts", "packs")


def tree(step: int) -> dict[str, Any]:
    source = np.random.Generator(np.random.PCG64(step))
    return {
        "large": source.random(80 << 10, np.float32),
        "stays": np.arange(70 << 10, dtype=np.float32),
        "small": [source.random(n, np.float32) for n in (1, 3, 500, 900)],
        "values": {"step": step, "text": f"step {step}", "loss": 1 / (step + 1), "none": None},
    }


@dataclass(frozen=True)
class Pristine:
    """A store with two checkpoints, a tag, a pin, a journal; and the bytes of its files."""

    store: Path
    files: dict[str, bytes]

    def put_back(self, name: str) -> None:
        path = self.store / name
        if path.is_dir():
            shutil.rmtree(path)
        path.write_bytes(self.files[name])


@pytest.fixture(scope="module")
def pristine(tmp_path_factory: pytest.TempPathFactory) -> Pristine:
    store = tmp_path_factory.mktemp("damage") / "store"
    state: dict[str, Any] = {"tree": {}}
    with holdfast.Checkpointer(
        store, state, run=RUN, save=every(steps=1), keep=keep.last(9), rng=False
    ) as ckpt:
        for step in (1, 2):
            state["tree"] = tree(step)
            ckpt.step(step, metrics={"loss": 1 / step})
            ckpt.wait()
    holdfast.Store(store).tag(f"{RUN}@1", "first")
    # Another run, of the same step: its files are plausible everywhere.
    holdfast.save(store, {"tree": tree(7)}, run="other", step=2, rng=False)
    names = (p for p in sorted(store.rglob("*")) if p.is_file())
    files = {str(p.relative_to(store)): p.read_bytes() for p in names}
    kinds = {kind_of(name) for name in files}
    beside = {"events.jsonl", "writer.lock", "records.lock", "holdfast.json", "catalog.sqlite"}
    assert kinds == {*PROVEN, "tags", "metrics"} | beside
    return Pristine(store, files)


def kind_of(name: str) -> str:
    return name.split("/")[2] if name.count("/") > 1 else name


# --- what must hold, however the store is damaged ---


def load(store: Path, ref: str, **more: Any) -> tuple[str, Any]:
    """Return what a load gave: ``good`` with a tree, or ``error`` with an error of ours."""
    try:
        return "good", holdfast.load(store, ref, **more)
    except HoldfastError as error:
        assert str(error), type(error)
        return "error", error


WAYS = (f"{RUN}@1", f"{RUN}@2", f"{RUN}@first", "other@2", f"{RUN}@latest")
STEPS = {f"{RUN}@1": 1, f"{RUN}@2": 2, f"{RUN}@first": 1, "other@2": 7}


def check_loads(store: Path, ways: Sequence[str] = WAYS) -> int:
    """Load what there is in some ways; return how many loads told of damage."""
    told = 0
    for ref in ways:
        if ref in STEPS:
            how, found = load(store, ref)
            if how == "good":
                np.testing.assert_equal(found, {"tree": tree(STEPS[ref])})
            told += how == "error"
        else:
            into: Leaves = {"tree": tree(0)}
            how, found = load(store, ref, into=into)
            np.testing.assert_equal(into, {"tree": tree(found.step if how == "good" else 0)})
            told += how == "error" or bool(found.stepped_over)
    return told


def check_damage(pristine: Pristine, name: str, ways: Sequence[str] = WAYS) -> bool:
    """Check all that must hold while one file of the store is damaged; say whether it was told."""
    told = check_loads(pristine.store, ways) > 0
    try:
        report = holdfast.Store(pristine.store).verify()
        is_seen = not report.ok
    except HoldfastError:
        is_seen = True
    # A commit or a tag that is gone altogether never was.
    is_gone = kind_of(name) in ("commits", "tags") and not (pristine.store / name).is_file()
    assert is_seen or is_gone or not told, f"{name}: a load failed, but it verifies"
    return is_seen or is_gone


def drop_caches(path: Path) -> None:
    """Let the next read of a file come from the disk."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


# --- bits ---


def offsets(data: bytes, source: random.Random, count: int) -> Iterator[int]:
    """Every byte of a small file; of a large one its ends, block borders, and some at random."""
    if len(data) <= 4096:
        yield from range(len(data))
    else:
        yield from (0, 1, 4095, 4096, len(data) - 1, len(data) // 2)
    yield from (source.randrange(len(data)) for _ in range(count) if data)


def test_a_flipped_bit_is_never_silent(
    pristine: Pristine, capsys: pytest.CaptureFixture[str]
) -> None:
    """Single bits, all files in turn, a thousand at least, and more while there is time."""
    source = random.Random(11)
    queues = [
        (name, iter(list(offsets(data, source, 4000)))) for name, data in pristine.files.items()
    ]
    deadline = time.monotonic() + budget_s(10.0)
    flips = seen = padding = 0
    while queues and (flips < 1000 or time.monotonic() < deadline):
        for item in list(queues):
            name, at = item[0], next(item[1], None)
            if at is None:
                queues.remove(item)
                continue
            flip(pristine.store / name, at, 1 << source.randrange(8))
            if source.random() < 0.3:
                drop_caches(pristine.store / name)
            is_seen = check_damage(pristine, name, source.sample(WAYS, 1))
            pristine.put_back(name)
            flips += 1
            seen += is_seen
            if kind_of(name) in ("commits", "parts"):
                assert is_seen, f"{name}: a flip at {at} is not seen"
            if kind_of(name) == "packs":
                padding += not is_seen
                assert is_seen or is_padding(pristine, name, at), f"{name}: {at} is not seen"
    with capsys.disabled():
        print(f" {flips} flips, {seen} seen, {padding} in padding", end=" ")
    assert flips >= 1000
    assert seen >= flips // 3


def flip(path: Path, at: int, mask: int) -> None:
    with open(path, "r+b") as file:
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ mask]))


def is_padding(pristine: Pristine, name: str, at: int) -> bool:
    """Say whether no chunk of any checkpoint has that byte of a pack."""
    from holdfast.records import commits
    from holdfast.records.opening import open_store

    store = open_store(pristine.store, create=False)
    for run in commits.runs(store):
        for record in commits.good_commits(store, run):
            part = commits.read_part(store, record, record.parts[0])
            for row in part.chunks:
                inside = row.offset <= at < row.offset + row.length
                if part.packs[row.pack].key == name and inside:
                    return False
    return True


# --- whole files ---


def empty(path: Path, data: bytes) -> None:
    path.write_bytes(b"")


def delete(path: Path, data: bytes) -> None:
    path.unlink()


def cut_one(path: Path, data: bytes) -> None:
    path.write_bytes(data[:-1])


def cut_half(path: Path, data: bytes) -> None:
    path.write_bytes(data[: len(data) // 2])


def cut_block(path: Path, data: bytes) -> None:
    path.write_bytes(data[:4096])


def zero_block(path: Path, data: bytes) -> None:
    path.write_bytes(bytes(min(4096, len(data))) + data[4096:])


def grow(path: Path, data: bytes) -> None:
    path.write_bytes(data + data[:100] + b"x")


def random_bytes(path: Path, data: bytes) -> None:
    path.write_bytes(random.Random(1).randbytes(len(data)))


def make_folder(path: Path, data: bytes) -> None:
    path.unlink()
    path.mkdir()


def dangling_link(path: Path, data: bytes) -> None:
    path.unlink()
    path.symlink_to("nowhere")


HARM: list[Callable[[Path, bytes], None]] = [
    empty,
    delete,
    cut_one,
    cut_half,
    cut_block,
    zero_block,
    grow,
    random_bytes,
    make_folder,
    dangling_link,
]


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
def test_a_harmed_file_is_never_silent(
    pristine: Pristine, harm: Callable[[Path, bytes], None]
) -> None:
    for name, data in pristine.files.items():
        if harm is make_folder and name == "holdfast.json":
            continue  # tests of the environment
        harm(pristine.store / name, data)
        path = pristine.store / name
        is_same = path.is_file() and path.read_bytes() == data
        try:
            is_seen = check_damage(pristine, name)
            # What is behind the chunks of a pack hurts nobody.
            may_hide = kind_of(name) == "packs" and harm in (grow, cut_one)
            if kind_of(name) in PROVEN and not may_hide:
                assert is_seen or is_same, f"{name} is not seen"
        finally:
            if path.is_symlink():
                path.unlink()
            pristine.put_back(name)


def test_a_file_in_another_place_is_never_silent(pristine: Pristine) -> None:
    """Any file put over any other of its kind: of another step, of another run."""
    count = 0
    for name, data in pristine.files.items():
        for other, others in pristine.files.items():
            if other == name or kind_of(other) != kind_of(name) or others == data:
                continue
            (pristine.store / name).write_bytes(others)
            try:
                is_seen = check_damage(pristine, name)
                assert is_seen or kind_of(name) not in PROVEN, f"{other} as {name} is not seen"
            finally:
                pristine.put_back(name)
            count += 1
    assert count >= 18


def test_what_is_in_no_checkpoint_harms_none(pristine: Pristine) -> None:
    """Journal, lock, metrics and catalog may be anything: every load and save works."""
    names = [name for name in pristine.files if kind_of(name) in ("metrics", "catalog.sqlite")]
    names += [f"runs/{RUN}/{name}" for name in ("events.jsonl", "writer.lock", "records.lock")]
    for name in names:
        for harm in (empty, delete, cut_half, random_bytes):
            harm(pristine.store / name, pristine.files[name])
            assert check_loads(pristine.store) == 0
            assert holdfast.Store(pristine.store).verify().ok
            pristine.put_back(name)


# --- falling back, and into modules ---


@pytest.mark.parametrize("kind", PROVEN)
def test_latest_is_the_newest_good_one(pristine: Pristine, kind: str, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(pristine.store, store)
    name = newest(pristine, kind)
    flip(store / name, len(pristine.files[name]) // 3, 4)
    into: Leaves = {"tree": tree(0)}
    restored = holdfast.load(store, f"{RUN}@latest", into=into)
    assert restored.step == 1
    np.testing.assert_equal(into, {"tree": tree(1)})
    assert len(restored.stepped_over) == 1
    assert (f"{RUN}@2" if kind != "commits" else name) in restored.stepped_over[0]
    # The same in a training run, which goes on from there and keeps what is good.
    state: Leaves = {"tree": tree(0)}
    with holdfast.Checkpointer(store, state, run=RUN, rng=False, keep=keep.last(2)) as ckpt:
        again = ckpt.restore()
        assert again is not None and again.step == 1 and len(again.stepped_over) == 1
        assert ckpt.next_step == 2
        state["tree"].update(tree(2))
        ckpt.save(2).wait()
        state["tree"].update(tree(0))
        last = ckpt.restore()
        assert last is not None and last.step == 2 and not last.stepped_over
        np.testing.assert_equal(state, {"tree": tree(2)})


def newest(pristine: Pristine, kind: str) -> str:
    """Return the file of a kind that the newest checkpoint alone has."""
    info = holdfast.Store(pristine.store).info(f"{RUN}@2")
    mark = f"{info.seq:012d}" if kind == "commits" else info.id
    return next(n for n in pristine.files if n.startswith(f"runs/{RUN}/{kind}/") and mark in n)


def test_all_damaged_is_an_error_and_changes_nothing(pristine: Pristine, tmp_path: Path) -> None:
    store = tmp_path / "store"
    shutil.copytree(pristine.store, store)
    for name in pristine.files:
        if name.startswith(f"runs/{RUN}/packs/"):
            flip(store / name, 5, 1)
    into: Leaves = {"tree": tree(0)}
    with pytest.raises(holdfast.errors.NoGoodCheckpoint) as caught:
        holdfast.load(store, f"{RUN}@latest", into=into)
    np.testing.assert_equal(into, {"tree": tree(0)})
    assert len(caught.value.stepped_over) == 2
    with holdfast.Checkpointer(store, into, run=RUN, rng=False) as ckpt:
        with pytest.raises(holdfast.errors.NoGoodCheckpoint):
            ckpt.restore()
        np.testing.assert_equal(into, {"tree": tree(0)})
        assert ckpt.next_step == 0


def test_a_module_and_its_optimizer_are_untouched_by_damage(tmp_path: Path) -> None:
    """Warm and cold, every pack damaged at many places: not one bit of what stands changes."""
    torch = required("torch")
    store = tmp_path / "store"

    def make(seed: int) -> dict[str, Any]:
        torch.manual_seed(seed)
        model = torch.nn.Sequential(
            torch.nn.Linear(300, 400), torch.nn.BatchNorm1d(400), torch.nn.Linear(400, 200)
        )
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01 * (seed + 1))
        model(torch.randn(8, 300)).sum().backward()
        optimizer.step()
        return {"model": model, "optimizer": optimizer}

    def content(state: dict[str, Any]) -> Any:
        return {
            name: [t.clone() if isinstance(t, torch.Tensor) else t for t in _leaves(value)]
            for name, value in ((n, v.state_dict()) for n, v in state.items())
        }

    # What is made twice need not be equal: gradients behind a normalisation are rounding alone.
    first, standing = make(1), make(2)
    holdfast.save(store, first, run=RUN, step=1, rng=False)
    saved, before = content(first), content(standing)
    packs = sorted((store / "runs" / RUN / "packs").iterdir())
    source = random.Random(3)
    for i in range(400 if IS_FULL else 60):
        path = source.choice(packs)
        data = path.read_bytes()
        flip(path, source.randrange(len(data)), 1 << source.randrange(8))
        if i % 2:
            drop_caches(path)
        try:
            holdfast.load(store, f"{RUN}@1", into=standing, verify=("fast", "full")[i % 3 == 0])
        except DataError:
            assert _equal(content(standing), before), i
        else:
            # In the padding.
            assert _equal(content(standing), saved), i
            standing = make(2)
            before = content(standing)
        path.write_bytes(data)
    holdfast.load(store, f"{RUN}@1", into=standing)
    assert _equal(content(standing), saved)


def _leaves(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [leaf for child in value.values() for leaf in _leaves(child)]
    if isinstance(value, list | tuple):
        return [leaf for child in value for leaf in _leaves(child)]
    return [value]


def _equal(one: Any, other: Any) -> bool:
    import torch

    return all(
        torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b
        for a, b in zip(_leaves(one), _leaves(other), strict=True)
    )
