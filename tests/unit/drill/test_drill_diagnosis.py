"""Rules of the diagnosis on values, where no real script is needed to tell them apart."""

from dataclasses import replace

from holdfast.drill.compare import Difference, LeafDifference, compare
from holdfast.drill.diagnosis import diagnose
from holdfast.drill.leaves import Leaf, Saved
from holdfast.drill.record import Life, Record
from holdfast.drill.series import Series
from holdfast.drill.trace import Moments, StepRow, Trace


def row(number):
    return StepRow(
        rng={"torch": f"r{number}", "python": "p"},
        model={"w": f"w{number}", "b": f"b{number}"},
        inputs=(f"s{number % 5}a", f"s{number % 5}b"),
        params=f"w{number}",
        grads=f"g{number}",
        settings=({"lr": 0.1 / (number + 1)},),
        moments={"exp_avg": Moments(f"m{number}", ("float32",), 2)},
    )


def traced(rows):
    return Record((Life(0, 1.0, trace=Trace("o", {"0": tuple(rows)})),))


def causes(rows, reference=None):
    reference = reference or [row(n) for n in range(20)]
    record = traced(rows)
    resumed = Record((Life(-9, 1.0), *record.lives))
    difference = Difference(n_leaves=3)
    return {c.rule: c for c in diagnose(traced(reference), resumed, difference)}


def changed(at=12, **parts):
    """The rows of a resume in which something is not right from the first step on."""
    rows = [row(n) for n in range(at, 20)]
    return [replace(rows[0], **parts), *rows[1:]]


def test_a_resume_that_is_right_has_no_cause():
    assert causes(changed()) == {}


def test_a_generator_that_is_not_used_is_no_cause():
    assert causes(changed(rng={"torch": "r12", "python": "another"})) == {}


def test_moments_that_are_missing_are_told():
    found = causes(changed(moments={}))
    assert found.keys() == {"moments"}
    assert found["moments"].words == "optimizer state not restored: exp_avg begins anew"


def test_of_several_optimizers_the_one_that_begins_anew_is_told():
    rows = [row(n) for n in range(12, 20)]
    rows[1] = replace(rows[1], moments={})
    found = causes(rows)
    assert found.keys() == {"moments"}
    assert found["moments"].words.startswith("state of another optimizer not restored: exp_avg")
    assert "in step 2 of an optimizer" in found["moments"].words


def test_an_optimizer_that_begins_anew_is_one_cause():
    # Its learning rate begins anew with it, and no scheduler is to blame.
    assert causes(changed(moments={}, settings=({"lr": 0.1},))).keys() == {"moments"}


def test_what_other_weights_make_of_the_data_is_no_other_data():
    rows = [row(n) for n in range(12, 20)]
    rows = [
        rows[0],
        replace(rows[1], grads="x"),
        *(replace(r, inputs=("y", "z")) for r in rows[2:]),
    ]
    assert "loader" not in causes(rows)


def test_moments_of_another_type_are_told():
    cast = {"exp_avg": Moments("x", ("bfloat16",), 2)}
    words = causes(changed(moments=cast))["moments"].words
    assert words.startswith("optimizer moments cast: exp_avg is bfloat16 after the resume")


def test_a_schedule_that_differs_later_is_told_with_its_step():
    rows = changed()
    rows[3] = replace(rows[3], settings=({"lr": 0.5},))
    cause = causes(rows)["scheduler"]
    assert cause.step == 15
    assert cause.words.startswith("scheduler not in the state: learning rate is 0.5 instead of")


def test_steps_done_twice_and_left_out_are_told_apart():
    # The weights of step 12, but one step more, or one less, to the end.
    more = [row(12), *[row(n) for n in range(12, 20)]]
    less = [row(n) for n in range(12, 19)]
    assert "so one step is done twice" in causes(more)["step"].words
    assert "so one step is left out" in causes(less)["step"].words


def test_weights_that_are_older_than_their_moments_are_a_stale_copy():
    old = row(9)
    found = causes(changed(model=old.model, params=old.params))
    assert found["stale"].words.startswith(
        "a stale buffer was saved: the weights are those of step 9"
    )
    # The rest is as it was at step 12, and not to blame.
    assert found.keys() == {"stale"}


