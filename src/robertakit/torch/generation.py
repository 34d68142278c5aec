"""`generate()`: a causal model writes on.

Shape letters: B prompts, C columns (tokens of a row, padding included), R rows, S sequences, V vocabulary.
"""

import inspect
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from robertakit.configuration import RobertaConfig
from robertakit.errors import ArgumentError
from robertakit.generation.config import GenerationConfig
from robertakit.generation.defaults import Defaults
from robertakit.generation.outputs import GenerateBeamDecoderOnlyOutput, GenerateDecoderOnlyOutput
from robertakit.generation.request import Lengths, check_tokens, refuse_arguments, split_keywords
from robertakit.generation.rules import TokenRules
from robertakit.torch.beam_search import search_beams
from robertakit.torch.cache import DynamicCache
from robertakit.torch.decoding import Decoding, real_tokens
from robertakit.torch.logits_processing import AllowedTokens, LogitsProcessing, Processor
from robertakit.torch.prompts import Prompts
from robertakit.torch.sampling import Streamer, write_rows
from robertakit.torch.stopping import Criterion, Stopping

__all__ = ["GenerationMixin"]

GenerateOutput = GenerateDecoderOnlyOutput[Tensor] | GenerateBeamDecoderOnlyOutput[Tensor]
#: Arguments of `forward` that a call of `generate` does not hand on.
_NOT_HANDED_ON = {
    "labels", "return_dict", "use_cache", "output_attentions", "output_hidden_states", "logits_to_keep",
}  # fmt: skip


