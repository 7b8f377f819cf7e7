"""Makes the golden vectors anew, byte for byte the same each time: ``make vectors``.

A difference afterwards means that the format has changed; docs/spec/v1.md says when it may.
"""

from __future__ import annotations

import base64
import json
import shutil
import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import encoding  # noqa: E402
import golden  # noqa: E402
import malformed  # noqa: E402
import ranks  # noqa: E402
import sealed_malformed  # noqa: E402
import sealing  # noqa: E402
import spec_reader  # noqa: E402
from making import SEEDS, public_key  # noqa: E402

MADE = (
    "golden",
    "golden.json",
    "malformed.json",
    "sealed",
    "sealed.json",
    "sealed-malformed.json",
    "encoded",
    "encoded.json",
    "ranks",
    "ranks.json",
)


def write(folder: Path) -> None:
    """Write all vectors into a folder."""
    _write(folder / "golden", golden.files())
    keys = [public_key(seed) for seed in SEEDS]
    described = spec_reader.describe(folder / "golden", public_keys=keys)
    described["keys"] = [key.hex() for key in keys]
    _write(folder, {"golden.json": _json(described)})
    cases = {"sound": _texts(malformed.sound()), "cases": _cases(malformed.cases())}
    _write(folder, {"malformed.json": _json(cases)})
    _write(folder / "encoded", encoding.files())
    _write(folder, {"encoded.json": _json(spec_reader.describe(folder / "encoded"))})
    _write(folder / "ranks", ranks.files())
    _write(folder, {"ranks.json": _json(spec_reader.describe(folder / "ranks"))})
    _write(folder / "sealed", sealing.files())
    described = spec_reader.describe(folder / "sealed", sealing.IDENTITY)
    keys = {"identity": sealing.IDENTITY, "passphrase": sealing.PASSPHRASE}
    _write(folder, {"sealed.json": _json({"keys": keys, "store": described})})
    _write(folder, {"sealed-malformed.json": _json({"cases": _cases(sealed_malformed.cases())})})


def _cases(cases: list[malformed.Case]) -> dict[str, object]:
    """Return what each case lays over a sound store, as plain JSON."""
    return {
        case.name: {
            "rule": case.rule,
            "kind": case.kind,
            "why": case.why,
            "files": _texts(case.files),
        }
        for case in cases
    }


def _texts(files: dict[str, bytes]) -> dict[str, object]:
    """Return files as plain JSON: text as it is, other bytes in base64."""
    return {
        key: data.decode() if data.isascii() and b"\0" not in data else _base64(data)
        for key, data in files.items()
    }


def _base64(data: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(data).decode()}


def _write(folder: Path, files: dict[str, bytes]) -> None:
    for key, data in files.items():
        path = folder / key
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1).encode("ascii") + b"\n"


def main() -> None:
    for name in MADE:
        path = HERE / name
        if path.is_dir():
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
    write(HERE)


if __name__ == "__main__":
    main()
