"""Looks at what was built: does every link lead somewhere, is anything loaded from outside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

# Attributes whose targets a browser asks for by itself.
_LOADS = {"script": "src", "img": "src", "iframe": "src", "source": "src", "link": "href"}
_IN_CSS = re.compile(r"""(?:@import|url\()\s*["']?((?:https?:)?//[^"')\s]+)""")
# Made for a page that is not found, wherever that was; its links hold from the root.
_ANYWHERE = "404.html"


@dataclass
class _Page(HTMLParser):
    """What a page has and wants: ids, links, and what it loads."""

    ids: set[str] = field(default_factory=set)
    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self.ids |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        if given.get("rel") != "canonical" and _LOADS.get(tag, "") in given:
            self.loads.append(given[_LOADS[tag]])


def problems_of(site: Path) -> list[str]:
    """Return what is wrong with a site that was built, in words.

    Args:
        site: Its folder.
    """
    pages = {path: _read(path) for path in sorted(site.rglob("*.html"))}
    found = [
        f"{path.relative_to(site)}: {problem}"
        for path, page in pages.items()
        if path.name != _ANYWHERE
        for problem in [*_dead(path, page, pages), *_from_outside(page.loads)]
    ]
    for path in sorted(site.rglob("*.css")):
        found += [
            f"{path.relative_to(site)}: {problem}"
            for problem in _from_outside(_IN_CSS.findall(path.read_text()))
        ]
    return found or ([] if pages else [f"{site} has no pages"])


def _read(path: Path) -> _Page:
    page = _Page()
    page.feed(path.read_text())
    return page


def _dead(path: Path, page: _Page, pages: dict[Path, _Page]) -> Iterator[str]:
    for link in dict.fromkeys([*page.links, *page.loads]):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            continue
        target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
        if target.is_dir():
            target /= "index.html"
        if not target.exists():
            yield f"{link} leads nowhere"
        elif parts.fragment and target in pages and not _has(pages[target], parts.fragment):
            yield f"{link} leads to no such place in its page"


def _has(page: _Page, fragment: str) -> bool:
    return unquote(fragment) in page.ids or fragment == "__search"


def _from_outside(addresses: list[str]) -> Iterator[str]:
    for address in addresses:
        if urlsplit(address).netloc:
            yield f"loads {address}"
