"""Writes ``tests/golden/frameworks``: small checkpoints of TensorFlow's and Flax's own classes, and their answers.

Run where the last transformers with those classes is: transformers 4.57, tensorflow, tf-keras, flax. Sharded ones,
an encoder-decoder's decoder, half precision and an array in pieces are among them::

    TF_USE_LEGACY_KERAS=1 python scripts/make_framework_golden.py tests/golden/frameworks
"""

import sys
from pathlib import Path

import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import tensorflow as tf
import transformers
from safetensors.numpy import save_file

SIZES = {"vocab_size": 23, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 12,
         "max_position_embeddings": 12, "type_vocab_size": 1, "layer_norm_eps": 1e-5}  # fmt: skip
IDS = np.array([[0, 5, 6, 7, 2], [0, 9, 2, 1, 1]], np.int32)
MASK = (IDS != 1).astype(np.int32)
# Folder -> (class, fields of the configuration, arguments of save_pretrained)
DECODER = {"is_decoder": True, "add_cross_attention": True}
CASES = {
    "tf_model": ("TFCamembertModel", {}, {}),
    "tf_masked_lm_sharded": ("TFXLMRobertaForMaskedLM", {"num_hidden_layers": 2}, {"max_shard_size": "3KB"}),
    "tf_decoder": ("TFRobertaForCausalLM", DECODER, {}),
    "tf_sequence": ("TFRobertaForSequenceClassification", {"num_labels": 3}, {}),
    "tf_token": ("TFXLMRobertaForTokenClassification", {"num_labels": 3}, {}),
    "tf_choice": ("TFCamembertForMultipleChoice", {}, {}),
    "tf_span": ("TFRobertaForQuestionAnswering", {}, {}),
    "flax_model": ("FlaxXLMRobertaModel", {}, {}),
    "flax_masked_lm_sharded": ("FlaxXLMRobertaForMaskedLM", {"num_hidden_layers": 2}, {"max_shard_size": "3KB"}),
    "flax_masked_lm_untied": ("FlaxRobertaForMaskedLM", {"tie_word_embeddings": False}, {}),
    "flax_masked_lm_pieces": ("FlaxRobertaForMaskedLM", {}, {}),
    "flax_masked_lm_bf16": ("FlaxRobertaForMaskedLM", {}, {}),
    "flax_decoder": ("FlaxRobertaForCausalLM", DECODER, {}),
    "flax_sequence": ("FlaxRobertaForSequenceClassification", {"num_labels": 3}, {}),
    "flax_token": ("FlaxRobertaForTokenClassification", {"num_labels": 3}, {}),
    "flax_choice": ("FlaxRobertaForMultipleChoice", {}, {}),
    "flax_span": ("FlaxXLMRobertaForQuestionAnswering", {}, {}),
}  # fmt: skip
ANSWERS = ("logits", "last_hidden_state", "pooler_output", "start_logits", "end_logits")


def main() -> None:
    """Write every case into the folder that the command line names."""
    root = Path(sys.argv[1])
    for number, (name, (kind, fields, saving)) in enumerate(CASES.items()):
        generator = np.random.default_rng(number)
        config_class = (
            kind.removeprefix("TF").removeprefix("Flax").split("For")[0].removesuffix("Model") + "Config"
        )
        config = getattr(transformers, config_class)(**SIZES | fields)
        model = getattr(transformers, kind)(config)
        inputs = {"input_ids": IDS, "attention_mask": MASK}
        if kind.endswith("MultipleChoice"):
            inputs = {key: value[None] for key, value in inputs.items()}
        if fields.get("add_cross_attention"):
            inputs["encoder_hidden_states"] = generator.standard_normal((2, 3, 8), np.float32)
        draw = make_tf if kind.startswith("TF") else make_flax
        answer = draw(model, inputs, generator, half=name.endswith("bf16"))
        if name.endswith("pieces"):
            flax.serialization.MAX_CHUNK_SIZE = 200
        model.save_pretrained(root / name, **saving)
        flax.serialization.MAX_CHUNK_SIZE = 2**30
        found = {key: np.asarray(answer[key], np.float32) for key in ANSWERS if key in answer}
        save_file(inputs | found, root / name / "expected.safetensors", metadata={"class": kind})


def make_tf(model, inputs, generator, *, half):
    """Give a TensorFlow model other weights than the initial ones; return its answer."""
    tensors = {key: tf.constant(value) for key, value in inputs.items()}
    model(tensors, training=False)  # builds it
    for variable in model.variables:
        variable.assign(generator.standard_normal(variable.shape, np.float32) * 0.3)
    return model(tensors, training=False)


def make_flax(model, inputs, generator, *, half):
    """The same for Flax; half: bfloat16, and the answer of the rounded weights in float32."""

    def drawn(value):
        new = jnp.asarray(generator.standard_normal(value.shape, np.float32) * 0.3)
        return new.astype(jnp.bfloat16) if half else new

    saved = jax.tree_util.tree_map(drawn, model.params)
    model.params = jax.tree_util.tree_map(lambda value: value.astype(jnp.float32), saved)
    answer = model(**inputs)
    model.params = saved
    return answer


main()
