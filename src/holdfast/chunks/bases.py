"""The chunks that deltas are differences from, read when they are needed."""

from __future__ import annotations

from contextlib import closing
from typing import final

from holdfast.chunks.batch import ChunkRead, plain_bytes, stored_bytes
from holdfast.chunks.codecs.errors import Undecodable
from holdfast.chunks.form import form_of, is_chunk
from holdfast.chunks.stretch import Stretch
from holdfast.format.digests import check
from holdfast.plan.layout import CHUNK_BYTES
from holdfast.security.seal import Unsealable
from holdfast.store.contract import ObjectStore
from holdfast.store.scratch import Scratch

_LEAST_BYTES = 1 << 20


@final
class Bases:
    """Gives the bytes of such chunks, checked; may be used by several threads.

    Args:
        store: Where they lie.
        full: Compare BLAKE3 digests, too.
    """

    def __init__(self, store: ObjectStore, *, full: bool = False) -> None:
        self._store = store
        self._full = full
        self._scratch = Scratch(CHUNK_BYTES, least=_LEAST_BYTES)

    def __call__(self, base: ChunkRead) -> memoryview:
        """Return the bytes of a chunk; they are the caller's until this thread asks again.

        Raises:
            Undecodable: It is damaged.
            ChunkMissing, StoreUnavailable: It cannot be read.
        """
        form, row = form_of(self._store), base.row
        memory = self._scratch.memory("stored", stored_bytes([base], form.trailer_bytes))
        plain = self._scratch.memory("plain", plain_bytes([base]))
        name = f"chunk {row.digest.hex()[:12]}… in {base.pack_key}, which it is a difference from,"
        with closing(self._store.open(base.pack_key)) as reader:
            stretch = Stretch(reader, [base], memory, form, plain)
            if stretch.is_cut_short:
                raise Undecodable(f"the pack of {name} is cut short")
            try:
                for _ in stretch.chunk(base):
                    pass
            except (Unsealable, Undecodable) as error:
                raise Undecodable(f"{name} does not open: {error}") from error
        data = stretch.data(base)
        is_good = check(data) == row.check
        if not is_good or (self._full and not is_chunk(form, data, row.digest)):
            raise Undecodable(f"{name} is damaged")
        return data
