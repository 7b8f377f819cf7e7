"""What the files of AWS's own tools say: credentials, region and endpoint of a profile.

obstore reads the environment, and asks the machine for its role; files it does not read.
"""

from __future__ import annotations

import configparser
import importlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from holdfast.errors import UsageError

_KEYS = {
    "aws_access_key_id": "access_key_id",
    "aws_secret_access_key": "secret_access_key",
    "aws_session_token": "session_token",
}
# A profile with one of these says whom to ask for credentials; that is left to boto3.
_INDIRECT = ("role_arn", "sso_session", "sso_start_url", "credential_process", "login_session")
# Where credentials were said before any file is asked, as AWS's tools have it.
_SAID = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE")
_SAID_REGION = ("AWS_REGION", "AWS_DEFAULT_REGION")
_SAID_ENDPOINT = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT")
_GIVEN = ("access_key_id", "skip_signature")


@dataclass(frozen=True, slots=True)
class Profile:
    """What a client is told out of the files.

    Attributes:
        settings: As obstore names them.
        provider: Asked for credentials whenever those it gave have run out; None: not needed.
    """

    settings: Mapping[str, str] = field(default_factory=dict, repr=False)
    provider: Any = field(default=None, repr=False)


def profile(given: Mapping[str, str], environment: Mapping[str, str]) -> Profile:
    """Return what the files say that was said neither by the caller nor in the environment.

    Args:
        given: What the caller has set, as obstore names it.
        environment: The variables of the environment.

    Raises:
        UsageError: The profile that ``AWS_PROFILE`` names is not there, or needs boto3, or a file
            is malformed.
    """
    said = {name.lower().removeprefix("aws_") for name in given}
    named = environment.get("AWS_PROFILE") or environment.get("AWS_DEFAULT_PROFILE")
    found = _section(named or "default", environment)
    if found is None:
        if named and not _is_said(said, environment):
            raise UsageError(
                f"AWS_PROFILE names {named!r}, and there is no such profile in ~/.aws/credentials "
                "or ~/.aws/config. Nothing was changed.",
                profile=named,
            )
        return Profile()
    settings: dict[str, str] = {}
    if "region" in found and "region" not in said and not _any(_SAID_REGION, environment):
        settings["region"] = found["region"]
    is_elsewhere = said & {"endpoint", "endpoint_url"} or _any(_SAID_ENDPOINT, environment)
    if "endpoint_url" in found and not is_elsewhere:
        settings["endpoint"] = found["endpoint_url"]
    if _is_said(said, environment):
        return Profile(settings)
    if "aws_access_key_id" in found:
        keys = {ours: found[theirs] for theirs, ours in _KEYS.items() if theirs in found}
        return Profile(settings | keys)
    indirect = next((name for name in _INDIRECT if name in found), None)
    return Profile(settings, _provider(named, indirect) if indirect else None)


def _is_said(said: set[str], environment: Mapping[str, str]) -> bool:
    return bool(said.intersection(_GIVEN)) or _any(_SAID, environment)


def _any(names: tuple[str, ...], environment: Mapping[str, str]) -> bool:
    return any(environment.get(name) for name in names)


def _section(name: str, environment: Mapping[str, str]) -> dict[str, str] | None:
    config = _parsed(environment.get("AWS_CONFIG_FILE") or "~/.aws/config")
    secret = _parsed(environment.get("AWS_SHARED_CREDENTIALS_FILE") or "~/.aws/credentials")
    in_config = config.get(f"profile {name}") or (config.get(name) if name == "default" else None)
    in_secret = secret.get(name)
    if in_config is None and in_secret is None:
        return None
    return (in_config or {}) | (in_secret or {})


def _parsed(path: str) -> dict[str, dict[str, str]]:
    parser = configparser.RawConfigParser(default_section="")
    try:
        with open(os.path.expanduser(path), encoding="utf-8") as file:
            parser.read_file(file)
    except OSError:
        return {}
    except (configparser.Error, UnicodeDecodeError) as error:
        # Without what the parser says: it quotes lines, and a line may be a secret.
        raise UsageError(
            f"{path!r} is no file of AWS profiles: {type(error).__name__}. Nothing was changed.",
            path=path,
        ) from None
    return {name: dict(parser.items(name)) for name in parser.sections()}


def _provider(named: str | None, what: str) -> Any:
    try:
        boto3: Any = importlib.import_module("boto3")
        from obstore.auth.boto3 import Boto3CredentialProvider
    except ImportError as error:
        raise UsageError(
            f"The AWS profile {named or 'default'!r} gets its credentials by {what}, which needs "
            "boto3: pip install boto3. Nothing was changed."
        ) from error
    return Boto3CredentialProvider(boto3.Session(profile_name=named))