def test_a_generator_that_begins_anew_is_told_where_what_it_augments_differs():
    rows = [
        replace(row(n), rng={"torch": f"r{n - 12}", "python": "p"}, inputs=(f"x{n}", f"y{n}"))
        for n in range(12, 20)
    ]
    state = Saved("last.pt", {"rng": Leaf("array", "d", "uint8", (5056,))})
    resumed = replace(traced(rows), saved={"last.pt": state})
    reference = traced([row(n) for n in range(20)])
    found = diagnose(reference, resumed, Difference(n_leaves=3))
    assert [cause.rule for cause in found] == ["rng"]
    assert "is in the checkpoint, but not put back" in found[0].words


def test_one_tensor_that_is_new_is_not_called_stale():
    found = causes(changed(model={"w": "w12", "b": "b0"}))
    assert "b not restored: the values are those of the beginning" in found["weights"].words


def test_a_position_that_was_lost_counts_samples():
    rows = [replace(row(n), inputs=row(n - 12).inputs) for n in range(12, 20)]
    words = causes(rows)["loader"].words
    assert (
        words.startswith("loader position lost: ") and "it goes on with the data of step" in words
    )


def test_gradients_alone_are_told_last():
    found = causes(changed(grads="other"))
    assert found.keys() == {"gradients"} and found["gradients"].step == 12
    assert causes(changed(grads="other", moments={})).keys() == {"moments"}


def ends(leaves=(), series=(), expected=(), found=()):
    by_name = [{f"{s.source}: {s.name}": s for s in part} for part in (expected, found)]
    life = (Life(0, 1.0),)
    difference = Difference(tuple(leaves), tuple(series), n_leaves=9, n_arrays_equal=4)
    return diagnose(Record(life, {}, by_name[0]), Record(life, {}, by_name[1]), difference)


def test_leaves_that_differ_alone_are_named_by_what_they_are():
    for path, words in {
        "ema/w": "EMA not in the state",
        "best_loss": "'best' lost on resume",
        "scaler/scale": "gradient scaler not in the state",
        "scheduler/last_epoch": "scheduler not in the state",
    }.items():
        leaf = LeafDifference("last.pt", path, "value", "1, found 2")
        assert words in ends([leaf])[0].words
    # Beside other leaves it may be a consequence.
    several = [LeafDifference("last.pt", p, "value", "1, found 2") for p in ("ema/w", "model/w")]
    assert not any("EMA" in cause.words for cause in ends(several))


def test_a_counter_that_is_off_by_one_is_told_as_such():
    leaves = [
        LeafDifference("last.pt", "it", "value", "128, found 127"),
        LeafDifference("best.pt", "it", "value", "80, found 79"),
    ]
    [cause] = ends(leaves)
    assert cause.words.startswith("step off by one: last.pt: it (128, found 127); best.pt: it")
    # Alone, it is another checkpoint that was the best.
    assert ends(leaves[1:])[0].rule == "best"


def lacking(kind, leaves):
    """The causes where a script's steps were seen, and nothing but its end is another."""
    rows = {"0": tuple(StepRow(step=n, rng={"numpy": f"n{n}"}) for n in range(20))}
    rest = {"0": rows["0"][12:]}
    saved = {"s": Saved("s", {name: Leaf("array", "d", "float64", (3,)) for name in leaves})}
    first = Record((Life(0, 1.0, trace=Trace(kind, rows)),), saved)
    second = Record((Life(-9, 1.0), Life(0, 1.0, trace=Trace(kind, rest))), saved)
    differs = LeafDifference("s", "w", "value", "float64, 0.2 of its norm away")
    difference = Difference(n_leaves=3, leaves=(differs,))
    return " ".join(cause.words for cause in diagnose(first, second, difference))


def test_what_a_checkpointers_state_lacks_is_told_where_nothing_else_was_seen():
    for leaves, begins, ends_with in (
        (["momentum", "sched/n"], "loader position lost", "position in the data"),
        (["momentum", "loader/i"], "scheduler not in the state", "schedule of the learning rate"),
        (["sched/n", "loader/i"], "optimizer not in the state", "such as its momentum"),
        (["momentum"], "the run differs", "position in the data, schedule of the learning rate"),
    ):
        words = lacking("c", ["w", *leaves])
        assert words.startswith(begins) and "none of: " in words and words.endswith(ends_with)
    assert "something else is not in the state" in lacking("c", ["w", "m", "sched/n", "loader/i"])


