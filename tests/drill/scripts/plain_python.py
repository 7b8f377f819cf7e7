"""A training in plain Python that saves with pickle: ``plain_python.py OUT [MODE [RUNS]]``.

Modes: never (saves nothing), noise (no seed), fails, swallow (errors of saves are passed over),
stubborn (SIGTERM is ignored), torn (saves in place).

RUNS is a folder that all runs share. From the third run on, as the first two are left alone, the
first life of each waits shortly before its end until a signal has come, in the middle of a save if
those are torn: so no fault comes too late, however busy the machine is.
"""

import os
import pickle
import random
import signal
import sys
import time

OUT, MODE, RUNS = (*sys.argv[1:], "", "")[:3]
STEPS = 40
PATH = os.path.join(OUT, "state.pkl")


def is_first_life_of_a_run_to_disturb():
    mark = os.path.join(OUT, "begun")
    if not RUNS or os.path.exists(mark):
        return False
    open(mark, "x").close()
    number = len(os.listdir(RUNS))
    open(os.path.join(RUNS, str(number)), "x").close()
    return number >= 2


def go_on(number, frame):
    global waits
    waits = False


waits = is_first_life_of_a_run_to_disturb()
signal.signal(signal.SIGCONT, go_on)
if MODE != "noise":
    random.seed(0)
if MODE == "fails":
    sys.exit("no data found")
if MODE == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

weights, step, saved = [0.0] * 4000, 0, b""
if os.path.exists(PATH):
    with open(PATH, "rb") as file:
        state = pickle.load(file)
    weights, step = state["weights"], state["step"]
    random.setstate(state["rng"])


def write(path, data):
    with open(path, "wb") as file:
        for start in range(0, len(data), 4096):
            file.write(data[start : start + 4096])
            file.flush()
            time.sleep(0.001)


def save(data):
    if MODE == "torn":
        while waits:
            write(PATH, data[: len(data) // 2])
        write(PATH, data)
    else:
        write(PATH + ".tmp", data)
        os.replace(PATH + ".tmp", PATH)


while step < STEPS:
    weights = [0.9 * w + random.gauss(0, 1) for w in weights]
    step += 1
    time.sleep(0.005)
    print(f"step {step} loss {sum(weights):.12g}")
    if step % 4 == 0 and MODE != "never":
        state = {"weights": weights, "step": step, "rng": random.getstate()}
        saved = pickle.dumps({**state, "when": str(time.time())})
        try:
            save(saved)
        except OSError:
            if MODE != "swallow":
                raise
    while waits and step == STEPS - 2:
        save(saved)
