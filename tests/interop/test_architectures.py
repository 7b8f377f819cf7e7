"""Models by their published configurations, randomly initialised, there and back by every way.

The smallest published variant of each; HOLDFAST_MODELS=full takes the well-known ones.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import holdfast
from absent import required
from holdfast.convert import export, import_checkpoint

torch = required("torch")
transformers = required("transformers")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
FULL = os.environ.get("HOLDFAST_MODELS") == "full"
WORDS = torch.tensor([[5, 3, 9, 2, 7]])


@dataclass(frozen=True)
class Case:
    """A model: what makes it, its published configuration, and what to ask it."""

    cls: Any
    config: Callable[[], Any]
    inputs: dict[str, torch.Tensor]


def _gpt2() -> Any:
    # distilbert/distilgpt2, openai-community/gpt2
    return transformers.GPT2Config(n_layer=12 if FULL else 6, n_head=12, n_embd=768)


def _bert() -> Any:
    if FULL:  # google-bert/bert-base-uncased
        return transformers.BertConfig()
    # google/bert_uncased_L-2_H-128_A-2
    return transformers.BertConfig(
        hidden_size=128, num_hidden_layers=2, num_attention_heads=2, intermediate_size=512
    )


def _vit() -> Any:
    if FULL:  # google/vit-base-patch16-224
        return transformers.ViTConfig()
    # facebook/deit-tiny-patch16-224, without its distillation
    return transformers.ViTConfig(
        hidden_size=192, num_hidden_layers=12, num_attention_heads=3, intermediate_size=768
    )


def _t5() -> Any:
    if FULL:  # google-t5/t5-small
        return transformers.T5Config(d_model=512, d_ff=2048, num_layers=6, decoder_start_token_id=0)
    # google/t5-efficient-tiny
    return transformers.T5Config(
        d_model=256, d_kv=64, d_ff=1024, num_layers=4, num_heads=4, decoder_start_token_id=0
    )


def _whisper() -> Any:
    # openai/whisper-tiny, openai/whisper-base
    width, layers, heads = (512, 6, 8) if FULL else (384, 4, 6)
    return transformers.WhisperConfig(
        d_model=width,
        encoder_layers=layers,
        decoder_layers=layers,
        encoder_attention_heads=heads,
        decoder_attention_heads=heads,
        encoder_ffn_dim=4 * width,
        decoder_ffn_dim=4 * width,
    )


CASES = {
    "gpt2": Case(transformers.GPT2LMHeadModel, _gpt2, {"input_ids": WORDS}),
    "bert": Case(transformers.BertForMaskedLM, _bert, {"input_ids": WORDS}),
    "vit": Case(
        transformers.ViTForImageClassification,
        _vit,
        {"pixel_values": torch.linspace(-1, 1, 3 * 224 * 224).view(1, 3, 224, 224)},
    ),
    "t5": Case(
        transformers.T5ForConditionalGeneration,
        _t5,
        {"input_ids": WORDS, "decoder_input_ids": WORDS},
    ),
    "whisper": Case(
        transformers.WhisperForConditionalGeneration,
        _whisper,
        {
            "input_features": torch.linspace(-1, 1, 80 * 3000).view(1, 80, 3000),
            "decoder_input_ids": WORDS,
        },
    ),
}


@pytest.fixture(scope="module", params=CASES)
def case(request: pytest.FixtureRequest) -> Iterator[tuple[Case, Any, torch.Tensor]]:
    found = CASES[request.param]
    model = _made(found, 0)
    yield found, model, _answer(found, model)


def _made(case: Case, seed: int) -> Any:
    torch.manual_seed(seed)
    return case.cls(case.config()).eval()


def _answer(case: Case, model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(**case.inputs).logits


def _blank(case: Case) -> Any:
    """Return a model that has nothing of the other: initialising again would take as long."""
    model = case.cls(case.config()).eval()
    with torch.no_grad():
        for tensor in model.parameters():
            tensor.zero_()
    return model


def test_there_and_back(case: tuple[Case, Any, torch.Tensor], tmp_path: Path) -> None:
    found, model, answer = case
    saved = holdfast.save(tmp_path / "store", {"model": model}, run="m", step=1)
    ties = len(model.state_dict()) - len({t.data_ptr() for t in model.state_dict().values()})
    assert saved.state_bytes == _bytes_of(model) + _bytes_of_generators(saved, tmp_path / "store")

    other = _blank(found)
    holdfast.load(tmp_path / "store", "m@1", into={"model": other})
    _assert_same(dict(other.state_dict()), dict(model.state_dict()))
    assert torch.equal(_answer(found, other), answer)
    shared = len(other.state_dict()) - len({t.data_ptr() for t in other.state_dict().values()})
    assert shared == ties

    # Their own loader reads what is exported: what is tied is stored once, as they do it.
    folder = tmp_path / "theirs"
    folder.mkdir()
    model.config.save_pretrained(folder)
    export(
        tmp_path / "store", "m@1", folder / "model.safetensors", format="safetensors", root="model"
    )
    theirs = found.cls.from_pretrained(folder).eval()
    _assert_same(dict(theirs.state_dict()), dict(model.state_dict()))
    assert torch.equal(_answer(found, theirs), answer)

    # What they write is imported, and fills a model.
    theirs.save_pretrained(tmp_path / "again")
    import_checkpoint(
        tmp_path / "store", tmp_path / "again/model.safetensors", run="back", root="model"
    )
    last = _blank(found)
    told = holdfast.load(tmp_path / "store", "back@latest", into={"model": last}, strict=False)
    last.tie_weights()
    assert told.unexpected == ()
    _assert_same(dict(last.state_dict()), dict(model.state_dict()))
    assert torch.equal(_answer(found, last), answer)


def _assert_same(found: dict[str, Any], expected: dict[str, Any]) -> None:
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype and torch.equal(found[name], tensor), name


def _bytes_of(model: Any) -> int:
    stored = {t.data_ptr(): t.nbytes for t in model.state_dict().values()}
    return sum(stored.values())


def _bytes_of_generators(info: holdfast.CheckpointInfo, store: Path) -> int:
    leaves = holdfast.Store(store).leaves(info.ref)
    return sum(leaf.nbytes or 0 for leaf in leaves if leaf.path.startswith("@rng"))
