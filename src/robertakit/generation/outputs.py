"""The documented outputs of `generate(return_dict_in_generate=True)`, and those that the Flax classes give always."""

from dataclasses import dataclass

from robertakit.outputs import ArrayT, Layers, ModelOutput

__all__ = [
    "FlaxBeamSearchOutput",
    "FlaxGreedySearchOutput",
    "FlaxSampleOutput",
    "GenerateBeamDecoderOnlyOutput",
    "GenerateDecoderOnlyOutput",
]


@dataclass(eq=False)
class GenerateDecoderOnlyOutput(ModelOutput[ArrayT]):
    """What greedy search and sampling give; R rows, one entry of each tuple for each new token.

    Attributes:
        sequences: (R, C) ids, prompts included.
        scores: (R, V) by which each token was chosen, with `output_scores`.
        logits: (R, V) as the model gave them, with `output_logits`.
        attentions: of each layer (R, H, L, K), with `output_attentions`.
        hidden_states: of each layer (R, L, W), with `output_hidden_states`.
        past_key_values: the cache, with `use_cache`.
    """

    sequences: ArrayT | None = None
    scores: Layers[ArrayT] | None = None
    logits: Layers[ArrayT] | None = None
    attentions: tuple[Layers[ArrayT], ...] | None = None
    hidden_states: tuple[Layers[ArrayT], ...] | None = None
    past_key_values: object = None


@dataclass(eq=False)
class GenerateBeamDecoderOnlyOutput(ModelOutput[ArrayT]):
    """What beam search gives; S sequences are returned, R rows of beams ran side by side.

    Attributes:
        sequences: (S, C) ids, prompts included.
        sequences_scores: (S,) log-probabilities over length penalty, with `output_scores`.
        scores: (R, V) log-probabilities of each step, processed, with `output_scores`.
        logits: (R, V) as the model gave them, with `output_logits`.
        beam_indices: (S, new tokens) row of `scores` that each token was chosen from, -1 behind the last.
        attentions: of each layer (R, H, L, K), with `output_attentions`.
        hidden_states: of each layer (R, L, W), with `output_hidden_states`.
        past_key_values: the cache, with `use_cache`.
    """

    sequences: ArrayT | None = None
    sequences_scores: ArrayT | None = None
    scores: Layers[ArrayT] | None = None
    logits: Layers[ArrayT] | None = None
    beam_indices: ArrayT | None = None
    attentions: tuple[Layers[ArrayT], ...] | None = None
    hidden_states: tuple[Layers[ArrayT], ...] | None = None
    past_key_values: object = None


@dataclass(eq=False)
class FlaxGreedySearchOutput(ModelOutput[ArrayT]):
    """What greedy search gives in JAX.

    Attributes:
        sequences: (R, C) ids, prompts included.
    """

    sequences: ArrayT | None = None


@dataclass(eq=False)
class FlaxSampleOutput(ModelOutput[ArrayT]):
    """What sampling gives in JAX.

    Attributes:
        sequences: (R, C) ids, prompts included.
    """

    sequences: ArrayT | None = None


@dataclass(eq=False)
class FlaxBeamSearchOutput(ModelOutput[ArrayT]):
    """What beam search gives in JAX.

    Attributes:
        sequences: (S, C) ids, prompts included.
        scores: (S,) log-probabilities over length penalty.
    """

    sequences: ArrayT | None = None
    scores: ArrayT | None = None
