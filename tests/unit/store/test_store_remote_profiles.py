"""Profiles of AWS's tools: what they say, and what goes before it."""

from __future__ import annotations

from pathlib import Path

import pytest

from absent import needs_package
from holdfast.errors import UsageError
from holdfast.store.remote.profiles import profile

CREDENTIALS = """
[default]
aws_access_key_id = one
aws_secret_access_key = two%percent
[work]
aws_access_key_id = three
aws_secret_access_key = four
aws_session_token = five
"""
CONFIG = """
[default]
region = eu-central-1
endpoint_url = http://localhost:9000
[profile work]
region = us-west-2
[profile asked]
credential_process = /bin/false
"""


@pytest.fixture
def files(tmp_path: Path) -> dict[str, str]:
    """The variables that say where the files are."""
    (tmp_path / "credentials").write_text(CREDENTIALS)
    (tmp_path / "config").write_text(CONFIG)
    return {
        "AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"),
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
    }


def test_the_default_profile(files: dict[str, str]) -> None:
    assert profile({}, files).settings == {
        "access_key_id": "one",
        "secret_access_key": "two%percent",
        "region": "eu-central-1",
        "endpoint": "http://localhost:9000",
    }


def test_a_named_profile(files: dict[str, str]) -> None:
    found = profile({}, files | {"AWS_PROFILE": "work"})
    assert found.settings["session_token"] == "five" and found.settings["region"] == "us-west-2"
    assert "four" not in repr(found)


def test_what_was_said_goes_before(files: dict[str, str]) -> None:
    said = {"AWS_ACCESS_KEY_ID": "x", "AWS_REGION": "y", "AWS_ENDPOINT_URL": "z"}
    assert profile({}, files | said).settings == {}
    given = {"AWS_ACCESS_KEY_ID": "x", "region": "y", "endpoint": "z"}
    assert profile(given, files).settings == {}


def test_a_profile_that_is_not_there(files: dict[str, str]) -> None:
    with pytest.raises(UsageError, match="'nowhere'"):
        profile({}, files | {"AWS_PROFILE": "nowhere"})


def test_no_files(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "none")
    environment = {"AWS_SHARED_CREDENTIALS_FILE": nowhere, "AWS_CONFIG_FILE": nowhere}
    assert profile({}, environment).settings == {}


def test_a_file_that_is_malformed_is_not_quoted(files: dict[str, str]) -> None:
    Path(files["AWS_SHARED_CREDENTIALS_FILE"]).write_text("a-secret without a section")
    with pytest.raises(UsageError, match="no file of AWS profiles") as caught:
        profile({}, files)
    assert "a-secret" not in str(caught.value)


def test_credentials_by_a_process(files: dict[str, str], tmp_path: Path) -> None:
    needs_package("boto3")
    answer = '{"Version": 1, "AccessKeyId": "six", "SecretAccessKey": "seven"}'
    (tmp_path / "answer").write_text(answer)
    Path(files["AWS_CONFIG_FILE"]).write_text(
        f"[profile asked]\ncredential_process = cat {tmp_path / 'answer'}\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        for name, value in files.items():
            patch.setenv(name, value)
        patch.delenv("AWS_ACCESS_KEY_ID", raising=False)
        found = profile({}, files | {"AWS_PROFILE": "asked"})
        assert found.provider()["access_key_id"] == "six"
