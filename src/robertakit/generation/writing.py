"""A call of `generate`, from its arguments to its answer, for a model that computes the steps: no framework here.

`Call.read` checks all that was asked for; then the framework makes its `Predictor`, and `Call.write` runs the search.

Shape letters: R rows, S sequences, C columns, n new tokens, V vocabulary.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from robertakit.errors import ArgumentError
from robertakit.generation.beam_search import Found, search_beams
from robertakit.generation.config import GenerationConfig
from robertakit.generation.decoding import Decoding, Predictor
from robertakit.generation.defaults import Defaults
from robertakit.generation.logits_processing import LogitsProcessing
from robertakit.generation.outputs import GenerateBeamDecoderOnlyOutput, GenerateDecoderOnlyOutput
from robertakit.generation.prompts import INPUTS, Ids, Prompts
from robertakit.generation.request import Lengths, check_tokens, refuse_arguments, split_keywords
from robertakit.generation.rules import TokenRules
from robertakit.generation.sampling import write_rows
from robertakit.generation.stopping import Stopping
from robertakit.pretrained_config import PretrainedConfig

__all__ = ["Call", "Callbacks", "Streamer", "Written"]

#: Turns an array into the framework's.
Native = Callable[[NDArray[np.generic]], object]
#: Arguments of `generate` in PyTorch that are refused everywhere.
_REFUSED = (
    "synced_gpus", "assistant_model", "assistant_tokenizer", "negative_prompt_ids", "negative_prompt_attention_mask",
    "custom_generate", "trust_remote_code",
)  # fmt: skip


class Streamer(Protocol):
    """Takes ids as they come: those of the prompts first, then one for each row a step."""

    def put(self, value: object) -> None:
        """Take ids."""

    def end(self) -> None:
        """Nothing follows."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Functions of the caller's, which take and give the framework's arrays.

    Attributes:
        logits_processor: functions of ids (R, C), scores (R, V) and the number of columns that return scores; called
            behind the rules of the fields, before those of sampling.
        stopping_criteria: functions of ids (R, C) and the steps' scores (None unless they are kept) that return which
            rows (R,) have ended, or one bool for all.
        prefix_allowed_tokens_fn: function of a prompt's index and a row (C,) that returns the ids that may follow.
        tokenizer: for `stop_strings`.
        streamer: takes the prompts, and then the tokens of each step; not with beams.
    """

    logits_processor: Iterable[Callable[..., object]] | None = None
    stopping_criteria: Iterable[Callable[..., object]] | Callable[..., object] | None = None
    prefix_allowed_tokens_fn: Callable[..., Iterable[int]] | None = None
    tokenizer: object = None
    streamer: Streamer | None = None


@dataclass(frozen=True, slots=True)
class Written:
    """What a search gave.

    Attributes:
        sequences: (S, C) ids, prompts included; new ones alone behind embeddings.
        found: of beam search, else None.
        decoding: the rows that were written.
    """

    sequences: Ids
    found: Found | None
    decoding: Decoding

    def container(
        self, config: GenerationConfig, native: Native
    ) -> GenerateDecoderOnlyOutput[object] | GenerateBeamDecoderOnlyOutput[object]:
        """Return all that was asked for, in the framework's arrays."""
        fields: dict[str, object] = {"sequences": self.sequences, **self.decoding.recorded()}
        if self.found is not None and config.output_scores:
            fields |= {"sequences_scores": self.found.scores, "beam_indices": self.found.beam_indices}
        container: GenerateDecoderOnlyOutput[object] | GenerateBeamDecoderOnlyOutput[object] = (
            GenerateDecoderOnlyOutput() if self.found is None else GenerateBeamDecoderOnlyOutput()
        )
        for name, value in fields.items():
            container[name] = _converted(value, native)
        container["past_key_values"] = self.decoding.cache()
        return container


