"""safetensors, as its own library and Hugging Face's write and read it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from nested_states import bits, tensor
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import holdfast
from holdfast.convert import export, import_checkpoint
from holdfast.convert.registry import format_of
from holdfast.errors import CannotConvert, DataError, ForeignDamaged, NotFound, UsageError

DTYPES = [
    torch.bool,
    torch.uint8,
    torch.int8,
    torch.int16,
    torch.int32,
    torch.int64,
    torch.float16,
    torch.bfloat16,
    torch.float32,
    torch.float64,
    torch.float8_e4m3fn,
    torch.float8_e5m2,
    torch.complex64,
    torch.uint16,
    torch.uint32,
    torch.uint64,
]


def same(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> bool:
    return first.keys() == second.keys() and all(
        (a.dtype, a.shape, bits(a)) == (second[key].dtype, second[key].shape, bits(second[key]))
        for key, a in first.items()
    )


trees = st.dictionaries(
    st.text(st.characters(blacklist_categories=["Cs"]), min_size=1, max_size=8).filter(
        lambda name: name != "__metadata__" and not name.startswith("@")
    ),
    st.tuples(
        st.sampled_from(DTYPES),
        st.lists(st.integers(0, 4), max_size=3).map(tuple),
        st.integers(0, 99),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=30, deadline=None)
@given(trees)
def test_every_dtype_goes_there_and_back(tmp_path_factory: Any, specs: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("round")
    tree = {name: tensor(*spec) for name, spec in specs.items()}
    holdfast.save(folder / "s", {"model": tree}, run="r", step=0, rng=False)
    export(folder / "s", "r@0", folder / "m.safetensors", format="safetensors", root="model")
    assert same(load_file(folder / "m.safetensors"), tree)
    import_checkpoint(folder / "s", folder / "m.safetensors", run="back", root="model")
    assert same(holdfast.load(folder / "s", "back@0")["model"], tree)


@settings(max_examples=20, deadline=None)
@given(trees)
def test_their_files_are_read(tmp_path_factory: Any, specs: dict[str, Any]) -> None:
    folder = tmp_path_factory.mktemp("theirs")
    tree = {name: tensor(*spec) for name, spec in specs.items()}
    save_file(tree, folder / "m.safetensors", {"format": "pt"})
    assert format_of(folder / "m.safetensors").name == "safetensors"
    import_checkpoint(folder / "s", folder / "m.safetensors", run="r")
    assert same(holdfast.load(folder / "s", "r@0"), tree)


def test_a_large_model_goes_through_in_shards(tmp_path: Path) -> None:
    tree = {f"layer.{i}.weight": torch.randn(900, 1000 + i) for i in range(12)}
    tree["tied"] = tree["layer.0.weight"]
    holdfast.save(tmp_path / "s", {"model": tree}, run="r", step=0)
    report = export(
        tmp_path / "s",
        "r@0",
        tmp_path / "out",
        format="safetensors",
        root="model",
        options={"shard_bytes": 15_000_000},
    )
    assert len(report.files) == 5
    index = json.loads((tmp_path / "out" / "model.safetensors.index.json").read_text())
    found: dict[str, torch.Tensor] = {}
    for name, file in index["weight_map"].items():
        with safe_open(tmp_path / "out" / file, "pt") as shard:
            found[name] = shard.get_tensor(name)
    assert same(found, tree)
    for path in (tmp_path / "out", tmp_path / "out" / "model.safetensors.index.json"):
        import_checkpoint(tmp_path / "s", path, run=f"back-{path.suffix}", root="model")
        assert same(holdfast.load(tmp_path / "s", f"back-{path.suffix}@0")["model"], tree)


def test_a_dtype_that_it_has_no_name_for_is_refused(tmp_path: Path) -> None:
    holdfast.save(tmp_path / "s", {"w": np.zeros(3, "<U4"), "z": np.zeros(2)}, run="r", step=0)
    with pytest.raises(CannotConvert, match="'w' has the dtype"):
        export(tmp_path / "s", "r@0", tmp_path / "o", format="safetensors")
    assert not (tmp_path / "o").exists()
    export(tmp_path / "s", "r@0", tmp_path / "o", format="safetensors", skip="w")


# --- what is no whole file ---


def written(path: Path, header: object, data: bytes = bytes(8)) -> Path:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data)
    return path


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}

MALFORMED: list[Any] = [
    b"",
    b"[]",
    b"{",
    b'{"a":{},"a":{}}',
    b"[" * 100_000,
    {"a": 3},
    {"a": {"dtype": "F32", "shape": [2]}},
    {"a": {**ENTRY, "dtype": "F33"}},
    {"a": {**ENTRY, "shape": [3]}},
    {"a": {**ENTRY, "shape": [-1, -2]}},
    {"a": {**ENTRY, "shape": [1 << 62, 1 << 62]}},
    {"a": {**ENTRY, "shape": [2.0]}},
    {"a": {**ENTRY, "shape": [1] * 99}},
    {"a": {**ENTRY, "data_offsets": [0, 16]}},
    {"a": {**ENTRY, "data_offsets": [8, 0]}},
    {"a": {**ENTRY, "data_offsets": [4, 12]}},
    {"a": {**ENTRY, "data_offsets": ["0", "8"]}},
    {"a": ENTRY, "b": ENTRY},
    {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}},
]


@pytest.mark.parametrize("header", MALFORMED, ids=range(len(MALFORMED)))
def test_a_file_that_contradicts_itself_is_refused(tmp_path: Path, header: Any) -> None:
    path = written(tmp_path / "m.safetensors", header)
    with pytest.raises(ForeignDamaged):
        import_checkpoint(tmp_path / "s", path, run="r", format="safetensors")
    assert not (tmp_path / "s").exists()


def test_every_truncation_is_refused(tmp_path: Path) -> None:
    save_file({"a": torch.arange(5.0), "b": torch.ones(3)}, tmp_path / "whole")
    whole = (tmp_path / "whole").read_bytes()
    for length in range(len(whole)):
        (tmp_path / "cut").write_bytes(whole[:length])
        with pytest.raises(DataError):
            import_checkpoint(tmp_path / "s", tmp_path / "cut", run="r", format="safetensors")
    assert not (tmp_path / "s").exists()


INDICES: list[Any] = [
    "{",
    "[]",
    {"weight_map": 3},
    {"weight_map": {"a": "../m.safetensors"}},
    {"weight_map": {"a": "none.safetensors"}},
    {"weight_map": {"other": "m.safetensors"}},
    {"weight_map": {"a": "m.safetensors", "b": "m.safetensors"}},
    {"weight_map": {}},
]


@pytest.mark.parametrize("index", INDICES, ids=range(len(INDICES)))
def test_an_index_that_disagrees_with_its_shards_is_refused(tmp_path: Path, index: Any) -> None:
    folder = tmp_path / "f"
    folder.mkdir()
    written(folder / "m.safetensors", {"a": ENTRY})
    text = index if isinstance(index, str) else json.dumps(index)
    (folder / "model.safetensors.index.json").write_text(text)
    with pytest.raises((ForeignDamaged, UsageError)):
        import_checkpoint(tmp_path / "s", folder, run="r")
    assert not (tmp_path / "s").exists()


def test_what_is_no_file_of_the_kind_is_told(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        import_checkpoint(tmp_path / "s", tmp_path / "nothing", run="r")
    (tmp_path / "text").write_text("hello, this is no checkpoint")
    with pytest.raises(CannotConvert, match="no format that is known"):
        import_checkpoint(tmp_path / "s", tmp_path / "text", run="r")


def test_elements_of_less_than_a_byte_are_no_damage(tmp_path: Path) -> None:
    save_file({"x": torch.zeros(4, dtype=torch.float4_e2m1fn_x2)}, tmp_path / "x.safetensors")
    with pytest.raises(CannotConvert, match="elements of F4"):
        import_checkpoint(tmp_path / "s", tmp_path / "x.safetensors", run="r")
    assert not (tmp_path / "s").exists()
