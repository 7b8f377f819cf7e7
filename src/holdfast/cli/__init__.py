"""The command line: ``holdfast``. One file per command; only this package prints."""

from __future__ import annotations

import sys

from holdfast.version import __version__


def main() -> int:
    """Run the command line on ``sys.argv``.

    Returns:
        The exit status: 0 done and good, 1 something is wrong with the data, 2 wrong usage,
        3 trouble with the environment, 130 interrupted, 141 the reader of stdout has gone, 143
        ended by SIGTERM.
    """
    # Integers of any size can be saved, so they can be shown.
    sys.set_int_max_str_digits(0)
    if sys.argv[1:] == ["--version"]:  # Asked by scripts, often: not worth loading a parser for.
        print(f"holdfast {__version__}")
        return 0
    # Imported here, because a process that is spawned imports this module once more.
    from holdfast.cli.app import app_for
    from holdfast.cli.failures import guarded
    from holdfast.cli.shells import completing

    with completing():
        return guarded(lambda **options: app_for(sys.argv[1:])(**options))
