"""The three frameworks behind one small face, for the tests that compare them; each is imported when it is asked for.

Weights and gradients go by checkpoint name in the layout of the table. Where a framework's own names are read, it is by
`Dialect.name`, the way back from what its modules really call a parameter, so that nothing is compared with itself.
"""

import contextlib
from collections.abc import Mapping
from typing import Any

import numpy as np

import robertakit
from robertakit.architecture import HEADS
from robertakit.checkpoints.dialects import FLAX, KERAS
from robertakit.configuration import PretrainedConfig

NAMES = ("torch", "tensorflow", "jax")
FAMILIES = ("Roberta", "XLMRoberta")
SIZES = {
    "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37,
    "max_position_embeddings": 40, "type_vocab_size": 2, "pad_token_id": 1,
    "hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0,
}  # fmt: skip
LABELS = {"sequence-classification": {"num_labels": 3}, "token-classification": {"num_labels": 5}}

Arrays = dict[str, np.ndarray]


def config_of(head: str, family: str = "Roberta", **fields: object) -> PretrainedConfig:
    return getattr(robertakit, f"{family}Config")(**(SIZES | LABELS.get(head, {}) | fields))


class Framework:
    """One framework. `precise()` is a context in which it can compute in float64."""

    name: str
    prefix = ""

    def model_class(self, head: str, family: str) -> type:
        return getattr(robertakit, self.prefix + family + HEADS[head].class_suffix)

    def precise(self) -> contextlib.AbstractContextManager[Any]:
        return contextlib.nullcontext()

    def load(self, folder: Any, head: str, family: str, **arguments: object) -> Any:
        return self.model_class(head, family).from_pretrained(folder, **arguments)


class Torch(Framework):
    name = "torch"

    def build(self, head: str, family: str, config: PretrainedConfig, seed: int = 0) -> tuple[Any, int]:
        """A model, and the seed that its constructor drew."""
        import torch

        from robertakit.torch.construction import drawn_seed

        torch.manual_seed(seed)
        drawn = drawn_seed()
        torch.manual_seed(seed)
        return self.model_class(head, family)(config).eval(), drawn

    def named(self, model: Any) -> Arrays:
        return {name: value.detach().numpy() for name, value in model.named_parameters()}

    def assign(self, model: Any, values: Mapping[str, np.ndarray]) -> None:
        import torch

        with torch.no_grad():
            for name, value in model.named_parameters():
                value.copy_(torch.from_numpy(values[name]))

    def call(self, model: Any, given: Mapping[str, Any], **flags: object) -> dict[str, Any]:
        import torch

        tensors = {n: torch.from_numpy(v) if isinstance(v, np.ndarray) else v for n, v in given.items()}
        with torch.no_grad():
            return {
                name: np.asarray(v) for name, v in model(**tensors, **flags).items() if hasattr(v, "shape")
            }

    def gradients(self, model: Any, given: Arrays) -> tuple[float, Arrays]:
        import torch

        model.zero_grad()
        loss = model(**{name: torch.from_numpy(value) for name, value in given.items()}).loss
        loss.backward()
        found = {
            n: np.zeros(v.shape) if v.grad is None else v.grad.numpy() for n, v in model.named_parameters()
        }
        return float(loss.detach()), found


class TensorFlow(Framework):
    name = "tensorflow"
    prefix = "TF"

    def build(self, head: str, family: str, config: PretrainedConfig, seed: int = 0) -> tuple[Any, int]:
        import keras

        from robertakit.tensorflow.construction import drawn_seed

        keras.utils.set_random_seed(seed)
        drawn = drawn_seed()
        keras.utils.set_random_seed(seed)
        return self.model_class(head, family)(config), drawn

    def variables(self, model: Any) -> dict[str, Any]:
        """By the names that Keras' own paths give them; the first part of a path is the model's."""
        bare = model.head == "model"
        found = {}
        for variable in model.weights:
            parts = variable.path.split("/")[2 if bare else 1 :]
            found[KERAS.name(parts)] = variable
        assert len(found) == len(model.weights)
        return found

    def named(self, model: Any) -> Arrays:
        return {
            name: np.ascontiguousarray(
                variable.numpy().T if variable.path.endswith("kernel") else variable.numpy()
            )
            for name, variable in self.variables(model).items()
        }

    def assign(self, model: Any, values: Mapping[str, np.ndarray]) -> None:
        for name, variable in self.variables(model).items():
            variable.assign(values[name].T if variable.path.endswith("kernel") else values[name])

    def call(self, model: Any, given: Mapping[str, Any], **flags: object) -> dict[str, Any]:
        return {name: v.numpy() for name, v in model(dict(given), **flags).items() if hasattr(v, "numpy")}

    def gradients(self, model: Any, given: Arrays) -> tuple[float, Arrays]:
        import tensorflow as tf

        variables = self.variables(model)
        with tf.GradientTape() as tape:
            loss = model(given).loss
        found = {}
        for name, gradient in zip(
            variables, tape.gradient(loss, [v.value for v in variables.values()]), strict=True
        ):
            array = (
                np.zeros(variables[name].shape)
                if gradient is None
                else tf.convert_to_tensor(gradient).numpy()
            )
            found[name] = array.T if variables[name].path.endswith("kernel") else array
        return float(loss), found


