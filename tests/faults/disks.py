"""File systems of our own, on loop devices and in memory: to fill, to break, to cut from power."""

from __future__ import annotations

import ctypes
import fcntl
import os
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MIB = 1 << 20
# XFS makes no file system below 300 MiB; the files are sparse.
SIZES = {"ext4": 24 * MIB, "xfs": 320 * MIB}
_MKFS = {"ext4": ("mkfs.ext4", "-q", "-F"), "xfs": ("mkfs.xfs", "-q", "-f")}
_SHUTDOWN, _WITHOUT_LOG = 0x8004587D, 2
_libc = ctypes.CDLL(None, use_errno=True)


class CannotMake(Exception):
    """This machine cannot make that fault; the message says why."""


def require(*programs: str) -> None:
    """Raise where a program is missing, or who asks is not root."""
    if os.geteuid() != 0:
        raise CannotMake("only root can mount file systems")
    for program in programs:
        if shutil.which(program) is None:
            raise CannotMake(f"{program} is not installed")


def run(*command: object) -> None:
    done = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if done.returncode:
        raise CannotMake(f"{' '.join(map(str, command))}: {done.stderr.strip()}")


class Disk:
    """A file system in a file, mounted at a folder."""

    def __init__(self, image: Path, mount: Path, kind: str, options: str = "") -> None:
        require("mount", "losetup", _MKFS[kind][0])
        self.image, self.mount_point, self.kind = image, mount, kind
        self._options = f"loop,{options}" if options else "loop"
        mount.mkdir(parents=True, exist_ok=True)

    def make(self) -> None:
        with open(self.image, "wb") as file:
            file.truncate(SIZES[self.kind])
        run(*_MKFS[self.kind], self.image)

    def mount(self) -> None:
        run("mount", "-t", self.kind, "-o", self._options, self.image, self.mount_point)

    def unmount(self) -> None:
        unmount(self.mount_point)

    def mend(self) -> None:
        """Do what an administrator does with an ext4 that is marked as faulty."""
        self.unmount()
        run("sh", "-c", f"e2fsck -p {self.image} || test $? -lt 4")
        self.mount()

    @property
    def can_turn_read_only(self) -> bool:
        return self._trigger().exists()

    def turn_read_only(self) -> None:
        """Let ext4 find an error, whoever has files open for writing."""
        self._trigger().write_text("fault matrix")

    def _trigger(self) -> Path:
        device = os.stat(self.mount_point).st_dev
        name = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve().name
        return Path(f"/sys/fs/{self.kind}/{name}/trigger_fs_error")

    def cut_power(self) -> None:
        """Let nothing reach the disk any more, not even what the journal has in hand."""
        fd = os.open(self.mount_point, os.O_RDONLY)
        try:
            fcntl.ioctl(fd, _SHUTDOWN, struct.pack("I", _WITHOUT_LOG))
        finally:
            os.close(fd)

    def sync(self) -> None:
        sync(self.mount_point)


@contextmanager
def loop_disk(folder: Path, kind: str, options: str = "") -> Iterator[Disk]:
    """Give a mounted file system in a file of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    disk = Disk(folder / f"{kind}.img", folder / kind, kind, options)
    disk.make()
    disk.mount()
    try:
        yield disk
    finally:
        disk.unmount()
        disk.image.unlink()


@contextmanager
def memory_disk(mount: Path, nbytes: int) -> Iterator[Path]:
    """Give a file system in memory that is full after some bytes."""
    require("mount")
    mount.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={nbytes}", "none", mount)
    try:
        yield mount
    finally:
        unmount(mount)


def unmount(mount: Path) -> None:
    """Unmount, with some patience: a process that was killed may not have gone yet."""
    for _ in range(200):
        if subprocess.run(["umount", mount], capture_output=True).returncode == 0:
            return
        time.sleep(0.01)
    run("umount", "-l", mount)


def sync(mount: Path) -> None:
    """Bring all of one file system to its disk."""
    fd = os.open(mount, os.O_RDONLY)
    try:
        _libc.syncfs(fd)
    finally:
        os.close(fd)


def drop_caches(top: Path) -> None:
    """Let the next read of each file below a folder, all of it synced, come from the disk."""
    for path in top.rglob("*"):
        if path.is_file():
            fd = os.open(path, os.O_RDONLY)
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(fd)
