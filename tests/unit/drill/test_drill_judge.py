"""What becomes of a run, judged on values."""

from holdfast.drill.compare import Difference, LeafDifference, SeriesDifference
from holdfast.drill.faults import FAULTS
from holdfast.drill.judge import judge
from holdfast.drill.record import Life, Record
from holdfast.drill.series import Series
from holdfast.drill.trace import StepRow, Trace

BY_NAME = {fault.name: fault for fault in FAULTS}
SAME = Difference(n_leaves=5, n_values=7)


def record(*lives, values=None):
    series = {"printed: loss": Series("printed", "loss", values)} if values else {}
    return Record(lives, {}, series)


def steps(first, last):
    return Trace("o", {"0": tuple(StepRow(params=str(n)) for n in range(first, last))})


def judged(fault, *lives, difference=SAME, reference=None, falls_back=True):
    whole = reference or record(Life(0, 1.0, trace=steps(0, 10)))
    return judge(BY_NAME[fault], "", whole, record(*lives), difference, falls_back=falls_back)


def killed(**parts):
    return Life(-9, 1.0, struck=True, had_checkpoint=True, **parts)


def test_the_same_end_after_a_resume_passes_and_says_from_where():
    outcome = judged("kill", killed(), Life(0, 1.0, trace=steps(6, 10)))
    assert (outcome.status, outcome.resumed_at) == ("passed", 6)
    assert "5 leaves and 7 metrics are the same, on from step 6" in outcome.words


def test_the_same_end_without_a_resume_does_not_pass():
    outcome = judged("kill", killed(), Life(0, 1.0, trace=steps(0, 10)))
    assert outcome.status == "failed" and outcome.causes[0].rule == "anew"
    # Before the first checkpoint there is nothing else to do.
    outcome = judged("kill", Life(-9, 1.0), Life(0, 1.0, trace=steps(0, 10)))
    assert outcome.status == "passed" and "nothing had been saved yet" in outcome.words


def test_a_disk_that_is_full_before_the_first_checkpoint_of_all_kinds_is_no_fault_of_the_script():
    both = frozenset({"best.pt", "last.pt"})
    whole = record(Life(0, 1.0, trace=steps(0, 10), kinds=both | {"final.pt"}, again=both))
    anew = Life(0, 1.0, trace=steps(0, 10))
    died = Life(1, 1.0, had_checkpoint=True, kinds=frozenset({"best.pt"}))
    outcome = judged("full-disk", died, anew, reference=whole)
    assert outcome.status == "passed" and "last.pt had not been saved yet" in outcome.words
    # Other faults wait until all are there; and here all were.
    assert judged("kill", died, anew, reference=whole).status == "failed"
    died = Life(1, 1.0, had_checkpoint=True, kinds=both)
    assert judged("full-disk", died, anew, reference=whole).causes[0].rule == "anew"


def test_beginning_anew_shows_in_what_is_printed_too():
    whole = record(Life(0, 1.0), values=dict.fromkeys(range(10), 1.0))
    again = record(killed(), Life(0, 1.0), values=dict.fromkeys(range(10), 1.0))
    assert judge(BY_NAME["kill"], "", whole, again, SAME).causes[0].rule == "anew"
    on = record(killed(), Life(0, 1.0), values=dict.fromkeys(range(5, 10), 1.0))
    assert judge(BY_NAME["kill"], "", whole, on, SAME).status == "passed"


def test_a_script_that_shows_nothing_is_told_what_cannot_be_known():
    whole = record(Life(0, 1.0, lines=("loading", "epoch", "epoch", "done")))
    silent = judged("kill", killed(), Life(0, 1.0, lines=("a", "b", "c", "d")), reference=whole)
    assert silent.status == "warned" and "cannot be seen" in silent.words and silent.is_unseen
    opened = Life(0, 1.0, lines=("a", "b", "c", "d"), has_read=True)
    seen = judged("kill", killed(), opened, reference=whole)
    assert seen.status == "passed" and "it read a checkpoint" in seen.words
    shorter = judged("kill", killed(), Life(0, 1.0, lines=("loading", "done")), reference=whole)
    assert "printed 2 lines of 4" in shorter.words


def test_a_start_that_fails_tells_the_last_words():
    last = Life(1, 1.0, lines=("Traceback", "EOFError: Ran out of input"))
    outcome = judged("kill", killed(), last)
    assert outcome.status == "failed"
    assert "does not start again: status 1, EOFError" in outcome.words
    # At a damaged checkpoint that is right, if nothing was promised.
    assert judged("damaged", killed(), last, falls_back=False).status == "warned"
    assert judged("damaged", killed(), last).status == "failed"


def test_a_life_that_hangs_fails():
    outcome = judged("kill", killed(), Life(-9, 60.0, timed_out=True))
    assert outcome.status == "failed" and "within 60 s" in outcome.words


def test_a_metric_that_is_told_once_is_no_failure_but_told_and_a_course_is_one():
    once = record(Life(0, 1.0), values={10: 2.0})
    series = SeriesDifference("printed", "loss", 10, 2.0, 1.0, 1, 1.0)
    difference = Difference(series=(series,), n_leaves=3)
    ended = record(killed(), Life(0, 1.0), values={10: 1.0})
    passed = judge(BY_NAME["kill"], "", once, ended, difference)
    assert passed.status == "passed" and "is 1.0 instead of 2.0" in passed.words
    course = record(Life(0, 1.0), values={9: 1.0, 10: 2.0})
    assert judge(BY_NAME["kill"], "", course, ended, difference).status == "failed"


def test_another_world_size_may_change_bits_but_loses_no_leaf():
    last = Life(0, 1.0, trace=steps(6, 10))
    moved = LeafDifference("last.pt", "w", "value", "float32", 0.001)
    own = LeafDifference("last.pt", "rng/1", "missing", "uint8")
    lost = LeafDifference("last.pt", "optimizer/m", "missing", "float32")
    passed = judged("world", killed(), last, difference=Difference((moved, own), n_leaves=3))
    assert passed.status == "passed" and "0.001 of their norm" in passed.words
    failed = judged("world", killed(), last, difference=Difference((moved, lost), n_leaves=3))
    assert failed.status == "failed" and "optimizer/m" in failed.causes[0].words
