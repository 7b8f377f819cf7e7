"""The store of this host, as its ranks write it: with copies on other hosts.

What is small and says what there is (commit records, parts, tags, names) lies on every host. Packs
lie on the host whose rank wrote them and on those that hold its copies. A part becomes visible, on
this host too, once all packs that it names have their copies: to see the parts of all ranks is to
know that the checkpoint has its copies.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar, final

from holdfast.engine.peers.allowed import Allowed
from holdfast.engine.peers.peer import Peer
from holdfast.errors import ChunkMissing, HoldfastError, PeersUnavailable
from holdfast.format import part as part_format
from holdfast.store.contract import Buffer, ObjectInfo, ObjectReader, ObjectStore, Staged, StoreLock
from holdfast.store.recipe import Recipe, recipe_of, reopen, to_message

_log = logging.getLogger("holdfast")
_T = TypeVar("_T")


@final
class PeeredStore:
    """A host's own store, and those of the others.

    Args:
        local: The host's own.
        run: The run that is written.
        peers: The other hosts.
        with_copies: Which of them hold copies of what this rank writes.
        first: The host of rank 0.
        dial: What ``recipe`` needs to make the same again.
    """

    def __init__(
        self,
        local: ObjectStore,
        run: str,
        peers: Sequence[Peer],
        with_copies: Sequence[str],
        first: str,
        dial: Mapping[str, Any],
    ) -> None:
        self.location = local.location
        self.local = local
        self.peers = list(peers)
        self.holders = [peer for peer in peers if peer.name in with_copies]
        self.allowed = Allowed(run)
        self._first = first
        self._dial = dial
        # Parts that are staged: what is published after their packs, and told to all.
        self._parts: dict[str, bytes] = {}

    def recipe(self) -> Recipe:
        """Return how this host's persisters open it; the secret is in it."""
        inner = to_message(recipe_of(self.local))
        return Recipe(f"{__name__}:{reopened.__name__}", {"inner": inner, **self._dial})

    def hang_up(self) -> None:
        """Close the lines to other hosts that nobody uses now."""
        for peer in self.peers:
            peer.hang_up()

    def create(self) -> None:
        self.local.create()

    # --- writing ---

    def stage(self, key: str, buffers: Sequence[Buffer]) -> Staged:
        if self.allowed.is_part(key):
            self._parts[key] = b"".join(buffers)
        staged = self.local.stage(key, buffers)
        if self.allowed.is_pack(key):
            # Now: the bytes are in memory. What becomes of no checkpoint, the next sweep removes.
            try:
                for peer in self.holders:
                    peer.put(key, buffers)
            except BaseException:
                self.local.discard([staged])
                raise
        return staged

    def publish(self, staged: Sequence[Staged]) -> None:
        parts = [item for item in staged if item.key in self._parts]
        self.local.publish([item for item in staged if item not in parts])
        for item in parts:
            data = self._parts.pop(item.key)
            try:
                self.give_copies(data)
            except BaseException:
                self.local.discard([item])
                raise
            self._tell_part(item, data)

    def _tell_part(self, part: Staged, data: bytes) -> None:
        """Show a part to all hosts, and last to the one where rank 0 looks for it.

        Whoever else does not answer gets it when training starts again.
        """
        last = [peer for peer in self.peers if peer.name == self._first]
        needed = [peer for peer in self.holders if peer not in last]
        rest = [peer for peer in self.peers if peer not in needed and peer not in last]
        try:
            _each(needed, lambda peer: peer.put(part.key, data))
        except BaseException:
            self.local.discard([part])
            raise
        _tried(rest, lambda peer: peer.put(part.key, data))
        self.local.publish([part])
        _each(last, lambda peer: peer.put(part.key, data))

    def tell_again(self, key: str) -> None:
        """Show a part that is here to the host of rank 0, which may not have seen it yet.

        Nothing but that was left to do when it became visible here.
        """
        data = self.local.get(key)
        _each([peer for peer in self.peers if peer.name == self._first], lambda p: p.put(key, data))

    def give_copies(self, manifest: bytes) -> None:
        """Let the hosts that hold this rank's copies have all packs that a part names.

        Those of earlier checkpoints too, which a host that has come back has not.
        """
        named = part_format.decode(manifest, what="a part").packs
        lengths = {pack.key: pack.length for pack in named}
        for peer in self.holders:
            for key in peer.lacks(lengths):
                with closing(self.open(key)) as reader:
                    content = memoryview(bytearray(reader.size))
                    reader.read(content, 0)
                peer.put(key, content)

    def discard(self, staged: Sequence[Staged]) -> None:
        for item in staged:
            self._parts.pop(item.key, None)
        self.local.discard(staged)

    def put(self, key: str, data: Buffer) -> None:
        self.local.put(key, data)
        if self.allowed.is_on_all(key):
            _each(self.peers, lambda peer: peer.put(key, data))

    def put_hint(self, key: str, data: Buffer) -> None:
        self.local.put_hint(key, data)
        if self.allowed.is_pin(key):
            others = [peer for peer in self.peers if peer not in self.holders]
            _each(self.holders, lambda peer: peer.put_hint(key, data))
            _tried(others, lambda peer: peer.put_hint(key, data))

    def put_new(self, key: str, data: Buffer) -> bool:
        if not self.local.put_new(key, data):
            return False
        if self.allowed.is_on_all(key):
            self._put_on_all(key, data)
        return True

    def _put_on_all(self, key: str, data: Buffer) -> None:
        """Let the other hosts have a record that this one has.

        Raises:
            PeersUnavailable: Fewer have it than hold copies, so that it could be lost with this
                host. It is there all the same.
        """
        done = _tried(self.peers, lambda peer: peer.put_new(key, data))
        lacking = [peer.name for peer, has in zip(self.peers, done, strict=True) if has is not True]
        if not lacking:
            return
        why = f"{', '.join(lacking)} did not take {key!r}"
        if len(self.peers) - len(lacking) < len(self.holders):
            raise PeersUnavailable(
                f"Host(s) {why}: the checkpoint is there, but could be lost with this host. "
                "Checkpoints committed before are safe.",
                in_doubt=True,
            )
        _log.warning("Host(s) %s. Enough others have; it gets it when training starts again.", why)

    def append(self, key: str, data: bytes, *, durable: bool = False) -> None:
        self.local.append(key, data, durable=durable)

    def open_lock(self, key: str) -> StoreLock:
        return self.local.open_lock(key)

    # --- reading ---

    def get(self, key: str) -> bytes:
        return self.local.get(key)

    def open(self, key: str) -> ObjectReader:
        if self.allowed.is_pack(key) and not self.local.exists(key):
            self.fetch(key)
        return self.local.open(key)

    def fetch(self, key: str, is_good: Callable[[], bool] = lambda: True) -> None:
        """Get an object from a host that has it, and keep it here.

        Args:
            key: Its key.
            is_good: Says whether what is here now is good; if not, that of the next host is taken.

        Raises:
            ChunkMissing: No host that answers has it, or none that is good.
        """
        for peer in [*self.holders, *(p for p in self.peers if p not in self.holders)]:
            try:
                content = peer.get(key)
            except PeersUnavailable as error:
                _log.warning("%s", error)
                continue
            if content is not None:
                self.local.put(key, content)
                if is_good():
                    return
        raise ChunkMissing(
            f"The object {key!r} is neither on this host nor on any other that answers.", key=key
        )

    def is_here(self, key: str) -> bool:
        """Say whether this host has an object itself."""
        return self.local.exists(key)

    def exists(self, key: str) -> bool:
        is_there = self.local.exists(key)
        if is_there and self.allowed.is_commit(key):
            # What a save is built on must not be on its way out on any host that has its packs.
            return False not in _tried(self.holders, lambda peer: peer.exists(key))
        return is_there

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        yield from self.local.list(prefix)

    def list_everywhere(self, prefix: str) -> Sequence[ObjectInfo]:
        """Return what any host has below a prefix, sorted by key."""
        found = {info.key: info for peer in self.peers for info in peer.list(prefix)}
        found |= {info.key: info for info in self.local.list(prefix)}
        return [found[key] for key in sorted(found)]

    def folders(self, prefix: str) -> Sequence[str]:
        return self.local.folders(prefix)

    # --- removing ---

    def clear_debris(self, prefix: str) -> None:
        self.local.clear_debris(prefix)

    def free_bytes(self) -> int | None:
        return self.local.free_bytes()

    def delete_hint(self, key: str) -> None:
        self.local.delete_hint(key)
        if self.allowed.is_pin(key):
            _tried(self.peers, lambda peer: peer.delete_hint(key))

    def delete(self, keys: Sequence[str]) -> None:
        self.local.delete(keys)
        on_all = [key for key in keys if self.allowed.is_on_all(key)]
        if on_all:
            # A host that does not hear of it now, keeps it until retention asks again.
            _tried(self.peers, lambda peer: peer.delete(on_all))


