"""`generate()` of the NumPy specification, by the search that TensorFlow and JAX share."""

import numpy as np

import robertakit.numpy
from robertakit.architecture import initial_weights
from robertakit.configuration import RobertaConfig, XLMRobertaConfig
from robertakit.generation.decoding import Told
from robertakit.generation.defaults import Defaults
from robertakit.generation.writing import Call, Callbacks

SIZES = {
    "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37,
    "max_position_embeddings": 40, "type_vocab_size": 2, "is_decoder": True,
}  # fmt: skip


def wide_weights(config, seed=5):
    """Ten times wider than by default, biases and scales too, so that no two scores are near each other."""
    generator = np.random.default_rng(seed)
    return {
        name: ((10 if value.ndim > 1 else 1) * value + 0.2 * generator.standard_normal(value.shape)).astype(
            np.float32
        )
        for name, value in initial_weights(config, "causal-lm", seed).items()
    }


def build(family="Roberta", seed=5, dtype="float64", **fields):
    """A small decoder of the specification with wide weights."""
    kind = {"Roberta": RobertaConfig, "XLMRoberta": XLMRobertaConfig}[family]
    config = kind(**(SIZES | fields))
    make = getattr(robertakit.numpy, f"{family}ForCausalLM")
    return make(config, weights=wide_weights(config, seed), dtype=dtype)


class Predictor:
    """A model of the specification, with the documented tuples as cache; counts the shapes that it is given."""

    def __init__(self, model, call):
        self.model, self.config, self.past, self.shapes = model, call.config, None, []

    @property
    def cached(self):
        return 0 if self.past is None else self.past[0][0].shape[2]

    def __call__(self, step):
        self.past = self.cache(step.rows)
        self.shapes.append(step.position_ids.shape)
        out = self.model(
            step.ids, step.mask, step.token_type_ids, step.position_ids, inputs_embeds=step.embeds,
            past_key_values=self.past, use_cache=self.config.use_cache, output_attentions=True,
            output_hidden_states=True, **step.static,
        )  # fmt: skip
        if self.config.use_cache:
            self.past = out.past_key_values
        return Told(out.logits[:, -1], out.attentions, out.hidden_states)

    def embed(self, ids):
        table = self.model.weights["roberta.embeddings.word_embeddings.weight"]
        return table.read(self.model.dtype)[ids]

    def cache(self, rows):
        if self.past is None or rows is None:
            return self.past
        return tuple(tuple(array[rows] for array in layer) for layer in self.past)


CALLBACKS = ("logits_processor", "stopping_criteria", "prefix_allowed_tokens_fn", "tokenizer", "streamer")


def generate(model, inputs=None, generation_config=None, *, seed=0, defaults=None, shapes=None, **kwargs):
    """As the frameworks' `generate()`; `model` may also make a predictor by itself."""
    callbacks = Callbacks(**{name: kwargs.pop(name) for name in CALLBACKS if name in kwargs})
    call = Call.read(model.config, defaults or Defaults(model.config), inputs, generation_config, kwargs)
    predict = model.predictor(call) if hasattr(model, "predictor") else Predictor(model, call)
    written = call.write(predict, np.random.default_rng(seed), callbacks, lambda array: array)
    if shapes is not None:
        shapes += predict.shapes
    if call.config.return_dict_in_generate:
        return written.container(call.config, lambda array: array)
    return written.sequences
