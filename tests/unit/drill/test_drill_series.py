import math

import pytest

from holdfast.drill.series import Series, equal, is_volatile, of_files, of_lines
from holdfast.drill.work_folder import RunFolder


def told(lines):
    return {series.name: dict(series.values) for series in of_lines(lines)}


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("step 3 loss 0.25 lr=1e-3", {"loss": {3: 0.25}, "lr": {3: 0.001}}),
        ("Step: 12 | train_loss: -2.5e-1", {"train_loss": {12: -0.25}}),
        (
            "Epoch 3/5 - loss: 0.3 - accuracy: 1",
            {"loss by epoch": {3: 0.3}, "accuracy by epoch": {3: 1.0}},
        ),
        ("{'loss': 3.1, 'step': 7}", {"loss": {7: 3.1}}),
        ("{'loss': '3.1', 'epoch': '0.5'}", {"loss by epoch": {0.5: 3.1}}),
        ("step 4 loss nan", {"loss": {4: math.nan}}),
        ("nothing with a number 4", {}),
        ("saved the model to out/step.pt", {}),
    ],
)
def test_metrics_are_found_in_what_is_printed(line, expected):
    found = told([line])
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert found[name].keys() == values.keys()
        assert all(equal(found[name][step], value) for step, value in values.items())


def test_of_a_step_that_is_printed_twice_the_last_counts():
    assert told(["step 1 loss 5.0", "step 1 loss 4.0"]) == {"loss": {1: 4.0}}


def test_metrics_are_found_in_files_and_of_what_was_done_twice_the_last_counts(tmp_path):
    work = tmp_path / "work"
    for version in ("version_0", "version_1"):
        (work / "logs" / version).mkdir(parents=True)
    (work / "logs/version_0/metrics.csv").write_text("step,loss,note\n0,1.0,a\n1,0.5,b\n")
    (work / "logs/version_1/metrics.csv").write_text("step,loss,note\n1,0.25,c\n2,0.125,\n")
    (work / "log.jsonl").write_text('{"step": 0, "acc": 0.5}\n{"step": 1, "acc": tru\n')
    (work / "state.json").write_text('{"log_history": [{"step": 5, "loss": 2, "runtime": 8}]}')
    (work / "broken.json").write_text("{")
    found = {(s.source, s.name): dict(s.values) for s in of_files(RunFolder(tmp_path, {}), [])}
    assert found["work/logs//metrics.csv", "loss"] == {0: 1.0, 1: 0.25, 2: 0.125}
    assert found["work/log.jsonl", "acc"] == {0: 0.5}
    assert found["work/state.json", "loss"] == {5: 2.0}
    assert ("work/logs//metrics.csv", "note") not in found
    assert not list(of_files(RunFolder(tmp_path, {}), ["work"]))


@pytest.mark.parametrize(
    "name", ["runtime", "samples_per_second", "elapsed", "epoch_time", "trainTime"]
)
def test_what_tells_of_time_is_no_metric(name):
    assert is_volatile(Series("printed", name, {}))


@pytest.mark.parametrize(
    "name",
    [
        "val_loss",
        "theta_norm",
        "beta",
        "meta_loss",
        "update_ratio",
        "sentiment_acc",
        "rapid",
        "timestep_loss",
        "estimated_q",
    ],
)
def test_a_word_within_a_word_tells_of_nothing(name):
    assert not is_volatile(Series("printed", name, {}))