def went_on_with(first, next_step, every=1):
    """The causes where a script goes on with a step, and its Checkpointer said another."""
    rows = [StepRow(step=n, rng={"numpy": f"n{n}"}) for n in range(0, 40, every)]
    # The generator was put back: it stands where the checkpoint has it.
    rest = [replace(r, rng={"numpy": f"n{r.step - first + next_step}"}) for r in rows]
    rest = tuple(r for r in rest if r.step >= first)
    saved = {"s": Saved("s", {"@rng/numpy/key": Leaf("array", "d", "uint32", (624,))})}
    ends = (Life(-9, 1.0), Life(0, 1.0, trace=Trace("c", {"0": rest}, next_step=next_step)))
    first_run = Record((Life(0, 1.0, trace=Trace("c", {"0": tuple(rows)})),), saved)
    return [c.words for c in diagnose(first_run, Record(ends, saved), Difference(n_leaves=3))]


def test_a_script_that_goes_on_with_another_step_than_it_should_is_told():
    [words] = went_on_with(19, 20)
    assert words == (
        "step off by one: the checkpoint goes on with step 20, the script with step 19, so one "
        "step is done twice"
    )
    assert "2 steps are left out" in went_on_with(22, 20)[0]
    assert went_on_with(20, 20) == []
    assert went_on_with(20, 11, every=10) != []  # Its generator, and no step.
    assert not any("step off" in words for words in went_on_with(20, 11, every=10))


def test_numpys_generator_is_not_taken_for_pythons():
    rows = [row(n) for n in range(20)]
    rows = [replace(r, rng={"python": f"p{n}"}) for n, r in enumerate(rows)]
    rest = [replace(rows[12], rng={"python": "p0"}), *rows[13:]]
    state = Saved("last.pt", {"np/0": Leaf("numbers", "d", "", (624,))})
    first = Record((Life(0, 1.0, trace=Trace("o", {"0": tuple(rows)})),), {"last.pt": state})
    second = Record(
        (Life(-9, 1.0), Life(0, 1.0, trace=Trace("o", {"0": tuple(rest)}))), {"last.pt": state}
    )
    found = diagnose(first, second, Difference(n_leaves=3))
    assert found[0].words.startswith("RNG of Python not in the state")


def courses(**found):
    """What is told of metrics that should run as the squares do, and end otherwise."""
    names = found.keys()
    expected = {
        name: {n: float(n * n % (17 + i)) for n in range(20)} for i, name in enumerate(names)
    }
    parts = [
        {f"log.csv: {name}": Series("log.csv", name, values[name]) for name in names}
        for values in (expected, {name: change(expected) for name, change in found.items()})
    ]
    first, second = (Record((Life(0, 1.0),), {}, series) for series in parts)
    return diagnose(first, second, compare(first, second))


def test_a_course_that_is_run_through_again_is_told():
    found = courses(loss=lambda at: {n: at["loss"][n if n < 12 else n - 4] for n in range(20)})
    assert found[0].words.startswith("loader position lost: from step 12 on loss is what it was 4")
    found = courses(loss=lambda at: {n: at["loss"][n if n < 12 else n - 1] for n in range(20)})
    assert found[0].words.startswith("step off by one: from step 12 on loss is what it was 1 step")


def test_metrics_of_ranks_that_became_one_are_told():
    found = courses(
        rank0_loss=lambda at: at["rank0_loss"],
        rank1_loss=lambda at: {n: at[f"rank{int(n < 12)}_loss"][n] for n in range(20)},
    )
    assert (found[0].rule, found[0].step) == ("ranks", 18)
    assert "rank0_loss and rank1_loss are the same after the resume" in found[0].words


def test_texts_of_another_length_are_no_cast():
    words = "np:<U167 (), found np:<U164 ()"
    found = ends([LeafDifference("state.npz", "rng", "type", words)])
    assert not any(cause.rule == "cast" for cause in found)
    words = "np:float32 (3,), found np:float16 (3,)"
    assert ends([LeafDifference("state.npz", "w", "type", words)])[0].rule == "cast"


def test_ranks_with_a_log_each_are_told_by_their_logs():
    def ranks(second):
        values = ({n: float(n * n % 17) for n in range(20)}, second)
        logs = [Series(f"rank_{i}.jsonl", "draw", of) for i, of in enumerate(values)]
        return Record((Life(0, 1.0),), {}, {f"{log.source}: {log.name}": log for log in logs})

    apart = {n: float(n * n % 13) for n in range(20)}
    shared = {n: float(n * n % (13 if n < 12 else 17)) for n in range(20)}
    first, second = ranks(apart), ranks(shared)
    found = diagnose(first, second, compare(first, second))
    assert "rank_0.jsonl: draw and rank_1.jsonl: draw are the same" in found[0].words
