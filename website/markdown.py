"""Makes what was written for GitHub, and for Python, into Markdown that the generator reads."""

from __future__ import annotations

import re
from collections.abc import Callable

_BLOCK_OF_CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)
# A list right behind a line of text is a list on GitHub, and none for the generator.
_LIST_BEHIND_TEXT = re.compile(r"^([^\s\-].*\n)(?=- )", re.MULTILINE)
# From a prompt to the next empty line.
_EXAMPLE = re.compile(r"^( *)>>> .*?(?=\n\s*\n|\Z)", re.MULTILINE | re.DOTALL)


def outside_code(markdown: str, change: Callable[[str], str]) -> str:
    """Return a page in which all but its blocks of code is changed.

    >>> outside_code("a\\n```text\\na\\n```\\na", str.upper)
    'A\\n```text\\na\\n```\\nA'
    """
    parts = _BLOCK_OF_CODE.split(markdown)
    return "".join(part if number % 2 else change(part) for number, part in enumerate(parts))


def with_gaps(markdown: str) -> str:
    """Return a text with an empty line before each list.

    >>> with_gaps("Two:\\n- one\\n- two")
    'Two:\\n\\n- one\\n- two'
    """
    return _LIST_BEHIND_TEXT.sub(r"\1\n", markdown)


def of_docstring(text: str) -> str:
    """Return a docstring with its examples in blocks of code, and no colons that announce code.

    >>> of_docstring("Add::\\n\\n    1 + 1\\n\\n>>> 1 + 1\\n2").splitlines()
    ['Add:', '', '    1 + 1', '', '```pycon', '>>> 1 + 1', '2', '```']
    """
    text = re.sub(r"^ *::$", "", text, flags=re.MULTILINE)
    text = re.sub(r"::$", ":", text, flags=re.MULTILINE)
    return _EXAMPLE.sub(lambda found: f"{found[1]}```pycon\n{found[0]}\n{found[1]}```", text)
