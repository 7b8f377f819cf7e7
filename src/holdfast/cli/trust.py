"""``holdfast trust``: who is trusted, and what that makes of the checkpoints that are there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import completion, helps, options, output, trust_edit
from holdfast.cli.tables import Column, Styled
from holdfast.errors import RolledBack, Untrusted, UsageError
from holdfast.history import telling
from holdfast.wording.numbers import plural

if TYPE_CHECKING:
    from holdfast.history.info import CheckpointInfo
    from holdfast.repository import Store
    from holdfast.security.trust_policy import TrustPolicy

commands = typer.Typer(
    cls=helps.Group,
    help="Say whom to believe, in a trust file (--trust FILE or HOLDFAST_TRUST), and check it.",
    rich_markup_mode=None,
    epilog=helps.example(
        "holdfast --trust trust.json trust add ci --key ci.pem.pub --runs 'gpt2-*'"
    ),
)


def show(context: typer.Context, as_json: options.Json = False) -> int:
    """List the keys that are trusted, and the heads of runs that are known."""
    policy = trust_edit.existing(context)
    if as_json:
        from holdfast.security import trust_file

        ids = [key.key_id for key in policy.keys]
        output.result_json({**trust_file.to_json(policy), "key_ids": ids})
        return 0
    if policy.keys:
        columns = [Column("name", style="bold"), Column("may sign for", may_wrap=True)]
        columns += [Column("until"), Column("key", may_wrap=True)]
        output.table(columns, _key_rows(policy))
    output.facts(
        [
            ("unsigned", "allowed" if policy.unsigned == "allow" else "refused"),
            *((f"head of {run}", f"commit {head.seq}") for run, head in policy.heads.items()),
        ]
    )
    return 0


def check(
    context: typer.Context,
    what: Annotated[
        str | None,
        typer.Argument(
            metavar="REF",
            help="A checkpoint or a run; without it, everything in the store.",
            autocompletion=completion.runs_and_refs,
            show_default=False,
        ),
    ] = None,
    folder: Annotated[
        Path | None,
        typer.Option(
            "--folder",
            metavar="PATH",
            help="Check the OpenSSF model signature of this folder or file instead.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(
            "--key",
            metavar="FILE",
            help="With --folder: the public key, in PEM.",
            show_default=False,
        ),
    ] = None,
    signature: Annotated[
        Path | None,
        typer.Option(
            "--signature",
            metavar="FILE",
            help="With --folder: where the signature is.",
            show_default="model.sig in the folder",
        ),
    ] = None,
    as_json: options.Json = False,
) -> int:
    """Say of each checkpoint whether it is trusted, and why; their data is not read.

    The exit status is 1 if one is not, or if a run was set back behind its known head.
    """
    if folder is not None:
        return _check_folder(folder, key, signature, as_json=as_json)
    trust_edit.existing(context)
    store = options.open_store(context)
    infos = [store.info(what)] if what and "@" in what else _all_infos(store, what)
    problems = _head_problems(store, what)
    if as_json:
        output.result_json({"checkpoints": [_verdict(i) for i in infos], "problems": problems})
    else:
        _show_verdicts(infos, problems)
    is_bad = problems or any(telling.is_refused(info) for info in infos)
    return Untrusted.exit_code if is_bad else 0


def _key_rows(policy: TrustPolicy) -> list[list[str]]:
    return [
        [
            key.name,
            ", ".join(key.runs),
            "revoked"
            if key.revoked
            else key.not_after.strftime("%Y-%m-%d %H:%M %z")
            if key.not_after
            else "",
            key.key_id,
        ]
        for key in policy.keys
    ]


def _all_infos(store: Store, run: str | None) -> list[CheckpointInfo]:
    return [info for name in ([run] if run else store.runs()) for info in store.log(name)]


def _head_problems(store: Store, what: str | None) -> list[str]:
    trust = store.place.authenticity.trust
    known = trust.heads if trust is not None else {}
    asked = known if what is None else known.keys() & {what.partition("@")[0]}
    problems = []
    for run in sorted(asked):
        try:
            store.head(run)
        except RolledBack as error:
            problems.append(error.message)
    return problems


def _verdict(info: CheckpointInfo) -> dict[str, object]:
    return {"ref": info.ref, "seq": info.seq, "signed_by": info.signed_by, "trust": info.trust}


def _show_verdicts(infos: list[CheckpointInfo], problems: list[str]) -> None:
    for info in infos:
        if info.trust is None:
            continue
        word = Styled("trusted    ", "green") if info.trust.trusted else None
        output.say(word or Styled("not trusted", "bold red"), "  ", f"{info.ref}: {info.trust.why}")
    for problem in problems:
        output.say(Styled("set back   ", "bold red"), "  ", problem)
    refused = sum(telling.is_refused(info) for info in infos)
    output.say(f"{plural(len(infos), 'checkpoint')}, {refused} not trusted")


def _check_folder(folder: Path, key: Path | None, signature: Path | None, *, as_json: bool) -> int:
    from holdfast.security import model_signing

    if key is None:
        raise UsageError("By whose key? Name the public one with --key FILE.")
    count = model_signing.verify(folder, key, signature=signature)
    if as_json:
        output.result_json({"path": str(folder), "trusted": True, "files": count})
    else:
        output.say(Styled("trusted", "green"), "  ", f"{folder}: {plural(count, 'file')} as signed")
    return 0


for _name, _command, _example in (
    ("add", trust_edit.add, "add ci --key ci.pem.pub --runs 'gpt2-*' --not-after 2027-01-01"),
    ("remove", trust_edit.remove, "remove ci --revoke"),
    ("unsigned", trust_edit.unsigned, "unsigned refuse"),
    ("pin", trust_edit.pin, "pin gpt2-small"),
    ("list", show, "list"),
    ("check", check, "check gpt2-small"),
):
    _epilog = helps.example(f"holdfast --store ckpts --trust trust.json trust {_example}")
    commands.command(name=_name, epilog=_epilog, cls=helps.Command)(_command)
