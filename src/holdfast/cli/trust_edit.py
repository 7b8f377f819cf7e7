"""The commands of ``holdfast trust`` that change the trust file."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from holdfast.cli import options, output
from holdfast.errors import NotFound, UsageError

if TYPE_CHECKING:
    from holdfast.security.trust_policy import TrustPolicy, Unsigned

Name = Annotated[str, typer.Argument(metavar="NAME", help="What the key is called.")]


def add(
    context: typer.Context,
    name: Name,
    key: Annotated[
        Path,
        typer.Option("--key", metavar="FILE", help="The public key, in PEM.", show_default=False),
    ],
    runs: Annotated[
        list[str] | None,
        typer.Option(
            "--runs",
            metavar="GLOB",
            help="Runs that it may sign for. Say it several times for several patterns.",
            show_default="all",
        ),
    ] = None,
    not_after: Annotated[
        str | None,
        typer.Option(
            "--not-after",
            metavar="TIME",
            help="What is committed later is not believed it; ISO 8601, in UTC.",
            show_default="no end",
        ),
    ] = None,
) -> int:
    """Trust a key.

    The trust file is made if it is not there; unsigned checkpoints are refused then. A key of that
    name is replaced: so it gets other runs, or a later end; one that is revoked is not.
    """
    from holdfast import trust

    policy = _existing_or(context, trust.policy())
    if any(known.name == name and known.revoked for known in policy.keys):
        # Replaced, it would be a stranger's, which is believed where unsigned is allowed.
        raise UsageError(
            f"The key {name!r} is revoked, and has to stay so to be refused. Nothing was changed. "
            "Give the new key another name; or forget the old one first: 'holdfast trust remove "
            f"{name}'."
        )
    added = trust.key(key, name=name, runs=runs or "*", not_after=not_after)
    others = tuple(known for known in policy.keys if known.name != name)
    _save(context, replace(policy, keys=(*others, added)))
    output.say(f"{name} may sign for {', '.join(added.runs)}: {added.key_id}")
    if policy.unsigned == "allow":
        output.say(
            "Checkpoints that nobody has signed are still allowed; refuse them with 'holdfast "
            "trust unsigned refuse'."
        )
    return 0


def remove(
    context: typer.Context,
    name: Name,
    revoke: Annotated[
        bool,
        typer.Option(
            "--revoke",
            help="Keep the key, as one that nobody may sign with: for one that was stolen, also "
            "where unsigned checkpoints are allowed.",
        ),
    ] = False,
) -> int:
    """Trust a key no more, whenever it has signed."""
    policy = existing(context)
    found = [key for key in policy.keys if key.name == name]
    if not found:
        known = ", ".join(key.name for key in policy.keys) or "none"
        raise NotFound(
            f"There is no key {name!r} in the trust file; keys there: {known}.", key=name
        )
    kept = [replace(key, revoked=True) if key.name == name else key for key in policy.keys]
    left = kept if revoke else [key for key in policy.keys if key.name != name]
    _save(context, replace(policy, keys=tuple(left)))
    output.say(f"{name} is {'revoked' if revoke else 'removed'}: {found[0].key_id}")
    return 0


def unsigned(
    context: typer.Context,
    what: Annotated[str, typer.Argument(metavar="refuse|allow", help="What becomes of them.")],
) -> int:
    """Refuse or allow checkpoints that no trusted key has signed."""
    if what not in ("refuse", "allow"):
        raise UsageError(f"{what!r} is neither 'refuse' nor 'allow'.")
    chosen: Unsigned = "allow" if what == "allow" else "refuse"
    _save(context, replace(existing(context), unsigned=chosen))
    output.say(f"unsigned checkpoints are {'allowed' if what == 'allow' else 'refused'}")
    return 0


def pin(
    context: typer.Context,
    run: options.Run,
    force: Annotated[
        bool, typer.Option("--force", help="Even if the run is not what the old head says.")
    ] = False,
) -> int:
    """Note the newest trusted checkpoint of a run: from then on a run that was set back is refused.

    A trust file that is made by this has no keys, and allows unsigned checkpoints.
    """
    from holdfast import trust
    from holdfast.repository import Store

    policy = _existing_or(context, trust.policy(unsigned="allow"))
    judge = policy
    if force:
        judge = replace(policy, heads={name: h for name, h in policy.heads.items() if name != run})
    at = options.with_keys(context, options.require_store(context))
    head = Store(at, trust=judge).head(run)
    _save(context, replace(policy, heads={**policy.heads, run: head}))
    output.say(f"head of {run}: commit {head.seq}, {head.digest.hex()}")
    return 0


def existing(context: typer.Context) -> TrustPolicy:
    """Return the policy in the trust file that was named.

    Raises:
        UsageError: None was named.
        NotFound: It is not there.
        BadTrustFile: It cannot be used.
    """
    from holdfast.security import trust_file

    return trust_file.load(_path(context))


def _existing_or(context: typer.Context, default: TrustPolicy) -> TrustPolicy:
    try:
        return existing(context)
    except NotFound:
        return default


def _save(context: typer.Context, policy: TrustPolicy) -> None:
    from holdfast.security import trust_file

    trust_file.save(_path(context), policy)


def _path(context: typer.Context) -> str:
    path = options.named_trust(context)
    if path is None:
        raise UsageError(
            "No trust file was named. Say where it is with 'holdfast --trust FILE trust …' or in "
            f"the environment: 'export {options.TRUST_VARIABLE}=FILE'."
        )
    return path
