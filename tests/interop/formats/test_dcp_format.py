"""PyTorch's distributed checkpoints, as ``torch.distributed.checkpoint`` writes and reads them."""

from __future__ import annotations

import os
import pickle
import shutil
import warnings
from collections import OrderedDict
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import round_trips
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from nested_states import DTYPES, assert_same, nested, tensor, tensors, values
from torch.distributed.checkpoint.format_utils import dcp_to_torch_save, torch_save_to_dcp
from torch.distributed.checkpoint.metadata import ChunkStorageMetadata

import holdfast
from holdfast.convert import export, import_checkpoint
from holdfast.convert.registry import format_of
from holdfast.errors import CannotConvert, DataError, ForeignDamaged

pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")

# Names joined by dots must not be one; a mapping without entries has no place.
plain_keys = st.text("abc", min_size=1, max_size=3)


def filled(value: object) -> bool:
    if isinstance(value, dict):
        return bool(value) and all(map(filled, value.values()))
    return all(map(filled, value)) if isinstance(value, list) else True


states = st.dictionaries(
    plain_keys,
    nested(st.one_of(tensors, values), plain_keys, tuples=False).filter(filled),
    min_size=1,
    max_size=5,
)


def plain(value: Any) -> Any:
    """Their reader has one kind of mapping."""
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list) else value


exported = partial(round_trips.exported, name="dcp", format="dcp")


@settings(max_examples=20, deadline=None)
@given(states)
def test_what_is_written_they_make_one_file_of(tmp_path_factory: Any, state: Any) -> None:
    folder = tmp_path_factory.mktemp("there")
    dcp_to_torch_save(exported(folder, state), folder / "one.pt")
    # Not weights_only: of empty bytes their own writer makes something that it then refuses.
    assert_same(torch.load(folder / "one.pt", weights_only=False), plain(state))


# Each reading is a process of its own: what fails is not made smaller for minutes.
@settings(max_examples=6, deadline=None, phases=[Phase.explicit, Phase.generate])
@given(states)
def test_everything_goes_there_and_back(tmp_path_factory: Any, state: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("back")
    import_checkpoint(folder / "s", exported(folder, state), run="back")
    assert_same(plain(holdfast.load(folder / "s", "back@0")), plain(state))


def test_a_model_and_its_optimizer_are_loaded_in_place(tmp_path: Path) -> None:
    def made(seed: int) -> tuple[Any, Any]:
        torch.manual_seed(seed)
        model = torch.nn.Sequential(torch.nn.Linear(4, 600_000), torch.nn.Linear(600_000, 1))
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        model(torch.ones(1, 4)).sum().backward()
        optimizer.step()
        return model, optimizer

    model, optimizer = made(0)
    path = exported(tmp_path, {"model": model, "optimizer": optimizer, "epoch": 7})
    other, other_optimizer = made(1)
    state = {
        "model": other.state_dict(),
        "optimizer": other_optimizer.state_dict(),
        "epoch": 0,
    }
    dcp.load(state, checkpoint_id=path, no_dist=True)
    other_optimizer.load_state_dict(state["optimizer"])
    assert state["epoch"] == 7
    assert_same(other.state_dict(), model.state_dict())
    assert_same(other_optimizer.state_dict(), optimizer.state_dict())


def test_their_folders_are_read(tmp_path: Path) -> None:
    state = {
        "t": {str(dtype): tensor(dtype, (3, 5), i) for i, dtype in enumerate(DTYPES)},
        "n": 3,
        "list": [torch.ones(2), {"a": 1}, [2, 3]],
        "alone": [1, "x", None],
        "t2": (1, torch.ones(2)),
    }
    dcp.save(state, checkpoint_id=tmp_path / "dcp", no_dist=True)
    for i, path in enumerate((tmp_path / "dcp", tmp_path / "dcp/.metadata")):
        assert format_of(path).name == "dcp"
        import_checkpoint(tmp_path / "s", path, run="r", step=i)
        assert_same(holdfast.load(tmp_path / "s", f"r@{i}"), state)


def test_a_file_that_they_made_a_folder_of_is_read(tmp_path: Path) -> None:
    state = {"w": torch.randn(3), "o": {"x": torch.ones(2, 2)}}
    torch.save(state, tmp_path / "x.pt")
    torch_save_to_dcp(tmp_path / "x.pt", tmp_path / "dcp")
    import_checkpoint(tmp_path / "s", tmp_path / "dcp", run="r")
    assert_same(holdfast.load(tmp_path / "s", "r@0"), state)


def in_shards(folder: Path, whole: torch.Tensor, boxes: list[tuple[slice, ...]]) -> Any:
    """Change a folder to hold its tensor in pieces, as ranks of a larger world write it."""
    dcp.save({"w": whole}, checkpoint_id=folder, no_dist=True)
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    index, info = next(iter(metadata.storage_data.items()))
    metadata.storage_data, chunks = {}, []
    for i, box in enumerate(boxes):
        at = torch.Size([part.start for part in box])
        torch.save(whole[box].clone(), folder / f"__{i}_0.distcp")
        length = (folder / f"__{i}_0.distcp").stat().st_size
        metadata.storage_data[type(index)("w", at, i)] = type(info)(f"__{i}_0.distcp", 0, length)
        chunks.append(ChunkStorageMetadata(at, whole[box].shape))
    metadata.state_dict_metadata["w"].chunks = chunks
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))
    return metadata


