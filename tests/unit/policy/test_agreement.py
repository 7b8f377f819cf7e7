"""All ranks save the same steps, whatever each has heard when: shown over orders of events."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from holdfast.policy import agreement
from holdfast.policy.agreement import Ask, Call, Verdict, Word


@dataclass
class Rank:
    """One that is at a step, and has heard some of what rank 0 has said."""

    at: int = -1
    heard: int = 0
    saved: list[int] = field(default_factory=list)

    def goes_on(self, step: int, word: Word) -> None:
        before = step - 1 if self.at < 0 else self.at
        if agreement.calls_between(word, before, step):
            self.saved.append(step)
        self.at = step


EVENTS = st.lists(
    st.one_of(
        st.tuples(st.just("lead"), st.booleans(), st.integers(0, 9)),
        st.tuples(st.just("hear"), st.integers(0, 2), st.integers(1, 5)),
        st.tuples(st.just("step"), st.integers(0, 2), st.integers(0, 0)),
    ),
    max_size=120,
)


@settings(max_examples=400, deadline=None)
@given(EVENTS, st.lists(st.integers(1, 12), min_size=40, max_size=40), st.integers(0, 20))
def test_ranks_save_the_same_steps_or_are_not_there_yet(
    events: list[tuple[str, int, int]], strides: list[int], first: int
) -> None:
    steps = [first]
    for stride in strides:
        steps.append(steps[-1] + stride)
    said, leader = [Word()], Rank()
    others = [Rank() for _ in range(3)]
    for what, who, how in events:
        if what == "lead" and len(following := [s for s in steps if s > leader.at]) > 0:
            step = following[0]
            word = said[-1]
            if who:
                word = agreement.called(word, step, how, "clock")
            elif agreement.needs_extension(word, step, how):
                word = agreement.extended(word, step, how)
            said.append(word)
            leader.goes_on(step, word)
        elif what == "hear":
            # Words that are read seldom are missed, all but the newest.
            others[who].heard = min(others[who].heard + how, len(said) - 1)
        elif what == "step":
            word, rank = said[others[who].heard], others[who]
            following = [s for s in steps if s > rank.at]
            if following and word.clear >= following[0]:
                rank.goes_on(following[0], word)
    for rank in others:
        common = min(rank.at, leader.at)
        assert [s for s in rank.saved if s <= common] == [s for s in leader.saved if s <= common]


def test_nobody_waits_for_ever_once_all_is_heard() -> None:
    word = Word()
    for step in range(100):
        if agreement.needs_extension(word, step, 3):
            word = agreement.extended(word, step, 3)
        assert word.clear >= step


def test_a_call_is_for_a_step_that_nobody_is_past() -> None:
    word = agreement.extended(Word(), 10, 5)
    word = agreement.called(word, 12, 5, "10 minutes")
    assert word.calls == (Call(16, "10 minutes"),)
    assert word.clear >= 16
    # The way was not said to be clear to where rank 0 is: nobody is past it either.
    assert agreement.called(word, 500, 5, "signal SIGTERM", (15,)).calls[-1].step == 500


def test_a_signal_that_comes_to_all_is_answered_once() -> None:
    word = agreement.called(agreement.extended(Word(), 10, 5), 12, 5, "signal SIGUSR1", (10,))
    assert agreement.is_answered(Ask(3, 11, (10,)), 10, word)
    assert agreement.is_answered(Ask(3, 16, (10,)), 10, word)
    assert not agreement.is_answered(Ask(3, 17, (10,)), 10, word)
    assert not agreement.is_answered(Ask(3, 11, (15,)), 15, word)


def test_words_are_read_as_they_were_said() -> None:
    word = agreement.called(Word(), 3, 1, 'a "reason"', (15, 10))
    word = agreement.judged(word, Verdict(4, "best val_loss 0.5", ("best_model",)))
    assert agreement.word_of(agreement.to_text(word)) == word
    ask = Ask(2, 7, (15,))
    assert agreement.ask_of(agreement.to_text(ask)) == ask


def test_what_is_said_does_not_grow_for_ever() -> None:
    word = Word()
    for step in range(0, 5000, 5):
        word = agreement.judged(agreement.called(word, step, 2, "clock"), Verdict(step, ""))
    assert len(agreement.to_text(word)) < 20_000
