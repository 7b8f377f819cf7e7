"""Operations carried out in a forked process, which may be killed, crash, or never end."""

from __future__ import annotations

import json
import os
import select
import signal
import traceback
from collections.abc import Callable

from faults.outcomes import Ended, How
from holdfast.errors import HoldfastError

PATIENCE_S = 60.0


def carried_out(
    work: Callable[[], str],
    *,
    may_be_killed: bool = False,
    meanwhile: Callable[[int], object] = lambda pid: None,
) -> Ended:
    """Do work in a process of its own, and tell how that ended.

    Args:
        work: Returns what is different from what it should be, or nothing.
        may_be_killed: Whether SIGKILL is the fault itself, and no crash.
        meanwhile: Done here, with the id of the process, while it works.
    """
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        _work_and_leave(work, writing)
    os.close(writing)
    told = None
    try:
        meanwhile(pid)
        told = _read_all(reading)
    finally:
        os.close(reading)
        if (is_stuck := not _has_ended(pid)) and told is None:
            os.kill(pid, signal.SIGKILL)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if told is None and is_stuck:
        return Ended(How.STUCK)
    if status == -signal.SIGKILL and may_be_killed:
        return Ended(How.STRUCK)
    if status:
        return Ended(How.CRASHED, f"exit status {status}")
    return _parsed(told or b"")


def _work_and_leave(work: Callable[[], str], writing: int) -> None:
    try:
        os.write(writing, json.dumps(_outcome(work)).encode())
        os._exit(0)
    finally:
        os._exit(99)


def _outcome(work: Callable[[], str]) -> dict[str, object]:
    try:
        wrong = work()
    except HoldfastError as error:
        facts = {name: value for name, value in error.facts.items() if isinstance(value, str)}
        return {"how": How.REFUSED.name, "told": f"{error.kind}: {error}"[:4000], "facts": facts}
    except BaseException:
        return {"how": How.RAISED.name, "told": traceback.format_exc()[-4000:], "facts": {}}
    how = How.DIFFERED if wrong else How.RETURNED
    return {"how": how.name, "told": wrong, "facts": {}}


def _read_all(reading: int) -> bytes | None:
    """Return all that a pipe gives until its end, or None where that takes too long."""
    found = b""
    # Not ``select``: it knows descriptors below 1,024 only.
    waiting = select.poll()
    waiting.register(reading, select.POLLIN)
    while waiting.poll(PATIENCE_S * 1e3):
        data = os.read(reading, 1 << 16)
        if not data:
            return found
        found += data
    return None


def _has_ended(pid: int) -> bool:
    return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _parsed(told: bytes) -> Ended:
    found = json.loads(told)
    return Ended(How[found["how"]], found["told"], found["facts"])
