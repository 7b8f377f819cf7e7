"""A bucket as a store: packs go up in parts while they are made, small objects at once."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar, final

from holdfast.errors import ChunkMissing
from holdfast.store.bytes_reader import BytesReader
from holdfast.store.contract import Buffer, ObjectInfo, ObjectReader, Staged
from holdfast.store.keys import check_key
from holdfast.store.recipe import Recipe
from holdfast.store.remote import conditional
from holdfast.store.remote.client import Options, connect, endpoint_in, parse
from holdfast.store.remote.faults import translated, translation
from holdfast.store.remote.lease import Lease
from holdfast.store.remote.patience import patiently
from holdfast.store.remote.reader import remote_reader

T = TypeVar("T")

# Parts of an upload; S3 asks for 5 MiB at least.
_PART_BYTES = 8 << 20
# Each completion is a request that takes a server a while.
_AT_ONCE = 8
_SIZES_KEPT = 10_000
# So much of an object is fetched when it is opened: of small ones all, by one request.
_BEGIN_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StagedUpload(Staged):
    """An upload that is not completed; the server shows nothing of it yet."""

    writer: Any = field(repr=False)


@final
class RemoteStore:
    """The store in a bucket, below a prefix.

    Args:
        url: ``s3://BUCKET/PREFIX``, ``gs://BUCKET/PREFIX`` or ``az://CONTAINER/PREFIX``. The
            bucket must be there already.
        settings: What the client is told besides what it finds where that cloud's own tools look
            (environment, instance roles): ``endpoint``, ``region``, ``access_key_id``, …, as
            obstore names them.
        retry_s: For how long, in seconds, a request is tried again before it counts as failed.

    Raises:
        UsageError: The URL or a setting is not one, or obstore is not installed.
    """

    # Nothing is cached on the way: who reads twice waits twice, and may have to pay.
    is_far = True

    def __init__(
        self, url: str, settings: Mapping[str, str] | None = None, *, retry_s: float = 120.0
    ) -> None:
        address = parse(url)
        self._url = address.url
        # Buckets of one name at two servers are two.
        at = endpoint_in(settings or {})
        self.location = f"{self._url} at {at}" if at else self._url
        self._options = Options(dict(settings or {}), retry_s)
        self._client = connect(address, self._options)
        self._is_proven = False
        self._proving = threading.Lock()
        # Of packs that were opened; a pack is named once and never changes its size.
        self._sizes: dict[str, int] = {}

    def __repr__(self) -> str:
        return f"RemoteStore({self.location!r})"

    def recipe(self) -> Recipe:
        return Recipe(
            "holdfast.store.remote.objects:RemoteStore",
            {
                "url": self._url,
                "settings": dict(self._options.settings),
                "retry_s": self._options.retry_s,
            },
        )

    def _patiently(self, request: Callable[[], T]) -> T:
        return patiently(request, self._options.retry_s)

    # --- writing ---

    def create(self) -> None:
        self._prove()

    def _prove(self) -> None:
        with self._proving:
            if not self._is_proven:
                conditional.prove(self._client, self.location)
                self._is_proven = True

    def stage(self, key: str, buffers: Sequence[Buffer]) -> StagedUpload:
        import obstore

        size = 0
        with translated("write", check_key(key), self.location):
            writer = obstore.open_writer(self._client, key, buffer_size=_PART_BYTES)
            # One after the other: who gives them may let them come slowly.
            for view in (memoryview(buffer).cast("B") for buffer in buffers):
                for begin in range(0, view.nbytes, _PART_BYTES):
                    # A copy: the writer sends it later, and the memory is the caller's again.
                    writer.write(bytes(view[begin : begin + _PART_BYTES]))
                size += view.nbytes
        return StagedUpload(key, size, writer)

    def publish(self, staged: Sequence[Staged]) -> None:
        uploads = _uploads(staged)
        with ThreadPoolExecutor(_AT_ONCE, "holdfast-publish") as pool:
            # All are tried before the first that failed is told.
            done = [pool.submit(self._complete, item) for item in uploads]
        for one in done:
            one.result()

    def _complete(self, item: StagedUpload) -> None:
        self._sizes.pop(item.key, None)
        try:
            item.writer.close()
        except Exception as error:
            # The answer may be lost, and a second try is told that there is no such upload.
            if not self._has(item):
                raise translation(error, "write", item.key, self.location) from error

    def _has(self, item: StagedUpload) -> bool:
        import obstore

        try:
            found = self._patiently(lambda: obstore.head(self._client, item.key))
        except Exception:
            return False
        # Nobody else writes that key: packs and parts are named by their checkpoint's id.
        return int(found["size"]) == item.size

    def discard(self, staged: Sequence[Staged]) -> None:
        """Forget uploads; the server's rule for unfinished ones removes their parts."""

    def put(self, key: str, data: Buffer) -> None:
        import obstore

        self._sizes.pop(key, None)
        with translated("write", check_key(key), self.location):
            self._patiently(lambda: obstore.put(self._client, key, bytes(data)))

    def put_hint(self, key: str, data: Buffer) -> None:
        self.put(key, data)

    def put_new(self, key: str, data: Buffer) -> bool:
        check_key(key)
        self._prove()
        return conditional.put_new(self._client, key, data, self.location)

    def append(self, key: str, data: bytes, *, durable: bool = False) -> None:
        # Buckets cannot append; what is appended to (events, metrics) is kept short by its writer.
        try:
            before = self.get(key)
        except ChunkMissing:
            before = b""
        self.put(key, before + data)

    def open_lock(self, key: str) -> Lease:
        return Lease(self._client, check_key(key), self.location)

    # --- reading ---

    def get(self, key: str) -> bytes:
        import obstore

        with translated("read", check_key(key), self.location):
            return self._patiently(lambda: bytes(obstore.get(self._client, key).bytes()))

    def open(self, key: str) -> ObjectReader:
        import obstore

        def opened() -> tuple[bytes, int]:
            try:
                # A request for all of it would be broken off, and its connection with it.
                found = obstore.get(self._client, key, options={"range": (0, _BEGIN_BYTES)})
            except FileNotFoundError:
                raise
            except Exception:
                # An object without a byte has none to begin with, and servers may answer a request
                # for more than there is with all of it, which the client does not take.
                size = int(obstore.head(self._client, key)["size"])
                if size > _BEGIN_BYTES:
                    raise
                return bytes(obstore.get(self._client, key).bytes()), size
            return bytes(found.bytes()), int(found.meta["size"])

        known = self._sizes.get(check_key(key))
        if known is not None:
            return self._reader(key, known, b"")
        with translated("read", key, self.location):
            begin, size = self._patiently(opened)
        if size == len(begin):
            return BytesReader(key, begin)
        if len(self._sizes) >= _SIZES_KEPT:
            self._sizes.clear()
        self._sizes[key] = size
        return self._reader(key, size, begin)

    def _reader(self, key: str, size: int, begin: bytes) -> ObjectReader:
        return remote_reader(
            self._client,
            key,
            size,
            begin,
            location=self.location,
            patience_s=self._options.retry_s,
        )

    def exists(self, key: str) -> bool:
        import obstore

        with translated("look at", check_key(key), self.location):
            try:
                self._patiently(lambda: obstore.head(self._client, key))
            except FileNotFoundError:
                return False
        return True

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        import obstore

        def listed() -> list[ObjectInfo]:
            return [
                ObjectInfo(meta["path"], int(meta["size"]), meta["last_modified"].timestamp())
                for batch in obstore.list(self._client, prefix.rstrip("/") or None, chunk_size=1000)
                for meta in batch
            ]

        with translated("list", prefix, self.location):
            found = self._patiently(listed)
        yield from sorted(found, key=lambda info: info.key)

    def folders(self, prefix: str) -> Sequence[str]:
        import obstore

        with translated("list", prefix, self.location):
            found = self._patiently(
                lambda: obstore.list_with_delimiter(self._client, prefix.rstrip("/") or None)
            )
        return sorted(path.rsplit("/", 1)[-1] for path in found["common_prefixes"])

    def clear_debris(self, prefix: str) -> None:
        """Do nothing: nobody sees uploads that were not completed."""

    def free_bytes(self) -> int | None:
        return None

    # --- removing ---

    def delete_hint(self, key: str) -> None:
        self.delete([key])

    def delete(self, keys: Sequence[str]) -> None:
        import obstore

        for key in keys:
            self._sizes.pop(check_key(key), None)
        if not keys:
            return
        with translated("remove", keys[0], self.location):
            try:
                # S3 removes a thousand by one request; what is not there is no error to it.
                self._patiently(lambda: obstore.delete(self._client, list(dict.fromkeys(keys))))
            except FileNotFoundError:
                for key in keys:
                    with suppress(FileNotFoundError):
                        obstore.delete(self._client, [key])


def _uploads(staged: Sequence[Staged]) -> list[StagedUpload]:
    return [item for item in staged if isinstance(item, StagedUpload)]
