"""What a pickle would have done, judged and said in words.

*Safe* is what builds arrays and plain values and nothing else: an allow-list, not a list of what is
known to be bad. What is known to be bad is only used to say it more plainly.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal, Protocol

from holdfast.security.pickle_amounts import asks_for_too_much
from holdfast.security.pickle_machine import Call, Global, Items, Persistent, Program

Level = Literal["safe", "unknown", "dangerous"]

_SAFE_NAMES: dict[str, frozenset[str]] = {
    module: frozenset(names.split())
    for module, names in {
        "builtins": "set frozenset complex bytearray bytes int float bool str list dict tuple "
        "slice range object",
        "__builtin__": "set frozenset complex bytearray bytes int float bool str list dict tuple "
        "slice long unicode xrange object",
        "collections": "OrderedDict defaultdict deque Counter",
        "_codecs": "encode",
        "datetime": "datetime date time timedelta timezone",
        "zoneinfo": "ZoneInfo ZoneInfo._unpickle",
        "decimal": "Decimal",
        "fractions": "Fraction",
        "uuid": "UUID SafeUUID",
        "pathlib": "Path PosixPath WindowsPath PurePath PurePosixPath PureWindowsPath",
        "argparse": "Namespace",
        "types": "SimpleNamespace",
        "copyreg": "_reconstructor",
        "copy_reg": "_reconstructor",
        "joblib.numpy_pickle": "NumpyArrayWrapper",
        "torch": "device Size Tensor ByteStorage CharStorage ShortStorage IntStorage LongStorage "
        "HalfStorage FloatStorage DoubleStorage BoolStorage BFloat16Storage ComplexFloatStorage "
        "ComplexDoubleStorage QInt8Storage QUInt8Storage QInt32Storage "
        "float float16 float32 float64 half double bfloat16 int8 int16 int32 int64 uint8 uint16 "
        "uint32 uint64 bool complex32 complex64 complex128 float8_e4m3fn float8_e4m3fnuz "
        "float8_e5m2 float8_e5m2fnuz float8_e8m0fnu strided sparse_coo per_tensor_affine "
        "per_channel_affine quint8 qint8 qint32",
        "torch.storage": "UntypedStorage TypedStorage",
        "torch._tensor": "_rebuild_from_type_v2",
        "torch.serialization": "_get_layout",
        "torch.nn.parameter": "Parameter Buffer",
        "torch._utils": "_rebuild_tensor _rebuild_tensor_v2 _rebuild_tensor_v3 _rebuild_parameter "
        "_rebuild_parameter_with_state _rebuild_qtensor _rebuild_sparse_tensor "
        "_rebuild_meta_tensor_no_storage _rebuild_device_tensor_from_numpy",
        "torch.distributed.checkpoint.metadata": "Metadata MetadataIndex TensorStorageMetadata "
        "BytesStorageMetadata ChunkStorageMetadata TensorProperties StorageMeta "
        "_MEM_FORMAT_ENCODING",
        "torch.distributed.checkpoint.filesystem": "_StorageInfo _StoragePrefix",
        "numpy": "ndarray dtype matrix",
    }.items()
}
_NUMPY_CORE = re.compile(r"numpy\.(core|_core)\.(multiarray|numeric|_internal)")
_NUMPY_BUILDERS = frozenset({"_reconstruct", "scalar", "_frombuffer"})
_NUMPY_DTYPES = re.compile(r"numpy\.dtypes\.\w+DType")
_NUMPY_SCALARS = re.compile(r"numpy\.(bool_?|u?int\d+|float\d+|complex\d+|str_|bytes_|datetime64)")


def _modules(names: str) -> str:
    """Return a pattern for modules, or names in them, and all that is below."""
    return rf"({'|'.join(map(re.escape, names.split()))})(\..*)?"


# Whole modules, or single names of them, and what is done with them, in words.
_OS = r"(os|posix|nt)\."
_BUILTINS = r"(builtins|__builtin__)\."
_KNOWN_BAD: tuple[tuple[str, str], ...] = (
    (_OS + r"(system|popen\w*)", "runs a shell command"),
    (_OS + r"(exec\w*|spawn\w*|posix_spawn\w*|startfile)", "starts a program"),
    (_OS + r"(remove|unlink|rmdir|removedirs|rename|replace|truncate)", "deletes files"),
    (_OS + r".*", "uses the operating system"),
    (_modules("subprocess commands popen2 pty _posixsubprocess"), "starts a program"),
    (_BUILTINS + r"(eval|exec|execfile|compile)", "runs Python code that is in the file"),
    (_BUILTINS + r"(open|file)", "opens a file"),
    (_BUILTINS + r".*", "reaches for anything in Python"),
    (
        _modules(
            "importlib runpy imp pkgutil pydoc code codeop timeit trace doctest bdb pdb cProfile "
            "profile idlelib lib2to3 distutils setuptools pip ensurepip venv"
        ),
        "runs Python code by a detour",
    ),
    (
        _modules(
            "pickle _pickle cPickle dill cloudpickle marshal shelve joblib torch.load "
            "torch.storage torch.serialization pandas.io.pickle"
        ),
        "loads another pickle",
    ),
    (r"types\.\w+", "makes functions from code in the file"),
    (_modules("ctypes cffi _ctypes"), "calls into native libraries"),
    (
        _modules(
            "socket _socket ssl http urllib urllib2 requests httpx aiohttp ftplib smtplib "
            "telnetlib webbrowser xmlrpc asyncio"
        ),
        "uses the network",
    ),
    (
        _modules("shutil tempfile zipfile tarfile glob fileinput linecache io _io"),
        "reads or changes files",
    ),
    (
        _modules(
            "sys signal threading multiprocessing concurrent atexit gc inspect site logging.config"
        ),
        "acts on the running process",
    ),
    (
        _modules("operator _operator functools _functools itertools"),
        "combines functions to hide what is called",
    ),
    (
        _modules(
            "torch.hub torch.jit torch.package torch.utils.cpp_extension torch._dynamo "
            "torch._inductor torch.utils.bottleneck"
        ),
        "runs or fetches code through PyTorch",
    ),
    (
        _modules("numpy.testing numpy.f2py numpy.distutils numpy.load numpy.fromfile numpy.save"),
        "runs code or touches files through NumPy",
    ),
    (r"copyreg\.extension .*", "calls what a registry of extensions has"),
)
_BAD = [(re.compile(pattern), words) for pattern, words in _KNOWN_BAD]
_GETATTR = (Global("builtins", "getattr"), Global("__builtin__", "getattr"))
_ZONE = (Global("zoneinfo", "ZoneInfo"), "_unpickle")
_MOST_FINDINGS = 1000
_SHOWN_CHARS = 200
_SHOWN_DEPTH = 4
_SHOWN_BITS = 4096


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that loading would have done, and that does not build a plain value."""

    level: Level
    what: str
    position: int