def reopened(
    inner: Mapping[str, Any],
    run: str,
    with_copies: Sequence[str],
    first: str,
    peers: Mapping[str, Sequence[Any]],
    secret: str,
    patience_s: float,
) -> PeeredStore:
    """Return the store that a recipe tells of."""
    dial = {
        "run": run,
        "with_copies": list(with_copies),
        "first": first,
        "peers": {name: list(at) for name, at in peers.items()},
        "secret": secret,
        "patience_s": patience_s,
    }
    others = [
        Peer(name, (str(at[0]), int(at[1])), bytes.fromhex(secret), patience_s)
        for name, at in peers.items()
    ]
    return PeeredStore(reopen(inner), run, others, with_copies, first, dial)


def _each(peers: Sequence[Peer], do: Callable[[Peer], object]) -> None:
    """Do something at several hosts at once; raise what went wrong at the first of them."""
    if not peers:
        return
    with ThreadPoolExecutor(min(len(peers), 16), "holdfast-peers") as pool:
        for _ in pool.map(do, peers):
            pass


def _tried(peers: Sequence[Peer], do: Callable[[Peer], _T]) -> list[_T | None]:
    """Do something at several hosts at once; return what each has said, None where it failed."""

    def attempt(peer: Peer) -> _T | None:
        try:
            return do(peer)
        except HoldfastError as error:
            _log.warning("%s", error)
            return None

    if not peers:
        return []
    with ThreadPoolExecutor(min(len(peers), 16), "holdfast-peers") as pool:
        return list(pool.map(attempt, peers))
