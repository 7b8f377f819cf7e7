"""What a disk may hold after a power cut: a model of a file system that keeps only what was synced.

A file's bytes are safe once the file was synced, a name once its folder was. What was not synced
is there or is not, each name and each file for itself.
"""

from __future__ import annotations

import os
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

Apply = Callable[["Disk"], object]
FOLDER = -1
_WRAPPED = ("open", "mkdir", "rename", "link", "unlink")
_WRAPPED += ("write", "writev", "pwrite", "ftruncate", "fsync")


@dataclass
class Disk:
    """Names (paths to numbers of files) and bytes of files: as they are, and as they are safe."""

    names: dict[str, int] = field(default_factory=dict)
    data: dict[int, bytes] = field(default_factory=dict)
    safe_names: dict[str, int] = field(default_factory=dict)
    safe_data: dict[int, bytes] = field(default_factory=dict)

    def write(self, file: int, at: int, data: bytes) -> None:
        old = self.data[file].ljust(at, b"\0")
        self.data[file] = old[:at] + data + old[at + len(data) :]

    def sync_folder(self, folder: str) -> None:
        inside = {n: f for n, f in self.names.items() if os.path.dirname(n) == folder}
        for name in [n for n in self.safe_names if os.path.dirname(n) == folder]:
            if name not in inside:
                del self.safe_names[name]
        self.safe_names.update(inside)

    # --- what may be left ---

    def only_synced(self) -> dict[str, bytes]:
        """Return the files that are there at least."""
        return self._files(self.safe_names, self.safe_data)

    def names_without_bytes(self) -> dict[str, bytes]:
        """Return what is there where names get to the disk before bytes do."""
        return self._files(self.names, self.safe_data)

    def anything(self, source: random.Random) -> dict[str, bytes]:
        """Return what is there where each change has or has not got to the disk."""
        names: dict[str, int] = {}
        for name in sorted(self.names.keys() | self.safe_names.keys()):
            chosen = source.choice((self.names, self.safe_names)).get(name)
            if chosen is not None:
                names[name] = chosen
        data = {f: source.choice((self.data, self.safe_data)).get(f, b"") for f in self.data}
        return self._files(names, data)

    def _files(self, names: Mapping[str, int], data: Mapping[int, bytes]) -> dict[str, bytes]:
        def is_reachable(name: str) -> bool:
            above = os.path.dirname(name)
            return not above or (names.get(above) == FOLDER and is_reachable(above))

        return {
            name: data.get(file, b"")
            for name, file in names.items()
            if file != FOLDER and is_reachable(name)
        }


class Recorder:
    """Notes every effect on a folder while it is the ``os`` module's; see ``Disk``."""

    def __init__(self, folder: Path) -> None:
        self._root = os.path.realpath(folder)
        self.log: list[Apply] = []
        self._files: dict[str, int] = {}
        self._count = 0
        self._fds: dict[int, tuple[int, list[int]]] = {}
        self._real = {name: getattr(os, name) for name in _WRAPPED}
        for name in _WRAPPED:
            setattr(os, name, getattr(self, f"_{name}"))

    def close(self) -> None:
        for name, real in self._real.items():
            setattr(os, name, real)

    def _name(self, path: Any) -> str | None:
        full = os.path.realpath(os.fspath(path))
        return os.path.relpath(full, self._root) if full.startswith(self._root + "/") else None

    def _note(self, apply: Apply) -> None:
        self.log.append(apply)

    def _mkdir(self, path: Any, mode: int = 0o777) -> None:
        self._real["mkdir"](path, mode)
        if (name := self._name(path)) is not None:
            self._note(lambda disk: disk.names.update({name: FOLDER}))

    def _open(self, path: Any, flags: int, mode: int = 0o777) -> int:
        fd: int = self._real["open"](path, flags, mode)
        self._fds.pop(fd, None)
        name = self._name(path)
        if name is not None and flags & (os.O_WRONLY | os.O_RDWR):
            if name not in self._files:
                self._note_new(name)
            begin = os.fstat(fd).st_size if flags & os.O_APPEND else 0
            self._fds[fd] = self._files[name], [begin]
        return fd

    def _note_new(self, name: str) -> None:
        self._count += 1
        number = self._files[name] = self._count

        def create(disk: Disk) -> None:
            disk.names[name] = number
            disk.data[number] = b""

        self._note(create)

    def _rename(self, source: Any, target: Any) -> None:
        self._real["rename"](source, target)
        if (old := self._name(source)) is not None and (new := self._name(target)) is not None:
            number = self._files[new] = self._files.pop(old)

            def rename(disk: Disk) -> None:
                disk.names[new] = number
                del disk.names[old]

            self._note(rename)

    def _link(self, source: Any, target: Any) -> None:
        self._real["link"](source, target)
        if (old := self._name(source)) is not None and (new := self._name(target)) is not None:
            number = self._files[new] = self._files[old]
            self._note(lambda disk: disk.names.update({new: number}))

    def _unlink(self, path: Any) -> None:
        self._real["unlink"](path)
        if (name := self._name(path)) is not None:
            self._files.pop(name)

            def unlink(disk: Disk) -> None:
                del disk.names[name]

            self._note(unlink)

    def _write(self, fd: int, data: Any) -> int:
        return self._written(fd, self._real["write"](fd, data), bytes(data))

    def _writev(self, fd: int, buffers: Any) -> int:
        return self._written(fd, self._real["writev"](fd, buffers), b"".join(buffers))

    def _written(self, fd: int, count: int, data: bytes) -> int:
        if fd in self._fds:
            number, position = self._fds[fd]
            at, position[0] = position[0], position[0] + count
            self._note(lambda disk: disk.write(number, at, data[:count]))
        return count

    def _pwrite(self, fd: int, data: bytes, at: int) -> int:
        count: int = self._real["pwrite"](fd, data, at)
        if fd in self._fds:
            number = self._fds[fd][0]
            self._note(lambda disk: disk.write(number, at, data[:count]))
        return count

    def _ftruncate(self, fd: int, length: int) -> None:
        self._real["ftruncate"](fd, length)
        if fd in self._fds:
            number = self._fds[fd][0]

            def cut(disk: Disk) -> None:
                disk.data[number] = disk.data[number][:length]

            self._note(cut)

    def _fsync(self, fd: int) -> None:
        self._real["fsync"](fd)
        path = os.readlink(f"/proc/self/fd/{fd}")
        if os.path.isdir(path):
            folder = "" if path == self._root else self._name(path)
            if folder is not None:
                self._note(lambda disk: disk.sync_folder(folder))
        elif fd in self._fds:
            number = self._fds[fd][0]

            def keep(disk: Disk) -> None:
                disk.safe_data[number] = disk.data[number]

            self._note(keep)


def materialise(files: Mapping[str, bytes], folder: Path) -> None:
    """Write files, and the folders that they are in."""
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
