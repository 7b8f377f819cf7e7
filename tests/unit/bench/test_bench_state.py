import pytest

from holdfast.bench import state


def test_default_state_is_gpt2_small_with_adam():
    specs = state.gpt2_specs(1500)
    shapes = {spec.name: spec.shape for spec in specs}
    assert len(specs) == len(shapes) == 258
    assert shapes["model/wte.weight"] == (50257, 768)
    assert shapes["model/wpe.weight"] == (1024, 768)
    assert shapes["exp_avg/h.11.mlp.c_fc.weight"] == (768, 3072)
    assert shapes["exp_avg_sq/h.0.attn.c_attn.weight"] == (768, 2304)
    total = sum(spec.nbytes for spec in specs)
    assert total == pytest.approx(124e6 * 12, rel=0.01)


@pytest.mark.parametrize("size_mb", [1, 4, 100, 3000])
def test_any_size_has_the_same_tensors(size_mb):
    specs = state.gpt2_specs(size_mb)
    assert [spec.name for spec in specs] == [spec.name for spec in state.gpt2_specs(1500)]
    assert sum(spec.nbytes for spec in specs) == pytest.approx(size_mb * 1e6, rel=0.1)


def test_small_and_many_leaved_states():
    assert len(state.small_specs()) == 200
    assert sum(spec.nbytes for spec in state.small_specs()) == 10_000_000
    leaves = state.leaf_specs()
    assert len({leaf.name for leaf in leaves}) == 100_000


def test_change_changes_every_number_and_keeps_them_finite():
    tensors = state.build(state.gpt2_specs(1))
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    for _ in range(50):
        state.change(tensors)
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    before = {name: tensor.clone() for name, tensor in tensors.items()}
    state.change(tensors)
    for name, tensor in tensors.items():
        assert (tensor != before[name]).all()


def test_fingerprint_sees_a_cleared_state():
    tensors = state.build(state.gpt2_specs(1))
    saved = state.fingerprint(tensors)
    assert state.fingerprint(tensors) == saved
    state.clear(tensors)
    assert state.fingerprint(tensors) != saved


def test_last_tenth_are_whole_weights_with_their_moments():
    tensors = state.build(state.gpt2_specs(10))
    trained = state.last_tenth(tensors)
    share = state.nbytes(trained) / state.nbytes(tensors)
    assert 0.05 < share <= 0.1
    names = {name.split("/", 1)[1] for name in trained}
    assert len(trained) == 3 * len(names)
    assert "h.11.mlp.c_proj.weight" in names and "wte.weight" not in names
    assert all(trained[name] is tensors[name] for name in trained)
