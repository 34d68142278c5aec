"""`generate()` of the causal Flax models: the search is NumPy's (`robertakit.generation`), the steps are JAX's.

A program is compiled for each shape. So that these are few, prompts are padded on the left to one of a few lengths, and
the cache is as long as one of them: padding changes nothing.

Shape letters: B prompts, C columns (tokens of a row, padding included), R rows, S sequences, n columns of a step,
K slots of the cache, W width, V vocabulary.
"""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import NamedTuple, Protocol, cast

import jax
import jax.numpy as jnp
import numpy as np
from flax import linen as nn
from jax.typing import ArrayLike
from numpy.typing import NDArray

from robertakit.buckets import ROW_LENGTHS
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError
from robertakit.generation.config import GenerationConfig
from robertakit.generation.decoding import Step, Told
from robertakit.generation.defaults import Defaults
from robertakit.generation.outputs import (
    FlaxBeamSearchOutput,
    FlaxGreedySearchOutput,
    FlaxSampleOutput,
    GenerateBeamDecoderOnlyOutput,
    GenerateDecoderOnlyOutput,
)
from robertakit.generation.prompts import Ids
from robertakit.generation.writing import Call, Callbacks, Streamer
from robertakit.jax.cache import Cache
from robertakit.outputs import BaseModelOutputWithPoolingAndCrossAttentions

__all__ = ["FlaxGenerationMixin"]

Params = Mapping[str, object]
GenerateOutput = (
    FlaxGreedySearchOutput[jax.Array]
    | FlaxSampleOutput[jax.Array]
    | FlaxBeamSearchOutput[jax.Array]
    | GenerateDecoderOnlyOutput[jax.Array]
    | GenerateBeamDecoderOnlyOutput[jax.Array]
)


class FlaxGenerationMixin:
    """Gives a causal Flax model `generate()`.

    Its module has a backbone `roberta`, and a `score` that gives logits of its rows.
    """

    config: PretrainedConfig
    module: nn.Module
    params: dict[str, object]
    init_cache: Callable[[int, int], Cache]

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
        input_ids: ArrayLike | None = None,
        generation_config: GenerationConfig | None = None,
        prng_key: jax.Array | None = None,
        trace: bool = True,
        params: Params | None = None,
        logits_processor: Iterable[Callable[..., object]] | None = None,
        *,
        stopping_criteria: Iterable[Callable[..., object]] | Callable[..., object] | None = None,
        prefix_allowed_tokens_fn: Callable[..., Iterable[int]] | None = None,
        streamer: Streamer | None = None,
        tokenizer: object = None,
        **kwargs: object,
    ) -> GenerateOutput:
        """Write new tokens behind prompts.

        A row that is padded on the left gets what it would get alone: positions are counted over its real tokens, and
        no rule looks at padding. The steps are compiled, for few lengths; the search around them runs on the host, so
        that `generate` itself is not for `jit`.

        Args:
            input_ids: (B, C) ids of the prompts, padded on the left. Without it, and without `inputs_embeds`, rows
                start with `bos_token_id`.
            generation_config: what is asked for; fields among `kwargs` win over it, and it wins over the model's.
            prng_key: of the draws; default `jax.random.PRNGKey(0)`, so that two calls draw the same.
            trace: False computes each operation by itself, to look for mistakes; slow.
            params: in place of the model's own.
            logits_processor: functions of ids (R, C), scores (R, V) and the number of columns that return scores;
                called behind the rules of the fields, before those of sampling.
            stopping_criteria: functions of ids (R, C) and the steps' scores (None unless `output_scores` and
                `return_dict_in_generate`) that return which rows (R,) have ended, or one bool for all.
            prefix_allowed_tokens_fn: function of a prompt's index and a row (C,) that returns the ids that may follow.
            streamer: its `put` takes the prompts, and then the tokens of each step; not with beams.
            tokenizer: for `stop_strings`.
            **kwargs: fields of `GenerationConfig`, and inputs of the model: `attention_mask` (B, C), default from the
                padding ids; `token_type_ids`, `position_ids`, `head_mask`, `inputs_embeds` (B, C, W) in place of ids,
                `encoder_hidden_states`, `encoder_attention_mask`.

        Returns:
            `FlaxGreedySearchOutput`, `FlaxSampleOutput` or, with beams, `FlaxBeamSearchOutput`, with `sequences`
            (S, C') of ids, prompts included (new ones alone behind `inputs_embeds`), `num_return_sequences` for each
            prompt. With `return_dict_in_generate=True` the container that PyTorch's class gives.

        Raises:
            ArgumentError: an argument that does not exist, or is not supported; a call inside `jit`.
            ConfigError: fields that contradict each other.
            InputError: prompts padded on the right, ids outside the vocabulary, rules that forbid every token.
            TooLong: the model has not as many positions as are asked for; nothing has been computed.
            BadShape: shapes that do not fit each other.

        Example:
            >>> from robertakit import RobertaConfig
            >>> from robertakit.jax import FlaxRobertaForCausalLM
            >>> config = RobertaConfig(
            ...     vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, is_decoder=True
            ... )
            >>> model = FlaxRobertaForCausalLM(config)
            >>> out = model.generate(jnp.array([[1, 0, 5], [0, 7, 9]]), max_new_tokens=4, min_new_tokens=4)
            >>> out.sequences.shape
            (2, 7)
        """
        params = self.params if params is None else params
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((input_ids, kwargs, params))):
            raise ArgumentError(
                given="generate inside jit",
                expected="a call outside of it",
                hint="it compiles its steps by itself",
            )
        call = Call.read(self.config, self._defaults(), input_ids, generation_config, kwargs)
        callbacks = Callbacks(
            logits_processor, stopping_criteria, prefix_allowed_tokens_fn, tokenizer, streamer
        )
        generator = np.random.default_rng(_key_data(prng_key))
        predict = _Predictor(self, call, params, self._programs() if trace else _Programs.of(self.module))
        written = call.write(predict, generator, callbacks, jnp.asarray)
        if call.config.return_dict_in_generate:
            return cast(GenerateOutput, written.container(call.config, jnp.asarray))
        sequences = jnp.asarray(written.sequences)
        if written.found is not None:
            return FlaxBeamSearchOutput(sequences=sequences, scores=jnp.asarray(written.found.scores))
        kind = FlaxSampleOutput if call.config.do_sample else FlaxGreedySearchOutput
        return kind(sequences=sequences)

    def _programs(self) -> "_Programs":
        """Those of the module that the model has now."""
        known = vars(self).get("_generation_programs")
        if known is None or known[0] is not self.module:
            known = vars(self)["_generation_programs"] = (self.module, _Programs.of(self.module).compiled())
        programs: _Programs = known[1]
        return programs