def test_shards_in_any_direction_become_one_array(tmp_path: Path) -> None:
    whole = torch.randn(1200, 9000)
    rows, columns = [0, 500, 1200], [0, 1, 4000, 9000]
    boxes = [
        (slice(rows[i], rows[i + 1]), slice(columns[j], columns[j + 1]))
        for i in range(2)
        for j in range(3)
    ]
    metadata = in_shards(tmp_path / "dcp", whole, boxes)
    import_checkpoint(tmp_path / "s", tmp_path / "dcp", run="r")
    assert_same(holdfast.load(tmp_path / "s", "r@0"), {"w": whole})

    metadata.state_dict_metadata["w"].chunks.pop()
    (tmp_path / "dcp/.metadata").write_bytes(pickle.dumps(metadata))
    with pytest.raises(ForeignDamaged, match="pieces of a tensor are missing"):
        import_checkpoint(tmp_path / "s", tmp_path / "dcp", run="r", step=1)


def test_what_has_no_place_is_told(tmp_path: Path) -> None:
    state = {"a": {0: torch.ones(1), "e": {}}, "n": 1}
    holdfast.save(tmp_path / "s", state, run="r", step=0, rng=False)
    report = export(tmp_path / "s", "r@0", tmp_path / "dcp", format="dcp")
    assert report.files == ("__0_0.distcp", ".metadata")
    assert report.notes == (
        "a.e: an empty dict has no place",
        "1 keys that are no texts became texts, as in all files of this kind",
    )


def test_names_that_would_be_one_are_refused(tmp_path: Path) -> None:
    state = OrderedDict({"a.b": torch.ones(1), "a": {"b": torch.ones(2)}})
    with pytest.raises(CannotConvert, match=r"both be called 'a\.b'"):
        exported(tmp_path, state)
    assert sorted(os.listdir(tmp_path)) == ["s"]


def cut(folder: Path) -> None:
    data = (folder / "__0_0.distcp").read_bytes()
    (folder / "__0_0.distcp").write_bytes(data[: len(data) // 2])


def other_bytes(folder: Path) -> None:
    length = (folder / "__0_0.distcp").stat().st_size
    (folder / "__0_0.distcp").write_bytes(bytes(length))


def cut_metadata(folder: Path) -> None:
    data = (folder / ".metadata").read_bytes()
    (folder / ".metadata").write_bytes(data[: len(data) // 2])


def other_shape(folder: Path) -> None:
    metadata = pickle.loads((folder / ".metadata").read_bytes())
    metadata.state_dict_metadata["w"].size = torch.Size([9])
    (folder / ".metadata").write_bytes(pickle.dumps(metadata))


DAMAGE = [
    lambda folder: (folder / "__0_0.distcp").unlink(),
    lambda folder: (folder / ".metadata").unlink(),
    cut,
    other_bytes,
    cut_metadata,
    other_shape,
]


@pytest.mark.parametrize("damage", DAMAGE, ids=range(len(DAMAGE)))
def test_a_folder_that_contradicts_itself_is_refused(tmp_path: Path, damage: Any) -> None:
    path = exported(tmp_path, {"w": torch.ones(8), "n": 1})
    shutil.rmtree(tmp_path / "s")
    damage(path)
    with warnings.catch_warnings(), pytest.raises((DataError, CannotConvert)):
        import_checkpoint(tmp_path / "s", path, run="r")
    assert not (tmp_path / "s").exists()
