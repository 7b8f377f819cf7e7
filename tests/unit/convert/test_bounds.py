"""Foreign files that say they are far more than they are, or lead elsewhere: refused at once."""

from __future__ import annotations

import gzip
import json
import os
import pickle
import shutil
import zipfile
from pathlib import Path

import h5py
import numpy as np
import pytest

import holdfast
from holdfast.convert import export, import_checkpoint
from holdfast.convert.tensorflow.element_types import STRING
from holdfast.convert.tensorflow.messages import BundleEntry, BundleHeader
from holdfast.convert.tensorflow.table import write_table
from holdfast.errors import ForeignDamaged, ForeignRefused
from holdfast.foreign.checksums import masked_checksum


def refused(path: Path, match: str) -> None:
    store = path.parent / "store"
    with pytest.raises(ForeignRefused, match=match):
        import_checkpoint(store, path, run="r")
    assert not store.exists()


@pytest.mark.parametrize("chunks", [None, (1 << 20,)], ids=["in one piece", "in chunks"])
def test_an_array_that_was_never_written(tmp_path: Path, chunks: tuple[int] | None) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("w", (1 << 38,), "f4", chunks=chunks)
        file["small"] = np.ones(3)
    refused(path, "1,099,511,627,8..: more than 100 times")
    # What is small of it can be had.
    info = import_checkpoint(tmp_path / "store", path, run="r", only="small")
    assert holdfast.load(tmp_path / "store", info.ref)["small"].sum() == 3


def test_what_is_compressed_well_is_taken(tmp_path: Path) -> None:
    """Moments of an optimizer that has not begun are zeros."""
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("w", data=np.zeros(1 << 20, "f4"), compression="gzip")
    assert path.stat().st_size < 40_000
    assert import_checkpoint(tmp_path / "store", path, run="r").state_bytes == 4 << 20


def test_one_text_that_stands_for_many(tmp_path: Path) -> None:
    path, count = tmp_path / "x.h5", 2_000
    with h5py.File(path, "w") as file:
        texts = file.create_dataset("t", (count,), h5py.string_dtype())
        texts[0] = "x" * (1 << 20)
        file.flush()
        offset = texts.id.get_offset()
    data = bytearray(path.read_bytes())
    data[offset : offset + 16 * count] = bytes(data[offset : offset + 16]) * count
    path.write_bytes(data)
    refused(path, "texts of '/t'")


