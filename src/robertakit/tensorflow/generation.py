"""`generate()` of the causal Keras models: the search is NumPy's (`robertakit.generation`), the steps are TensorFlow's.

Shape letters: B prompts, C columns (tokens of a row, padding included), R rows, S sequences, L columns of a step,
K keys, H heads, D head width, W width, V vocabulary.
"""

from collections.abc import Callable, Iterable, Sequence
from operator import is_not
from typing import Protocol, cast

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from robertakit.calls import check_past
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError
from robertakit.field_values import as_integer
from robertakit.generation.config import GenerationConfig
from robertakit.generation.decoding import Step, Told
from robertakit.generation.defaults import Defaults
from robertakit.generation.outputs import GenerateBeamDecoderOnlyOutput, GenerateDecoderOnlyOutput
from robertakit.generation.prompts import Ids
from robertakit.generation.writing import Call, Callbacks, Streamer
from robertakit.tensorflow.construction import drawn_seed
from robertakit.tensorflow.inputs import Cache

__all__ = ["TFGenerationMixin"]

GenerateOutput = GenerateDecoderOnlyOutput[tf.Tensor] | GenerateBeamDecoderOnlyOutput[tf.Tensor]
#: Of logits (R, V), keys and values, maps (R, H, L, K) and hidden states (R, L, W) of each layer.
_Computed = tuple[tf.Tensor, Cache, tuple[tf.Tensor, ...], tuple[tf.Tensor, ...]]
#: Computes a step of the cache and the inputs by name.
_Program = Callable[[Cache, dict[str, tf.Tensor]], _Computed]


