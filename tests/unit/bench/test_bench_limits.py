import os
import subprocess
import sys

import pytest

from absent import needs_disk
from holdfast.bench import files, limits, memory


@pytest.fixture
def measured():
    made = limits.Limits((1 << 20) + 5)
    yield made
    made.close()


def test_raw_files_hold_the_bytes_and_take_time(tmp_path, measured):
    folder = tmp_path / "raw"
    assert measured.write_s(folder) > 0
    assert files.tree_bytes(folder) == measured.nbytes
    measured._target[:] = bytes(measured.nbytes)
    assert measured.read_s(folder, direct=True) > 0
    assert bytes(measured._target) == bytes(measured._source)
    measured._target[:] = bytes(measured.nbytes)
    assert measured.read_s(folder, direct=False) > 0
    assert bytes(measured._target) == bytes(measured._source)


def test_copy_and_digest_take_time(measured):
    assert measured.copy_s() > 0
    assert bytes(measured._target) == bytes(measured._source)
    assert measured.digest_s() > 0


def test_raw_write_falls_back_where_direct_io_is_refused(tmp_path, measured, monkeypatch):
    real_open = os.open

    def refusing(path, flags, mode=0o777):
        if flags & limits._O_DIRECT:
            raise OSError(22, "Invalid argument")
        return real_open(path, flags, mode)

    monkeypatch.setattr(limits.os, "open", refusing)
    measured.write_s(tmp_path / "raw")
    assert files.tree_bytes(tmp_path / "raw") == measured.nbytes


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="needs Linux")
def test_warm_and_evict_do_what_they_say(tmp_path):
    needs_disk(tmp_path)
    (tmp_path / "data").write_bytes(os.urandom(1 << 20))
    assert files.evict(tmp_path) == 0.0
    files.warm(tmp_path)
    fd = os.open(tmp_path / "data", os.O_RDONLY)
    assert files._cached_bytes(fd, 1 << 20) == 1 << 20
    os.close(fd)
    assert files.evict(tmp_path) == 0.0


TOUCHES = """
import os
from holdfast.bench import memory

with memory.watched() as peak:
    buffer = bytearray(os.urandom(1 << 20)) * 50
print(peak.extra_bytes)
"""


@pytest.mark.skipif(not memory.measurable(), reason="needs Linux")
def test_watched_memory_sees_a_buffer_that_was_touched():
    # In a process of its own: in this one, what other tests left may come or go meanwhile.
    done = subprocess.run([sys.executable, "-c", TOUCHES], stdout=subprocess.PIPE, check=True)
    # The system may take a few pages of the rest away at the same time.
    assert 49 << 20 <= int(done.stdout) < 60 << 20


def test_the_last_moment_counts_however_rarely_it_is_looked(monkeypatch):
    sums = iter([100, 350])
    monkeypatch.setattr(memory, "_INTERVAL_S", 1000)
    monkeypatch.setattr(memory, "_family_bytes", lambda: next(sums))
    with memory.watched() as peak:
        pass
    assert peak.extra_bytes == 250