class Jax(Framework):
    name = "jax"
    prefix = "Flax"

    def build(self, head: str, family: str, config: PretrainedConfig, seed: int = 0) -> tuple[Any, int]:
        return self.model_class(head, family)(config, seed=seed), seed

    def precise(self) -> contextlib.AbstractContextManager[Any]:
        import jax

        return jax.enable_x64(True)

    def named(self, model: Any) -> Arrays:
        return self._named(model.params)

    def _named(self, params: Any) -> Arrays:
        from flax.traverse_util import flatten_dict

        return {
            FLAX.name(path): np.array(value.T if path[-1] == "kernel" else value, order="C")
            for path, value in flatten_dict(params).items()
        }

    def assign(self, model: Any, values: Mapping[str, np.ndarray]) -> None:
        import jax.numpy as jnp
        from flax.traverse_util import flatten_dict, unflatten_dict

        model.params = unflatten_dict(
            {
                path: jnp.array(
                    values[FLAX.name(path)].T if path[-1] == "kernel" else values[FLAX.name(path)]
                )
                for path in flatten_dict(model.params)
            }
        )

    def call(self, model: Any, given: Mapping[str, Any], **flags: object) -> dict[str, Any]:
        return {name: np.asarray(v) for name, v in model(**given, **flags).items() if hasattr(v, "shape")}

    def gradients(self, model: Any, given: Arrays) -> tuple[float, Arrays]:
        import jax

        if getattr(self, "_differentiated", (None,))[0] is not model:
            step = jax.value_and_grad(lambda params, given: model(**given, params=params).loss)
            self._differentiated = (model, jax.jit(step))
        loss, found = self._differentiated[1](model.params, given)
        return float(loss), self._named(found)


ALL: dict[str, Framework] = {each.name: each for each in (Torch(), TensorFlow(), Jax())}


def call_of(head: str, lengths: tuple[int, ...] = (9, 4, 9, 1), seed: int = 0, labels: bool = True) -> Arrays:
    """Arguments of a call: right-padded ids with their mask, and labels of real tokens; choices come in pairs."""
    generator = np.random.default_rng(seed)
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, None]).astype(np.int32)
    ids = np.where(mask == 1, generator.integers(3, 60, mask.shape), 1).astype(np.int32)
    given = {
        "input_ids": ids,
        "attention_mask": mask,
        "token_type_ids": generator.integers(0, 2, mask.shape, np.int32),
    }
    if head == "multiple-choice":
        given = {name: np.stack([value, np.roll(value, 1, 0)], 1) for name, value in given.items()}
    return given | (_labels(head, ids, mask, generator) if labels else {})


def _labels(head: str, ids: np.ndarray, mask: np.ndarray, generator: np.random.Generator) -> Arrays:
    def below(count: Any, shape: Any = None) -> np.ndarray:
        return generator.integers(0, count, shape).astype(np.int64)

    if head in ("masked-lm", "causal-lm"):
        chosen = (mask == 1) & (generator.random(ids.shape) < 0.5)
        chosen[0, 1] = True
        return {"labels": np.where(chosen, ids, -100).astype(np.int64)}
    if head == "token-classification":
        return {"labels": np.where(mask == 1, below(5, ids.shape), -100)}
    if head == "question-answering":
        return {"start_positions": below(mask.sum(1)), "end_positions": below(mask.sum(1))}
    counts = {"sequence-classification": 3, "multiple-choice": 2}
    return {"labels": below(counts[head], len(ids))} if head in counts else {}
