"""A training in plain Python that saves with pickle: ``plain_python.py OUT [MODE]``.

Modes: never (saves nothing), noise (no seed), fails, swallow (errors of saves are passed over),
stubborn (SIGTERM is ignored), torn (saves in place).
"""

import os
import pickle
import random
import signal
import sys
import time

OUT, MODE = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else ""
STEPS = 40
PATH = os.path.join(OUT, "state.pkl")

if MODE != "noise":
    random.seed(0)
if MODE == "fails":
    sys.exit("no data found")
if MODE == "stubborn":
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

weights, step = [0.0] * 4000, 0
if os.path.exists(PATH):
    with open(PATH, "rb") as file:
        state = pickle.load(file)
    weights, step = state["weights"], state["step"]
    random.setstate(state["rng"])


def save():
    state = {"weights": weights, "step": step, "rng": random.getstate(), "when": str(time.time())}
    path = PATH if MODE == "torn" else PATH + ".tmp"
    with open(path, "wb") as file:
        for piece in (pickle.dumps(state)[i : i + 4096] for i in range(0, 1 << 20, 4096)):
            file.write(piece)
            file.flush()
    os.replace(path, PATH)


while step < STEPS:
    weights = [0.9 * w + random.gauss(0, 1) for w in weights]
    step += 1
    time.sleep(0.005)
    print(f"step {step} loss {sum(weights):.12g}")
    if step % 4 == 0 and MODE != "never":
        try:
            save()
        except OSError:
            if MODE != "swallow":
                raise
