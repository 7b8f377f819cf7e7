"""From exceptions to one readable block on stderr and an exit status; no traceback unless asked."""

from __future__ import annotations

import logging
import os
import sys
import traceback
from collections.abc import Callable
from dataclasses import dataclass

import typer

from holdfast.cli import output
from holdfast.cli.termination import ended_in_order
from holdfast.errors import EnvironmentTrouble, HoldfastError, NoSpace, UsageError

INTERRUPTED = 130
TERMINATED = 143  # 128 + SIGTERM
STDOUT_CLOSED = 141  # 128 + SIGPIPE, as a shell reports a command that the signal ended.

_NO_SPACE_ERRNOS = {"ENOSPC", "EDQUOT"}


@dataclass(frozen=True, slots=True)
class Failure:
    """What the user is told when a command does not succeed."""

    kind: str
    message: str
    exit_code: int
    facts: dict[str, object]


def guarded(app: Callable[..., object]) -> int:
    """Run the app and turn every way in which it can end into an exit status."""
    if sys.stderr is None:
        sys.stderr = open(os.devnull, "w")
    if sys.stdout is None:
        # As for any other command of a shell: ``holdfast log >&-``.
        print("holdfast: standard output is closed; nothing was done.", file=sys.stderr)
        return EnvironmentTrouble.exit_code
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            # A name that this terminal's encoding lacks must not end the command.
            reconfigure(errors="backslashreplace")
    arguments = _before_separator(sys.argv[1:])
    debug, as_json = "--debug" in arguments, "--json" in arguments
    _log_to_stderr(debug)
    with ended_in_order() as was_terminated:
        try:
            status = app(prog_name="holdfast", standalone_mode=False)
            sys.stdout.flush()
            # The parser itself turns an interrupt into this status.
            return _interrupted(was_terminated()) if status == INTERRUPTED else _status(status)
        except (output.StdoutClosed, BrokenPipeError):
            return _leave_quietly()
        except (KeyboardInterrupt, typer.Abort):
            return _interrupted(was_terminated())
        except Exception as error:
            return _report(error, debug=debug, as_json=as_json)


def failure_of(error: Exception) -> Failure:
    """Return what to tell the user about an exception."""
    if isinstance(error, HoldfastError):
        return Failure(error.kind, error.message, error.exit_code, error.facts)
    format_message = getattr(error, "format_message", None)
    if format_message is not None:  # The command-line parser's own errors.
        return Failure(UsageError.kind, _usage_message(error, format_message()), 2, {})
    if isinstance(error, OSError):
        return _os_failure(error)
    if isinstance(error, MemoryError):
        return Failure(EnvironmentTrouble.kind, "Out of memory.", 3, {})
    message = (
        f"{type(error).__name__}: {error}\n"
        "This is a bug in holdfast. 'holdfast verify' tells whether the store is in order. Run "
        "again with --debug for the traceback, and report it."
    )
    return Failure("internal", message, 1, {"type": type(error).__name__})


def _os_failure(error: OSError) -> Failure:
    name = _errno_name(error)
    place = f" '{os.fsdecode(error.filename)}'" if isinstance(error.filename, str | bytes) else ""
    reason = error.strerror or str(error) or type(error).__name__
    message = f"The operating system refused{place}: {reason} ({name})."
    kind = NoSpace.kind if name in _NO_SPACE_ERRNOS else EnvironmentTrouble.kind
    return Failure(kind, message, 3, {"errno": error.errno, "path": error.filename})


def _errno_name(error: OSError) -> str:
    import errno

    return errno.errorcode.get(error.errno or 0, type(error).__name__)


def _usage_message(error: Exception, message: str) -> str:
    context = getattr(error, "ctx", None)
    command = getattr(context, "command_path", "holdfast")
    return f"{message}\nTry '{command} --help'."


def _report(error: Exception, *, debug: bool, as_json: bool) -> int:
    failure = failure_of(error)
    trace = traceback.format_exception(error) if debug else None
    try:
        if as_json:
            output.error_json(
                failure.kind, failure.message, failure.exit_code, failure.facts, trace
            )
        else:
            output.error_block(failure.kind, failure.message, trace)
    except BrokenPipeError:
        _leave_quietly()
    return failure.exit_code


def _status(returned: object) -> int:
    return returned if isinstance(returned, int) else 0


def _interrupted(was_terminated: bool) -> int:
    output.notice("Interrupted. Checkpoints that were reported durable are not affected.")
    return TERMINATED if was_terminated else INTERRUPTED


def _leave_quietly() -> int:
    # The interpreter flushes stdout once more as it ends; let that go nowhere.
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    return STDOUT_CLOSED


def _log_to_stderr(debug: bool) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger = logging.getLogger("holdfast")
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG if debug else logging.WARNING)


def _before_separator(arguments: list[str]) -> list[str]:
    return arguments[: arguments.index("--")] if "--" in arguments else arguments