class TFGenerationMixin:
    """Gives a causal Keras model `generate()`.

    The model has a backbone `roberta`, and a `score` that gives logits of its rows.
    """

    config: PretrainedConfig
    roberta: keras.layers.Layer
    score: Callable[[tf.Tensor], dict[str, tf.Tensor]]
    variables: list[object]
    get_input_embeddings: Callable[[], Callable[[tf.Tensor], tf.Tensor]]

    @property
    def generation_config(self) -> GenerationConfig:
        """What `generate` is asked for where a call does not say otherwise.

        At first it is made of the model's configuration, whose later changes count too; what is set here wins.
        """
        return self._defaults().value

    @generation_config.setter
    def generation_config(self, value: object) -> None:
        vars(self)["_generation_defaults"] = Defaults(self.config, value)

    def _defaults(self) -> Defaults:
        mine: Defaults = vars(self).setdefault("_generation_defaults", Defaults(self.config))
        return mine

    @classmethod
    def can_generate(cls) -> bool:
        """Whether there is a `generate()`: there is."""
        return True

    def generate(
        self,
        inputs: tf.Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: Iterable[Callable[..., object]] | None = None,
        seed: int | Sequence[int] | None = None,
        *,
        stopping_criteria: Iterable[Callable[..., object]] | Callable[..., object] | None = None,
        prefix_allowed_tokens_fn: Callable[..., Iterable[int]] | None = None,
        streamer: Streamer | None = None,
        tokenizer: object = None,
        past_key_values: Cache | None = None,
        **kwargs: object,
    ) -> tf.Tensor | GenerateOutput:
        """Write new tokens behind prompts.

        A row that is padded on the left gets what it would get alone: positions are counted over its real tokens, and
        no rule looks at padding. The steps are compiled, one program for the prompts and one for what follows, of any
        length; the search around them runs on the host, so that `generate` itself is for eager use.

        Args:
            inputs: (B, C) ids of the prompts, padded on the left; `input_ids=` is the same. Without it, and without
                `inputs_embeds`, rows start with `bos_token_id`.
            generation_config: what is asked for; fields among `kwargs` win over it, and it wins over the model's.
            logits_processor: functions of ids (R, C), scores (R, V) and the number of columns that return scores;
                called behind the rules of the fields, before those of sampling.
            seed: of the draws, an integer or several; default one draw of TensorFlow's own generator.
            stopping_criteria: functions of ids (R, C) and the steps' scores (None unless `output_scores` and
                `return_dict_in_generate`) that return which rows (R,) have ended, or one bool for all.
            prefix_allowed_tokens_fn: function of a prompt's index and a row (C,) that returns the ids that may follow.
            streamer: its `put` takes the prompts, and then the tokens of each step; not with beams.
            tokenizer: for `stop_strings`.
            past_key_values: keys and values of the first tokens of the prompts, as a call returned them.
            **kwargs: fields of `GenerationConfig`, and inputs of `call`: `attention_mask` (B, C), default from the
                padding ids; `token_type_ids`, `position_ids`, `head_mask`, `inputs_embeds` (B, C, W) in place of ids,
                `encoder_hidden_states`, `encoder_attention_mask`.

        Returns:
            (S, C') ids, prompts included (new ones alone behind `inputs_embeds`), `num_return_sequences` for each
            prompt; or, with `return_dict_in_generate`, a container with them.

        Raises:
            ArgumentError: an argument that does not exist, or is not supported; a call inside `tf.function`.
            ConfigError: fields that contradict each other.
            InputError: prompts padded on the right, ids outside the vocabulary, rules that forbid every token.
            TooLong: the model has not as many positions as are asked for; nothing has been computed.
            BadShape: shapes that do not fit each other.

        Example:
            >>> from robertakit import RobertaConfig
            >>> from robertakit.tensorflow import TFRobertaForCausalLM
            >>> config = RobertaConfig(
            ...     vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, is_decoder=True
            ... )
            >>> model = TFRobertaForCausalLM(config)
            >>> model.generate(tf.constant([[1, 0, 5], [0, 7, 9]]), max_new_tokens=4, min_new_tokens=4).shape
            TensorShape([2, 7])
        """
        if not tf.executing_eagerly():
            raise ArgumentError(
                given="generate inside tf.function",
                expected="a call in eager mode",
                hint="it compiles its steps by itself",
            )
        given: tf.Tensor = inputs if inputs is not None else kwargs.get("input_ids")
        dtype = given.dtype if tf.is_tensor(given) else tf.int32
        call = Call.read(self.config, self._defaults(), inputs, generation_config, kwargs)
        callbacks = Callbacks(
            logits_processor, stopping_criteria, prefix_allowed_tokens_fn, tokenizer, streamer
        )
        predict = _Predictor(self, call, past_key_values)
        generator = np.random.default_rng(_seeds(seed))

        def native(array: NDArray[np.generic]) -> tf.Tensor:
            return tf.constant(array, dtype if array.dtype.kind == "i" else None)

        written = call.write(predict, generator, callbacks, native)
        if call.config.return_dict_in_generate:
            return cast(GenerateOutput, written.container(call.config, native))
        return native(written.sequences)

    def _programs(self) -> "dict[object, _Program]":
        """The programs made so far, as long as the variables are those that they were made for."""
        now = [cast(_Variable, variable).value for variable in self.variables]
        known: tuple[list[object], dict[object, _Program]] = vars(self).get("_generation_programs", ([], {}))
        if len(known[0]) != len(now) or any(map(is_not, known[0], now)):
            known = vars(self)["_generation_programs"] = (now, {})
        return known[1]


class _Variable(Protocol):
    """A variable of Keras, which resizing gives another of TensorFlow's."""

    value: object