#: Of parameters, cache, arrays by name, and what is wanted besides.
_Compute = Callable[..., tuple[jax.Array, Cache | None, tuple[jax.Array, ...], tuple[jax.Array, ...]]]


class _Programs(NamedTuple):
    """What a call computes in JAX.

    Attributes:
        step: see `_step`.
        arrange: see `_arrange`.
        embed: see `_embed`.
    """

    step: _Compute
    arrange: Callable[[Cache, jax.Array], Cache]
    embed: Callable[[Params, jax.Array], jax.Array]

    @classmethod
    def of(cls, module: nn.Module) -> "_Programs":
        """Those of a module, not compiled."""
        return cls(partial(_step, module), _arrange, partial(_embed, module))

    def compiled(self) -> "_Programs":
        """The same for `jit`. A step writes its keys and values into the cache that it is given, in place."""
        static = ("use_cache", "output_attentions", "output_hidden_states")
        return _Programs(
            jax.jit(self.step, static_argnames=static, donate_argnums=1),
            jax.jit(_arrange),
            jax.jit(self.embed),
        )


def _step(
    module: nn.Module,
    params: Params,
    cache: Cache | None,
    inputs: dict[str, jax.Array],
    *,
    use_cache: bool,
    output_attentions: bool,
    output_hidden_states: bool,
) -> tuple[jax.Array, Cache | None, tuple[jax.Array, ...], tuple[jax.Array, ...]]:
    """Logits (R, V) of the last column, in float32 at least, the new cache, maps and hidden states."""

    def last_column(
        bound: nn.Module,
    ) -> tuple[jax.Array, BaseModelOutputWithPoolingAndCrossAttentions[jax.Array]]:
        model = cast(_Bound, bound)
        out = model.roberta(
            **inputs, output_attentions=output_attentions, output_hidden_states=output_hidden_states
        )
        assert out.last_hidden_state is not None
        return model.score(out.last_hidden_state[:, -1])["logits"], out

    variables = {"params": params} | ({} if cache is None else {"cache": cache})
    (logits, out), kept = module.apply(variables, method=last_column, mutable=["cache"] if use_cache else [])
    wide = logits.astype(jnp.promote_types(logits.dtype, jnp.float32))
    return wide, kept.get("cache"), out.attentions or (), out.hidden_states or ()


def _arrange(cache: Cache, rows: jax.Array) -> Cache:
    """Row i of the new cache is row `rows[i]`."""
    arranged: Cache = jax.tree.map(lambda x: x[rows] if x.ndim else x, cache)
    return arranged


def _embed(module: nn.Module, params: Params, ids: jax.Array) -> jax.Array:
    """Embeddings (R, n, W) of ids (R, n)."""

    def of_words(bound: nn.Module) -> jax.Array:
        return cast(_Bound, bound).roberta.embeddings.word_embeddings(ids)

    return cast(jax.Array, module.apply({"params": params}, method=of_words))


class _Bound:
    """A causal module with its parameters; for type checkers."""

    roberta: "_Backbone"
    score: Callable[[jax.Array], dict[str, jax.Array]]