def judge(program: Program) -> list[Finding]:
    """Return what a program would do besides building arrays and plain values, worst first."""
    told = {id(call.function) for call in program.calls if isinstance(call.function, Global)}
    imports = (
        finding
        for found, position in program.imports
        if id(found) not in told and (finding := _judge_import(found, position)) is not None
    )
    kept: dict[Level, list[Finding]] = {"dangerous": [], "unknown": []}
    for finding in chain(_judge_calls(program.calls), imports):
        # Nobody reads more, and a program of millions of calls would take the memory of them all.
        if len(kept[finding.level]) < _MOST_FINDINGS:
            kept[finding.level].append(finding)
    return [f for found in kept.values() for f in sorted(found, key=lambda f: f.position)]


class Judged(Protocol):
    """Anything that has a level."""

    @property
    def level(self) -> Level:
        """How bad it is."""
        ...


def level_of(found: Sequence[Judged]) -> Level:
    """Return the worst level among what was found that is not safe; safe where there is none."""
    levels = {item.level for item in found}
    return "dangerous" if "dangerous" in levels else "unknown" if levels else "safe"


def is_safe(found: Global) -> bool:
    """Say whether something only builds arrays and plain values."""
    if found.name in _SAFE_NAMES.get(found.module, ()):
        return True
    whole = str(found)
    if _NUMPY_DTYPES.fullmatch(whole) or _NUMPY_SCALARS.fullmatch(whole):
        return True
    return bool(_NUMPY_CORE.fullmatch(found.module)) and found.name in _NUMPY_BUILDERS


