"""What is typed so far, as shells tell it when Tab is pressed.

Bash cuts words at ``@``, ``:`` and ``=``, too, and takes what is offered for the last piece alone.
So pieces are joined before they are looked at, and what is offered is cut again.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

VARIABLE = "_HOLDFAST_COMPLETE"
_SIGNS = re.compile(r"[@:=]+")


@dataclass(frozen=True, slots=True)
class Typed:
    """A command line: its words, the place of the one that is being typed, and what bash cuts off.

    Attributes:
        words: The words, the program's name first.
        place: Which word is completed.
        cut: How the word begins up to the piece that bash replaces.
    """

    words: tuple[str, ...]
    place: int
    cut: str = ""


def joined(pieces: list[str], place: int) -> Typed:
    """Return words of the pieces that bash has cut them into; a sign is a piece by itself.

    Of the signs ``@`` belongs to what is replaced, as in names of hosts.

    >>> joined(["holdfast", "show", "gpt", "@", "best", ":", "lo"], 6)
    Typed(words=('holdfast', 'show', 'gpt@best:lo'), place=2, cut='gpt@best:')
    >>> joined(["holdfast", "show", "gpt", "@", "4"], 4).cut
    'gpt'
    """
    words: list[str] = []
    found, cut, before = 0, "", ""
    for number, piece in enumerate([*pieces, ""] if place == len(pieces) else pieces):
        if words and (_SIGNS.fullmatch(piece) or (piece and _SIGNS.fullmatch(before))):
            words[-1] += piece
        else:
            words.append(piece)
        if number == place:
            found = len(words) - 1
            taken = 0 if _SIGNS.fullmatch(piece) else len(piece)
            cut = words[-1][: len(words[-1]) - taken].removesuffix("@")
        before = piece
    return Typed(tuple(words), found, cut)


def asked(variables: Mapping[str, str]) -> list[str] | None:
    """Return the finished words of the command line that a shell wants completed, or None.

    Bash's are to be joined: ``completing`` does that.
    """
    if VARIABLE not in variables:
        return None
    if "COMP_WORDS" in variables:
        words = variables["COMP_WORDS"].split("\n")
        return words[1 : _place(variables)]
    words = variables.get("_TYPER_COMPLETE_ARGS", "").split(" ")
    return [word for word in words[1:-1] if word]


@contextlib.contextmanager
def completing() -> Iterator[None]:
    """Join bash's pieces for the parser that completes within, and cut what it prints."""
    if os.environ.get(VARIABLE) != "complete_bash":
        yield
        return
    pieces = os.environ.get("COMP_WORDS", "").split("\n")
    typed = joined(pieces, min(_place(os.environ), len(pieces)))
    os.environ["COMP_WORDS"] = "\n".join(typed.words)
    os.environ["COMP_CWORD"] = str(typed.place)
    said = io.StringIO()
    try:
        with contextlib.redirect_stdout(said):
            yield
    finally:
        for line in filter(None, said.getvalue().splitlines()):
            sys.stdout.write(line.removeprefix(typed.cut) + "\n")


def _place(variables: Mapping[str, str]) -> int:
    told = variables.get("COMP_CWORD", "")
    return int(told) if told.isdecimal() else 0