class _Embeddings:
    word_embeddings: Callable[[jax.Array], jax.Array]


class _Backbone(Protocol):
    embeddings: _Embeddings

    def __call__(self, **arguments: object) -> BaseModelOutputWithPoolingAndCrossAttentions[jax.Array]: ...


class _Predictor:
    """See `decoding.Predictor`: the cache is linen's collection, of a length that is fixed in the first step."""

    def __init__(self, model: FlaxGenerationMixin, call: Call, params: Params, programs: _Programs) -> None:
        self.params, self.programs = params, programs
        self.config, self.lengths = call.model_config, call.lengths
        self.past: Cache | None = None
        self.cached = 0
        #: Columns that are padded on the left, of all rows; with a cache they stay what they are in the first step.
        self.before = 0
        self.switches = {
            "use_cache": call.config.use_cache,
            "output_attentions": call.config.return_dict_in_generate and call.config.output_attentions,
            "output_hidden_states": call.config.return_dict_in_generate and call.config.output_hidden_states,
        }
        self.slots = 0
        if call.config.use_cache:
            fed = self.lengths.new - 1  # the last token is not fed again
            self.before = self._roomy(self.lengths.prompt, fed) - self.lengths.prompt
            self.slots = self._roomy(self.before + self.lengths.prompt + fed)
            self.past = model.init_cache(len(call.prompts.mask), self.slots)

    def __call__(self, step: Step) -> Told:
        """Compute what may follow each row."""
        columns = step.mask.shape[1]
        if self.past is None:
            self.before = self._roomy(columns) - columns
        arrays = self._padded(step)
        cache = self._arranged(step.rows)
        logits, self.past, maps, states = self.programs.step(self.params, cache, arrays, **self.switches)
        if self.past is not None:
            self.cached = columns
        new = step.position_ids.shape[1]
        real = slice(self.before, self.before + columns)
        return Told(
            np.asarray(logits),
            tuple(np.asarray(one)[:, :, -new:, real] for one in maps),
            tuple(np.asarray(one)[:, -new:] for one in states),
        )

    def embed(self, ids: Ids) -> NDArray[np.generic]:
        """Return the embeddings (R, n, W) of ids (R, n)."""
        return np.asarray(self.programs.embed(self.params, jnp.asarray(ids)))

    def cache(self, rows: Ids | None) -> object:
        """Return the cache, arranged, without the columns that are padding of all rows."""
        if (past := self._arranged(rows)) is None:
            return None

        def cut(path: tuple[object, ...], leaf: jax.Array) -> jax.Array:
            if not leaf.ndim:
                return leaf - self.before
            return leaf if "crossattention" in jax.tree_util.keystr(path) else leaf[:, self.before :]

        return jax.tree_util.tree_map_with_path(cut, past)

    def _arranged(self, rows: Ids | None) -> Cache | None:
        if self.past is None or rows is None:
            return self.past
        return self.programs.arrange(self.past, jnp.asarray(rows))

    def _padded(self, step: Step) -> dict[str, jax.Array]:
        """The inputs, in the first step, and in each without a cache, padded on the left."""
        first = 0 if self.cached else self.before
        behind = self.slots and self.slots - self.before - step.mask.shape[1]
        padding = self.config.pad_token_id
        arrays = {
            "input_ids": _wider(step.ids, first, padding),
            "inputs_embeds": _wider(step.embeds, first),
            "attention_mask": _wider(step.mask, self.before, 0, behind),
            "position_ids": _wider(step.position_ids, first, padding),
            "token_type_ids": _wider(step.token_type_ids, first),
            **step.static,
        }
        return {name: jnp.asarray(value) for name, value in arrays.items() if value is not None}

    def _roomy(self, columns: int, more: int = 0) -> int:
        """One of a few lengths for so many columns, where `more` are to follow.

        Distances are counted over padding, too, so that with relative positions there is an end.
        """
        room = next((length for length in ROW_LENGTHS if length >= columns), -(-columns // 256) * 256)
        if self.config.position_embedding_type == "absolute":
            return room
        return max(columns, min(room, self.config.max_position_embeddings - more))


def _wider(
    array: NDArray[np.generic] | None, before: int, value: int = 0, behind: int = 0
) -> NDArray[np.generic] | None:
    """(R, n, …) with columns of one value before and behind; integers as int32."""
    if array is None:
        return None
    widths = [(0, 0), (before, behind), *[(0, 0)] * (array.ndim - 2)]
    wide = np.pad(array, widths, constant_values=value)
    return wide.astype(np.int32) if wide.dtype.kind in "biu" else wide


def _key_data(key: jax.Array | None) -> list[int]:
    """The numbers of a key, a new-style one or a raw one."""
    if key is None:
        key = jax.random.PRNGKey(0)
    typed = jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(key) if typed else key).ravel().tolist()
