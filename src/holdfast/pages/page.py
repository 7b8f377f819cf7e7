"""One HTML page that needs nothing besides itself: no script, no font, no other file."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_STYLE = """
:root{--ink:#1d2430;--paper:#fff;--soft:#6b7686;--rule:#dde2ea;--p0:#2f6f9f;--p1:#d9822b;--p2:#8a5fb0;
--p3:#c94f4f;--p4:#4d9e6c;--p5:#98a2b0;--p6:#4b535f;--p7:#b7a12d}
@media(prefers-color-scheme:dark){:root{--ink:#e6eaf0;--paper:#161a20;--soft:#96a1b0;--rule:#303844;
--p0:#5aa2d6;--p1:#f0a35a;--p2:#b38ed6;--p3:#e57f7f;--p4:#76c795;--p5:#768291;--p6:#aab4c0;--p7:#d9c45a}}
body{font:15px/1.5 system-ui,sans-serif;color:var(--ink);background:var(--paper);max-width:820px;
margin:2rem auto;padding:0 1rem}
h1{font-size:1.5rem;margin-bottom:0}h2{font-size:1.05rem;margin:2.2rem 0 .6rem}
p.lead{color:var(--soft);margin-top:.2rem}
p.doubt{border-left:3px solid var(--p1);padding-left:.7rem}
.scroll{overflow-x:auto}table{border-collapse:collapse;font-variant-numeric:tabular-nums}
th,td{text-align:left;padding:.25rem 1rem .25rem 0;border-bottom:1px solid var(--rule)}
td{white-space:nowrap}td.n,th.n{text-align:right}th{color:var(--soft);font-weight:500}
svg{width:100%;height:auto;display:block}.text{font:12px system-ui,sans-serif;fill:var(--ink)}
.axis{stroke:var(--rule)}.l0{fill:none;stroke:var(--p0);stroke-width:2}
.legend{display:flex;flex-wrap:wrap;gap:.2rem 1.2rem;color:var(--soft);font-size:.9rem}
.legend i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.4em}
.big{display:flex;gap:2.4rem;flex-wrap:wrap;margin:1.2rem 0}.big b{display:block;font-size:1.6rem}
.big span{color:var(--soft);font-size:.9rem}
""" + "".join(f".c{n}{{fill:var(--p{n})}}.b{n}{{background:var(--p{n})}}" for n in range(8))


def page(title: str, lead: str, sections: Sequence[str]) -> str:
    """Return the whole page; sections are HTML."""
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body>"
        f'<h1>{escape(title)}</h1><p class="lead">{escape(lead)}</p>{"".join(sections)}'
        "</body></html>\n"
    )
