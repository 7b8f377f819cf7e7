"""Files that attack whoever loads them, made anew each time; what they do leaves a canary."""

from __future__ import annotations

import bz2
import collections
import fractions
import gzip
import io
import lzma
import os
import pathlib
import pickle
import tarfile
import zipfile
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np


class Attack:
    """Pickles as a call."""

    def __init__(self, function: Any, *args: Any) -> None:
        self.call = function, args

    def __reduce__(self) -> Any:
        return self.call


def op(*parts: bytes | str) -> bytes:
    return b"".join(p.encode() if isinstance(p, str) else p for p in parts)


CANARY = "canary"


def touch() -> str:
    return f"touch {CANARY}"


# Hand-made programs: what pickle.dumps would not write, but pickle.loads would run.
HAND_MADE: dict[str, bytes] = {
    "no protocol": op("cos\nsystem\n(S'", touch(), "'\ntR."),
    "INST": op("(S'", touch(), "'\nios\nsystem\n."),
    "OBJ": op("(cos\nsystem\nS'", touch(), "'\no."),
    "begins with an odd opcode": op("N0cos\nsystem\n(S'", touch(), "'\ntR."),
    "begins with a mark": op("(0cos\nsystem\n(S'", touch(), "'\ntR."),
    "begins like safetensors": op("N0N0N0N0", "}0cos\nsystem\n(S'", touch(), "'\ntR."),
    "names from the memo": op(
        b"\x80\x04\x8c\x02os\x94\x8c\x06system\x940", b"0h\x00h\x01\x93", b"\x8c", bytes([12]),
        touch(), b"\x85R.",
    ),
    "a dotted name": op(b"\x80\x04\x8c\x08builtins\x8c\x0deval.__call__\x93\x8c\x011\x85R."),
    "attributes of a class": op(
        b"ccollections\nOrderedDict\n}S'__setitem__'\ncos\nsystem\nsb."
    ),
    "attributes of a harmless class": op(b"ccollections\nOrderedDict\n}S'x'\nI1\nsb."),
    "a call of what a call gave": op(b"cbuiltins\ndict\n)R(S'x'\ntR."),
    "items into a stranger": op(b"cmine\nThing\n)\x81(S'a'\nI1\nu."),
    "an extension": op(b"\x80\x02\x82\x01)R."),
    "hidden behind a good one": pickle.dumps([1, 2]) + op("cos\nsystem\n(S'", touch(), "'\ntR."),
    "done before the end is missed": op("cos\nsystem\n(S'", touch(), "'\ntR"),
    "done before the nonsense": op("cos\nsystem\n(S'", touch(), "'\ntR\xff\xff"),
    "popped away": op("cos\nsystem\n(S'", touch(), "'\ntR0N."),
    "an import alone": op(b"cantigravity\nfly\n0N."),
}  # fmt: skip

CALLS: dict[str, Any] = {
    "system": Attack(os.system, touch()),
    "popen": Attack(os.popen, touch()),
    "eval": Attack(eval, f"open({CANARY!r}, 'w')"),
    "exec": Attack(exec, f"open({CANARY!r}, 'w')"),
    "open": Attack(open, CANARY, "w"),
    "getattr": Attack(getattr, "x", "upper"),
    "remove": Attack(os.remove, "nothing"),
    "nested": {"weights": [1, 2, (3, {"deep": Attack(os.system, touch())})]},
    "as a default factory": collections.defaultdict(os.getcwd),
    "import": Attack(__import__, "antigravity"),
    "mkdir": Attack(pathlib.Path.mkdir, pathlib.Path(CANARY)),
    "compile": Attack(compile, "1", "x", "eval"),
    "loads": Attack(pickle.loads, b"N."),
    "partial": Attack(__import__("functools").partial, os.system, touch()),
    "methodcaller": Attack(__import__("operator").methodcaller, "system"),
    "subprocess": Attack(__import__("subprocess").call, ["touch", CANARY]),
    "runpy": Attack(__import__("runpy").run_path, CANARY),
    "ctypes": Attack(__import__("ctypes").CDLL, "libc.so.6"),
    "webbrowser": Attack(__import__("webbrowser").open, "http://127.0.0.1"),
    "timeit": Attack(__import__("timeit").timeit, "1"),
    "pdb": Attack(__import__("pdb").run, "1"),
    "pydoc": Attack(__import__("pydoc").pipepager, "x", touch()),
    "code": Attack(__import__("code").interact),
    "shutil": Attack(__import__("shutil").rmtree, "nothing"),
    "socket": Attack(__import__("socket").create_connection, ("127.0.0.1", 1)),
    "type": Attack(type, "X", (), {}),
    "more bytes than there are": Attack(bytearray, 1 << 45),
    "more numbers than there are": Attack(list, range(1 << 45)),
    "a larger array than there is": Attack(np.ndarray, (1 << 20, 1 << 25)),
    "a number with a long way to zero": Attack(fractions.Fraction, "1e999999999"),
}  # fmt: skip

