"""What is saved is everybody's: the bytes are those of the table's tensors, whatever made them."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.core import freeze
from safetensors.numpy import load_file

from robertakit import jax as family
from robertakit.architecture import HEADS, initial_weights
from robertakit.checkpoints import save_weights
from robertakit.errors import ArgumentError, TensorMismatch
from robertakit.files import SAVE_ID

IDS = np.array([[0, 9, 8, 2]], np.int32)


def kind_of(head):
    return getattr(family, f"FlaxRoberta{HEADS[head].class_suffix}")


def same(one, other):
    return jax.tree.all(jax.tree.map(lambda a, b: a.dtype == b.dtype and bool((a == b).all()), one, other))


@pytest.mark.parametrize("head", HEADS)
def test_the_bytes_are_those_of_the_table(tiny, tmp_path, head):
    config = tiny(is_decoder=head == "causal-lm", dtype="float32")
    model = kind_of(head)(config, seed=2)
    names = model.save_pretrained(tmp_path / "ours")
    assert {"model.safetensors", "config.json"} <= set(names)
    config.architectures = [f"Roberta{HEADS[head].class_suffix}"]
    save_weights(tmp_path / "table", initial_weights(config, head, 2), config_json=config.to_json_string())
    for name in ("model.safetensors", "config.json"):
        ours, table = ((tmp_path / folder / name).read_bytes() for folder in ("ours", "table"))
        assert ours == table, name
    again, report = kind_of(head).from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(report.values())
    assert same(again.params, model.params)
    assert again.config.architectures == [f"Roberta{HEADS[head].class_suffix}"]


@pytest.mark.parametrize("tied", [True, False])
def test_an_untied_decoder_comes_back(tiny, tmp_path, tied):
    model = family.FlaxRobertaForMaskedLM(tiny(tie_word_embeddings=tied))
    model.save_pretrained(tmp_path)
    assert ("lm_head.decoder.weight" in load_file(tmp_path / "model.safetensors")) != tied
    assert same(family.FlaxRobertaForMaskedLM.from_pretrained(tmp_path).params, model.params)


def test_shards(tiny, tmp_path):
    model = family.FlaxRobertaModel(tiny())
    names = model.save_pretrained(tmp_path, max_shard_size="20KB")
    assert len([name for name in names if name.endswith(".safetensors")]) > 2
    assert same(family.FlaxRobertaModel.from_pretrained(tmp_path).params, model.params)
    assert model.save_pretrained(tmp_path) == ["model.safetensors", "config.json"]
    assert not list(tmp_path.glob("*-of-*"))


@pytest.mark.parametrize(("method", "name"), [("to_bf16", "bfloat16"), ("to_fp16", "float16")])
def test_half_precision_stays_so_on_disk(tiny, tmp_path, method, name):
    model = family.FlaxRobertaModel(tiny())
    model.params = getattr(model, method)(model.params)
    model.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["dtype"] == name
    wide = family.FlaxRobertaModel.from_pretrained(tmp_path)
    assert same(wide.params, model.to_fp32(model.params))
    assert wide.dtype == jnp.float32
    kept = family.FlaxRobertaModel.from_pretrained(tmp_path, dtype="auto")
    assert same(kept.params, model.params)
    assert kept.dtype == kept.module.dtype == name
    assert kept(IDS).pooler_output.dtype == name


def test_other_parameters_may_be_saved(tiny, tmp_path):
    model = family.FlaxRobertaModel(tiny(), _do_init=False)
    params = model.init_weights(model.key, model.input_shape)
    with pytest.raises(ArgumentError, match="_do_init=False"):
        model.save_pretrained(tmp_path)
    model.save_pretrained(tmp_path, params=freeze(params))
    again, found = family.FlaxRobertaModel.from_pretrained(tmp_path, _do_init=False)
    assert same(found, params)
    with pytest.raises(ArgumentError, match="_do_init=False"):
        _ = again.params
    with pytest.raises(TensorMismatch, match="missing"):
        model.save_pretrained(tmp_path, params=params["pooler"])
    with pytest.raises(ArgumentError, match="as a ShapeDtypeStruct; expected an array with values"):
        model.save_pretrained(tmp_path, params=model.params_shape_tree)


def test_what_is_refused(tiny, tmp_path):
    model = family.FlaxRobertaModel(tiny())
    with pytest.raises(ArgumentError, match="safe_serialization=False"):
        model.save_pretrained(tmp_path, safe_serialization=False)
    with pytest.raises(ArgumentError, match="unknown argument 'max_shard'"):
        model.save_pretrained(tmp_path, max_shard="1GB")
    assert not list(tmp_path.iterdir())


def test_a_save_and_its_configuration_are_one(tiny, tmp_path):
    family.FlaxRobertaModel(tiny()).save_pretrained(tmp_path)
    assert SAVE_ID in json.loads((tmp_path / "config.json").read_text())


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of the Hub's client
def test_pushing_uploads_what_is_saved_and_a_card(tiny, hub):
    model = family.FlaxRobertaForMaskedLM(tiny())
    model.add_model_tags("small")
    model.push_to_hub("me/words", token="hf_write")
    assert sorted(hub.pushes[0]["added"]) == ["README.md", "config.json", "model.safetensors"]
    again = family.FlaxRobertaForMaskedLM.from_pretrained("me/words")
    assert same(again.params, model.params)
