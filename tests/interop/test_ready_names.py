"""The ready rules for names, each proven by the tool that the names are for: it loads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import holdfast
from absent import required
from holdfast.convert import export, import_checkpoint

torch = required("torch")

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning")
WORDS = np.array([[5, 3, 9, 2]])


class Net(torch.nn.Module):  # type: ignore[misc]
    """One of each layer whose names differ from tool to tool."""

    def __init__(self) -> None:
        super().__init__()
        self.embed_words = torch.nn.Embedding(12, 6)
        self.layer_norm = torch.nn.LayerNorm(6, eps=1e-6)
        self.fc = torch.nn.Linear(6, 5)
        self.bn1 = torch.nn.BatchNorm1d(5, eps=1e-5)

    def forward(self, words: Any) -> Any:
        return self.bn1(self.fc(self.layer_norm(self.embed_words(words))).transpose(1, 2))


def trained() -> Any:
    """A net none of whose weights is what it begins with."""
    torch.manual_seed(0)
    net = Net()
    for value in net.state_dict().values():
        if value.is_floating_point():
            value.copy_(torch.rand_like(value) + 0.5)
    return net.eval()


def said_by(net: Any) -> np.ndarray:
    with torch.no_grad():
        answer: np.ndarray = net(torch.tensor(WORDS)).transpose(1, 2).numpy()
    return answer


def names_of(store: Path, state: dict[str, Any], *rules: str, **how: Any) -> dict[str, Any]:
    """Save a state, export it by some rules, and return what another reader finds."""
    holdfast.save(store, {"model": state}, run="r", step=0, rng=False)
    file = store.with_suffix(".safetensors")
    how = {"root": "model", **how}
    export(store, "r@0", file, format="safetensors", rename=rules, overwrite=True, **how)
    return dict(load_file(file))


def turned(found: dict[str, Any], kernel: str = "kernel") -> dict[str, Any]:
    """Return weights with the axes of dense kernels the other way round."""
    return {k: v.T if k.endswith(kernel) and v.ndim == 2 else v for k, v in found.items()}


def test_keras_knows_the_names(tmp_path: Path) -> None:
    keras = required("keras")
    words = keras.Input((4,), dtype="int32")
    x = keras.layers.Embedding(12, 6, name="embed_words")(words)
    x = keras.layers.LayerNormalization(epsilon=1e-6, name="layer_norm")(x)
    x = keras.layers.Dense(5, name="fc")(x)
    x = keras.layers.BatchNormalization(epsilon=1e-5, name="bn1")(x)
    model, net = keras.Model(words, x), trained()

    found = names_of(
        tmp_path / "s",
        net.state_dict(),
        *("@torch-to-keras", "@slashes"),
        skip="**num_batches_tracked",
    )
    variables = {v.path: v for v in model.variables}
    assert found.keys() == variables.keys()
    for path, value in turned(found).items():
        variables[path].assign(value)
    np.testing.assert_allclose(model(WORDS).numpy(), said_by(net), rtol=1e-4, atol=1e-5)

    state = {path: v.numpy() for path, v in variables.items()}
    back = names_of(tmp_path / "t", state, "@keras-to-torch", "@dots")
    other = Net().eval()
    values = {k: torch.from_numpy(v) for k, v in turned(back, "fc.weight").items()}
    other.load_state_dict(values, strict=True)
    np.testing.assert_array_equal(said_by(other), said_by(net))


def test_flax_knows_the_names(tmp_path: Path) -> None:
    nnx = required("flax.nnx")

    class Same(nnx.Module):  # type: ignore[misc, name-defined]
        def __init__(self) -> None:
            rngs = nnx.Rngs(0)
            self.embed_words = nnx.Embed(12, 6, rngs=rngs)
            self.layer_norm = nnx.LayerNorm(6, epsilon=1e-6, rngs=rngs)
            self.fc = nnx.Linear(6, 5, rngs=rngs)
            self.bn1 = nnx.BatchNorm(5, epsilon=1e-5, use_running_average=True, rngs=rngs)

        def __call__(self, words: Any) -> Any:
            return self.bn1(self.fc(self.layer_norm(self.embed_words(words))))

    net, model = trained(), Same()
    found = names_of(
        tmp_path / "s",
        net.state_dict(),
        *("@torch-to-flax", "@slashes"),
        skip="**num_batches_tracked",
    )
    state = nnx.state(model)
    tree = nnx.to_pure_dict(state)
    assert {f"{layer}/{name}" for layer in tree for name in tree[layer]} == found.keys()
    for name, value in turned(found).items():
        layer, _, variable = name.partition("/")
        assert tree[layer][variable].shape == value.shape
        tree[layer][variable] = value
    nnx.replace_by_pure_dict(state, tree)
    nnx.update(model, state)
    np.testing.assert_allclose(model(WORDS), said_by(net), rtol=1e-4, atol=1e-5)

    back = names_of(tmp_path / "t", nnx.to_pure_dict(nnx.state(model)), "@dots", "@flax-to-torch")
    other = Net().eval()
    values = {k: torch.tensor(v) for k, v in turned(back, "fc.weight").items()}
    other.load_state_dict(values, strict=True)
    np.testing.assert_array_equal(said_by(other), said_by(net))


def test_hugging_face_models_with_and_without_their_heads(tmp_path: Path) -> None:
    transformers = required("transformers")
    config = transformers.BertConfig(
        vocab_size=20,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=8,
    )
    whole = transformers.BertForSequenceClassification(config).eval()
    base = transformers.BertModel(config).eval()
    found = names_of(tmp_path / "s", whole.state_dict(), "@hf-base", skip="model/classifier.*")
    base.load_state_dict({k: torch.from_numpy(v) for k, v in found.items()}, strict=True)

    for model in (base, whole):
        # Names that are there already, and those of heads, stay.
        named = names_of(tmp_path / model.__class__.__name__, model.state_dict(), "@hf-base:bert")
        other = transformers.BertForSequenceClassification(config).eval()
        values = {k: torch.from_numpy(v) for k, v in named.items()}
        missing = other.load_state_dict(values, strict=False)
        assert not missing.unexpected_keys
        assert all(key.startswith("classifier") for key in missing.missing_keys)
        answer = other.bert(torch.tensor(WORDS)).pooler_output
        assert torch.equal(answer, whole.bert(torch.tensor(WORDS)).pooler_output)


@pytest.mark.parametrize(
    ("rule", "wrapped"),
    [
        ("@lightning", {"state_dict": "model."}),
        ("@timm", {"state_dict": "module."}),
        ("@timm", {"state_dict_ema": ""}),
        ("@unwrap", {"": "module._orig_mod."}),
    ],
)
def test_a_plain_module_takes_what_a_trainer_has_wrapped(
    rule: str, wrapped: dict[str, str], tmp_path: Path
) -> None:
    ((key, prefix),) = wrapped.items()
    net = trained()
    state = {prefix + name: value for name, value in net.state_dict().items()}
    torch.save({key: state, "epoch": 3} if key else state, tmp_path / "theirs.ckpt")
    import_checkpoint(tmp_path / "s", tmp_path / "theirs.ckpt", run="theirs", format="torch")
    export(
        tmp_path / "s",
        "theirs@0",
        tmp_path / "plain.safetensors",
        format="safetensors",
        rename=[rule],
    )
    found = load_file(tmp_path / "plain.safetensors")
    other = Net().eval()
    other.load_state_dict({k: torch.from_numpy(v) for k, v in found.items()}, strict=True)
    np.testing.assert_array_equal(said_by(other), said_by(net))
