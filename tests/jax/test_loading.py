"""Every golden checkpoint in every format through the classes of JAX, and the arguments of `from_pretrained`."""

import logging
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from robertakit import jax as family
from robertakit.checkpoints.dialects import FLAX
from robertakit.errors import ArgumentError, ConfigError, InputError, NotFound, TensorMismatch

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
FOLDERS = sorted(
    path.parent.relative_to(GOLDEN).as_posix()
    for pattern in ("checkpoints/**/expect.json", "frameworks/*/expected.safetensors")
    for path in GOLDEN.glob(pattern)
)
IDS = np.array([[0, 9, 8, 2]], np.int32)


def same(one, other):
    return jax.tree.all(jax.tree.map(lambda a, b: a.dtype == b.dtype and bool((a == b).all()), one, other))


def weights(model):
    table = model.contents.table
    return {
        name: FLAX.stored(table[name].kind, np.asarray(value))
        for name, value in model.contents.named(model.params).items()
    }


@pytest.mark.parametrize("name", FOLDERS)
def test_a_checkpoint_folder_does_what_is_asked(name, stored_checkpoints, tmp_path, monkeypatch, caplog):
    caplog.set_level(logging.ERROR)
    monkeypatch.chdir(tmp_path)

    def load(class_name, folder, **arguments):
        kind = getattr(family, f"Flax{class_name}")
        model, report = kind.from_pretrained(folder, output_loading_info=True, **arguments)
        model.__class__ = type(class_name, (kind,), {})  # the entries name PyTorch's classes
        return model, report

    def call(model, inputs):
        answer = model(**inputs)
        return {name: value for name, value in answer.items() if hasattr(value, "shape")}

    for entry in stored_checkpoints.entries(GOLDEN / name):
        stored_checkpoints.check(entry, load, call, weights)
    assert not list(tmp_path.iterdir()), "nothing may be created"


@pytest.fixture
def masked_lm(tiny, tmp_path):
    """A checkpoint of the family, and its model."""
    model = family.FlaxRobertaForMaskedLM(tiny(), seed=3)
    model.save_pretrained(tmp_path / "mlm")
    return tmp_path / "mlm", model


def test_the_format_may_be_chosen(tmp_path):
    def folder_with(*names):
        folder = tmp_path / "-".join(names)
        folder.mkdir()
        for name in names:
            for path in (GOLDEN / "checkpoints" / name).iterdir():
                (folder / path.name).write_bytes(path.read_bytes())
        return folder

    load = family.FlaxRobertaForMaskedLM.from_pretrained
    every = folder_with("mlm_safetensors", "mlm_bin", "mlm_tf_h5", "mlm_flax_msgpack")
    plain = load(every)
    for chosen in ({"from_tf": True}, {"from_flax": True}, {"from_pt": True}, {"use_safetensors": False}):
        assert same(load(every, **chosen).params, plain.params), chosen
    with pytest.raises(ArgumentError, match="from_pt=True, and from_tf or from_flax"):
        load(every, from_pt=True, from_flax=True)
    with pytest.raises(ArgumentError, match="from_tf=True and from_flax=True"):
        load(every, from_tf=True, from_flax=True)
    old = folder_with("mlm_flax_msgpack")
    assert same(load(old).params, plain.params)
    with pytest.raises(NotFound, match="pytorch_model"):
        load(old, from_pt=True)
    assert same(load(folder_with("mlm_bin"), from_pt=True).params, plain.params)
    with pytest.raises(NotFound, match="safetensors"):
        load(tmp_path / "mlm_bin", from_pt=True, use_safetensors=True)


def test_a_head_that_the_checkpoint_lacks_is_drawn_from_the_seed(masked_lm, caplog):
    folder, source = masked_lm
    load = family.FlaxRobertaForTokenClassification.from_pretrained
    one, report = load(folder, seed=1, num_labels=5, output_loading_info=True)
    assert report["missing_keys"] == ["classifier.bias", "classifier.weight"]
    assert "newly initialised" in caplog.text
    assert same(one.params["roberta"], source.params["roberta"])
    fresh = family.FlaxRobertaForTokenClassification(one.config, seed=1)
    assert same(one.params["classifier"], fresh.params["classifier"])
    assert not same(load(folder, seed=2, num_labels=5).params["classifier"], one.params["classifier"])


def test_what_is_returned_follows_what_is_asked(masked_lm):
    folder, source = masked_lm
    load = family.FlaxRobertaForMaskedLM.from_pretrained
    model, params, report = load(folder, _do_init=False, output_loading_info=True)
    assert same(params, source.params)
    assert not any(report.values())
    assert np.array_equal(model(IDS, params=params).logits, source(IDS).logits)
    with pytest.raises(ArgumentError, match="_do_init=False"):
        _ = model.params
    assert load(folder).name_or_path == str(folder)


