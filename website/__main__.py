"""``python -m website``: gather the pages, build them, check what was built.

Whatever the generator warns of, a link or an anchor that leads nowhere, and anything that a page
would load from another server ends it with status 1.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from website import check, pages

ROOT = Path(__file__).parents[1]
# Both are named in mkdocs.yml, too.
GATHERED = ROOT / "build/docs"
SITE = ROOT / "site"


def main() -> int:
    """Build the site and return the exit status."""
    problems = pages.gather(ROOT, GATHERED) or _built() or check.problems_of(SITE)
    for problem in problems:
        print(problem, file=sys.stderr)
    return 1 if problems else 0


def _built() -> list[str]:
    generator = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    done = subprocess.run(generator, cwd=ROOT)
    return [] if done.returncode == 0 else ["the generator has refused the pages"]


sys.exit(main())
