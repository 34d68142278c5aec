"""The search that TensorFlow and JAX share, over the NumPy specification and over a table of known probabilities."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import robertakit.numpy as family
from robertakit.configuration import AutoConfig, RobertaConfig
from robertakit.errors import ArgumentError, BadShape, ConfigError, InputError, TooLong
from robertakit.generation import GenerateBeamDecoderOnlyOutput, GenerateDecoderOnlyOutput, GenerationConfig
from robertakit.generation.decoding import Told
from robertakit.generation.defaults import Defaults

PAD, EOS = 1, 2
PROMPTS = [[0, 42, 44, 5, 46, 43], [0, 39, 45], [0, 17, 31, 12, 9]]


def left_padded(rows, extra=0):
    columns = max(map(len, rows)) + extra
    return np.array([[PAD] * (columns - len(row)) + row for row in rows])


IDS = left_padded(PROMPTS)
MASK = (IDS != PAD).astype(np.int64)


@pytest.fixture(scope="module")
def build(specified):
    return specified.build


@pytest.fixture(scope="module")
def model(build):
    return build()


@pytest.fixture(scope="module")
def generate(specified):
    return specified.generate


WAYS = {
    "greedy": {},
    "no cache": {"use_cache": False},
    "beams": {"num_beams": 3, "num_return_sequences": 2},
    "beams without cache": {"num_beams": 3, "num_return_sequences": 2, "use_cache": False},
    "length penalty": {"num_beams": 2, "length_penalty": 2.0, "early_stopping": True},
    "patient beams": {"num_beams": 4, "early_stopping": "never"},
    "penalty": {"repetition_penalty": 1.7},
    "prompt's penalty": {"encoder_repetition_penalty": 1.7},
    "n-grams": {"no_repeat_ngram_size": 2},
    "n-grams of the prompt": {"encoder_no_repeat_ngram_size": 1},
    "one token once": {"no_repeat_ngram_size": 1, "num_beams": 2},
    "bad words": {"bad_words_ids": [[42], [5, 46]], "num_beams": 2},
    "bias": {"sequence_bias": {(5,): 3.0, (9, 9): -9.0}},
    "suppressed": {"suppress_tokens": [42, 43], "begin_suppress_tokens": [5]},
    "least": {"min_new_tokens": 8, "eos_token_id": [2, 40, 41, 42, 43, 44, 45, 46, 47]},
    "forced end": {"forced_eos_token_id": 7, "min_new_tokens": 11},
    "urge": {"exponential_decay_length_penalty": (2, 1.5)},
    "renormalised": {"renormalize_logits": True, "num_beams": 2},
}


@pytest.mark.parametrize("way", WAYS)
def test_a_padded_row_gets_what_it_gets_alone(model, generate, way) -> None:
    options = {"max_new_tokens": 12} | WAYS[way]
    batch = generate(model, IDS, attention_mask=MASK, **options)
    returned = options.get("num_return_sequences", 1)
    for index, prompt in enumerate(PROMPTS):
        alone = generate(model, [prompt], **options)
        for row, wanted in zip(batch[index * returned : (index + 1) * returned], alone, strict=True):
            new, old = row[IDS.shape[1] :].tolist(), wanted[len(prompt) :].tolist()
            longest = max(len(new), len(old))
            assert new + [PAD] * (longest - len(new)) == old + [PAD] * (longest - len(old))
    assert (generate(model, left_padded(PROMPTS, extra=5), **options)[:, 5:] == batch).all()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("seed", [5, 6])
def test_the_same_ids_as_in_pytorch(specified, generate, way, seed) -> None:
    torch = pytest.importorskip("torch")
    from robertakit.torch import RobertaForCausalLM

    ours = specified.build(seed=seed)
    theirs = RobertaForCausalLM(ours.config).eval()
    named = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, value in specified.wide_weights(ours.config, seed).items():
            named[name].copy_(torch.from_numpy(value))
    options = {"max_new_tokens": 12, "return_dict_in_generate": True, "output_scores": True} | WAYS[way]
    found = generate(ours, IDS, **options)
    wanted = theirs.double().generate(torch.from_numpy(IDS), **options)
    assert found.sequences.tolist() == wanted.sequences.tolist()
    assert found.keys() == wanted.keys()
    for step, like in zip(found.scores, wanted.scores, strict=True):
        np.testing.assert_allclose(step, like.numpy(), rtol=1e-9, atol=1e-9)
    if "beam_indices" in found:
        assert found.beam_indices.tolist() == wanted.beam_indices.tolist()
        np.testing.assert_allclose(found.sequences_scores, wanted.sequences_scores.numpy(), rtol=1e-6)


@pytest.mark.parametrize(
    "name",
    [*("gen_" + name for name in (
        "beam3", "beam3_left", "beam3_length_penalty", "beam3_return3", "greedy", "greedy_left",
        "greedy_left_no_cache", "greedy_max_length", "greedy_no_cache", "greedy_no_mask")), "xlmr_gen_greedy"],
)  # fmt: skip
def test_a_recorded_case_is_reproduced(name, replay, golden, generate) -> None:
    case = replay.golden_cases(golden / "roberta")[name]

    def make(kind, config, weights, constructor, dtype):
        config = type(AutoConfig.for_model(config["model_type"])).from_dict(config)
        return getattr(family, kind)(config, weights=weights, dtype=dtype, **constructor)

    def written(model, step, argument, results):
        given = {name: argument(value) for name, value in step["kwargs"].items()}
        return {f"{step['id']}.sequences": generate(model, **given)}

    replay.replay(case, make, operations={"generate": written})


def test_greedy_search_is_what_a_plain_forward_says(model, generate) -> None:
    """Each token is the best one behind the row so far, computed anew, without padding, mask, positions or cache."""
    batch = generate(model, IDS, max_new_tokens=10)
    for row, prompt in zip(batch, PROMPTS, strict=True):
        written = list(prompt)
        while len(written) < len(prompt) + 10 and (written == prompt or written[-1] != EOS):
            written.append(int(model([written]).logits[0, -1].argmax()))
        assert row[IDS.shape[1] - len(prompt) :].tolist()[: len(written)] == written


@pytest.mark.parametrize(
    "fields",
    [{"position_embedding_type": "relative_key"}, {"position_embedding_type": "relative_key_query"},
     {"is_decoder": False}, {"pad_token_id": 0, "bos_token_id": 3}, {"type_vocab_size": 1}],
    ids=str,
)  # fmt: skip
@pytest.mark.parametrize("beams", [1, 3])
def test_other_configurations(build, generate, fields, beams) -> None:
    model = build("XLMRoberta", **fields)
    pad = model.config.pad_token_id
    rows = [[5, 42, 44, 5, 46, 43], [6, 39, 45], [7, 17, 31, 12, 9]]
    ids = np.array([[pad] * (6 - len(row)) + row for row in rows])
    options = {"max_new_tokens": 8, "num_beams": beams}
    batch = generate(model, ids, **options)
    assert (generate(model, ids, use_cache=False, **options) == batch).all()
    for row, prompt in zip(batch, rows, strict=True):
        single = generate(model, [prompt], **options)[0, len(prompt) :].tolist()
        assert row[6:].tolist()[: len(single)] == single


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("beams", [1, 2])
def test_behind_an_encoder(build, generate, use_cache, beams) -> None:
    model = build(add_cross_attention=True)
    states = np.random.default_rng(0).standard_normal((3, 4, 24))
    keep = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [1, 1, 1, 0]])
    options = {"max_new_tokens": 6, "num_beams": beams, "use_cache": use_cache}
    seen = {"encoder_hidden_states": states, "encoder_attention_mask": keep}
    batch = generate(model, IDS, **seen, **options)
    for index, prompt in enumerate(PROMPTS):
        own = states[index : index + 1, : keep[index].sum()]
        alone = generate(model, [prompt], encoder_hidden_states=own, **options)[0, len(prompt) :].tolist()
        assert batch[index, 6:].tolist()[: len(alone)] == alone
    assert generate(model, **seen, **options)[:, 0].tolist() == [0, 0, 0]
    assert batch.tolist() != generate(model, IDS, **options).tolist()


# Inputs ----------------------------------------------------------------------------------------------------


def test_the_mask_is_inferred_from_padding(model, generate) -> None:
    wanted = generate(model, IDS, attention_mask=MASK, max_new_tokens=6).tolist()
    assert generate(model, IDS, max_new_tokens=6).tolist() == wanted
    assert generate(model, input_ids=IDS, attention_mask=MASK != 0, max_new_tokens=6).tolist() == wanted
    # where padding ends sequences, too, nothing can be inferred
    everything = generate(model, IDS, attention_mask=np.ones_like(MASK), max_new_tokens=6).tolist()
    assert generate(model, IDS, max_new_tokens=6, eos_token_id=PAD).tolist() == everything
    assert everything != wanted


@pytest.mark.parametrize("use_cache", [True, False])
@pytest.mark.parametrize("beams", [1, 2])
def test_embeddings_in_place_of_ids(model, generate, use_cache, beams) -> None:
    table = model.weights["roberta.embeddings.word_embeddings.weight"].read(np.float64)
    options = {"max_new_tokens": 6, "use_cache": use_cache, "num_beams": beams}
    wanted = generate(model, IDS, attention_mask=MASK, **options)[:, 6:].tolist()
    assert generate(model, inputs_embeds=table[IDS], attention_mask=MASK, **options).tolist() == wanted
    assert generate(model, inputs_embeds=table[IDS], attention_mask=MASK, max_length=9).shape == (3, 3)


@pytest.mark.parametrize("options", [{}, {"use_cache": False}, {"num_beams": 2}], ids=str)
def test_positions_and_types_of_the_prompt_go_on(model, generate, options) -> None:
    ids = np.array([[0, 7, 42]])
    shifted, types = np.array([[5, 6, 7]]), np.array([[0, 1, 1]])
    row = generate(model, ids, position_ids=shifted, token_type_ids=types, max_new_tokens=6, **options)
    two = generate(
        model, ids.repeat(2, 0), position_ids=shifted, token_type_ids=types, max_new_tokens=6, **options
    )
    assert two.tolist() == row.tolist() * 2
    assert row.tolist() != generate(model, ids, max_new_tokens=6, **options).tolist()
    if "num_beams" in options:
        return
    written = ids
    for step in range(row.shape[1] - 3):
        more = np.arange(8, 8 + step)[None]
        logits = model(
            written,
            position_ids=np.concatenate([shifted, more], 1),
            token_type_ids=np.concatenate([types, np.ones_like(more)], 1),
        ).logits
        written = np.concatenate([written, logits[:, -1].argmax(-1)[:, None]], 1)
    assert row.tolist() == written.tolist()


def test_a_head_mask_takes_effect_at_every_step(model, generate) -> None:
    mask = np.array([1.0, 0.0, 1.0, 0.0])
    row = generate(model, IDS[:1], head_mask=mask, max_new_tokens=6)
    written = IDS[:1]
    for _ in range(row.shape[1] - 6):
        written = np.concatenate(
            [written, model(written, head_mask=mask).logits[:, -1].argmax(-1)[:, None]], 1
        )
    assert row.tolist() == written.tolist()
    assert row.tolist() != generate(model, IDS[:1], max_new_tokens=6).tolist()


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"inputs": IDS, "input_ids": IDS}, ArgumentError, "inputs and input_ids"),
        ({"input_ids": IDS, "inputs_embeds": np.zeros((3, 6, 24))}, ArgumentError, "input_ids and inputs_embeds"),
        ({"inputs": [[0, 5], [0]]}, BadShape, "rows of unequal length"),
        ({"inputs": IDS[0]}, BadShape, "input_ids of shape"),
        ({"inputs": IDS[:, :0]}, BadShape, "without a prompt, leave them out"),
        ({"inputs": IDS.astype(float)}, InputError, "input_ids of dtype float64"),
        ({"inputs": [["a", "b"]]}, InputError, "input_ids of type"),
        ({"inputs": IDS, "attention_mask": MASK[:, 1:]}, BadShape, "attention_mask"),
        ({"inputs": IDS, "attention_mask": MASK[:, None].repeat(6, 1)}, BadShape, "attention_mask"),
        ({"inputs": IDS, "attention_mask": MASK * 2}, InputError, "attention_mask with 2"),
        ({"inputs": IDS, "position_ids": MASK[:2]}, BadShape, "position_ids"),
        ({"inputs": IDS, "token_type_ids": MASK[:, 1:]}, BadShape, "token_type_ids"),
        ({"inputs": IDS, "token_type_ids": MASK + 1}, InputError, "token_type_ids 2"),
        ({"inputs": IDS + 20}, InputError, "input_ids 66"),
        ({"inputs": IDS, "head_mask": np.ones((2, 1, 4, 1, 1))}, BadShape, "head_mask of shape"),
        ({"inputs": IDS, "encoder_hidden_states": np.zeros((3, 4, 24))}, InputError, "add_cross_attention"),
        ({"inputs": IDS, "labels": IDS}, ArgumentError, "labels"),
        ({"inputs": IDS, "atention_mask": MASK}, ArgumentError, "attention_mask"),
        ({"inputs": IDS, "eos_token_id": 61}, InputError, "eos_token_id with id 61"),
        ({"inputs": IDS, "generation_config": {"num_beams": 2}}, ArgumentError, "generation_config of type dict"),
        ({"inputs": IDS, "stop_strings": "x"}, ArgumentError, "stop_strings"),
        ({"inputs": IDS, "num_return_sequences": 2}, ConfigError, "num_return_sequences=2"),
        ({"bos_token_id": None}, ArgumentError, "no prompt and bos_token_id=None"),
        ({"inputs": IDS, "streamer": object(), "num_beams": 2}, ArgumentError, "streamer with num_beams=2"),
        ({"inputs": IDS, "assistant_model": "x"}, ArgumentError, "assistant_model"),
        ({"inputs": IDS, "num_beam_groups": 2, "num_beams": 2}, ArgumentError, "num_beam_groups"),
        ({"inputs": IDS, "logits_processor": [lambda ids, scores, columns: scores[:1]]}, BadShape, "<lambda>"),
        ({"inputs": IDS, "stopping_criteria": lambda ids, scores: [True]}, BadShape, "a bool or"),
        ({"inputs": IDS, "prefix_allowed_tokens_fn": lambda row, ids: []}, InputError, "allows nothing for prompt 0"),
    ],
)  # fmt: skip
def test_what_does_not_fit_raises(model, generate, given, error, told) -> None:
    with pytest.raises(error, match=told):
        generate(model, **({"max_new_tokens": 2} | given))


def test_padding_on_the_right_is_refused(model, generate) -> None:
    ids = np.array([[0, 5, 6], [0, 5, PAD]])
    for options in ({}, {"attention_mask": ids != PAD}, {"attention_mask": np.ones_like(ids)}):
        with pytest.raises(InputError, match="prompt 1 ends in padding; expected padding on the left"):
            generate(model, ids, max_new_tokens=3, **options)


# Length, stopping, what is returned ------------------------------------------------------------------------


def test_each_step_computes_one_token_and_each_prompt_is_computed_once(model, generate) -> None:
    shapes = []
    options = {"max_new_tokens": 3, "min_new_tokens": 3, "shapes": shapes}
    generate(model, IDS, num_beams=4, **options)
    assert shapes == [(3, 6), (12, 1), (12, 1)]
    shapes.clear()
    generate(model, IDS, do_sample=True, num_return_sequences=2, use_cache=False, **options)
    assert shapes == [(3, 6), (6, 7), (6, 8)]


def test_what_cannot_fit_raises_before_anything_runs(model, generate) -> None:
    """40 rows of the table, counted from 2: 38 tokens, and one more that is not fed again."""
    shapes = []
    assert generate(model, IDS, max_new_tokens=33, min_new_tokens=33).shape == (3, 39)
    with pytest.raises(TooLong, match="max_new_tokens=34 behind a prompt of 6 tokens; expected at most 33"):
        generate(model, IDS, max_new_tokens=34, shapes=shapes)
    with pytest.raises(TooLong, match="at most 32"):
        generate(model, IDS, position_ids=np.arange(3, 9)[None], max_new_tokens=33, shapes=shapes)
    with pytest.raises(TooLong):
        generate(model, np.full((1, 39), 5), shapes=shapes)
    assert not shapes
    wide = left_padded(PROMPTS, extra=40)  # padding takes no position
    assert generate(model, wide, max_new_tokens=33, min_new_tokens=33).shape == (3, 79)


def test_own_rules_and_criteria(model, generate) -> None:
    seen = []

    def lift(ids, scores, columns):
        seen.append((ids.shape, columns))
        scores[:, 9] += 1000.0
        return scores

    def long_enough(ids, scores):
        return ids.shape[1] >= 9

    rows = generate(model, IDS, logits_processor=[lift], stopping_criteria=long_enough, max_new_tokens=8)
    assert rows[:, 6:].tolist() == [[9] * 3] * 3
    assert seen == [((3, 6), 6), ((3, 7), 7), ((3, 8), 8)]
    allowed = generate(model, IDS, prefix_allowed_tokens_fn=lambda row, ids: [20 + row], max_new_tokens=2)
    assert allowed[:, 6:].tolist() == [[20, 20], [21, 21], [22, 22]]
    one = generate(model, IDS, stopping_criteria=[lambda ids, scores: np.array([1, 0, 0])], max_new_tokens=3)
    assert one[0, 7:].tolist() == [PAD, PAD]


def test_stop_strings_and_streamers(model, generate) -> None:
    class Letters:
        def decode(self, token_ids, **kwargs):
            return "".join(f"<{token}>" for token in token_ids)

    plain = generate(model, IDS[:1], max_new_tokens=6)[0, 6:].tolist()
    told = []

    class Streamer:
        def put(self, value):
            told.append(value.tolist())

        def end(self):
            told.append("end")

    row = generate(
        model,
        IDS[:1],
        max_new_tokens=6,
        stop_strings=f"<{plain[2]}>",
        tokenizer=Letters(),
        streamer=Streamer(),
    )
    assert row[0, 6:].tolist() == plain[: plain.index(plain[2]) + 1]
    assert told == [IDS[:1].tolist(), *([token] for token in row[0, 6:].tolist()), "end"]


def test_the_container(model, generate) -> None:
    options = {
        "max_new_tokens": 3, "min_new_tokens": 3, "return_dict_in_generate": True, "output_scores": True,
        "output_logits": True, "output_attentions": True, "output_hidden_states": True,
    }  # fmt: skip
    out = generate(model, IDS, **options)
    assert isinstance(out, GenerateDecoderOnlyOutput)
    assert [scores.shape for scores in out.scores] == [(3, 61)] * 3
    assert [maps[0].shape for maps in out.attentions] == [(3, 4, 6, 6), (3, 4, 1, 7), (3, 4, 1, 8)]
    assert [states[2].shape for states in out.hidden_states] == [(3, 6, 24), (3, 1, 24), (3, 1, 24)]
    assert out.past_key_values[1][0].shape == (3, 4, 8, 6)
    beams = generate(model, IDS, num_beams=2, **options)
    assert isinstance(beams, GenerateBeamDecoderOnlyOutput)
    assert beams.attentions[0][0].shape == (6, 4, 6, 6)
    assert beams.sequences_scores.shape == (3,)
    # a sequence's score is the mean of what its tokens were chosen by
    for row, (indices, tokens) in enumerate(zip(beams.beam_indices, beams.sequences[:, 6:], strict=True)):
        logs = [beams.scores[step][indices[step], tokens[step]] for step in range(3)]
        assert beams.sequences_scores[row] == pytest.approx(sum(logs) / 3, rel=1e-5)
    assert generate(model, IDS, max_new_tokens=3, return_dict_in_generate=True).scores is None


def test_defaults_of_a_model(model, generate) -> None:
    defaults = Defaults(model.config)
    defaults.value.max_new_tokens = 4
    assert generate(model, IDS, defaults=defaults, min_new_tokens=4).shape == (3, 10)
    assert generate(model, IDS, defaults=defaults, max_new_tokens=2, min_new_tokens=2).shape == (3, 8)
    own = Defaults(model.config, GenerationConfig(max_new_tokens=1))
    assert generate(model, IDS, defaults=own).shape == (3, 7)
    with pytest.raises(ArgumentError, match="generation_config of type int"):
        Defaults(model.config, 3)


# Searches, on a model whose every probability is known -----------------------------------------------------


class Table:
    """Scores of the next token are drawn from the real tokens so far: any sequence may follow any other."""

    def __init__(self, words, seed=0):
        self.config = RobertaConfig(
            vocab_size=words, pad_token_id=1, eos_token_id=0, bos_token_id=2, max_position_embeddings=64
        )
        self.seed = seed

    def scores(self, ids):
        return 2 * np.random.default_rng([self.seed, *ids]).standard_normal(self.config.vocab_size)

    def logs(self, ids):
        scores = self.scores(ids)
        return scores - np.log(np.exp(scores).sum())

    def predictor(self, call):
        return TablePredictor(self)

    def probability(self, prompt, tokens):
        return sum(self.logs([*prompt, *tokens[:index]])[token] for index, token in enumerate(tokens))


class TablePredictor:
    cached = 0

    def __init__(self, table):
        self.table = table

    def __call__(self, step):
        rows = zip(step.ids, step.mask, strict=True)
        return Told(np.stack([self.table.scores(ids[mask == 1].tolist()) for ids, mask in rows]))

    def cache(self, rows):
        return None


def every_sequence(words, most):
    """All that may be written: sequences that end, and those of the greatest length."""
    going = [token for token in range(words) if token != 0]
    found = []
    for length in range(1, most + 1):
        last = range(words) if length == most else [0]
        found += [(*start, token) for start in itertools.product(going, repeat=length - 1) for token in last]
    return found


def written(row, prompt):
    """The new tokens of a row, without what fills it behind its end."""
    tokens = row[prompt:].tolist()
    return tuple(tokens[: 1 + next((i for i, token in enumerate(tokens) if token == 0), len(tokens))])


@settings(max_examples=15)
@given(
    seed=st.integers(0, 99), words=st.sampled_from([3, 4]), penalty=st.sampled_from([-1.0, 0.0, 0.7, 1.0, 2.0]),
    returned=st.integers(1, 5),
)  # fmt: skip
def test_wide_beams_find_what_exhaustive_search_finds(generate, seed, words, penalty, returned) -> None:
    model, prompts, most = Table(words, seed), [[2], [2, 2]], 3
    out = generate(
        model, np.array([[1, 2], [2, 2]]), num_beams=words**most, num_return_sequences=returned, max_new_tokens=most,
        early_stopping="never", length_penalty=penalty, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    for index, prompt in enumerate(prompts):
        value = {
            tokens: model.probability(prompt, tokens) / len(tokens) ** penalty
            for tokens in every_sequence(words, most)
        }
        best = sorted(value, key=value.get, reverse=True)[:returned]
        rows = slice(index * returned, (index + 1) * returned)
        assert [written(row, 2) for row in out.sequences[rows]] == best
        assert out.sequences_scores[rows].tolist() == pytest.approx([value[t] for t in best], abs=1e-5)


DRAWS = 20_000


def test_whole_sequences_follow_the_distribution(generate) -> None:
    """Three steps: a sequence's frequency is the product of its steps' probabilities."""
    model = Table(3, seed=4)
    rows = generate(model, [[2]], do_sample=True, top_k=None, num_return_sequences=DRAWS, max_new_tokens=3)
    count = {}
    for row in rows:
        count[written(row, 1)] = count.get(written(row, 1), 0) + 1
    for tokens in every_sequence(3, 3):
        wanted = math.exp(model.probability([2], tokens))
        assert abs(count.get(tokens, 0) / DRAWS - wanted) <= 4 * math.sqrt(wanted * (1 - wanted) / DRAWS)


def test_draws_without_replacement(generate) -> None:
    """Beam sampling draws each pair of first tokens as often as two draws without replacement do."""
    model, draws = Table(6, seed=2), 4000
    logs = np.exp(model.logs([2]))
    rows = generate(
        model, np.full((draws, 1), 2), do_sample=True, top_k=None, num_beams=2, num_return_sequences=2,
        max_new_tokens=1, eos_token_id=None, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    # of the four candidates that are drawn, the two best are returned
    found = np.sort(rows.sequences[:, 1].reshape(draws, 2), 1)
    order = np.argsort(-logs)
    best = (found == np.sort(order[:2])).all(1).mean()
    # both of the best tokens are among four draws without replacement
    wanted = sum(
        math.prod(logs[t] / (1 - sum(logs[list(drawn[:i])])) for i, t in enumerate(drawn))
        for drawn in itertools.permutations(range(6), 4)
        if set(order[:2]) <= set(drawn)
    )
    assert abs(best - wanted) <= 4 * math.sqrt(wanted * (1 - wanted) / draws)
    assert (np.diff(rows.sequences_scores.reshape(draws, 2), axis=1) <= 0).all()


@pytest.mark.parametrize("beams", [1, 3])
def test_the_same_seed_draws_the_same(generate, beams) -> None:
    options = {
        "do_sample": True,
        "max_new_tokens": 6,
        "num_return_sequences": 3,
        "top_k": 0,
        "num_beams": beams,
    }
    first, again, other = (generate(Table(50), [[2]], seed=seed, **options).tolist() for seed in (0, 0, 1))
    assert first == again != other


def test_more_sequences_than_there_are_raise(generate) -> None:
    with pytest.raises(InputError, match=r"4 sequences .* prompt 0; expected 5, as num_return_sequences"):
        generate(Table(4), [[2]], num_beams=5, num_return_sequences=5, max_new_tokens=1)


@pytest.mark.parametrize("fields", [{}, {"do_sample": True}])
def test_where_nothing_may_follow_it_raises(generate, fields) -> None:
    def nothing(ids, scores, columns):
        return np.where(ids[:, :1] == 3, -np.inf, scores)

    with pytest.raises(InputError, match="no token may follow in row 1"):
        generate(Table(4), [[2, 2], [3, 3]], max_new_tokens=2, logits_processor=[nothing], **fields)


@pytest.mark.parametrize("fields", [{}, {"do_sample": True}, {"num_beams": 2}])
def test_scores_that_are_no_numbers_raise_or_are_replaced(generate, fields) -> None:
    class Broken(Table):
        value = math.nan

        def scores(self, ids):
            scores = super().scores(ids)
            scores[3] = self.value
            return scores

    with pytest.raises(InputError, match=r"row 0 that are not numbers.*remove_invalid_values"):
        generate(Broken(5), [[2]], max_new_tokens=2, **fields)
    model = Broken(5)
    model.value = math.inf
    rows = generate(model, [[2]], max_new_tokens=2, remove_invalid_values=True, **fields)
    assert rows.tolist() == [[2, 3, 3]]
