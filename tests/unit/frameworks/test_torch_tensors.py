"""Tensors of every dtype and layout, as new trees and into tensors that stand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from state_checks import assert_same, roundtrip, tensor_bytes

import holdfast
from absent import absent, required
from holdfast.errors import Mismatch, UnsupportedLeaf

torch = required("torch")
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:torch", "ignore:ComplexHalf")

DTYPES = [
    *("bool", "uint8", "uint16", "uint32", "uint64", "int8", "int16", "int32", "int64"),
    *("float16", "bfloat16", "float32", "float64", "complex32", "complex64", "complex128"),
    *("float8_e4m3fn", "float8_e4m3fnuz", "float8_e5m2", "float8_e5m2fnuz", "float8_e8m0fnu"),
]


def of_random_bytes(dtype: Any, shape: tuple[int, ...], seed: int = 0) -> Any:
    size = torch.empty((), dtype=dtype).element_size()
    n = int(np.prod(shape, dtype=int))
    raw = torch.from_numpy(np.random.default_rng(seed).integers(0, 256, n * size, np.uint8))
    if dtype == torch.bool:
        return (raw > 127).view(shape)
    return raw.view(dtype).view(shape)


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_bit_for_bit(store_path: Path, name: str) -> None:
    dtype = getattr(torch, name)
    state = {
        "large": of_random_bytes(dtype, (300, 401)),
        "small": of_random_bytes(dtype, (3, 5)),
        "0-d": of_random_bytes(dtype, ()),
        "empty": torch.empty((0, 3), dtype=dtype),
        "turned": of_random_bytes(dtype, (4, 6)).T,
        "every other": of_random_bytes(dtype, (4, 6))[:, ::2],
    }
    found = roundtrip(store_path, state)
    assert_same(found, state)
    target = {key: torch.zeros_like(value) for key, value in state.items()}
    tensors = dict(target)
    holdfast.load(store_path, "run@1", into=target)
    assert_same(target, state)
    assert all(target[key] is tensors[key] for key in target)


BASE = torch.arange(24.0).reshape(2, 3, 4)
COMPLEX = torch.complex(torch.arange(6.0), torch.ones(6)).reshape(2, 3)
LAYOUTS: dict[str, Any] = {
    "transposed": BASE.transpose(0, 2),
    "strided": BASE[:, 1:, ::2],
    "expanded": torch.arange(3.0).expand(4, 3),
    "expanded to one": torch.ones(1).expand(1),
    "channels last": torch.arange(48.0).reshape(1, 3, 4, 4).to(memory_format=torch.channels_last),
    "conjugated": COMPLEX.conj(),
    "conjugated, turned": COMPLEX.mH,
    "imaginary part of a conjugate": COMPLEX.conj().imag,
    "negated lazily": torch._neg_view(torch.arange(4.0)),
    "a slice of storage": torch.arange(10)[3:7],
    "diagonal": BASE[0].diagonal(),
    "requires grad": torch.ones(3, requires_grad=True),
    "computed": torch.ones(3, requires_grad=True) * 2,
    "negative zero and NaN": torch.tensor([-0.0, float("nan"), float("inf")]),
    "from numpy": torch.from_numpy(np.arange(5.0)),
}


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout(store_path: Path, name: str) -> None:
    state = {"t": LAYOUTS[name], "deep": [(LAYOUTS[name],)]}
    found = roundtrip(store_path, state)
    assert type(found["t"]) is torch.Tensor
    assert found["t"].is_contiguous() and not found["t"].requires_grad
    assert tensor_bytes(found["t"]) == tensor_bytes(LAYOUTS[name])
    assert found["deep"][0][0] is found["t"]


STANDING: dict[str, Callable[[], Any]] = {
    "contiguous": lambda: torch.zeros(3, 4),
    "turned": lambda: torch.zeros(4, 3).T,
    "strided": lambda: torch.zeros(6, 8)[::2, ::2],
    "a part": lambda: torch.zeros(5, 4)[1:4],
    "requires grad": lambda: torch.zeros(3, 4, requires_grad=True),
    "a parameter": lambda: torch.nn.Parameter(torch.zeros(3, 4)),
    "negated lazily": lambda: torch._neg_view(torch.zeros(3, 4)),
}


@pytest.mark.parametrize("name", STANDING)
def test_tensors_that_stand_are_filled(store_path: Path, name: str) -> None:
    value = torch.arange(12.0).reshape(3, 4)
    holdfast.save(store_path, {"t": value}, run="r", step=1)
    standing = STANDING[name]()
    target = {"t": standing}
    holdfast.load(store_path, "r@1", into=target)
    assert target["t"] is standing
    assert tensor_bytes(standing) == tensor_bytes(value)


def test_a_conjugated_tensor_is_filled(store_path: Path) -> None:
    holdfast.save(store_path, {"t": COMPLEX}, run="r", step=1)
    standing = torch.zeros_like(COMPLEX).conj()
    holdfast.load(store_path, "r@1", into={"t": standing})
    assert torch.equal(standing, COMPLEX)


def test_an_expanded_tensor_cannot_be_filled(store_path: Path) -> None:
    state = {"a": torch.ones(3), "t": torch.arange(3.0), "z": torch.ones(3)}
    holdfast.save(store_path, state, run="r", step=1)
    target = {"a": torch.zeros(3), "t": torch.zeros(1).expand(3), "z": torch.zeros(3)}
    try:
        holdfast.load(store_path, "r@1", into=target)
    except Mismatch:
        assert target["a"].tolist() == target["z"].tolist() == [0, 0, 0]
    else:
        assert_same(target, state)


def test_parameters_keep_what_they_are(store_path: Path) -> None:
    weight = torch.nn.Parameter(torch.arange(3.0))
    holdfast.save(store_path, {"w": weight}, run="r", step=1)
    standing = torch.nn.Parameter(torch.zeros(3), requires_grad=False)
    pointer = standing.data_ptr()
    holdfast.load(store_path, "r@1", into={"w": standing})
    assert standing.tolist() == [0, 1, 2]
    assert standing.data_ptr() == pointer and not standing.requires_grad


def test_a_tensor_in_the_graph_is_filled_without_recording(store_path: Path) -> None:
    holdfast.save(store_path, {"w": torch.ones(4, 4).T}, run="r", step=1)
    standing = torch.zeros(4, 4, requires_grad=True)
    holdfast.load(store_path, "r@1", into={"w": standing.T})
    assert standing.grad_fn is None and standing.sum() == 16


@pytest.mark.parametrize("begin", range(4))
def test_tensors_are_brought_to_any_address(begin: int) -> None:
    from holdfast.frameworks.torch_support import TorchAdapter

    value = torch.arange(6.0).reshape(2, 3).T
    memory = memoryview(bytearray(64))
    TorchAdapter().export(value, memory[begin : begin + 24])
    assert bytes(memory[begin : begin + 24]) == tensor_bytes(value)
    back = torch.zeros(3, 2)
    TorchAdapter().assign(back, memory[begin : begin + 24])
    assert torch.equal(back, value)


# --- aliases ---


def test_tied_tensors_are_stored_once_and_come_back_tied(store_path: Path) -> None:
    w = torch.randn(100, 100)
    state = {"a": w, "b": {"c": w}, "view": w[:], "other": w.clone(), "turned": w.T}
    info = holdfast.save(store_path, state, run="r", step=1, rng=False)
    assert info.state_bytes == 3 * w.nbytes
    found = holdfast.load(store_path, "r@1")
    assert_same(found, state)
    assert found["a"] is found["b"]["c"] is found["view"]
    assert found["other"].data_ptr() != found["a"].data_ptr()
    leaves = {leaf.path: leaf.alias_of for leaf in holdfast.Store(store_path).leaves("r@1")}
    assert leaves == {"a": None, "b/c": "a", "view": "a", "other": None, "turned": None}


def test_a_flat_buffer_and_its_views_are_loaded_into_themselves(store_path: Path) -> None:
    flat = torch.arange(12.0)
    state = {"flat": flat, "w": flat[:6].view(2, 3), "b": flat[6:]}
    holdfast.save(store_path, state, run="r", step=1)
    flat.zero_()
    holdfast.load(store_path, "r@1", into=state)
    assert flat.tolist() == list(range(12))
    assert state["w"].data_ptr() == flat.data_ptr()


def test_numpy_and_torch_over_one_memory(store_path: Path) -> None:
    array = np.arange(6.0)
    state = {"np": array, "torch": torch.from_numpy(array)}
    found = roundtrip(store_path, state)
    assert_same(found, state)


# --- what is refused ---


class Wrapper(torch.Tensor):
    """A tensor that holds its data in another, as DTensor does."""

    @staticmethod
    def __new__(cls, inner: Any) -> Any:
        made = torch.Tensor._make_wrapper_subclass(cls, inner.size(), dtype=inner.dtype)
        made.inner = inner
        return made

    def __tensor_flatten__(self) -> Any:
        return ["inner"], None

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise AssertionError(f"it is refused by its kind, and {func} was asked of it")


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: torch.eye(3).to_sparse(), "sparse"),
        (lambda: torch.eye(3).to_sparse_csr(), "sparse"),
        (lambda: torch.empty(3, device="meta"), "meta device"),
        (lambda: torch.quantize_per_tensor(torch.ones(3), 0.1, 0, torch.qint8), "quantised"),
        (lambda: Wrapper(torch.ones(2)), "tensor made of others"),
        (lambda: torch.empty(2, dtype=torch.float4_e2m1fn_x2), "float4"),
        (lambda: torch.nn.LazyLinear(3).weight, "m/w"),
    ],
    ids=["coo", "csr", "meta", "quantised", "wrapper", "float4", "uninitialised"],
)
@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_saved_is_named(
    store_path: Path, make: Callable[[], Any], said: str
) -> None:
    try:
        value = make()
    except (AttributeError, NotImplementedError, RuntimeError) as error:
        absent(f"PyTorch {torch.__version__} has no such tensor: {error}")
    with pytest.raises(UnsupportedLeaf, match="'m/w'") as caught:
        holdfast.save(store_path, {"m": {"w": value}}, run="r", step=1)
    assert said in str(caught.value)
    assert caught.value.path == "m/w"
    assert not store_path.exists()


@pytest.mark.parametrize(
    ("saved", "wanted"),
    [
        (torch.ones(3), torch.zeros(4)),
        (torch.ones(3), torch.zeros(3, dtype=torch.bfloat16)),
        (torch.ones(3), torch.zeros(3, 1)),
        (torch.ones(()), torch.zeros(1)),
        (np.ones((3, 2)), torch.zeros(3)),
    ],
    ids=range(5),
)
def test_what_does_not_fit(store_path: Path, saved: Any, wanted: Any) -> None:
    state = {"a": torch.ones(2), "m": {"w": saved}, "z": torch.ones(2)}
    holdfast.save(store_path, state, run="r", step=1)
    target = {"a": torch.zeros(2), "m": {"w": wanted}, "z": torch.zeros(2)}
    with pytest.raises(Mismatch, match=r"'m/w': saved as float(32|64)\[.*\], wanted \w+\["):
        holdfast.load(store_path, "r@1", into=target)
    assert not any(t.any() for t in (target["a"], target["z"], wanted))


def test_a_numpy_array_fills_a_tensor_and_the_other_way(store_path: Path) -> None:
    holdfast.save(store_path, {"a": np.arange(3.0), "b": torch.ones(2)}, run="r", step=1)
    target = {"a": torch.zeros(3, dtype=torch.float64), "b": np.zeros(2, "f4")}
    holdfast.load(store_path, "r@1", into=target)
    assert target["a"].tolist() == [0, 1, 2] and target["b"].tolist() == [1, 1]


# --- the small values that torch's own states hold ---


@pytest.mark.parametrize(
    "value",
    [
        *(torch.Size([2, 3]), torch.Size([]), torch.device("cpu"), torch.device("cuda", 1)),
        *(torch.float32, torch.bfloat16, torch.uint8),
    ],
    ids=str,
)
def test_small_values(store_path: Path, value: Any) -> None:
    assert_same(roundtrip(store_path, {"x": [value]}), {"x": [value]})


def test_a_generator(store_path: Path) -> None:
    generator = torch.Generator().manual_seed(5)
    torch.rand(3, generator=generator)
    holdfast.save(store_path, {"g": generator}, run="r", step=1)
    expected = torch.rand(5, generator=generator)
    found = holdfast.load(store_path, "r@1")["g"]
    assert torch.equal(torch.rand(5, generator=found), expected)
    standing = torch.Generator()
    target = {"g": standing}
    holdfast.load(store_path, "r@1", into=target)
    assert target["g"] is standing
    assert torch.equal(torch.rand(5, generator=standing), expected)


def test_the_global_generator_goes_on_where_it_was(store_path: Path) -> None:
    torch.manual_seed(5)
    torch.rand(3)
    holdfast.save(store_path, {"a": 1}, run="r", step=1)
    expected = torch.rand(5)
    torch.manual_seed(9)
    holdfast.load(store_path, "r@1", rng=True)
    assert torch.equal(torch.rand(5), expected)
    torch.manual_seed(9)
    after = torch.rand(5)
    torch.manual_seed(9)
    holdfast.load(store_path, "r@1")
    assert torch.equal(torch.rand(5), after)
