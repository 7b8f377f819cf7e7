"""What a client of a bucket raises, turned into holdfast's errors."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.errors import ChunkMissing, HoldfastError, NoSpace, StoreUnavailable

_FULL = re.compile(r"QuotaExceeded|InsufficientStorage|XMinioStorageFull|status(?: code:)? 507\b")
_NO_BUCKET = re.compile(r"NoSuchBucket|ContainerNotFound|bucket does not exist", re.IGNORECASE)
_SKEW = re.compile(r"RequestTimeTooSkewed|RequestExpired")
# Only what is looked for can be missing; an upload that is gone is no missing object.
_LOOKING = ("read", "look at")
_DENIED = re.compile(
    r"AccessDenied|SignatureDoesNotMatch|InvalidAccessKeyId|ExpiredToken|InvalidToken"
    # Where none were found, the machine is asked for its role.
    r"|http://169\.254\.169\.254/"
)


@contextmanager
def translated(action: str, key: str, location: str) -> Iterator[None]:
    """Turn what the client raises into holdfast's errors."""
    try:
        yield
    except HoldfastError:
        raise
    except Exception as error:
        raise translation(error, action, key, location) from error


def translation(error: Exception, action: str, key: str, location: str) -> HoldfastError:
    """Return the error of holdfast's that tells what one of the client's means."""
    from obstore.exceptions import NotFoundError, PermissionDeniedError, UnauthenticatedError

    told = _brief(str(error))
    if _NO_BUCKET.search(str(error)):
        return StoreUnavailable(
            f"There is no bucket for the store at {location!r}: holdfast makes none. Make it, or "
            "mend the name. Nothing was changed.",
            key=key,
            location=location,
        )
    if isinstance(error, FileNotFoundError | NotFoundError) and action in _LOOKING:
        return ChunkMissing(
            f"The object {key!r} is not in the store at {location!r}. Nothing was changed in your "
            "state. Restore another checkpoint: 'holdfast verify' tells which are good.",
            key=key,
        )
    what = f"Could not {action} {key!r} in the store at {location!r}"
    safe = "Checkpoints committed before are not affected."
    # Before the credentials: some servers refuse what goes over a quota as not permitted.
    if _FULL.search(str(error)):
        return NoSpace(
            f"{what}: there is no room left ({told}). 'holdfast prune' frees some. {safe}",
            key=key,
            location=location,
        )
    if _SKEW.search(str(error)):
        reason = "the clock of this machine is not the server's. Set it, then try again"
    elif isinstance(error, PermissionDeniedError | UnauthenticatedError | PermissionError) or (
        _DENIED.search(str(error))
    ):
        reason = (
            "the credentials are missing, wrong, or not allowed to do this. They are looked for "
            f"where that cloud's own tools do ({told})"
        )
    else:
        reason = told
    return StoreUnavailable(f"{what}: {reason}. {safe}", key=key, location=location)


def _brief(told: str) -> str:
    """Return the first lines of what a client tells, without the page that a server sent."""
    code = re.search(r"<Code>([^<]+)</Code>", told)
    message = re.search(r"<Message>([^<]+)</Message>", told)
    if code:
        return code[1] + (f": {message[1]}" if message else "")
    first = told.split("Debug source:", 1)[0].strip().splitlines()
    return (first[0] if first else "no reason was given")[:300]