class GenerationMixin(nn.Module):
    """Gives a causal model `generate()`.

    The model's `forward` gives `logits` (B, L, V), and takes and gives `past_key_values`. A subclass may say in
    `prepare_inputs_for_generation` what a step feeds it.
    """

    config: RobertaConfig
    get_input_embeddings: Callable[..., nn.Module]

    @property
    def generation_config(self) -> GenerationConfig:
        """What `generate` is asked for where a call does not say otherwise.

        At first it is made of the model's configuration, whose later changes count too; what is set here wins.
        """
        return self._generation_defaults().value

    @generation_config.setter
    def generation_config(self, value: object) -> None:
        vars(self)["_defaults"] = Defaults(self.config, value)

    def _generation_defaults(self) -> Defaults:
        if "_defaults" not in vars(self):
            vars(self)["_defaults"] = Defaults(self.config)
        defaults: Defaults = vars(self)["_defaults"]
        return defaults

    @classmethod
    def can_generate(cls) -> bool:
        """Whether there is a `generate()`: there is."""
        return True

    @torch.no_grad()
    def generate(
        self,
        inputs: Tensor | None = None,
        generation_config: GenerationConfig | None = None,
        logits_processor: Sequence[Processor] | None = None,
        stopping_criteria: Sequence[Criterion] | Criterion | None = None,
        prefix_allowed_tokens_fn: AllowedTokens | None = None,
        synced_gpus: bool | None = None,
        assistant_model: object = None,
        streamer: Streamer | None = None,
        negative_prompt_ids: Tensor | None = None,
        negative_prompt_attention_mask: Tensor | None = None,
        use_model_defaults: bool | None = None,
        custom_generate: object = None,
        *,
        generator: torch.Generator | None = None,
        tokenizer: object = None,
        **kwargs: object,
    ) -> Tensor | GenerateOutput:
        """Write new tokens behind prompts.

        A row that is padded on the left gets what it would get alone: positions are counted over its real tokens, and
        no rule looks at padding. Tokens are as a plain `forward` of the whole row would choose them, with a cache and
        without.

        Args:
            inputs: (B, C) ids of the prompts, padded on the left; `input_ids=` is the same. Without it, and without
                `inputs_embeds`, rows start with `bos_token_id`.
            generation_config: what is asked for; fields among `kwargs` win over it, and it wins over the model's.
            logits_processor: functions of ids (R, C) and scores (R, V) that return scores; called behind the rules
                of the fields, before those of sampling.
            stopping_criteria: functions of ids (R, C) and the steps' scores (None unless `output_scores` and
                `return_dict_in_generate`) that return which rows (R,) have ended, or one bool for all.
            prefix_allowed_tokens_fn: function of a prompt's index and a row (C,) that returns the ids that may follow.
            synced_gpus: not supported.
            assistant_model: not supported.
            streamer: its `put` takes the prompts, and then the tokens of each step; not with beams.
            negative_prompt_ids: not supported.
            negative_prompt_attention_mask: not supported.
            use_model_defaults: False leaves the model's fields aside where `generation_config` is given, special
                tokens apart.
            custom_generate: not supported; no code of a checkpoint is ever run.
            generator: of the draws; default PyTorch's own.
            tokenizer: for `stop_strings`.
            **kwargs: fields of `GenerationConfig`, and inputs of `forward`: `attention_mask` (B, C), default from
                the padding ids; `token_type_ids`, `position_ids`, `head_mask`, `inputs_embeds` (B, C, W) in place of
                ids, `encoder_hidden_states`, `encoder_attention_mask`, and `past_key_values` of the first tokens of
                the prompts.

        Returns:
            (S, C') ids, prompts included (new ones alone behind `inputs_embeds`), `num_return_sequences` for each
            prompt; or, with `return_dict_in_generate`, a container with them.

        Raises:
            ArgumentError: an argument that does not exist, or is not supported.
            ConfigError: fields that contradict each other.
            InputError: prompts padded on the right, ids outside the vocabulary, rules that forbid every token.
            TooLong: the model has not as many positions as are asked for; nothing has been computed.
            BadShape: shapes that do not fit each other.

        Example:
            >>> from robertakit.torch import RobertaForCausalLM
            >>> from robertakit.configuration import RobertaConfig
            >>> config = RobertaConfig(
            ...     vocab_size=30, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, is_decoder=True
            ... )
            >>> model = RobertaForCausalLM(config).eval()
            >>> model.generate(torch.tensor([[1, 0, 5], [0, 7, 9]]), max_new_tokens=4, min_new_tokens=4).shape
            torch.Size([2, 7])
        """
        refuse_arguments(
            synced_gpus=synced_gpus, assistant_model=assistant_model, negative_prompt_ids=negative_prompt_ids,
            negative_prompt_attention_mask=negative_prompt_attention_mask, custom_generate=custom_generate,
            assistant_tokenizer=kwargs.pop("assistant_tokenizer", None),
            trust_remote_code=kwargs.pop("trust_remote_code", None),
        )  # fmt: skip
        taken = set(inspect.signature(self.forward).parameters) - _NOT_HANDED_ON
        fields, given = split_keywords(kwargs, taken)
        config = self._generation_defaults().merge(generation_config, fields, use_model_defaults)
        check_tokens(config, self.config.vocab_size)
        config.use_cache = config.use_cache and self.config.is_decoder
        device = next(self.parameters()).device
        prompts = Prompts.read(inputs, given, config, self.config, device)
        lengths = Lengths.read(config, self.config, prompts.mask.shape[1], prompts.positions)
        criteria = (stopping_criteria,) if callable(stopping_criteria) else stopping_criteria or ()
        stopping = Stopping(config, lengths.longest, criteria, tokenizer)
        copies = max(config.num_beams, config.num_return_sequences)
        decoding = Decoding(self, prompts, config, copies)
        rules = TokenRules(config, lengths, decoding.histories(), copies)
        process = LogitsProcessing(rules, logits_processor or (), prefix_allowed_tokens_fn)
        write = _search_beams if config.num_beams > 1 else _write_rows
        return write(decoding, process, stopping, generator, streamer)

    def prepare_inputs_for_generation(
        self,
        input_ids: Tensor,
        past_key_values: object = None,
        attention_mask: Tensor | None = None,
        inputs_embeds: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        position_ids: Tensor | None = None,
        **kwargs: object,
    ) -> dict[str, object]:
        """Return what `forward` is given in one step: the tokens that the cache has not, and their positions.

        Args:
            input_ids: (R, n) all tokens so far, behind those of `inputs_embeds`.
            past_key_values: keys and values of the first ones, or None.
            attention_mask: (R, C), default ones.
            inputs_embeds: (R, C - n, W) of a prompt, or None.
            token_type_ids: (R, C), or None.
            position_ids: (R, C), default counted over real tokens, as a plain `forward` does it.
            **kwargs: handed on as they are.

        Raises:
            ArgumentError: a cache that holds all the tokens, so that there is nothing to compute.
        """
        embedded = 0 if inputs_embeds is None else inputs_embeds.shape[1]
        columns = embedded + input_ids.shape[1]
        past = _cached(past_key_values)
        if past >= columns:
            raise ArgumentError(
                given=f"past_key_values of {past} tokens for {columns}", expected="at least one token less"
            )
        mask = input_ids.new_ones(len(input_ids), columns) if attention_mask is None else attention_mask
        if position_ids is None:
            real = real_tokens(input_ids, mask, self.config.pad_token_id).long()
            position_ids = real.cumsum(-1) * real + self.config.pad_token_id
        step: dict[str, object] = {
            "attention_mask": mask,
            "position_ids": position_ids[:, past:],
            "past_key_values": past_key_values,
            **kwargs,
        }
        if token_type_ids is not None:
            step["token_type_ids"] = token_type_ids[:, past:]
        if inputs_embeds is not None and past < embedded:
            written = self.get_input_embeddings()(input_ids)
            step["inputs_embeds"] = torch.cat([inputs_embeds, written.to(inputs_embeds)], 1)[:, past:]
        else:
            step["input_ids"] = input_ids[:, past - embedded :]
        return step

    def _reorder_cache(self, past_key_values: object, beam_idx: Tensor) -> object:
        """Let row i of a cache go on from what row `beam_idx[i]` was."""
        if isinstance(past_key_values, tuple | list):
            return tuple(
                tuple(t.index_select(0, beam_idx.to(t.device)) for t in layer) for layer in past_key_values
            )
        assert isinstance(past_key_values, DynamicCache)
        past_key_values.reorder_cache(beam_idx)
        return past_key_values

    def compute_transition_scores(
        self,
        sequences: Tensor,
        scores: Sequence[Tensor],
        beam_indices: Tensor | None = None,
        normalize_logits: bool = False,
    ) -> Tensor:
        """Return the scores of the tokens that were chosen.

        Args:
            sequences: (S, C) as `generate` returned them.
            scores: (R, V) of each step, with `output_scores`.
            beam_indices: (S, n) as beam search returned them; None for other searches.
            normalize_logits: make log-probabilities of the scores first.

        Returns:
            (S, n) for the n new tokens, 0 behind the end of a beam.

        Example:
            >>> model, scores = GenerationMixin(), [torch.tensor([[0.5, 2.0]]), torch.tensor([[3.0, 1.0]])]
            >>> model.compute_transition_scores(torch.tensor([[9, 9, 1, 0]]), scores).tolist()
            [[2.0, 3.0]]
        """
        steps = torch.stack(list(scores), 1)  # (R, n, V)
        if normalize_logits:
            steps = steps.log_softmax(-1)
        if beam_indices is None:
            rows = torch.arange(len(sequences), device=sequences.device)[:, None].expand(-1, steps.shape[1])
        else:
            rows = beam_indices
        count = rows.shape[1]
        tokens = sequences[:, sequences.shape[1] - count :]
        chosen = steps[rows.clamp(min=0), torch.arange(count, device=rows.device), tokens]
        return chosen.masked_fill(rows < 0, 0.0)