def test_texts_are_read_whatever_their_shape(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        wanted = [[f"{i}-{j}" * j for j in range(700)] for i in range(9)]
        file.create_dataset("t", data=wanted, dtype=h5py.string_dtype())
        file.create_dataset("one", data="alone", dtype=h5py.string_dtype())
        file.create_dataset("none", (0, 3), h5py.string_dtype())
    import_checkpoint(tmp_path / "store", path, run="r")
    tree = holdfast.load(tmp_path / "store", "r@0")
    assert (tree["t"], tree["one"], tree["none"]) == (wanted, "alone", [])


def test_lists_without_texts_are_bounded_in_hdf5(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file.create_dataset("t", (1 << 40, 0), h5py.string_dtype())
    refused(path, "more lists")


def test_an_attribute_of_lists_without_texts_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.h5"
    with h5py.File(path, "w") as file:
        file["w"] = np.ones(2)
        file.attrs.create("t", np.empty((1 << 40, 0), object), dtype=h5py.string_dtype())
    import_checkpoint(tmp_path / "store", path, run="r")
    assert list(holdfast.load(tmp_path / "store", "r@0")) == ["w"]


def test_lists_without_texts_are_bounded_in_tensorflow(tmp_path: Path) -> None:
    entry = BundleEntry(dtype=STRING, crc32c=int.from_bytes(masked_checksum(b""), "little"))
    for size in (1 << 40, 0):
        entry.shape.dim.add(size=size)
    header = BundleHeader(num_shards=1).SerializeToString()
    table = write_table([(b"", header), (b"t", entry.SerializeToString())])
    (tmp_path / "x.index").write_bytes(table)
    (tmp_path / "x.data-00000-of-00001").write_bytes(b"")
    refused(tmp_path / "x.index", "more lists")


def keras_archive(path: Path, weights: bytes, assets: int) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for name in ("config.json", "metadata.json"):
            archive.writestr(name, "{}")
        archive.writestr("model.weights.h5", weights)
        for i in range(assets):
            archive.writestr(f"assets/{i}", bytes(60 << 20))
    return path


def test_weights_and_assets_that_unpack_to_far_more(tmp_path: Path) -> None:
    refused(keras_archive(tmp_path / "a.keras", bytes(80 << 20), 0), "unpacks to far more")
    refused(keras_archive(tmp_path / "b.keras", b"", 5), "Texts and assets")


@pytest.mark.parametrize("harm", ["damaged", "encrypted", "packed in an unknown way"])
def test_weights_that_cannot_be_unpacked(tmp_path: Path, harm: str) -> None:
    path = keras_archive(tmp_path / "a.keras", bytes(range(256)) * 400, 0)
    data = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        begin = archive.getinfo("model.weights.h5").header_offset
    entry = data.rindex(b"PK\x01\x02")
    if harm == "damaged":
        content = begin + 30 + len("model.weights.h5")
        data[content : content + 20] = b"\xff" * 20
    elif harm == "encrypted":
        data[begin + 6] |= 1
        data[entry + 8] |= 1
    else:
        data[begin + 8] = data[entry + 10] = 97
    path.write_bytes(data)
    with pytest.raises(ForeignDamaged, match=r"no whole \.keras archive"):
        import_checkpoint(tmp_path / "store", path, run="r")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("link", ["folder", "file"])
def test_an_orbax_checkpoint_with_links_that_lead_out(tmp_path: Path, link: str) -> None:
    outside, inside = tmp_path / "private", tmp_path / "x"
    for folder in (outside, inside):
        folder.mkdir()
    array = {"zarr_format": 2, "shape": [4], "chunks": [4], "dtype": "<f4", "compressor": None}
    array |= {"fill_value": None, "order": "C", "filters": None}
    (outside / ".zarray").write_text(json.dumps(array))
    (outside / "0").write_bytes(bytes(16))
    key = {"key_metadata": [{"key": "w", "key_type": 2}]}
    leaf = key | {"value_metadata": {"value_type": "np.ndarray", "skip_deserialize": False}}
    about = {"tree_metadata": {"('w',)": leaf}, "use_ocdbt": False, "use_zarr3": False}
    (inside / "_METADATA").write_text(json.dumps(about))
    if link == "folder":
        (inside / "w").symlink_to(outside)
    else:
        (inside / "w").mkdir()
        (inside / "w" / ".zarray").write_text(json.dumps(array))
        (inside / "w" / "0").symlink_to(outside / "0")
    refused(inside, "leads out")


@pytest.mark.parametrize(
    ("format", "file"),
    [
        ("safetensors", "model.safetensors"),
        ("safetensors index", "model.safetensors"),
        ("torch index", "model.bin"),
        ("tensorflow", "ckpt.data-00000-of-00001"),
    ],
)
def test_a_file_of_a_folder_that_is_a_link_to_elsewhere(
    tmp_path: Path, format: str, file: str
) -> None:
    name, _, index = format.partition(" ")
    holdfast.save(tmp_path / "from", {"w": np.arange(3.0)}, run="r", step=0, rng=False)
    folder = tmp_path / "hub" / "snapshots" / "revision"
    target = folder if name == "tensorflow" else folder / file
    folder.mkdir(parents=True)
    export(tmp_path / "from", "r@0", target, format=name, overwrite=True)
    if index:
        ending = "safetensors.index.json" if name == "safetensors" else "bin.index.json"
        (folder / f"model.{ending}").write_text(json.dumps({"weight_map": {"w": file}}))

    def move_to(place: Path) -> None:
        place.parent.mkdir(exist_ok=True)
        shutil.move((folder / file).resolve(), place)
        (folder / file).unlink(missing_ok=True)
        (folder / file).symlink_to(place)

    move_to(tmp_path / "private" / "weights")
    with pytest.raises(ForeignRefused, match="a link that leads out of its folder"):
        import_checkpoint(tmp_path / "store", folder, run="r")
    assert not (tmp_path / "store").exists()
    # As caches of hubs have their files.
    move_to(tmp_path / "hub" / "blobs" / "0123")
    import_checkpoint(tmp_path / "store", folder, run="r")
    assert holdfast.load(tmp_path / "store", "r@0")["w"].sum() == 3


@pytest.mark.parametrize("name", ["x.pt", "x/model.safetensors", "x/.metadata"])
def test_what_may_never_give_a_byte_is_refused(tmp_path: Path, name: str) -> None:
    pipe = tmp_path / name
    pipe.parent.mkdir(exist_ok=True)
    os.mkfifo(pipe)
    refused(pipe if pipe.parent == tmp_path else pipe.parent, "no plain file")


@pytest.mark.parametrize("protocol", [0, 1])
@pytest.mark.parametrize("ending", [".pkl", ".pkl.gz"])
def test_a_pickle_of_the_first_protocols_gets_its_reason(
    tmp_path: Path, protocol: int, ending: str
) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, ...]:
            return os.system, (f"touch {tmp_path / 'gotcha'}",)

    write = gzip.compress if ending == ".pkl.gz" else bytes
    path = tmp_path / "x.pkl"
    path.write_bytes(write(pickle.dumps({"w": [1.5, Evil()]}, protocol)))
    refused(path, "runs a shell command")
    assert not (tmp_path / "gotcha").exists()
    path.write_bytes(write(pickle.dumps({"w": [1.5, 2]}, protocol)))
    import_checkpoint(tmp_path / "store", path, run="r")
    assert holdfast.load(tmp_path / "store", "r@0") == {"w": [1.5, 2]}


def test_no_error_advises_to_trust_a_file(tmp_path: Path) -> None:
    header = b"(" * 30_000
    path = tmp_path / "x.npy"
    path.write_bytes(b"\x93NUMPY\x02\x00" + len(header).to_bytes(4, "little") + header)
    with pytest.raises(ForeignDamaged, match="its header makes no sense") as caught:
        import_checkpoint(tmp_path / "store", path, run="r")
    assert "allow_pickle" not in caught.value.message
