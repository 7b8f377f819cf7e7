"""How small the state of a real run gets, beside ZipNN, Zstandard and Blosc2: ``make ratios``.

A small GPT learns the text of Python's own documentation, character by character. What is measured
is its state: weights and both moments of Adam, as they are and as bfloat16. Speeds are of one core,
in bytes of state per second of processor time; everything must come back bit for bit. With
``--write FILE`` the table in a guide is put anew.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import zstandard
from pages import put_between
from small_gpt import training

from holdfast.chunks.codecs import choice, planes
from holdfast.chunks.codecs.decode import decode
from holdfast.format.codecs import PLANES
from holdfast.plan.elements import elements_of
from holdfast.plan.layout import CHUNK_BYTES

ROUNDS = 3
BEGIN, END = "<!-- ratios:begin -->", "<!-- ratios:end -->"

Codec = tuple[Callable[[bytes], Any], Callable[[Any], bytes], Callable[[Any], int]]


def train(steps: int, width: int, layers: int) -> tuple[dict[str, np.ndarray[Any, Any]], float]:
    """Return the arrays of a trained state by what they are, and the loss at the end."""
    (run,) = deque(training(steps, width, layers), maxlen=1)
    parameters = torch.cat([p.detach().flatten() for p in run.model.parameters()])
    before = torch.cat([t.flatten() for t in run.before])
    same = (parameters.to(torch.bfloat16) == before.to(torch.bfloat16)).float().mean()
    print(f"loss {run.loss:.2f} after {steps}; bf16 weights a step does not change: {same:.3f}")
    return run.arrays(), run.loss


def ours(dtype: str) -> Codec:
    elements = elements_of(dtype)
    room = memoryview(bytearray(planes.head_bytes(CHUNK_BYTES, elements.width) + CHUNK_BYTES))
    into = memoryview(bytearray(CHUNK_BYTES))

    def encode(data: bytes) -> list[tuple[int, memoryview]]:
        out = []
        for at in range(0, len(data), CHUNK_BYTES):
            chunk = memoryview(data)[at : at + CHUNK_BYTES]
            how = choice.choose(chunk, elements)
            nbytes = choice.encode(chunk, how, room) if how is not None else None
            # As a writer does: what gains too little is stored as it is.
            kept = chunk if nbytes is None else memoryview(bytearray(room[:nbytes]))
            out.append((0 if nbytes is None else chunk.nbytes, kept))
        return out

    def back(stored: list[tuple[int, memoryview]]) -> bytes:
        out = b""
        for length, kept in stored:
            if not length:
                out += kept
                continue
            for _ in decode(PLANES, kept, length, into[:length]):
                pass
            out = into[:length] if len(stored) == 1 else out + into[:length]
        return out

    return encode, back, lambda stored: sum(kept.nbytes for _, kept in stored)


def zstd(level: int) -> Codec:
    return (
        lambda data: zstandard.ZstdCompressor(level=level).compress(data),
        lambda stored: zstandard.ZstdDecompressor().decompress(stored),
        len,
    )


def blosc(width: int) -> Codec | None:
    try:
        import blosc2
    except ImportError:
        return None
    blosc2.set_nthreads(1)
    return (
        lambda data: blosc2.compress2(
            data,
            typesize=width,
            codec=blosc2.Codec.ZSTD,
            clevel=1,
            filters=[blosc2.Filter.SHUFFLE],
            nthreads=1,
        ),
        blosc2.decompress2,
        len,
    )


def zipnn(dtype: str) -> Codec | None:
    try:
        from zipnn import ZipNN
    except ImportError:
        return None
    codec = ZipNN(input_format="byte", bytearray_dtype=dtype, threads=1)
    # It turns bits round in the memory that it is given.
    return (lambda data: codec.compress(bytearray(data)), codec.decompress, len)


@dataclass(frozen=True)
class Figure:
    """Of one codec on one kind of array: how small, and bytes of state per core and second."""

    ratio: float
    encode_gbps: float
    decode_gbps: float


def measured(data: bytes, codec: Codec) -> Figure:
    encode, back, size = codec
    stored = encode(data)
    assert bytes(back(stored)) == data, "it did not come back"
    encode_s = min(_seconds(lambda: encode(data)) for _ in range(ROUNDS))
    decode_s = min(_seconds(lambda: back(stored)) for _ in range(ROUNDS))
    gigabytes = len(data) / 1e9
    return Figure(size(stored) / len(data), gigabytes / encode_s, gigabytes / decode_s)


def _seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin


def figures(arrays: dict[str, np.ndarray[Any, Any]]) -> dict[str, dict[str, Figure]]:
    out: dict[str, dict[str, Figure]] = {}
    for name, array in arrays.items():
        dtype = "float32" if array.itemsize == 4 else "bfloat16"
        codecs = {
            "planes": ours(dtype),
            "ZipNN": zipnn(dtype),
            "zstd -1": zstd(1),
            "Blosc2": blosc(array.itemsize),
        }
        data = array.tobytes()
        out[name] = {n: measured(data, codec) for n, codec in codecs.items() if codec is not None}
        print(
            name,
            {
                n: (round(f.ratio, 3), round(f.encode_gbps, 2), round(f.decode_gbps, 2))
                for n, f in out[name].items()
            },
        )
    return out


def together(found: dict[str, dict[str, Figure]]) -> dict[str, Figure]:
    """Return the figures of all kinds of arrays in fp32, which have equally many bytes, as one."""
    rows = [row for kind, row in found.items() if kind.endswith("fp32")]
    out = {}
    for name in rows[0]:
        parts = [row[name] for row in rows]
        out[name] = Figure(
            sum(f.ratio for f in parts) / len(parts),
            len(parts) / sum(1 / f.encode_gbps for f in parts),
            len(parts) / sum(1 / f.decode_gbps for f in parts),
        )
    return out


def table(found: dict[str, dict[str, Figure]], loss: float, steps: int, n: int) -> str:
    names = list(next(iter(found.values())))
    lines = [
        "| stored ÷ state; GB/s of state per core, in and out | " + " | ".join(names) + " |",
        "|---|" + "--:|" * len(names),
    ]
    for kind, row in {**found, "all of it, fp32": together(found)}.items():
        cells = (f"{f.ratio:.3f}; {f.encode_gbps:.1f}, {f.decode_gbps:.1f}" for f in row.values())
        lines.append(f"| {kind} | " + " | ".join(cells) + " |")
    lines += [
        "",
        f"A GPT of {n / 1e6:.1f} million parameters after {steps} steps of AdamW on the text of "
        f"Python's documentation (loss {loss:.2f}). Everything came back bit for bit.",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--steps", type=int, default=300)
    parser.add_argument("--width", type=int, default=192)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--write", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    arrays, loss = train(options.steps, options.width, options.layers)
    found = figures(arrays)
    text = table(found, loss, options.steps, arrays["weights, fp32"].size)
    print(text)
    if options.json:
        plain = {kind: {n: vars(f) for n, f in row.items()} for kind, row in found.items()}
        options.json.write_text(json.dumps(plain, indent=1))
    if options.write:
        put_between(options.write, BEGIN, END, text)


if __name__ == "__main__":
    main()
