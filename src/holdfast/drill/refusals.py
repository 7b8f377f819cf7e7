"""What cannot be drilled, told before any fault is made: there would be nothing to compare with."""

from __future__ import annotations

from holdfast.drill.record import Life, Record
from holdfast.drill.work_folder import RunFolder
from holdfast.errors import NothingSaved, UsageError


def too_long(budget_s: float) -> UsageError:
    """Return the error for a run that takes all of the time."""
    return UsageError(
        f"One undisturbed run takes longer than the budget of {budget_s:g} s. It was ended. Drill "
        "a shorter run of the script, or give more with --budget."
    )


def require_good(life: Life) -> None:
    """Refuse a script that fails by itself.

    Raises:
        UsageError: It did not come to a good end, undisturbed.
    """
    if life.status == 0 and not life.timed_out:
        return
    how = "does not end" if life.timed_out else f"ends with status {life.status}"
    said = "\n".join(life.last_words)
    raise UsageError(
        f"The script {how} by itself, so there is nothing to compare with. Its last words:\n{said}",
        status=life.status,
    )


def nothing_saved(folder: RunFolder) -> NothingSaved:
    """Return the error for a script that leaves no checkpoint where it can be seen."""
    made = [name for name, _ in folder.files()][:5]
    wrote = f"It wrote {', '.join(made)}." if made else "It wrote no file at all there."
    return NothingSaved(
        "The script ends well, but no checkpoint is in its working folder or in {out}, so "
        f"there is nothing to resume from. {wrote} If it saves elsewhere, let it save "
        "below the folder that it is started in, or hand it {out}: holdfast drill -- "
        "python train.py --out {out}.",
        written=made,
    )


def named_anew(first: Record, second: Record) -> UsageError:
    """Return the error for a script whose two undisturbed runs have no checkpoint in common."""
    one, other = next(iter(first.saved)), next(iter(second.saved), "none")
    return UsageError(
        "Each run gives its checkpoints other names, so that no two can be compared, and none is "
        f"found again after a fault: {one} in the first undisturbed run, {other} in the second. "
        "Let the script save below a folder that stays, or hand it {out}: holdfast drill -- "
        "python train.py --out {out}."
    )


def require_leaves(reference: Record) -> None:
    """Refuse to judge where nothing that was saved could be read: whatever happened would pass.

    Raises:
        UsageError: There is no leaf to compare.
    """
    if any(saved.leaves for saved in reference.saved.values()):
        return
    problems = [f"{saved.key}: {saved.problem}" for saved in reference.saved.values()]
    raise UsageError(
        "Nothing of what the script has saved can be read, so there is nothing to compare. "
        f"{'; '.join(problems)}"
    )
