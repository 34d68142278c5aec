"""What a model consists of: rows beside variables, found by attributes; layers of one's own, however they are kept."""

from typing import Any

import keras
import numpy as np

import robertakit.tensorflow as models
from robertakit import RobertaConfig
from robertakit.tensorflow.contents import contents_of, head_of, variable_at

SIZES: dict[str, Any] = {
    "vocab_size": 29,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
    "max_position_embeddings": 20,
}


class TFMine(models.TFPreTrainedModel):
    """No backbone at all, and layers in a list, a dictionary and a layer."""

    config_class = RobertaConfig

    def __init__(self, config: RobertaConfig, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.table = keras.layers.Embedding(5, 4)
        self.stack = [keras.layers.Dense(4, use_bias=False), keras.layers.LayerNormalization()]
        self.named = {"wide": keras.layers.Conv1D(2, 3)}
        self.again = self.stack[0]
        self.post_init()

    def build(self, input_shape: Any = None) -> None:
        self.table.build(None)
        self.stack[0].build((None, 4))
        self.stack[1].build((None, 4))
        self.named["wide"].build((None, None, 4))
        self.scale = self.add_weight(name="scale", shape=(4,))

    def call(self, input_ids: Any = None, training: bool = False) -> Any:
        return self.stack[1](self.stack[0](self.table(input_ids)))


def test_attributes_lead_to_variables() -> None:
    model = models.TFRobertaForTokenClassification(RobertaConfig(**SIZES))
    found = variable_at(
        model, ("roberta", "encoder", "layer", "1", "attention", "self_attention", "key", "bias")
    )
    assert found is contents_of(model).variables["roberta.encoder.layer.1.attention.self.key.bias"]
    assert head_of(model) == head_of(type(model)) == "token-classification"


def test_layers_of_ones_own() -> None:
    model = TFMine(RobertaConfig(**SIZES))
    contents = contents_of(model)
    assert {name: row.shape for name, row in contents.table.items()} == {
        "scale": (4,),
        "table.weight": (5, 4),
        "stack.0.weight": (4, 4),
        "stack.1.weight": (4,),
        "stack.1.bias": (4,),
        "named.wide.weight": (3, 4, 2),
        "named.wide.bias": (2,),
    }
    assert {row.part for row in contents.table.values()} == {"own"}
    assert len(contents.variables) == len(model.weights)
    assert head_of(model) is None


def test_they_are_saved_and_loaded(tmp_path: Any) -> None:
    model = TFMine(RobertaConfig(**SIZES))
    for variable in model.weights:
        variable.assign(np.random.default_rng(1).random(variable.shape))
    model.save_pretrained(tmp_path)
    again = TFMine.from_pretrained(tmp_path)
    for name, variable in contents_of(model).variables.items():
        np.testing.assert_array_equal(contents_of(again).variables[name].numpy(), variable.numpy())
