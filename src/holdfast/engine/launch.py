"""The persister's process started, and the channel to it.

It is a new interpreter, never a fork: what the trainer's threads hold at that moment would be held
there for ever.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import socket
import subprocess
import sys

from holdfast.engine.channel import Channel
from holdfast.engine.heartbeat import Heartbeat
from holdfast.engine.metrics_ring import MetricsRing

# Not -m: that would import the package twice; and sys.path as it is here, since the trainer may
# have changed it. What is imported stays: to search it for garbage takes a tenth of the start.
_MAIN = (
    "import gc, sys; gc.disable(); sys.path[:] = eval(sys.argv.pop()); "
    "from holdfast.engine.persister import main; gc.freeze(); gc.enable(); main(sys.argv)"
)


def launch(
    heartbeat: Heartbeat, ring: MetricsRing, nice: int
) -> tuple[subprocess.Popen[bytes], Channel]:
    """Start a persister; return its process, and this side of the channel.

    Args:
        heartbeat: What the trainer notes its steps in.
        ring: What the trainer logs metrics into.
        nice: Added to the niceness.

    Raises:
        OSError: There is no process, or no file, to be had.
    """
    path = repr([entry or os.getcwd() for entry in sys.path])
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.ExitStack() as handed_down:
        handed_down.callback(theirs.close)
        try:
            channel, beat, metrics = (
                _above_standard(fd, handed_down) for fd in (theirs.fileno(), heartbeat.fd, ring.fd)
            )
            process = subprocess.Popen(
                [sys.executable, "-c", _MAIN, *map(str, (channel, beat, nice, metrics)), path],
                pass_fds=(channel, beat, metrics),
                stdin=subprocess.DEVNULL,
                # Who reads what the trainer prints need not wait for the persister.
                stdout=subprocess.DEVNULL,
                stderr=None if _is_open(2) else subprocess.DEVNULL,
                # Its own session: a Ctrl-C in the trainer's terminal is not for it.
                start_new_session=True,
            )
        except BaseException:
            ours.close()
            raise
    return process, Channel(ours)


def _above_standard(fd: int, until: contextlib.ExitStack) -> int:
    """Return a duplicate of a descriptor above those of the standard files.

    A daemon that has closed its own gets those numbers for whatever it opens next.
    """
    found = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    until.callback(os.close, found)
    return found


def _is_open(fd: int) -> bool:
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
