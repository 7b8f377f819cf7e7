from __future__ import annotations

import json
import logging
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file
from tracked_runs import LOSSES, train

from absent import required

wandb = required("wandb")

import holdfast  # noqa: E402
from holdfast.errors import UsageError  # noqa: E402
from holdfast.wandb import ArtifactLogger  # noqa: E402

LOGGERS = {
    "every": {"root": "model", "best": "loss"},
    "best": {"format": "reference", "when": "best", "best": "loss"},
    "tagged": {"format": "bundle", "when": "tagged"},
    "both": {"format": "reference", "when": ["best", "tagged"], "best": "loss"},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where a run was logged offline by all of the loggers."""
    folder = tmp_path_factory.mktemp("logged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WANDB_MODE", "offline")
        patch.setenv("WANDB_SILENT", "true")
        for name in ("DATA", "CACHE", "CONFIG", "ARTIFACT"):
            patch.setenv(f"WANDB_{name}_DIR", str(folder / name.lower()))
        wandb.init(project="p", dir=str(folder))
        train(folder / "ckpts", [ArtifactLogger(name=k, **v) for k, v in LOGGERS.items()])
        wandb.finish()
        # Until then its other process has not written all.
        wandb.teardown()
        yield folder


@pytest.fixture(scope="module")
def artifacts(folder: Path) -> dict[str, list[Any]]:
    """What was logged, by the name that each logger gave it."""
    found = logged(folder)
    return {name: [a for a in found if a.name == name] for name in LOGGERS}


def logged(folder: Path) -> list[Any]:
    """Return the artifacts in the file of the offline run, by the client's own messages."""
    from wandb.proto.wandb_internal_pb2 import Record

    (file,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    found = []
    for data in messages(file.read_bytes()):
        record = Record.FromString(data)
        if record.WhichOneof("record_type") == "artifact":
            found.append(record.artifact)
        elif record.request.WhichOneof("request_type") == "log_artifact":
            found.append(record.request.log_artifact.artifact)
    return found


def messages(log: bytes) -> Iterator[bytes]:
    """Yield what is in a log of LevelDB's format: pieces in blocks of 32 KiB."""
    at, message = 7, b""  # The client's own header.
    while at + 7 <= len(log):
        left = 32768 - at % 32768
        length, kind = struct.unpack_from("<HB", log, at + 4) if left >= 7 else (0, 0)
        if not kind:
            at += left
            continue
        message += log[at + 7 : at + 7 + length]
        at += 7 + length
        if kind in (1, 4):  # Whole, or the last piece.
            yield message
            message = b""


def test_each_checkpoint_becomes_a_version_that_says_what_it_is(
    folder: Path, artifacts: dict[str, list[Any]]
) -> None:
    store = holdfast.Store(folder / "ckpts")
    assert [set(a.aliases) for a in artifacts["every"]] == [
        {"latest", "step-0", "best"},
        {"latest", "step-1", "best"},
        {"latest", "step-2", "final-1"},
    ]
    for step, artifact in enumerate(artifacts["every"]):
        metadata = json.loads(artifact.metadata)
        assert artifact.type == "model"
        assert metadata["ref"] == f"net@{step}" and metadata["metrics"] == {"loss": LOSSES[step]}
        assert metadata["id"] == store.info(f"net@{step}").id
        paths = {entry.path: Path(entry.local_path) for entry in artifact.manifest.contents}
        weights = load_file(paths.pop(f"net-{step}.safetensors"))
        assert weights.keys() == {"w"}
        np.testing.assert_array_equal(weights["w"], np.full((2, 3), step + 1, "f4"))
        (pointer,) = paths.values()
        assert json.loads(pointer.read_text()).items() >= metadata.items()
    assert metadata["commit"] == f"blake3:{store.head('net').digest.hex()}"


@pytest.mark.parametrize(
    ("name", "steps"), [("best", [0, 1]), ("tagged", [2]), ("both", [0, 1, 2])]
)
def test_only_the_best_or_tagged_ones(
    name: str, steps: list[int], artifacts: dict[str, list[Any]]
) -> None:
    assert [json.loads(a.metadata)["step"] for a in artifacts[name]] == steps


def test_a_reference_copies_nothing(folder: Path, artifacts: dict[str, list[Any]]) -> None:
    assert len({a.digest for a in artifacts["both"]}) == 3
    for artifact in artifacts["both"]:
        entries = {entry.path: entry for entry in artifact.manifest.contents}
        assert (
            entries.pop("store/holdfast.json").ref == f"{(folder / 'ckpts').as_uri()}/holdfast.json"
        )
        assert entries.keys() == {"holdfast-checkpoint.json"}


def test_a_bundle_is_a_store_with_everything(
    tmp_path: Path, artifacts: dict[str, list[Any]]
) -> None:
    (artifact,) = artifacts["tagged"]
    paths = {entry.path: entry.local_path for entry in artifact.manifest.contents}
    bundle = tmp_path / "net-2.holdfast"
    # The client keeps it under a name of its own.
    shutil.copy(paths[bundle.name], bundle)
    assert holdfast.load(bundle, "net@2")["optimizer"]["m"].tolist() == [1.0] * 4


def test_without_a_run_it_is_told_and_training_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, logger="holdfast"):
        train(tmp_path / "ckpts", [ArtifactLogger(format="reference")])
    assert "wandb.init()" in caplog.text
    assert len(holdfast.Store(tmp_path / "ckpts").log("net")) == 3


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"format": "parquet"}, "safetensors"),
        ({"format": "pickle"}, "safetensors"),
        ({"format": "bundle", "root": "model"}, "root"),
        ({"when": "sometimes"}, "tagged"),
        ({"when": []}, "tagged"),
        ({"when": "best"}, "best="),
        ({"best": "best:loss"}, "best="),
    ],
)
def test_arguments_that_are_not_possible(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(UsageError, match=says):
        ArtifactLogger(**arguments)