class _Predictor:
    """See `decoding.Predictor`: the cache is the documented tuple, one column longer after each step."""

    def __init__(self, model: TFGenerationMixin, call: Call, past: Cache | None) -> None:
        self.model = model
        self.past: Cache = () if past is None else _checked(model.config, past, call)
        self.use_cache = call.config.use_cache
        wanted = call.config.return_dict_in_generate
        self.maps = wanted and call.config.output_attentions
        self.states = wanted and call.config.output_hidden_states

    @property
    def cached(self) -> int:
        """Tokens in the cache."""
        return int(self.past[0][0].shape[2]) if self.past else 0

    def __call__(self, step: Step) -> Told:
        """Compute what may follow each row."""
        arrays = {
            "input_ids": step.ids,
            "inputs_embeds": step.embeds,
            "attention_mask": step.mask,
            "position_ids": step.position_ids,
            "token_type_ids": step.token_type_ids,
            **step.static,
        }
        inputs = {name: _as_input(value) for name, value in arrays.items() if value is not None}
        self.past = self.cache(step.rows) or ()
        logits, past, maps, states = self._program(inputs)(self.past, inputs)
        if self.use_cache:
            self.past = past
        return Told(logits.numpy(), tuple(t.numpy() for t in maps), tuple(t.numpy() for t in states))

    def embed(self, ids: Ids) -> NDArray[np.generic]:
        """Return the embeddings (R, n, W) of ids (R, n)."""
        embeddings: NDArray[np.generic] = self.model.get_input_embeddings()(tf.constant(ids)).numpy()
        return embeddings

    def cache(self, rows: Ids | None) -> Cache | None:
        """Return the cache, arranged."""
        if not self.past:
            return None
        if rows is None:
            return self.past
        return tuple(tuple(tf.gather(tensor, rows) for tensor in layer) for layer in self.past)

    def _program(self, inputs: dict[str, tf.Tensor]) -> _Program:
        """The program for such inputs, of any number of rows and columns."""
        past = tuple(tuple(_of_any_length(tensor, 2) for tensor in layer) for layer in self.past)
        specs = {
            name: tf.TensorSpec(value.shape, value.dtype) if name == "head_mask" else _of_any_length(value, 1)
            for name, value in inputs.items()
        }
        programs = self.model._programs()
        key = (past, *specs.items(), self.use_cache, self.maps, self.states, self.model.config.is_decoder)
        if key not in programs:
            programs[key] = tf.function(self._compute, input_signature=(past, specs), autograph=False)
        return programs[key]

    def _compute(self, past: Cache, inputs: dict[str, tf.Tensor]) -> _Computed:
        """The last column alone goes through the head."""
        out = self.model.roberta(
            inputs.get("input_ids"),
            **{name: value for name, value in inputs.items() if name != "input_ids"},
            past_key_values=past or None,
            use_cache=self.use_cache,
            output_attentions=self.maps,
            output_hidden_states=self.states,
            return_dict=True,
            training=False,
        )
        logits = self.model.score(out.last_hidden_state[:, -1])["logits"]
        wide = tf.float64 if logits.dtype == tf.float64 else tf.float32
        return (
            tf.cast(logits, wide),
            out.past_key_values or (),
            out.attentions or (),
            out.hidden_states or (),
        )


def _of_any_length(tensor: tf.Tensor, axis: int) -> tf.TensorSpec:
    """The same number of axes and, but for rows and one more, the same sizes."""
    sizes = [None if number in (0, axis) else size for number, size in enumerate(tensor.shape)]
    return tf.TensorSpec(sizes, tensor.dtype)


def _as_input(array: NDArray[np.generic]) -> tf.Tensor:
    return tf.constant(array, tf.int32 if array.dtype.kind in "biu" else None)


def _checked(config: PretrainedConfig, past: object, call: Call) -> Cache:
    """The caller's cache, which holds less than the prompts."""
    if not config.is_decoder:
        raise ArgumentError(
            given="past_key_values with is_decoder=False", expected="a decoder", hint="set is_decoder=True"
        )
    batch, columns = call.prompts.mask.shape
    length = check_past(config, past, batch)
    if length is None or length >= columns:
        raise ArgumentError(
            given=f"past_key_values of {length} tokens and prompts of {columns}",
            expected="prompts with all the tokens of the cache, and at least one more",
        )
    return tuple(tuple(layer) for layer in cast(Cache, past))


def _seeds(seed: int | Sequence[int] | None) -> list[int]:
    """What NumPy's generator is seeded with: integers from 0 up."""
    given = [drawn_seed()] if seed is None else np.ravel(np.asarray(seed)).tolist()
    return [as_integer("seed", value) % 2**64 for value in given]
