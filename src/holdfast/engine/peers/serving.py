"""What a keeper does for other hosts, in the store of its own."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any, final

from holdfast.engine.peers.allowed import Allowed
from holdfast.errors import ChunkMissing, HoldfastError, UsageError
from holdfast.history import pack_names
from holdfast.history.sweep import sweep_debris
from holdfast.records.rewriting import alone
from holdfast.store.contract import ObjectStore

Answer = tuple[Mapping[str, Any], bytes]


@final
class Serving:
    """Carries out what the other hosts ask for; refuses keys that are not theirs to name.

    Args:
        store: The host's own.
        run: The run.
        incarnation: Whose pins stay when debris is cleared.
        unlisted: Called once commits have been deleted, so that what they alone needed goes.
    """

    def __init__(
        self, store: ObjectStore, run: str, incarnation: str, unlisted: Callable[[], None]
    ) -> None:
        self._store = store
        self._run = run
        self._incarnation = incarnation
        self._unlisted = unlisted
        self._allowed = Allowed(run)
        self._does: dict[str, Callable[[Mapping[str, Any], bytearray], Answer]] = {
            "put": self._put,
            "put-new": self._put_new,
            "put-hint": self._put_hint,
            "get": self._get,
            "exists": self._exists,
            "lacks": self._lacks,
            "list": self._list,
            "delete": self._delete,
            "delete-hint": self._delete_hint,
            "clear": self._clear,
        }

    def answer(self, head: Mapping[str, Any], payload: bytearray) -> Answer:
        """Do what a message asks for; return head and payload of the answer."""
        try:
            does = self._does.get(str(head.get("do")))
            if does is None:
                raise UsageError(f"A keeper does not do {head.get('do')!r}.")
            return does(head, payload)
        except HoldfastError as error:
            return {"kind": error.kind, "message": error.message}, b""

    def _key(self, head: Mapping[str, Any], is_allowed: Callable[[str], bool]) -> str:
        key = head.get("key")
        if not isinstance(key, str) or not is_allowed(key):
            raise UsageError(f"The key {key!r} is not another host's to name. Nothing was done.")
        return key

    def _put(self, head: Mapping[str, Any], payload: bytearray) -> Answer:
        self._store.put(self._key(head, self._allowed.may_be_written), payload)
        return {}, b""

    def _put_new(self, head: Mapping[str, Any], payload: bytearray) -> Answer:
        key = self._key(head, self._allowed.is_on_all)
        # Who asks again, since the answer was lost on the way, has put it too.
        is_there = self._store.put_new(key, payload) or self._store.get(key) == bytes(payload)
        return {"is_there": is_there}, b""

    def _put_hint(self, head: Mapping[str, Any], payload: bytearray) -> Answer:
        self._store.put_hint(self._key(head, self._allowed.is_pin), payload)
        return {}, b""

    def _get(self, head: Mapping[str, Any], payload: bytearray) -> Answer:
        try:
            return {"is_there": True}, self._store.get(self._key(head, self._allowed.may_be_read))
        except ChunkMissing:
            return {"is_there": False}, b""

    def _exists(self, head: Mapping[str, Any], payload: bytearray) -> Answer:
        return {"is_there": self._store.exists(self._key(head, self._allowed.may_be_read))}, b""

    def _lacks(self, head: Mapping[str, Any], payload: bytearray) -> Answer:
        """Say which of some packs are not here, or not in their length."""
        wanted = json.loads(bytes(payload))
        keys = [self._key({"key": key}, self._allowed.is_pack) for key in wanted]
        there = {info.key: info.size for info in self._store.list(self._allowed.keys.packs)}
        return {"keys": [key for key in keys if there.get(key) != wanted[key]]}, b""

    def _list(self, head: Mapping[str, Any], payload: bytearray) -> Answer:
        prefix = head.get("prefix")
        if not isinstance(prefix, str) or not self._allowed.may_be_listed(prefix):
            raise UsageError(f"{prefix!r} is not another host's to list. Nothing was done.")
        found = [[info.key, info.size, info.modified_s] for info in self._store.list(prefix)]
        return {}, json.dumps(found).encode()

    def _delete(self, head: Mapping[str, Any], payload: bytearray) -> Answer:
        keys = json.loads(bytes(payload))
        checked = [self._key({"key": key}, self._allowed.is_on_all) for key in keys]
        with alone(self._store, self._run):
            self._store.delete(checked)
        if any(map(self._allowed.is_commit, checked)):
            self._unlisted()
        return {}, b""

    def _delete_hint(self, head: Mapping[str, Any], payload: bytearray) -> Answer:
        self._store.delete_hint(self._key(head, self._allowed.is_pin))
        return {}, b""

    def _clear(self, head: Mapping[str, Any], payload: bytearray) -> Answer:
        """Delete what writers that died have left here; only this host's own ranks ask for it."""
        pack_names.forget()
        return {"freed": sweep_debris(self._store, self._run, self._incarnation)}, b""