def _cached(past_key_values: object) -> int:
    """How many tokens a cache holds."""
    if past_key_values is None:
        return 0
    if isinstance(past_key_values, tuple | list):
        past_key_values = DynamicCache.from_legacy_cache(past_key_values)
    assert isinstance(past_key_values, DynamicCache)
    return past_key_values.get_seq_length()


def _write_rows(
    decoding: Decoding,
    process: LogitsProcessing,
    stopping: Stopping,
    generator: torch.Generator | None,
    streamer: Streamer | None,
) -> Tensor | GenerateOutput:
    """Greedy search and sampling, as the call wants their result."""
    write_rows(decoding, process, stopping, generator=generator, streamer=streamer)
    return _answer(
        decoding, process.rules.config, GenerateDecoderOnlyOutput[Tensor](), sequences=decoding.ids
    )


def _search_beams(
    decoding: Decoding,
    process: LogitsProcessing,
    stopping: Stopping,
    generator: torch.Generator | None,
    streamer: Streamer | None,
) -> Tensor | GenerateOutput:
    """Beam search and beam sampling, as the call wants their result."""
    config = process.rules.config
    if streamer is not None:
        raise ArgumentError(given=f"streamer with num_beams={config.num_beams}", expected="num_beams=1")
    prompts = decoding.ids.repeat_interleave(config.num_return_sequences, 0)
    found = search_beams(decoding, process, stopping, generator=generator)
    return _answer(
        decoding,
        config,
        GenerateBeamDecoderOnlyOutput[Tensor](),
        sequences=torch.cat([prompts, found.tokens], 1),
        sequences_scores=found.scores if config.output_scores else None,
        beam_indices=found.beam_indices if config.output_scores else None,
    )


def _answer(
    decoding: Decoding,
    config: GenerationConfig,
    container: GenerateOutput,
    *,
    sequences: Tensor,
    **fields: object,
) -> Tensor | GenerateOutput:
    """The sequences, or the container filled with all that was asked for."""
    if not config.return_dict_in_generate:
        return sequences
    past = decoding.past if config.use_cache else None
    if config.return_legacy_cache and isinstance(past, DynamicCache):
        past = past.to_legacy_cache()
    for name, value in {
        "sequences": sequences,
        **fields,
        **decoding.recorded(),
        "past_key_values": past,
    }.items():
        container[name] = value
    return container