def called(function: object) -> object:
    """Return what is called, a class's own method by its whole name.

    Python pickles one by ``getattr``, with which anything else can be reached as well.
    """
    if isinstance(function, Call) and function.function in _GETATTR and function.how == "call":
        is_zone = function.named is None and tuple(function.args) == _ZONE
        return Global("zoneinfo", "ZoneInfo._unpickle") if is_zone else function
    return function


def _judge_calls(calls: Sequence[Call]) -> Iterator[Finding]:
    for call in calls:
        if isinstance(called(call), Global):
            continue
        function = called(call.function)
        if call.how == "change":
            what = f"changes attributes of {shown(call.function)}"
            yield Finding("dangerous", what, call.position)
        elif isinstance(function, Global):
            if is_safe(function):
                if asks_for_too_much(function, call.args):
                    what = f"takes memory without bound: {shown(call)}"
                    yield Finding("dangerous", what, call.position)
                continue
            level, words = _words(function)
            yield Finding(level, f"{words}: {shown(call)}", call.position)
        elif isinstance(call.function, Persistent):
            # As whole modules in PyTorch's old files: the class was imported for it.
            yield Finding("unknown", f"calls {shown(call.function.key)}", call.position)
        elif call.how == "call":
            what = f"calls what another call gave: {shown(call)}"
            yield Finding("dangerous", what, call.position)
        elif not (isinstance(call.function, Call) and _is_safe_call(call.function)):
            yield Finding("unknown", f"puts items into {shown(call.function)}", call.position)


def _is_safe_call(call: Call) -> bool:
    return isinstance(call.function, Global) and is_safe(call.function)


def _judge_import(found: Global, position: int) -> Finding | None:
    if is_safe(found):
        return None
    level, words = _words(found)
    if level == "unknown":
        words = "imports code of a package"
    return Finding(level, f"{words}: {found}", position)


def _words(found: Global) -> tuple[Level, str]:
    # A name with dots may lead on into a module that the first one has imported: lib.os.system.
    *_, third, second, last = ("", "", *found.name.split("."))
    ways = (str(found), f"{third}.{second}.{last}", f"{second}.{last}")
    for pattern, words in _BAD:
        if any(pattern.fullmatch(way) for way in ways):
            return "dangerous", words
    return "unknown", "imports code of a package and calls it"


def shown(value: object, depth: int = 0) -> str:
    """Return a value as people write it in Python, cut where it is long or deep."""
    text = _full_text(value, depth) if depth < _SHOWN_DEPTH else "…"
    return text if len(text) <= _SHOWN_CHARS else text[: _SHOWN_CHARS - 1] + "…"


def _full_text(value: object, depth: int) -> str:
    if isinstance(value, Global):
        return str(value)
    if isinstance(value, Call):
        given = value.args[:4] if value.named is None else (*value.args[:3], value.named)
        arguments = ", ".join(shown(argument, depth + 1) for argument in given)
        return f"{shown(value.function, depth + 1)}({arguments})"
    if isinstance(value, Persistent):
        return "…"
    if isinstance(value, Items):
        inside = ", ".join(
            f"{shown(k, depth + 1)}: {shown(v, depth + 1)}" for k, v in value.pairs[:4]
        )
        return f"{{{inside}}}"
    if isinstance(value, list | tuple):
        inside = ", ".join(shown(item, depth + 1) for item in value[:4])
        return f"[{inside}]" if isinstance(value, list) else f"({inside})"
    if isinstance(value, str | bytes | bytearray):
        return repr(value[:_SHOWN_CHARS])
    if isinstance(value, int) and value.bit_length() > _SHOWN_BITS:
        # Python refuses to write longer ones.
        return f"<an integer of {value.bit_length()} bits>"
    return repr(value)[:_SHOWN_CHARS]
