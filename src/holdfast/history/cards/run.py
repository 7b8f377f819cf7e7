"""A run as HTML: its checkpoints, newest first."""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.history.cards.checkpoint import badges_of, moment
from holdfast.history.info import CheckpointInfo
from holdfast.history.log import RunLog
from holdfast.history.sparkline import main_metric, sparkline
from holdfast.history.telling import metric_names, metrics_text, notes_text
from holdfast.markup.card import MOST, badge, card, listed, short, shortened, soft, unbroken
from holdfast.markup.pieces import Cell, Made, html_of
from holdfast.policy.curve import curves_of
from holdfast.wording.numbers import bytes_text, metric_text, plural

# More metrics than these make one column together.
_METRIC_COLUMNS = 4


def run_card(log: RunLog) -> str:
    """Return the checkpoints of a run, and what was written on it."""
    infos = log.checkpoints
    written = notes_text(log.written.texts, log.written.values)
    return card(
        f"Run {infos[-1].run}" if infos else "A run without checkpoints",
        f"<p>{plural(len(infos), 'checkpoint')}{_curve(infos)}</p>",
        f"<p>{html_of(log.set_back)}</p>" if log.set_back is not None else "",
        soft(f"notes: {short(written)}") if written else "",
        _table(infos),
        listed("Cannot be read:", log.damaged, "checkpoint"),
        badges=[badge(f"{len(log.damaged):,} damaged", "bad")] if log.damaged else [],
    )


def _curve(infos: Sequence[CheckpointInfo]) -> str:
    curves = curves_of((info.step, info.metrics) for info in infos)
    name = main_metric(curves)
    if name is None or len(curves[name]) < 2:
        return ""
    return f" &nbsp; {html_of(name)} {sparkline(curves)}"


def _table(infos: Sequence[CheckpointInfo]) -> str:
    shown = infos[::-1][:MOST]
    names = metric_names(shown)
    apart = names if len(names) <= _METRIC_COLUMNS else None
    titles = ["step", "saved", "names", "notes", "reason"]
    titles += names if apart is not None else ["metrics"]
    rows = [_row(info, apart) for info in shown]
    return shortened(
        [*titles, "state", "new"], rows, "checkpoint", n_all=len(infos), text_columns=5
    )


def _row(info: CheckpointInfo, metrics: Sequence[str] | None) -> list[Cell]:
    if metrics is None:
        own = [short(metrics_text(info.metrics), 200)]
    else:
        own = [metric_text(info.metrics[n]) if n in info.metrics else "" for n in metrics]
    badges = "".join(badges_of(info))
    return [
        unbroken(f"{info.step:,}"),
        unbroken(moment(info.created)),
        Made(badges) if badges else "",
        short(notes_text(info.notes, info.values), 200),
        short(info.reason, 80),
        *own,
        bytes_text(info.state_bytes),
        bytes_text(info.stored_bytes),
    ]
