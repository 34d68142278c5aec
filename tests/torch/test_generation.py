"""`generate()` of the causal models: laws, the documented arguments, outputs, refusals."""

import copy
import math
import pickle
import time

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robertakit.errors import ArgumentError, BadShape, ConfigError, InputError, TooLong
from robertakit.generation import GenerateBeamDecoderOnlyOutput, GenerateDecoderOnlyOutput, GenerationConfig
from robertakit.torch.cache import DynamicCache

PAD, EOS = 1, 2


@pytest.fixture(scope="module")
def model(models):
    """A decoder in float64, so that no two scores are near enough for rounding to choose."""
    return models.build("causal-lm", dtype=torch.float64, is_decoder=True)


def left_padded(rows: list[list[int]], extra: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Ids and mask of prompts, padded on the left."""
    columns = max(map(len, rows)) + extra
    ids = torch.tensor([[PAD] * (columns - len(row)) + row for row in rows])
    return ids, ids.ne(PAD).long()


PROMPTS = [[0, 42, 44, 5, 46, 43], [0, 39, 45], [0, 17, 31, 12, 9]]
IDS, MASK = left_padded(PROMPTS)


def alone(model, **options) -> list[torch.Tensor]:
    return [model.generate(torch.tensor([row]), **options) for row in PROMPTS]


def same_tokens(batch: torch.Tensor, singles: list[torch.Tensor], returned: int = 1) -> None:
    """What is written behind each prompt is the same; a batch fills what ended early."""
    rows = zip(PROMPTS, singles, strict=True)
    for index, (prompt, single) in enumerate(rows):
        for row, wanted in zip(batch[index * returned : (index + 1) * returned], single, strict=True):
            new, old = row[IDS.shape[1] :].tolist(), wanted[len(prompt) :].tolist()
            longest = max(len(new), len(old))
            assert new + [PAD] * (longest - len(new)) == old + [PAD] * (longest - len(old))


WAYS = {
    "greedy": {},
    "no cache": {"use_cache": False},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
    "beams without cache": {"num_beams": 3, "num_return_sequences": 2, "use_cache": False},
    "penalty": {"repetition_penalty": 1.7},
    "prompt's penalty": {"encoder_repetition_penalty": 1.7},
    "n-grams": {"no_repeat_ngram_size": 2},
    "n-grams of the prompt": {"encoder_no_repeat_ngram_size": 1},
    "one token once": {"no_repeat_ngram_size": 1, "num_beams": 2},
    "bias": {"sequence_bias": {(5,): 3.0, (9, 9): -9.0}},
    "least": {"min_new_tokens": 8, "eos_token_id": [2, 40, 41, 42, 43, 44, 45, 46, 47]},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_padded_row_gets_what_it_gets_alone(model, way) -> None:
    options = {"max_new_tokens": 12} | WAYS[way]
    batch = model.generate(IDS, attention_mask=MASK, **options)
    same_tokens(batch, alone(model, **options), options.get("num_return_sequences", 1))
    wider = model.generate(*left_padded(PROMPTS, extra=5)[:1], **options)
    assert torch.equal(wider[:, 5:], batch)


@settings(max_examples=20)
@given(
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4), seed=st.integers(0, 99),
    beams=st.integers(1, 3), penalty=st.sampled_from([1.0, 1.4]),
)  # fmt: skip
def test_cache_or_not_padded_or_alone(models, lengths, seed, beams, penalty) -> None:
    model = models.build("causal-lm", seed=seed % 3, dtype=torch.float64, is_decoder=True)
    generator = torch.Generator().manual_seed(seed)
    rows = [torch.randint(3, 61, (length,), generator=generator).tolist() for length in lengths]
    ids, mask = left_padded(rows)
    options = {"max_new_tokens": 8, "num_beams": beams, "repetition_penalty": penalty}
    batch = model.generate(ids, attention_mask=mask, **options)
    assert torch.equal(model.generate(ids, attention_mask=mask, use_cache=False, **options), batch)
    for row, prompt in zip(batch, rows, strict=True):
        single = model.generate(torch.tensor([prompt]), **options)[0, len(prompt) :].tolist()
        assert row[ids.shape[1] :].tolist()[: len(single)] == single


def test_greedy_search_is_what_a_plain_forward_says(model) -> None:
    """Each token is the best one behind the row so far, computed anew, without padding, mask, positions or cache."""
    batch = model.generate(IDS, max_new_tokens=10)
    for row, prompt in zip(batch, PROMPTS, strict=True):
        written = list(prompt)
        while len(written) < len(prompt) + 10 and (written == prompt or written[-1] != EOS):
            written.append(int(model(torch.tensor([written])).logits[0, -1].argmax()))
        assert row[IDS.shape[1] - len(prompt) :].tolist()[: len(written)] == written


@pytest.mark.parametrize(
    "fields",
    [{"position_embedding_type": "relative_key"}, {"position_embedding_type": "relative_key_query"},
     {"is_decoder": False}, {"pad_token_id": 0, "bos_token_id": 3}, {"type_vocab_size": 1}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("beams", [1, 3])
def test_other_configurations(models, fields, beams) -> None:
    model = models.build("causal-lm", "XLMRoberta", dtype=torch.float64, **{"is_decoder": True} | fields)
    pad = model.config.pad_token_id
    rows = [[5, 42, 44, 5, 46, 43], [6, 39, 45], [7, 17, 31, 12, 9]]
    ids = torch.tensor([[pad] * (6 - len(row)) + row for row in rows])
    options = {"max_new_tokens": 8, "num_beams": beams}
    batch = model.generate(ids, **options)
    assert torch.equal(model.generate(ids, use_cache=False, **options), batch)
    for row, prompt in zip(batch, rows, strict=True):
        single = model.generate(torch.tensor([prompt]), **options)[0, len(prompt) :].tolist()
        assert row[6:].tolist()[: len(single)] == single


def test_behind_an_encoder(models) -> None:
    model = models.build("causal-lm", dtype=torch.float64, is_decoder=True, add_cross_attention=True)
    generator = torch.Generator().manual_seed(0)
    states = torch.randn(3, 4, 24, generator=generator, dtype=torch.float64)
    keep = torch.tensor([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])
    seen = set()
    for beams in (1, 2):
        options = {"max_new_tokens": 6, "num_beams": beams}
        batch = model.generate(IDS, encoder_hidden_states=states, encoder_attention_mask=keep, **options)
        assert torch.equal(
            model.generate(
                IDS, encoder_hidden_states=states, encoder_attention_mask=keep, use_cache=False, **options
            ),
            batch,
        )
        singles = [
            model.generate(
                torch.tensor([row]), encoder_hidden_states=states[i : i + 1, : keep[i].sum()], **options
            )
            for i, row in enumerate(PROMPTS)
        ]
        same_tokens(batch, singles)
        starts = model.generate(encoder_hidden_states=states, encoder_attention_mask=keep, **options)
        assert starts[:, 0].tolist() == [0, 0, 0]
        seen.add(tuple(batch[0].tolist()))
    assert tuple(model.generate(IDS, max_new_tokens=6)[0].tolist()) not in seen


# Inputs ----------------------------------------------------------------------------------------------------


def test_the_mask_is_inferred_from_padding(model) -> None:
    wanted = model.generate(IDS, attention_mask=MASK, max_new_tokens=6)
    assert torch.equal(model.generate(IDS, max_new_tokens=6), wanted)
    assert torch.equal(model.generate(input_ids=IDS, attention_mask=MASK.bool(), max_new_tokens=6), wanted)
    assert torch.equal(model.generate(IDS.int(), max_new_tokens=6), wanted)
    # where padding ends sequences, too, nothing can be inferred
    everything = model.generate(IDS, attention_mask=torch.ones_like(MASK), max_new_tokens=6)
    assert torch.equal(model.generate(IDS, max_new_tokens=6, eos_token_id=PAD), everything)
    assert not torch.equal(everything, wanted)


def test_masked_tokens_within_a_prompt_count_as_absent(model) -> None:
    ids, mask = torch.tensor([[0, 7, 8, 42, 9]]), torch.tensor([[1, 0, 0, 1, 1]])
    wanted = model.generate(torch.tensor([[0, 42, 9]]), max_new_tokens=6)[0, 3:]
    assert torch.equal(model.generate(ids, attention_mask=mask, max_new_tokens=6)[0, 5:], wanted)


def test_padding_on_the_right_is_refused(model) -> None:
    ids = torch.tensor([[0, 5, 6], [0, 5, PAD]])
    for options in ({}, {"attention_mask": ids.ne(PAD)}, {"attention_mask": torch.ones_like(ids)}):
        with pytest.raises(InputError, match="prompt 1 ends in padding; expected padding on the left"):
            model.generate(ids, max_new_tokens=3, **options)
    with pytest.raises(InputError, match="prompt 0 ends in padding"):
        model.generate(torch.tensor([[0, 5]]), attention_mask=torch.tensor([[1, 0]]), max_new_tokens=3)


def test_rows_start_with_the_first_token_without_a_prompt(model) -> None:
    wanted = model.generate(torch.tensor([[0]]), max_new_tokens=5)
    assert torch.equal(model.generate(max_new_tokens=5), wanted)
    other = model.generate(max_new_tokens=5, bos_token_id=9)
    assert torch.equal(other, model.generate(torch.tensor([[9]]), max_new_tokens=5))
    rows = model.generate(max_new_tokens=5, num_return_sequences=3, num_beams=4)
    assert rows.shape[0] == 3
    with pytest.raises(ArgumentError, match="no prompt and bos_token_id=None"):
        model.generate(max_new_tokens=5, bos_token_id=None)


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("beams", [1, 2])
def test_embeddings_in_place_of_ids(model, use_cache, beams) -> None:
    embeds = model.get_input_embeddings()(IDS)
    options = {"max_new_tokens": 6, "use_cache": use_cache, "num_beams": beams}
    wanted = model.generate(IDS, attention_mask=MASK, **options)[:, IDS.shape[1] :]
    assert torch.equal(model.generate(inputs_embeds=embeds, attention_mask=MASK, **options), wanted)
    assert model.generate(inputs_embeds=embeds, attention_mask=MASK, max_length=9).shape == (3, 3)


def test_positions_and_types_of_the_prompt_go_on(model) -> None:
    ids = torch.tensor([[0, 7, 42]])
    shifted, types = torch.tensor([[5, 6, 7]]), torch.tensor([[0, 1, 1]])
    for options in ({"use_cache": True}, {"use_cache": False}, {"num_beams": 2}):
        row = model.generate(ids, position_ids=shifted, token_type_ids=types, max_new_tokens=6, **options)
        if options.get("num_beams"):
            continue
        written = ids
        for step in range(row.shape[1] - 3):
            more = torch.arange(8, 8 + step)[None]
            logits = model(
                written,
                position_ids=torch.cat([shifted, more], 1),
                token_type_ids=torch.cat([types, torch.ones_like(more)], 1),
            ).logits
            written = torch.cat([written, logits[:, -1].argmax(-1)[:, None]], 1)
        assert torch.equal(row, written)
        assert not torch.equal(row, model.generate(ids, max_new_tokens=6, **options))
    for beams in (1, 2):  # one row of positions for all prompts
        two = model.generate(ids.expand(2, -1), position_ids=shifted, max_new_tokens=6, num_beams=beams)
        one = model.generate(ids, position_ids=shifted, max_new_tokens=6, num_beams=beams)
        assert torch.equal(two, one.expand(2, -1))


def test_a_head_mask_takes_effect_at_every_step(model) -> None:
    mask = torch.tensor([1.0, 0.0, 1.0, 0.0], dtype=torch.float64)
    row = model.generate(IDS[:1], head_mask=mask, max_new_tokens=6, num_beams=1)
    written = IDS[:1]
    for _ in range(6):
        best = model(written, head_mask=mask).logits[:, -1].argmax(-1)
        written = torch.cat([written, best[:, None]], 1)
    assert torch.equal(row, written[:, : row.shape[1]])
    assert not torch.equal(row, model.generate(IDS[:1], max_new_tokens=6))


@pytest.mark.parametrize("form", ["tuples", "object", "foreign"])
@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"use_cache": False}], ids=str)
def test_a_cache_of_the_first_tokens(model, form, options) -> None:
    wanted = model.generate(IDS, attention_mask=MASK, max_new_tokens=6, **options)
    first = model(
        IDS[:, :4], attention_mask=MASK[:, :4], position_ids=_positions(MASK[:, :4]), use_cache=True
    )
    tuples = DynamicCache.from_legacy_cache(first.past_key_values).to_legacy_cache()

    class Foreign:
        def to_legacy_cache(self):
            return tuples

    past = {"tuples": tuples, "object": DynamicCache.from_legacy_cache(tuples), "foreign": Foreign()}[form]
    got = model.generate(IDS, attention_mask=MASK, past_key_values=past, max_new_tokens=6, **options)
    assert torch.equal(got, wanted)
    assert tuples[0][0].shape[2] == 4
    if form == "object":  # the caller's own goes on with its rows, and only with them
        grown = past.get_seq_length()
        assert grown == (wanted.shape[1] - 1 if not options else 4)
    with pytest.raises(ArgumentError, match="past_key_values of 4 tokens and prompts of 4"):
        model.generate(IDS[:, 2:], past_key_values=tuples, max_new_tokens=2)


def _positions(mask: torch.Tensor) -> torch.Tensor:
    return mask.cumsum(-1) * mask + PAD


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"inputs": IDS, "input_ids": IDS}, ArgumentError, "inputs and input_ids"),
        ({"input_ids": IDS, "inputs_embeds": torch.zeros(3, 6, 24)}, ArgumentError, "input_ids and inputs_embeds"),
        ({"inputs": [[0, 5]]}, InputError, "input_ids of type list"),
        ({"inputs": IDS[0]}, BadShape, "input_ids of shape"),
        ({"inputs": IDS[:, :0]}, BadShape, "without a prompt, leave them out"),
        ({"inputs": IDS.double()}, InputError, "dtype"),
        ({"inputs": IDS, "attention_mask": MASK[:, 1:]}, BadShape, "attention_mask"),
        ({"inputs": IDS, "attention_mask": MASK[:, None].expand(3, 6, 6)}, BadShape, "attention_mask"),
        ({"inputs": IDS, "attention_mask": MASK * 2}, InputError, "attention_mask"),
        ({"inputs": IDS, "position_ids": MASK[:2]}, BadShape, "position_ids"),
        ({"inputs": IDS, "token_type_ids": MASK[:, 1:]}, BadShape, "token_type_ids"),
        ({"inputs": IDS, "token_type_ids": MASK + 1}, InputError, "token_type_ids"),
        ({"inputs": IDS + 20}, InputError, "input_ids"),
        ({"inputs": IDS, "labels": IDS}, ArgumentError, "labels"),
        ({"inputs": IDS, "past_key_values": 3}, ArgumentError, "past_key_values of type int"),
        ({"inputs": IDS, "atention_mask": MASK}, ArgumentError, "attention_mask"),
        ({"inputs": IDS, "eos_token_id": 61}, InputError, "eos_token_id with id 61"),
        ({"inputs": IDS, "generation_config": {"num_beams": 2}}, ArgumentError, "generation_config of type dict"),
    ],
)  # fmt: skip
def test_what_does_not_fit_raises(model, given, error, told) -> None:
    with pytest.raises(error, match=told):
        model.generate(max_new_tokens=2, **given)


@pytest.mark.parametrize(
    "argument",
    [{"synced_gpus": True}, {"assistant_model": "x"}, {"negative_prompt_ids": IDS},
     {"negative_prompt_attention_mask": MASK}, {"custom_generate": "a/repository"}, {"trust_remote_code": True},
     {"assistant_tokenizer": "x"}, {"num_beam_groups": 2, "num_beams": 2}, {"penalty_alpha": 0.6},
     {"constraints": [1]}, {"force_words_ids": [[5]]}, {"guidance_scale": 2.0}, {"prompt_lookup_num_tokens": 2},
     {"dola_layers": "low"}, {"cache_implementation": "static"}, {"token_healing": True}],
    ids=lambda argument: next(iter(argument)),
)  # fmt: skip
def test_a_documented_argument_that_is_not_supported_is_named(model, argument) -> None:
    with pytest.raises(ArgumentError, match=next(iter(argument))):
        model.generate(IDS, max_new_tokens=2, **argument)
    model.generate(IDS, max_new_tokens=2, **dict.fromkeys(
        [name for name in argument if name not in GenerationConfig.defaults]
    ))  # fmt: skip


# Length and stopping ---------------------------------------------------------------------------------------


@pytest.fixture
def calls(model):
    """The shapes of ids that each call of the model is given."""
    shapes = []
    handle = model.register_forward_pre_hook(
        lambda _, args, kwargs: shapes.append(tuple(kwargs["input_ids"].shape)), with_kwargs=True
    )
    yield shapes
    handle.remove()


def test_each_step_computes_one_token_and_each_prompt_is_computed_once(model, calls) -> None:
    model.generate(IDS, max_new_tokens=3, min_new_tokens=3, num_beams=4)
    assert calls == [(3, 6), (12, 1), (12, 1)]
    calls.clear()
    model.generate(
        IDS, max_new_tokens=3, min_new_tokens=3, do_sample=True, num_return_sequences=2, use_cache=False
    )
    assert calls == [(3, 6), (6, 7), (6, 8)]


def test_what_cannot_fit_raises_before_anything_runs(model, calls) -> None:
    """40 rows of the table, counted from 2: 38 tokens, and one more that is not fed again."""
    assert model.generate(IDS, max_new_tokens=33, min_new_tokens=33).shape == (3, 39)
    calls.clear()
    with pytest.raises(TooLong, match="max_new_tokens=34 behind a prompt of 6 tokens; expected at most 33"):
        model.generate(IDS, max_new_tokens=34)
    with pytest.raises(TooLong, match="at most 32"):
        model.generate(IDS, position_ids=torch.arange(3, 9)[None], max_new_tokens=33)
    with pytest.raises(TooLong, match="prompt of 39 tokens; expected at most 0"):
        model.generate(torch.full((1, 39), 5))
    assert not calls
    assert model.generate(torch.full((1, 36), 5), min_new_tokens=3).shape == (1, 39)
    wide, _ = left_padded(PROMPTS, extra=40)  # padding takes no position
    assert model.generate(wide, max_new_tokens=33, min_new_tokens=33).shape == (3, 79)


def test_lengths(model) -> None:
    quiet = {"eos_token_id": None}
    assert model.generate(IDS, **quiet).shape == (3, 26)  # 20 new tokens
    assert model.generate(IDS, max_length=9, **quiet).shape == (3, 9)
    assert model.generate(IDS, max_new_tokens=2, max_length=30, **quiet).shape == (3, 8)
    assert model.generate(IDS, GenerationConfig(max_length=20), **quiet).shape == (3, 20)
    with pytest.raises(ConfigError, match="max_length=6 and prompts of 6"):
        model.generate(IDS, max_length=6)


@pytest.mark.parametrize("options", [{}, {"num_beams": 3}, {"do_sample": True, "top_k": 0}], ids=str)
def test_sequences_end_with_their_end_tokens_and_not_too_early(model, options) -> None:
    torch.manual_seed(0)
    ends = list(range(2, 40))
    rows = model.generate(IDS, max_new_tokens=20, min_new_tokens=4, eos_token_id=ends, **options)[
        :, 6:
    ].tolist()
    for row in rows:
        end = next(index for index, token in enumerate(row) if token in ends)
        assert end >= 4
        assert set(row[end + 1 :]) <= {PAD}
    rows = model.generate(IDS, max_new_tokens=20, min_length=8, eos_token_id=ends, **options)
    assert not set(rows[:, 6:8].flatten().tolist()) & set(ends)
    filled = model.generate(
        IDS, max_new_tokens=20, min_new_tokens=4, eos_token_id=ends, pad_token_id=50, **options
    )
    if not options:
        wanted = [row + [PAD] * (filled.shape[1] - 6 - len(row)) for row in filled[:, 6:].tolist()]
        assert [[50 if t == PAD else t for t in row] for row in wanted] == filled[:, 6:].tolist()
        assert 50 in filled[:, 6:]


def test_padding_defaults_to_what_ends(model) -> None:
    ends = list(range(3, 40))
    row = model.generate(IDS, max_new_tokens=20, eos_token_id=ends, pad_token_id=None)[:, 6:]
    assert {tokens[-1] for tokens in row.tolist()} <= set(ends)


def test_criteria_of_the_callers_own(model) -> None:
    seen = []

    def two_rows(ids, scores):
        seen.append((tuple(ids.shape), scores))
        return torch.tensor([True, False, ids.shape[1] >= 9])

    rows = model.generate(IDS, max_new_tokens=5, min_new_tokens=5, stopping_criteria=[two_rows])
    assert rows[0, 7:].tolist() == [PAD] * 4  # a row that has ended is filled, whatever ended it
    assert rows[2, 9:].tolist() == [PAD] * 2
    assert rows[1, 6:].ne(PAD).all()
    assert seen[0] == ((3, 7), None)
    whole = model.generate(IDS, max_new_tokens=5, min_new_tokens=5)
    assert model.generate(
        IDS, max_new_tokens=5, stopping_criteria=lambda ids, scores: ids.shape[1] >= 8
    ).shape == (3, 8)
    assert torch.equal(rows[1], whole[1])
    model.generate(
        IDS, max_new_tokens=2, stopping_criteria=lambda ids, scores: bool(seen.append(len(scores))),
        return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    assert seen[-2:] == [1, 2]
    beams = model.generate(
        IDS, num_beams=2, max_new_tokens=9, stopping_criteria=lambda ids, scores: ids.shape[1] >= 8
    )
    assert beams.shape == (3, 8)
    with pytest.raises(BadShape, match=r"\(2,\) from function"):
        model.generate(
            IDS, max_new_tokens=2, stopping_criteria=lambda ids, scores: torch.tensor([True, False])
        )


def test_time_and_texts_end_sequences(model) -> None:
    class Letters:
        def decode(self, token_ids, **kwargs):
            return "".join(chr(60 + token) for token in token_ids)

    whole = model.generate(IDS[:1], max_new_tokens=9, min_new_tokens=9)[0].tolist()
    text = Letters().decode(whole)
    for stop in (text[8:10], [text[8:10], "nowhere"], text[5:8]):
        row = model.generate(
            IDS[:1], max_new_tokens=9, min_new_tokens=9, stop_strings=stop, tokenizer=Letters()
        )
        end = 8 if stop == text[5:8] else 10
        assert len(row[0]) <= end
        assert Letters().decode(row[0].tolist()).endswith(stop if isinstance(stop, str) else stop[0])
    # what the prompt says ends nothing
    row = model.generate(
        IDS[:1], max_new_tokens=9, min_new_tokens=9, stop_strings=text[1:5], tokenizer=Letters()
    )
    assert row[0].tolist() == whole
    with pytest.raises(ArgumentError, match=r"stop_strings=.*tokenizer"):
        model.generate(IDS, stop_strings="x", max_new_tokens=3)

    def slow(ids, scores):
        time.sleep(0.02)
        return scores

    row = model.generate(IDS, max_new_tokens=30, max_time=0.01, logits_processor=[slow], min_new_tokens=30)
    assert row.shape == (3, 7)


# Rules of scores -------------------------------------------------------------------------------------------


def test_rules_take_effect(model) -> None:
    options = {"max_new_tokens": 12, "min_new_tokens": 12}
    plain = model.generate(IDS, **options)
    once = model.generate(IDS, no_repeat_ngram_size=1, **options)
    for row, mask in zip(once, MASK, strict=True):
        tokens = row[6 - int(mask.sum()) :].tolist()
        assert len(set(tokens)) == len(tokens)
    assert not torch.equal(plain, once)
    word, pair = plain[0, 6].item(), plain[0, 7:9].tolist()
    for options_ in ({"bad_words_ids": [[word], pair]}, {"suppress_tokens": [word]}):
        for beams in (1, 3):
            assert word not in model.generate(IDS, num_beams=beams, **options, **options_)[:, 6:]
    first = model.generate(IDS, begin_suppress_tokens=[word], **options)
    assert first[0, 6] != word
    biased = model.generate(IDS, sequence_bias={(word,): 1e4}, **options)
    assert (biased[:, 6:] == word).all()
    listed = model.generate(IDS, sequence_bias=[[[word], 1e4]], **options)
    assert torch.equal(listed, biased)
    assert (model.generate(IDS, forced_eos_token_id=[7], **options)[:, -1] == 7).all()
    assert model.generate(forced_bos_token_id=33, max_new_tokens=4)[0, 1] == 33
    prompt_only = model.generate(IDS, encoder_no_repeat_ngram_size=1, **options)
    for row, prompt in zip(prompt_only, PROMPTS, strict=True):
        assert not set(row[6:].tolist()) & set(prompt)
    copied = model.generate(IDS, encoder_repetition_penalty=1e6, **options)
    assert not torch.equal(copied, plain)


def test_penalty_of_repetition_by_its_definition(model) -> None:
    out = model.generate(
        IDS,
        max_new_tokens=3,
        repetition_penalty=1.5,
        return_dict_in_generate=True,
        output_scores=True,
        output_logits=True,
    )
    for step, (scores, logits) in enumerate(zip(out.scores, out.logits, strict=True)):
        for row in range(3):
            seen = set(out.sequences[row, : 6 + step].tolist()) - {PAD}
            for token in range(61):
                value = logits[row, token].item()
                wanted = value if token not in seen else value * 1.5 if value < 0 else value / 1.5
                assert scores[row, token].item() == pytest.approx(wanted)


def test_the_prompts_tokens_may_grow_more_likely_and_new_ones_do_not(model) -> None:
    out = model.generate(
        IDS, max_new_tokens=4, encoder_repetition_penalty=1.5, num_beams=2, return_dict_in_generate=True,
        output_scores=True, output_logits=True,
    )  # fmt: skip
    for scores, logits in zip(out.scores, out.logits, strict=True):
        logs = logits.log_softmax(-1)
        for row in range(6):
            wanted = logs[row].clone()
            wanted[PROMPTS[row // 2]] /= 1.5  # logarithms of probabilities are negative
            torch.testing.assert_close(scores[row], wanted)


def test_padding_that_is_written_is_a_written_token(model) -> None:
    """It takes no position and is seen, as in a plain forward; rules look at it, as at any other."""
    often = {"sequence_bias": {(PAD,): 1e3}, "max_new_tokens": 6, "min_new_tokens": 6}
    row = model.generate(IDS, no_repeat_ngram_size=1, **often)
    assert row[:, 6:].eq(PAD).sum(1).tolist() == [1, 1, 1]
    assert torch.equal(model.generate(IDS, no_repeat_ngram_size=1, use_cache=False, **often), row)
    for written, prompt in zip(row, PROMPTS, strict=True):
        logits = model(written[None, 6 - len(prompt) : -1]).logits[0, -1]
        free = logits.index_fill(0, written[6 - len(prompt) : -1], -math.inf)
        free[EOS] = -math.inf
        assert free.argmax() == written[-1]


def test_ending_grows_more_likely_with_length(model) -> None:
    plain = model.generate(IDS, max_new_tokens=30, eos_token_id=60)
    urged = model.generate(IDS, max_new_tokens=30, eos_token_id=60, exponential_decay_length_penalty=(2, 3.0))
    assert urged.shape[1] < plain.shape[1]
    assert (urged == 60).any(1).all()


def test_processors_of_the_callers_own(model) -> None:
    shapes = []

    def only_seven(ids, scores):
        shapes.append((tuple(ids.shape), tuple(scores.shape)))
        return scores.index_fill(1, torch.tensor([7]), 1e9)

    assert (model.generate(IDS, max_new_tokens=3, logits_processor=[only_seven])[:, 6:] == 7).all()
    assert shapes == [((3, 6 + step), (3, 61)) for step in range(3)]
    assert (
        model.generate(IDS, max_new_tokens=3, num_beams=2, logits_processor=[only_seven])[:, 6:] == 7
    ).all()
    with pytest.raises(BadShape, match="from function"):
        model.generate(IDS, max_new_tokens=3, logits_processor=[lambda ids, scores: scores[:, 1:]])


@pytest.mark.parametrize(
    "options",
    [{}, {"num_beams": 3, "num_return_sequences": 2}, {"do_sample": True, "num_return_sequences": 2}],
    ids=str,
)
def test_only_allowed_tokens_follow(model, options) -> None:
    asked = []

    def allowed(prompt, ids):
        asked.append((prompt, tuple(ids.shape)))
        return [10 + prompt, 20 + prompt]

    rows = model.generate(IDS, max_new_tokens=4, prefix_allowed_tokens_fn=allowed, **options)
    returned = options.get("num_return_sequences", 1)
    for index, row in enumerate(rows):
        assert set(row[6:].tolist()) <= {10 + index // returned, 20 + index // returned}
    assert {prompt for prompt, _ in asked} == {0, 1, 2}
    assert asked[0][1] == (6,)
    with pytest.raises(InputError, match="allows nothing for prompt 0"):
        model.generate(IDS, max_new_tokens=4, prefix_allowed_tokens_fn=lambda prompt, ids: [], **options)


# What is returned ------------------------------------------------------------------------------------------


def test_a_container_with_all_that_was_asked_for(model) -> None:
    out = model.generate(
        IDS, max_new_tokens=4, min_new_tokens=4, return_dict_in_generate=True, output_scores=True, output_logits=True,
        output_attentions=True, output_hidden_states=True, repetition_penalty=1.3,
    )  # fmt: skip
    assert isinstance(out, GenerateDecoderOnlyOutput)
    assert list(out) == ["sequences", "scores", "logits", "attentions", "hidden_states", "past_key_values"]
    assert out[0] is out.sequences
    whole = model(
        out.sequences[:, :-1], attention_mask=torch.cat([MASK, MASK.new_ones(3, 3)], 1), output_hidden_states=True,
        output_attentions=True,
        position_ids=_positions(torch.cat([MASK, MASK.new_ones(3, 3)], 1)),
    )  # fmt: skip
    for step in range(4):
        torch.testing.assert_close(out.logits[step], whole.logits[:, 5 + step])
        torch.testing.assert_close(out.hidden_states[step][-1][:, -1], whole.hidden_states[-1][:, 5 + step])
        torch.testing.assert_close(
            out.attentions[step][1][:, :, -1], whole.attentions[1][:, :, 5 + step, : 6 + step]
        )
        assert not torch.equal(out.scores[step], out.logits[step])
    assert out.attentions[0][0].shape == (3, 4, 6, 6)
    assert isinstance(out.past_key_values, DynamicCache)
    assert out.past_key_values.get_seq_length() == 9
    chosen = model.compute_transition_scores(out.sequences, out.scores, normalize_logits=True)
    for step in range(4):
        logs = out.scores[step].log_softmax(-1)
        torch.testing.assert_close(chosen[:, step], logs.gather(1, out.sequences[:, 6 + step, None])[:, 0])


def test_a_container_of_beams(model) -> None:
    out = model.generate(
        IDS, max_new_tokens=9, num_beams=3, num_return_sequences=2, return_dict_in_generate=True, output_scores=True,
        output_logits=True, output_hidden_states=True, output_attentions=True, length_penalty=0.5,
        eos_token_id=list(range(2, 20)),
    )  # fmt: skip
    assert isinstance(out, GenerateBeamDecoderOnlyOutput)
    assert list(out) == [
        "sequences", "sequences_scores", "scores", "logits", "beam_indices", "attentions", "hidden_states",
        "past_key_values",
    ]  # fmt: skip
    assert {tuple(s.shape) for s in (*out.scores, *out.logits)} == {(9, 61)}
    assert out.hidden_states[0][0].shape == (9, 6, 24)
    assert out.attentions[0][0].shape[0] == 9
    assert out.beam_indices.shape == (6, out.sequences.shape[1] - 6)
    assert out.beam_indices.lt(0).any()  # some ended early
    each = model.compute_transition_scores(out.sequences, out.scores, out.beam_indices)
    lengths = out.beam_indices.ge(0).sum(-1)
    torch.testing.assert_close((each.sum(-1) / lengths**0.5).float(), out.sequences_scores, rtol=0, atol=1e-5)
    for row, count in zip(out.sequences[:, 6:], lengths, strict=True):
        assert row[count:].eq(PAD).all()


def test_only_what_was_asked_for_is_returned(model) -> None:
    out = model.generate(IDS, max_new_tokens=2, return_dict_in_generate=True, use_cache=False)
    assert list(out) == ["sequences"]
    out = model.generate(IDS, max_new_tokens=2, return_dict_in_generate=True, return_legacy_cache=True)
    assert isinstance(out.past_key_values, tuple)
    beams = model.generate(IDS, max_new_tokens=2, return_dict_in_generate=True, num_beams=2)
    assert list(beams) == ["sequences", "past_key_values"]
    with pytest.warns(UserWarning, match="output_scores"):
        assert isinstance(model.generate(IDS, max_new_tokens=2, output_scores=True), torch.Tensor)


def test_renormalized_scores_are_log_probabilities(model) -> None:
    out = model.generate(
        IDS, max_new_tokens=2, num_beams=2, return_dict_in_generate=True, output_scores=True, suppress_tokens=[5, 6, 7],
        renormalize_logits=True,
    )  # fmt: skip
    for scores in out.scores:
        torch.testing.assert_close(scores.exp().sum(-1), torch.ones(6, dtype=torch.float64))
        assert scores[:, 5].eq(-math.inf).all()


def test_scores_are_float32_whatever_the_model_is(models) -> None:
    model = models.build("causal-lm", dtype=torch.bfloat16, is_decoder=True)
    out = model.generate(IDS, max_new_tokens=2, return_dict_in_generate=True, output_scores=True)
    assert out.scores[0].dtype == torch.float32


def test_no_gradient_is_kept(model) -> None:
    embeds = model.get_input_embeddings()(IDS)
    out = model.generate(
        inputs_embeds=embeds, max_new_tokens=2, return_dict_in_generate=True, output_logits=True
    )
    assert embeds.requires_grad
    assert not out.logits[0].requires_grad


def test_a_streamer_is_told_of_each_step(model) -> None:
    class Streamer:
        def __init__(self):
            self.told, self.over = [], 0

        def put(self, value):
            self.told.append(value)

        def end(self):
            self.over += 1

    streamer = Streamer()
    rows = model.generate(IDS, max_new_tokens=5, streamer=streamer)
    assert torch.equal(streamer.told[0], IDS)
    assert torch.equal(torch.stack(streamer.told[1:], 1), rows[:, 6:])
    assert streamer.over == 1
    with pytest.raises(ArgumentError, match="streamer with num_beams=2"):
        model.generate(IDS, max_new_tokens=5, streamer=streamer, num_beams=2)


# The model's own configuration -----------------------------------------------------------------------------


def test_the_models_generation_config(models) -> None:
    model = models.build("causal-lm", is_decoder=True)
    assert model.can_generate()
    assert model.generation_config.given() == {"pad_token_id": 1, "bos_token_id": 0, "eos_token_id": 2}
    first = model.generate(IDS, max_new_tokens=1, min_new_tokens=1)[:, 6].tolist()
    model.config.eos_token_id = first  # the older way
    assert model.generate(IDS, max_new_tokens=5).shape == (3, 7)
    model.config.max_length = 8
    assert model.generate(IDS, eos_token_id=None).shape == (3, 8)
    model.generation_config.max_length = 9
    assert model.generate(IDS, eos_token_id=None).shape == (3, 9)
    assert model.generate(IDS, GenerationConfig(eos_token_id=None)).shape == (3, 9)
    free = model.generate(IDS, GenerationConfig(eos_token_id=None), use_model_defaults=False)
    assert free.shape == (3, 26)
    for twin in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert twin.generation_config == model.generation_config
    model.generation_config = GenerationConfig(max_new_tokens=2, num_beams=2)
    assert model.generate(IDS, eos_token_id=None).shape == (3, 8)

    class Foreign:
        def to_diff_dict(self):
            return {"max_new_tokens": 4, "transformers_version": "4.57.6"}

    model.generation_config = Foreign()
    assert model.generate(IDS, eos_token_id=None).shape == (3, 10)
    assert model.generate(IDS, Foreign(), eos_token_id=None).shape == (3, 10)
    with pytest.raises(ArgumentError, match="generation_config of type int"):
        model.generation_config = 3


def test_what_generate_is_asked_for_travels_with_the_checkpoint(models, tmp_path) -> None:
    model = models.build("causal-lm", is_decoder=True)
    model.save_pretrained(tmp_path)
    read = type(model).from_pretrained(tmp_path)
    read.config.max_length = 8  # nobody set more than the configuration says, so that it goes on counting
    assert read.generate(IDS, eos_token_id=None).shape == (3, 8)
    model.generation_config.max_new_tokens = 4
    model.generation_config.eos_token_id = None
    model.save_pretrained(tmp_path)
    read = type(model).from_pretrained(tmp_path)
    assert torch.equal(read.generate(IDS), model.generate(IDS))
    assert read.generate(IDS).shape == (3, 10)
    assert read.generation_config.to_diff_dict() == model.generation_config.to_diff_dict()
    read.generation_config = GenerationConfig(max_new_tokens=3)
    read.save_pretrained(tmp_path)
    assert type(model).from_pretrained(tmp_path).generation_config == GenerationConfig(max_new_tokens=3)
    (tmp_path / "generation_config.json").write_text('{"num_beams": 0}')
    with pytest.raises(ConfigError, match="num_beams"):
        type(model).from_pretrained(tmp_path)


def test_a_subclass_says_what_a_step_is_fed(model) -> None:
    """`prepare_inputs_for_generation` is asked at each step, on the instance: adapters replace it there."""
    seen = []
    plain = model.prepare_inputs_for_generation

    def prepare(ids, **kwargs):
        seen.append(sorted(kwargs))
        return plain(ids, **kwargs)

    model.prepare_inputs_for_generation = prepare
    try:
        model.generate(IDS, max_new_tokens=3, min_new_tokens=3)
    finally:
        del model.prepare_inputs_for_generation
    assert seen == [["attention_mask", "logits_to_keep", "past_key_values", "use_cache"]] * 3


def test_a_step_by_hand(model) -> None:
    step = model.prepare_inputs_for_generation(IDS, attention_mask=MASK)
    assert torch.equal(step["position_ids"], _positions(MASK))
    past = model(**step, use_cache=True).past_key_values
    longer = torch.cat([IDS, IDS[:, -1:]], 1)
    step = model.prepare_inputs_for_generation(
        longer, past_key_values=past, attention_mask=longer.ne(PAD).long()
    )
    assert step["input_ids"].tolist() == IDS[:, -1:].tolist()
    assert step["position_ids"].flatten().tolist() == [8, 5, 7]
    with pytest.raises(ArgumentError, match="past_key_values of 6 tokens for 6"):
        model.prepare_inputs_for_generation(IDS, past_key_values=past)
    order = torch.tensor([2, 0, 0])
    for cache in (DynamicCache.from_legacy_cache(past), tuple(past)):
        moved = model._reorder_cache(cache, order)
        assert torch.equal(tuple(moved)[1][0], tuple(past)[1][0][order])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_an_accelerator_writes_the_same(models) -> None:
    model = models.build("causal-lm", dtype=torch.float64, is_decoder=True)
    calls = [
        {}, {"num_beams": 3, "num_return_sequences": 2}, {"use_cache": False, "repetition_penalty": 1.4},
        {"no_repeat_ngram_size": 2, "bad_words_ids": [[5], [6, 7]], "min_new_tokens": 3, "sequence_bias": {(9,): 1.0}},
    ]  # fmt: skip
    wanted = [model.generate(IDS, max_new_tokens=10, **options) for options in calls]
    model.to("cuda")
    for options, rows in zip(calls, wanted, strict=True):
        assert torch.equal(model.generate(IDS.to("cuda"), max_new_tokens=10, **options).cpu(), rows)
    draws = [
        model.generate(
            IDS.to("cuda"),
            max_new_tokens=5,
            do_sample=True,
            num_beams=beams,
            generator=torch.Generator("cuda").manual_seed(0),
        )
        for beams in (1, 1, 3)
    ]
    assert torch.equal(draws[0], draws[1])