ATTACKS: dict[str, bytes] = {
    **HAND_MADE,
    **{
        f"{name}, protocol {protocol}": pickle.dumps(value, protocol=protocol)
        for name, value in CALLS.items()
        for protocol in (0, 2, 4, 5)
    },
}


def zipped(data: bytes, name: str = "archive/data.pkl", **more: Any) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", **more) as archive:
        archive.writestr(name, data)
    return out.getvalue()


def beyond_any_file(archive: bytes) -> bytes:
    """Return an archive whose first member is said to be at a place that no file has."""
    out = bytearray(archive)
    at = out.find(b"PK\x01\x02")
    name, extra = (int.from_bytes(out[at + i : at + i + 2], "little") for i in (28, 30))
    field = b"\x01\x00\x08\x00" + bytes(7) + b"\x80"
    out[at + 42 : at + 46] = b"\xff" * 4
    out[at + 30 : at + 32] = (extra + len(field)).to_bytes(2, "little")
    out[at + 46 + name : at + 46 + name] = field
    end = out.rfind(b"PK\x05\x06") + 12
    size = int.from_bytes(out[end : end + 4], "little") + len(field)
    out[end : end + 4] = size.to_bytes(4, "little")
    return bytes(out)


def tarred(data: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("sys_info", "pickle"):
            member = tarfile.TarInfo(name)
            content = data if name == "pickle" else pickle.dumps({})
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def tarred_as(name: str, content: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo(name)
        member.size = len(content)
        archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def object_array(data: bytes) -> bytes:
    out = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        out, {"descr": "|O", "fortran_order": False, "shape": (1,)}
    )
    return out.getvalue() + data


WRAPPINGS: dict[str, Callable[[bytes], bytes]] = {
    "zip": zipped,
    "compressed zip": lambda d: zipped(d, compression=zipfile.ZIP_DEFLATED),
    "zip with another name": lambda d: zipped(d, "a/b/constants.pkl"),
    "second zip": lambda d: zipped(pickle.dumps(1)) + zipped(d),
    "behind a good pickle": lambda d: pickle.dumps([1]) + zipped(d),
    "before a good zip": lambda d: d + zipped(pickle.dumps(1)),
    "gzip": gzip.compress,
    "zlib": zlib.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "lzma": lambda d: lzma.compress(d, format=lzma.FORMAT_ALONE),
    "tar": tarred,
    "gzip of a zip": lambda d: gzip.compress(zipped(d)),
    "gzip of a tar of a zip": lambda d: gzip.compress(
        tarred_as("model/pytorch_model.bin", zipped(d))
    ),
    "tar of an array of objects": lambda d: tarred_as("a.npy", object_array(d)),
    "tar of a gzip": lambda d: tarred_as("a.pkl.gz", gzip.compress(d)),
    "array of objects without a suffix": lambda d: zipped(object_array(d), "b"),
    "gzip of an array of objects": lambda d: gzip.compress(object_array(d)),
    "gzip of a gzip": lambda d: gzip.compress(gzip.compress(d)),
    "array of objects": object_array,
    "array of objects in a zip": lambda d: zipped(object_array(d), "b.npy"),
    "gzip of an array": lambda d: gzip.compress(d),
}
