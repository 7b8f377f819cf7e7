"""Ready rules for names, by which common tools' names become each other's.

They change names and nothing else: where tools lay out the same weights along other axes, as
PyTorch's ``weight`` and Keras' and Flax's ``kernel`` do, whoever loads them turns them. Each is a
list of rules as anybody may write them, so that what does not fit can be copied and changed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import final

_WRAPPERS = "_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module"
# Where a key begins: of a whole name, or after a slash.
_KEY = r"(?<![^/])"
# Where a part of a key begins, which is kept.
_PART = r"(^|[./])"
# Layers that are called a normalisation or an embedding.
_NORM = r"((?:^|[./])(?:[^./]*[Nn]orm[^./]*|(?:[^./]*_)?(?:bn|ln)\d*(?:_[^./]*)?)[./])"
_EMBEDDING = r"((?:^|[./])(?:[^./]*[Ee]mb[^./]*|wte|wpe|shared)[./])"
_BASES = (
    "albert|bart|bert|convnext|deberta|deit|distilbert|electra|esm|gpt_neox|longformer|mobilebert|"
    "model|mpnet|resnet|roberta|swin|transformer|vit|wav2vec2|whisper"
)
_HEADS = "classifier|cls|lm_head|pre_classifier|qa_outputs|score|vocab_projector"


@final
@dataclass(frozen=True, slots=True)
class ReadyRule:
    """Rules under one name.

    Attributes:
        name: What ``--rename`` takes, beginning with ``@``.
        says: What they do.
        rules: Texts ``PATTERN=REPLACEMENT``, in their order.
    """

    name: str
    says: str
    rules: tuple[str, ...]


_ALL = (
    ReadyRule(
        "@unwrap",
        "PyTorch: without what torch.compile, FSDP, DDP and DataParallel put into names",
        # DDP's only where a name begins, since models of one's own use it, too.
        (rf"{_KEY}(?:(?:module|{_WRAPPERS})\.)+|(?<![^./])(?:{_WRAPPERS})\.=",),
    ),
    ReadyRule(
        "@lightning",
        "Lightning: without state_dict/ and the model. of the module's attribute",
        (r"^(?:lightning/)?state_dict/=", rf"{_KEY}(?:_forward_module\.)?model\.="),
    ),
    ReadyRule(
        "@timm",
        "timm: without state_dict/ or state_dict_ema/, and DDP's module.",
        (r"^state_dict(?:_ema)?/=", rf"{_KEY}module\.="),
    ),
    ReadyRule(
        "@hf-base",
        "Hugging Face: without the name of the base model, as bert. or transformer.",
        (rf"{_KEY}(?:{_BASES})\.=",),
    ),
    ReadyRule(
        "@hf-base:NAME",
        "Hugging Face: with the name of the base model before all but heads",
        (rf"^(?!NAME\.|(?:{_HEADS})\.)=NAME.",),
    ),
    ReadyRule(
        "@torch-to-flax",
        "PyTorch's names of layers to Flax's; axes stay PyTorch's",
        (
            rf"{_NORM}weight$=\1scale",
            rf"{_EMBEDDING}weight$=\1embedding",
            rf"{_PART}running_mean$=\1mean",
            rf"{_PART}running_var$=\1var",
            rf"{_PART}weight$=\1kernel",
        ),
    ),
    ReadyRule(
        "@flax-to-torch",
        "Flax's names of layers to PyTorch's; axes stay Flax's",
        (
            rf"{_PART}(?:kernel|scale|embedding)$=\1weight",
            rf"{_PART}mean$=\1running_mean",
            rf"{_PART}var$=\1running_var",
        ),
    ),
    ReadyRule(
        "@torch-to-keras",
        "PyTorch's names of layers to Keras'; axes stay PyTorch's",
        (
            rf"{_NORM}weight$=\1gamma",
            rf"{_NORM}bias$=\1beta",
            rf"{_EMBEDDING}weight$=\1embeddings",
            rf"{_PART}running_mean$=\1moving_mean",
            rf"{_PART}running_var$=\1moving_variance",
            rf"{_PART}weight$=\1kernel",
        ),
    ),
    ReadyRule(
        "@keras-to-torch",
        "Keras' names of layers to PyTorch's; axes stay Keras'",
        (
            rf"{_PART}(?:kernel|gamma|embeddings)$=\1weight",
            rf"{_PART}beta$=\1bias",
            rf"{_PART}moving_mean$=\1running_mean",
            rf"{_PART}moving_variance$=\1running_var",
        ),
    ),
    ReadyRule(
        "@dots",
        "Slashes between parts of names become dots, as in a state_dict",
        ("/=.",),
    ),
    ReadyRule(
        "@slashes",
        "Dots between parts of names become slashes",
        (r"\.=/",),
    ),
)

# By name; the one that takes a name besides is found under what comes before the colon, too.
READY: Mapping[str, ReadyRule] = MappingProxyType({rule.name: rule for rule in _ALL})


def ready_rules(text: str) -> tuple[str, ...] | None:
    """Return the rules of a ready one; None where there is none of that name.

    >>> ready_rules("@dots")
    ('/=.',)
    """
    name, colon, given = text.partition(":")
    found = READY.get(f"{name}:NAME" if colon else name)
    if found is None or (colon and not given.replace("_", "").isalnum()):
        return None
    return tuple(rule.replace("NAME", given) for rule in found.rules) if colon else found.rules