def test_dtypes(masked_lm):
    folder, _ = masked_lm
    load = family.FlaxRobertaForMaskedLM.from_pretrained
    for asked in (("bfloat16",), (jnp.bfloat16,)):
        model = load(folder, *asked)
        assert (model.dtype, model.module.dtype) == (jnp.bfloat16, jnp.bfloat16)
        assert {leaf.dtype.name for leaf in jax.tree.leaves(model.params)} == {"float32"}
    assert load(folder, torch_dtype="float16").dtype == jnp.float16
    assert load(folder, dtype=jnp.float16, torch_dtype="float16").dtype == jnp.float16
    with jax.enable_x64(True):
        wide = load(folder, dtype=jnp.float64)
        assert {leaf.dtype.name for leaf in jax.tree.leaves(wide.params)} == {"float64"}
    with pytest.raises(ArgumentError, match="expected one of the two names"):
        load(folder, dtype="float16", torch_dtype="bfloat16")
    with pytest.raises(ArgumentError, match="jax_enable_x64"):
        load(folder, dtype="float64")
    with pytest.raises(ArgumentError, match="dtype='int8'"):
        load(folder, dtype="int8")


def test_fields_and_arguments_of_the_constructor(masked_lm):
    folder, source = masked_lm
    load = family.FlaxRobertaModel.from_pretrained
    model = load(folder, add_pooling_layer=False, output_hidden_states=True, gradient_checkpointing=True)
    assert "pooler" not in model.params
    assert len(model(IDS).hidden_states) == 3
    assert model.module.gradient_checkpointing
    config = source.config
    assert load(folder, config=config, input_shape=(2, 8), seed=5).input_shape == (2, 8)
    assert load(folder, config=folder).config.vocab_size == 61
    with pytest.raises(ArgumentError, match="config, and vocab_size"):
        load(folder, config=config, vocab_size=61)
    for wrong in ("add_poling_layer", "device_map", "_fast_init"):
        with pytest.raises(ArgumentError, match=wrong):
            load(folder, **{wrong: 1})
    with pytest.raises(ArgumentError, match="trust_remote_code"):
        load(folder, trust_remote_code=True)
    with pytest.raises(ConfigError):
        load(folder, hidden_act="none")


def test_strictness(masked_lm, tiny, tmp_path, caplog):
    folder, source = masked_lm
    load = family.FlaxRobertaForMaskedLM.from_pretrained
    with pytest.raises(TensorMismatch, match=r"2 missing|missing: .*layer\.2"):
        load(folder, num_hidden_layers=3)
    loose, report = load(folder, num_hidden_layers=3, strict=False, output_loading_info=True)
    assert len(report["missing_keys"]) == 16
    assert same(loose.params["lm_head"], source.params["lm_head"])
    assert "strict=False" in caplog.text
    mapped = load(folder, key_mapping={r"^lm_head\.": "lm_head."})
    assert same(mapped.params, source.params)
    three = family.FlaxRobertaForTokenClassification(tiny(num_labels=3))
    three.save_pretrained(tmp_path / "three")
    with pytest.raises(TensorMismatch, match="ignore_mismatched_sizes=True"):
        family.FlaxRobertaForTokenClassification.from_pretrained(tmp_path / "three", num_labels=4)
    four, report = family.FlaxRobertaForTokenClassification.from_pretrained(
        tmp_path / "three", num_labels=4, ignore_mismatched_sizes=True, output_loading_info=True
    )
    assert report["mismatched_keys"] == ["classifier.bias", "classifier.weight"]
    assert four(IDS).logits.shape == (1, 4, 4)


def test_the_look_at_ids_may_be_spared(masked_lm):
    load = family.FlaxRobertaForMaskedLM.from_pretrained
    with pytest.raises(InputError):
        load(masked_lm[0])([[0, 61, 2]])
    assert bool(jnp.isnan(load(masked_lm[0], check_inputs=False)([[0, 61, 2]]).logits).any())


def test_what_generate_is_asked_for_comes_along(tiny, tmp_path):
    model = family.FlaxRobertaForCausalLM(tiny(is_decoder=True))
    model.generation_config.max_new_tokens = 7
    model.save_pretrained(tmp_path)
    again = family.FlaxRobertaForCausalLM.from_pretrained(tmp_path)
    assert again.generation_config.max_new_tokens == 7


def test_no_parameter_looks_into_the_file(masked_lm):
    """A file may be changed after loading; nothing that JAX holds is its memory."""
    folder, source = masked_lm
    model = family.FlaxRobertaForMaskedLM.from_pretrained(folder)
    path = folder / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-4000:] = bytes(4000)
    with path.open("r+b") as file:
        file.write(content)
    assert same(model.params, source.params)
