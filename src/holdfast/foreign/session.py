"""One reading of one foreign file: what all formats need to know and to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import BinaryIO

from holdfast.errors import ForeignDamaged, ForeignRefused, PickleMalformed
from holdfast.foreign.build import Builder, Replaced, Unknown
from holdfast.foreign.limits import Account, Limits
from holdfast.foreign.numpy_rules import NUMPY_RULES
from holdfast.foreign.plain_rules import PLAIN_RULES
from holdfast.foreign.sources import Source
from holdfast.foreign.storages import Loader, NoLoader
from holdfast.foreign.torch_rules import TORCH_RULES
from holdfast.foreign.tree import ForeignTree
from holdfast.security.joblib_arrays import skip_array
from holdfast.security.pickle_machine import Program, follow

RULES = {**PLAIN_RULES, **NUMPY_RULES, **TORCH_RULES}


@dataclass(slots=True)
class Session:
    """A file that is being read, and how."""

    path: str
    unknown: Unknown
    account: Account
    replaced: list[Replaced] = field(default_factory=list)

    @property
    def size(self) -> int:
        """Bytes of the file, or of all files."""
        return self.account.file_bytes

    @property
    def limits(self) -> Limits:
        """What it may ask for."""
        return self.account.limits

    def follow(self, file: BinaryIO) -> Program:
        """Follow the pickle that begins where the file is, or raise ForeignDamaged."""
        try:
            return follow(file, skip_array, most_steps=self.limits.steps)
        except PickleMalformed as error:
            raise self.damaged(error.message) from None

    def build(self, program: Program, source: Source, loader: Loader | None = None) -> object:
        """Return the value of a pickle."""
        builder = self.builder(source, loader)
        made = builder.run(program)
        self.replaced += builder.replaced
        return made

    def builder(self, source: Source, loader: Loader | None = None) -> Builder:
        """Return a builder for a pickle of this file."""
        return Builder(self.path, RULES, source, loader or NoLoader(), self.unknown, self.account)

    def tree(self, kind: str, root: object) -> ForeignTree:
        """Return the result."""
        return ForeignTree(self.path, kind, root, tuple(self.replaced))

    def damaged(self, why: str) -> ForeignDamaged:
        """Return the error for a file that is not what it should be."""
        return ForeignDamaged(
            f"{self.path!r} cannot be read: {why} Nothing was kept of it.", file=self.path
        )

    def refused(self, why: str) -> ForeignRefused:
        """Return the error for a file that is sound and not read."""
        return ForeignRefused(
            f"{self.path!r} is refused: {why} Nothing of it was run.", file=self.path, what=why
        )
