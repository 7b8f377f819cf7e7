"""A verification as HTML: what is wrong first."""

from __future__ import annotations

from holdfast.history.verify import CheckpointCheck, VerifyReport
from holdfast.markup.card import MOST, badge, card, listed, short, shortened
from holdfast.markup.pieces import Cell, Made
from holdfast.wording.numbers import bytes_text, plural


def verify_card(report: VerifyReport) -> str:
    """Return what verification found."""
    bad_first = sorted(report.checkpoints, key=lambda check: check.ok)
    n_bad = sum(not check.ok for check in report.checkpoints)
    read = f"{plural(len(report.checkpoints), 'checkpoint')} checked, "
    read += f"{bytes_text(report.checked_bytes)} read"
    verdict = badge("all good", "good") if report.ok else badge(f"{n_bad:,} not good", "bad")
    return card(
        "Verification",
        f"<p>{read}.</p>",
        listed("Trouble:", report.problems, "problem"),
        shortened(
            ["checkpoint", "verdict", "why"],
            [_row(check) for check in bad_first[:MOST]],
            "checkpoint",
            n_all=len(bad_first),
            text_columns=3,
        ),
        badges=[verdict],
    )


def _row(check: CheckpointCheck) -> list[Cell]:
    return [check.ref, Made(_verdict(check)), short("\n".join(check.problems), 1000)]


def _verdict(check: CheckpointCheck) -> str:
    if check.too_new:
        return badge("too new")
    if check.untrusted:
        return badge("not trusted", "bad")
    return badge("OK", "good") if check.ok else badge("damaged", "bad")
