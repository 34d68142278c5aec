"""The fields of `generate()`, as documented: names, order, defaults, and what they mean."""

__all__ = ["GenerationFields"]


class GenerationFields:
    """What may be asked for of `generate()`; `GenerationConfig` adds checks and files.

    Lengths count columns: the tokens of the longest prompt of a batch, padding included, and the new ones. Fields of
    other models and of searches that are not supported are here as well, so that files keep them; `generate` refuses
    those that ask for something.

    Attributes:
        max_length: most tokens of a sequence, prompt included; without it and `max_new_tokens`, 20 new ones.
        max_new_tokens: most new tokens; wins over `max_length`.
        min_length: least tokens of a sequence, prompt included, before one of `eos_token_id` may follow.
        min_new_tokens: least new tokens; wins over `min_length`.
        early_stopping: when beam search of a prompt ends: True as soon as `num_beams` sequences are finished; False
            when the best running one, at its length, is worse than all of them; "never" when none could become better
            at any length.
        max_time: seconds after which the token that is being computed is the last.
        stop_strings: texts after which a sequence ends; `generate` needs `tokenizer=` for them.
        do_sample: draw tokens, in place of the most probable one.
        num_beams: width of the beam search; 1 for none.
        use_cache: keep keys and values of earlier tokens.
        return_legacy_cache: True returns the cache as tuples.
        temperature: divides the scores before a draw.
        top_k: draw among so many most probable tokens; None or 0 for all.
        top_p: draw among the fewest most probable tokens whose probabilities sum to at least this.
        min_p: draw among tokens of at least this fraction of the most probable one's probability.
        typical_p: draw among the most typical tokens (Meister et al. 2023) whose probabilities sum to at least this.
        epsilon_cutoff: draw among tokens of at least this probability (Hewitt et al. 2022).
        eta_cutoff: the same, less strict where the distribution is flat.
        repetition_penalty: scores of tokens that the sequence has are divided by it, negative ones multiplied (Keskar
            et al. 2019).
        encoder_repetition_penalty: the reverse for the tokens of the prompt.
        length_penalty: a finished beam's score is its log-probability / (new tokens ** this).
        no_repeat_ngram_size: sequences of so many tokens occur once only; 0 for no rule.
        bad_words_ids: sequences of ids that are not written.
        renormalize_logits: make processed scores log-probabilities again.
        forced_bos_token_id: first new token behind a prompt of one token.
        forced_eos_token_id: token, or tokens one of which, the last token is at `max_length`.
        remove_invalid_values: replace not-a-number and infinities in what the model computed.
        exponential_decay_length_penalty: (first new token, factor): from there on ending grows more likely.
        suppress_tokens: ids that are not written.
        begin_suppress_tokens: ids that are not written first.
        sequence_bias: `{(id, …): number}` that is added to the score of the id that completes a sequence.
        num_return_sequences: sequences for each prompt: draws, or best beams.
        output_attentions: return the attention maps of each step.
        output_hidden_states: return the hidden states of each step.
        output_scores: return the processed scores of each step.
        output_logits: return the scores of each step as the model gave them.
        return_dict_in_generate: return a container, in place of the sequences alone.
        pad_token_id: fills finished sequences.
        bos_token_id: where a sequence without prompt starts.
        eos_token_id: id, or ids, that end a sequence.
        encoder_no_repeat_ngram_size: sequences of so many tokens that the prompt has are not written.
    """

    # Length.
    max_length: int | None = 20
    max_new_tokens: int | None = None
    min_length: int | None = 0
    min_new_tokens: int | None = None
    early_stopping: bool | str = False
    max_time: float | None = None
    stop_strings: str | list[str] | None = None
    # Strategy.
    do_sample: bool = False
    num_beams: int = 1
    # Cache.
    use_cache: bool = True
    cache_implementation: str | None = None
    cache_config: object = None
    return_legacy_cache: bool | None = None
    prefill_chunk_size: int | None = None
    # Scores.
    temperature: float | None = 1.0
    top_k: int | None = 50
    top_p: float | None = 1.0
    min_p: float | None = None
    typical_p: float | None = 1.0
    epsilon_cutoff: float | None = 0.0
    eta_cutoff: float | None = 0.0
    repetition_penalty: float | None = 1.0
    encoder_repetition_penalty: float | None = 1.0
    length_penalty: float = 1.0
    no_repeat_ngram_size: int | None = 0
    bad_words_ids: list[list[int]] | None = None
    renormalize_logits: bool = False
    forced_bos_token_id: int | None = None
    forced_eos_token_id: int | list[int] | None = None
    remove_invalid_values: bool = False
    exponential_decay_length_penalty: tuple[int, float] | None = None
    suppress_tokens: list[int] | None = None
    begin_suppress_tokens: list[int] | None = None
    sequence_bias: dict[tuple[int, ...], float] | list[list[object]] | None = None
    token_healing: bool = False
    guidance_scale: float | None = None
    watermarking_config: object = None
    # What is returned.
    num_return_sequences: int = 1
    output_attentions: bool = False
    output_hidden_states: bool = False
    output_scores: bool = False
    output_logits: bool | None = None
    return_dict_in_generate: bool = False
    # Special tokens.
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    # Of models with an encoder and a decoder.
    encoder_no_repeat_ngram_size: int | None = 0
    decoder_start_token_id: int | list[int] | None = None
    # With a second model.
    is_assistant: bool = False
    num_assistant_tokens: int = 20
    num_assistant_tokens_schedule: str = "constant"
    assistant_confidence_threshold: float = 0.4
    prompt_lookup_num_tokens: int | None = None
    max_matching_ngram_size: int | None = None
    assistant_early_exit: int | None = None
    assistant_lookbehind: int = 10
    target_lookbehind: int = 10
    # Compilation.
    compile_config: object = None
    disable_compile: bool = False
    # Other searches.
    low_memory: bool | None = None
    penalty_alpha: float | None = None
    dola_layers: str | list[int] | None = None
    diversity_penalty: float = 0.0
    num_beam_groups: int = 1
    constraints: object = None
    force_words_ids: object = None
