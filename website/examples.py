"""The pages of the examples: each script with its colours, and a list of them."""

from __future__ import annotations

from pathlib import Path

_HEAD = """# Examples

Complete scripts. The tests run each of them, kill it, run it again, and compare how it ends.

"""


def pages(folder: Path) -> dict[str, str]:
    """Return the pages by where they are on the site.

    Args:
        folder: Where the scripts are.
    """
    scripts = {path.stem: path.read_text() for path in sorted(folder.glob("*.py"))}
    rows = [f"- [{name}.py]({name}.md): {_first_line(code)}" for name, code in scripts.items()]
    made = {f"examples/{name}.md": _page(name, code) for name, code in scripts.items()}
    return made | {"examples/index.md": _HEAD + "\n".join(rows) + "\n"}


def _page(name: str, code: str) -> str:
    return f'# {name}.py\n\n```python title="examples/{name}.py"\n{code}```\n'


def _first_line(code: str) -> str:
    return code.splitlines()[0].strip('"').replace("``", "`")
