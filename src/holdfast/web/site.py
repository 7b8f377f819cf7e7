"""What every page is made with: the store, what may be done, and how values are shown."""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import resources
from urllib.parse import urlencode

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse

from holdfast.history.facts import flat
from holdfast.repository import Store
from holdfast.version import __version__
from holdfast.web.pulses import Pulses
from holdfast.web.work import Work
from holdfast.wording.numbers import (
    age_text,
    bytes_text,
    duration_text,
    metric_text,
    plural,
    share_text,
)

STATIC = resources.files("holdfast.web") / "static"


@dataclass(frozen=True, slots=True)
class Site:
    """A store as pages.

    Attributes:
        store: What is shown.
        allow_changes: Whether tags, notes and removals may be asked for.
        form_secret: Goes with every form, so that no other site can send one.
        work: What takes long, in the background.
        pulses: Whether anything is new.
    """

    store: Store
    allow_changes: bool = False
    form_secret: str = field(default_factory=lambda: secrets.token_urlsafe(24))
    work: Work = field(default_factory=Work)
    pulses: Pulses = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pulses", Pulses(self.store))


def site_of(request: Request) -> Site:
    """Return the site that a request is for."""
    site = request.app.state.site
    assert isinstance(site, Site)
    return site


def page(request: Request, template: str, *, status: int = 200, **facts: object) -> HTMLResponse:
    """Return a page made of a template and facts, every one of them escaped."""
    site = site_of(request)
    text = (
        _templates()
        .get_template(template)
        .render(
            site=site,
            store_path=site.store.path,
            version=__version__,
            now=datetime.now(UTC),
            **facts,
        )
    )
    return HTMLResponse(text, status)


def link(path: str, **query: object) -> str:
    """Return the address of a page about something, whatever its name is.

    >>> link("/run", run="a/b&c", page=2)
    '/run?run=a%2Fb%26c&page=2'
    """
    given = {name: str(value) for name, value in query.items() if value not in (None, "")}
    return f"{path}?{urlencode(given)}" if given else path


def links(path: str, name: str, values: Sequence[str]) -> str:
    """Return the address of a page about several things.

    >>> links("/together", "run", ["a", "b/c"])
    '/together?run=a&run=b%2Fc'
    """
    return f"{path}?{urlencode([(name, value) for value in values])}"


_made: list[Environment] = []


def _templates() -> Environment:
    if not _made:
        made = Environment(
            loader=PackageLoader("holdfast.web"),
            autoescape=select_autoescape(default=True, default_for_string=True),
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        filters: dict[str, Callable[..., object]] = {
            "bytes": bytes_text,
            "duration": duration_text,
            "share": share_text,
            "metric": metric_text,
            "count": lambda n: f"{n:,}",
            "age": lambda then: age_text(then, datetime.now(UTC)),
            "when": lambda then: then.strftime("%Y-%m-%d %H:%M:%S UTC"),
            "shape": _shape_text,
            "facts": flat_facts,
        }
        made.filters |= filters
        made.globals |= {"link": link, "links": links, "plural": plural, "isfinite": math.isfinite}
        _made.append(made)
    return _made[0]


def _shape_text(shape: tuple[int, ...] | None) -> str:
    return "" if shape is None else " × ".join(map(str, shape)) or "scalar"


def flat_facts(facts: Mapping[str, object]) -> list[tuple[str, str]]:
    """Return nested facts as names joined by dots, and texts.

    >>> flat_facts({"a": {"b": 1, "c": [2, 3]}, "d": None})
    [('a.b', '1'), ('a.c', '2 3'), ('d', '')]
    """
    return [(name, _fact_text(value)) for name, value in flat(facts)]


def _fact_text(value: object) -> str:
    if isinstance(value, list | tuple):
        return " ".join(map(str, value))
    return "" if value is None else str(value)
