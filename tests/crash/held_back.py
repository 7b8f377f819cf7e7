"""A script in which a handler raises at random moments of what holds signals back: SECONDS SEED."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections import Counter

from holdfast.engine.shield import uninterrupted


class Stop(BaseException):
    """What a handler raises."""


told: Counter[str] = Counter()


def raise_stop(number: int, frame: object) -> None:
    raise Stop


def note(number: int, frame: object) -> None:
    told["noted"] += 1


def once(dice: random.Random) -> None:
    signal.setitimer(signal.ITIMER_REAL, dice.uniform(5e-6, 150e-6))
    with uninterrupted():
        sum(range(200))
    for _ in range(300):
        pass


def main() -> None:
    end_s, dice = time.monotonic() + float(sys.argv[1]), random.Random(int(sys.argv[2]))
    signal.signal(signal.SIGALRM, raise_stop)
    signal.signal(signal.SIGTERM, note)
    sent = 0
    while time.monotonic() < end_s:
        try:
            once(dice)
        except Stop:
            told["stopped"] += 1
        while True:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0)
                break
            except Stop:
                told["stopped"] += 1
        # Whatever came in between, a signal has its effect.
        os.kill(os.getpid(), signal.SIGTERM)
        sent += 1
        assert told["noted"] == sent, (told, sent)
        assert signal.getsignal(signal.SIGTERM) == note
    print("told", dict(told), flush=True)


if __name__ == "__main__":
    main()
