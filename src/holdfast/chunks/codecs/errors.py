"""What a codec says of bytes that it has not made."""

from __future__ import annotations


class Undecodable(Exception):
    """The stored bytes are not what a codec makes of a chunk of this length; says what is known."""