@dataclass(frozen=True, slots=True)
class Call:
    """What a call of `generate` asks for, checked.

    Attributes:
        config: its fields, those of the model included; `use_cache` only where the model can have a cache.
        model_config: the model's.
        prompts: what the rows begin with.
        lengths: how long they may grow.
    """

    config: GenerationConfig
    model_config: PretrainedConfig
    prompts: Prompts
    lengths: Lengths

    @classmethod
    def read(
        cls,
        model_config: PretrainedConfig,
        defaults: Defaults,
        inputs: ArrayLike | None,
        generation_config: object,
        keywords: Mapping[str, object],
    ) -> "Call":
        """Check the arguments of a call.

        Args:
            model_config: the model's.
            defaults: hold the model's `generation_config`.
            inputs: (B, C) ids of the prompts, or None.
            generation_config: the call's, or None.
            keywords: fields of `GenerationConfig`, and inputs of the model as arrays.

        Raises:
            ArgumentError: an argument that does not exist, or is not supported.
            ConfigError: fields that contradict each other.
            InputError: prompts padded on the right, ids outside the vocabulary.
            TooLong: the model has not as many positions as are asked for.
            BadShape: shapes that do not fit each other.
        """
        refuse_arguments(**{name: keywords[name] for name in _REFUSED if name in keywords})
        known = {name: value for name, value in keywords.items() if name not in _REFUSED}
        fields, given = split_keywords(known, ("input_ids", *INPUTS))
        config = defaults.merge(generation_config, fields)
        check_tokens(config, model_config.vocab_size)
        config.use_cache = config.use_cache and model_config.is_decoder
        arrays: dict[str, ArrayLike] = {name: np.asarray(value) for name, value in given.items()}
        prompts = Prompts.read(inputs, arrays, config, model_config)
        lengths = Lengths.read(config, model_config, prompts.mask.shape[1], prompts.positions)
        return cls(config, model_config, prompts, lengths)

    def write(
        self, predict: Predictor, generator: np.random.Generator, callbacks: Callbacks, native: Native
    ) -> Written:
        """Run the search.

        Args:
            predict: the model.
            generator: of the draws.
            callbacks: functions of the caller's.
            native: turns arrays into those that `callbacks` take.

        Raises:
            InputError: rules that forbid every token, scores that are not numbers.
            ArgumentError: `stop_strings` without a tokenizer, a streamer with beams.
        """
        config, prompts = self.config, self.prompts
        criteria = callbacks.stopping_criteria or ()
        stopping = Stopping(
            config,
            self.lengths.longest,
            [_wrapped(function, native) for function in ((criteria,) if callable(criteria) else criteria)],
            callbacks.tokenizer,
        )
        copies = max(config.num_beams, config.num_return_sequences)
        decoding = Decoding(predict, prompts, config, self.model_config, copies)
        allowed = callbacks.prefix_allowed_tokens_fn
        process = LogitsProcessing(
            TokenRules(config, self.lengths, decoding.histories(), copies),
            [_wrapped(function, native) for function in callbacks.logits_processor or ()],
            None if allowed is None else lambda prompt, ids: allowed(prompt, native(ids)),
        )
        streamer = callbacks.streamer
        if config.num_beams == 1:
            tell = None if streamer is None else lambda ids: streamer.put(native(ids))
            sequences = write_rows(decoding, process, stopping, generator, tell)
            if streamer is not None:
                streamer.end()
            return Written(sequences, None, decoding)
        if streamer is not None:
            raise ArgumentError(given=f"streamer with num_beams={config.num_beams}", expected="num_beams=1")
        found = search_beams(decoding, process, stopping, generator)
        starts = prompts.ids.repeat(config.num_return_sequences, 0)
        return Written(np.concatenate([starts, found.tokens], 1), found, decoding)


def _wrapped(function: Callable[..., object], native: Native) -> Callable[..., NDArray[np.generic]]:
    """A function of the caller's as one of NumPy arrays, under the name that errors tell."""

    def wrapped(*arguments: object) -> NDArray[np.generic]:
        return np.asarray(function(*(_converted(argument, native) for argument in arguments)))

    wrapped.__name__ = getattr(function, "__name__", type(function).__name__)
    return wrapped


def _converted(value: object, native: Native) -> object:
    """Arrays in tuples of any depth as the framework's."""
    if isinstance(value, tuple):
        return tuple(_converted(item, native) for item in value)
    return native(value) if isinstance(value, np.ndarray) else value
