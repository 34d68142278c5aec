"""Greedy search, sampling and beams on a model whose every probability is known, against exhaustive search."""

import itertools
import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from robertakit import RobertaConfig
from robertakit.errors import InputError
from robertakit.outputs import CausalLMOutputWithCrossAttentions
from robertakit.torch.beam_search import _drawn
from robertakit.torch.generation import GenerationMixin
from robertakit.torch.narrowing import narrow

EOS, PAD = 0, 1
FIRST = 2


class Table(GenerationMixin):
    """Scores of the next token are drawn from the real tokens so far: any sequence may follow any other."""

    def __init__(self, words: int, seed: int = 0) -> None:
        super().__init__()
        self.config = RobertaConfig(
            vocab_size=words,
            pad_token_id=PAD,
            eos_token_id=EOS,
            bos_token_id=FIRST,
            max_position_embeddings=64,
        )
        self.seed = seed
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.calls = []

    def scores(self, ids) -> torch.Tensor:
        generator = torch.Generator().manual_seed(hash((self.seed, *ids)) % 2**31)
        return 2 * torch.randn(self.config.vocab_size, generator=generator, dtype=torch.float64)

    def forward(self, input_ids, attention_mask=None, position_ids=None, past_key_values=None, use_cache=None,
                return_dict=None):  # fmt: skip
        self.calls.append(tuple(input_ids.shape))
        rows = [
            self.scores([token for token, real in zip(ids, mask, strict=True) if real])
            for ids, mask in zip(input_ids.tolist(), attention_mask.tolist(), strict=True)
        ]
        return CausalLMOutputWithCrossAttentions(logits=torch.stack(rows)[:, None])


def probability(model, prompt, tokens) -> float:
    """Logarithm of the probability that a model gives to tokens behind a prompt."""
    total = 0.0
    for index, token in enumerate(tokens):
        total += model.scores([*prompt, *tokens[:index]]).log_softmax(-1)[token].item()
    return total


def every_sequence(words: int, most: int) -> list[tuple[int, ...]]:
    """All that may be written: sequences that end, and those of the greatest length."""
    going = [token for token in range(words) if token != EOS]
    found = []
    for length in range(1, most + 1):
        last = range(words) if length == most else [EOS]
        found += [(*start, token) for start in itertools.product(going, repeat=length - 1) for token in last]
    return found


def written(row: torch.Tensor, prompt: int, ends: tuple[int, ...] = (EOS,)) -> tuple[int, ...]:
    """The new tokens of a row, without what fills it behind its end."""
    tokens = row[prompt:].tolist()
    return tuple(tokens[: 1 + next((i for i, token in enumerate(tokens) if token in ends), len(tokens))])


@settings(max_examples=25)
@given(
    seed=st.integers(0, 99), words=st.sampled_from([3, 4]), penalty=st.sampled_from([-1.0, 0.0, 0.7, 1.0, 2.0]),
    returned=st.integers(1, 5),
)  # fmt: skip
def test_wide_beams_find_what_exhaustive_search_finds(seed, words, penalty, returned) -> None:
    model, prompts, most = Table(words, seed), [[2], [2, 2]], 3
    ids = torch.tensor([[PAD, 2], [2, 2]])
    out = model.generate(
        ids, num_beams=words**most, num_return_sequences=returned, max_new_tokens=most, early_stopping="never",
        length_penalty=penalty, return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    for index, prompt in enumerate(prompts):
        value = {
            tokens: probability(model, prompt, tokens) / len(tokens) ** penalty
            for tokens in every_sequence(words, most)
        }
        best = sorted(value, key=value.get, reverse=True)[:returned]
        rows = slice(index * returned, (index + 1) * returned)
        assert [written(row, 2) for row in out.sequences[rows]] == best
        assert out.sequences_scores[rows].tolist() == pytest.approx(
            [value[tokens] for tokens in best], abs=1e-5
        )


def textbook(model, prompt, *, width, most, penalty, early_stopping, ends):
    """Beam search of one prompt as it is described, with nothing but lists."""
    running, finished = [(0.0, ())], []
    for length in range(1, most + 1):
        longer = sorted(
            (
                (score + value, (*tokens, token))
                for score, tokens in running
                for token, value in enumerate(model.scores([*prompt, *tokens]).log_softmax(-1).tolist())
            ),
            reverse=True,
        )[: max(2, len(ends) + 1) * width]
        ended = [tokens[-1] in ends or length == most for _, tokens in longer]
        finished += [
            (score / length**penalty, tokens)
            for (score, tokens), end in list(zip(longer, ended, strict=True))[:width]
            if end
        ]
        finished = sorted(finished, reverse=True)[:width]
        running = [beam for beam, end in zip(longer, ended, strict=True) if not end][:width]
        if not running:
            break
        if len(finished) == width:
            hopeful = most if early_stopping == "never" and penalty > 0 else length
            if early_stopping is True or running[0][0] / hopeful**penalty <= finished[-1][0]:
                break
    return finished


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6), width=st.integers(2, 4), most=st.integers(1, 7),
    penalty=st.sampled_from([-0.5, 0.0, 1.0, 2.0]), early_stopping=st.sampled_from([True, False, "never"]),
    ends=st.sampled_from([(0,), (0, 5), (0, 3, 4, 5)]),
)  # fmt: skip
def test_narrow_beams_are_those_of_the_textbook(seed, width, most, penalty, early_stopping, ends) -> None:
    model, prompts = Table(9, seed), [[2, 3], [4]]
    out = model.generate(
        torch.tensor([[2, 3], [PAD, 4]]), num_beams=width, num_return_sequences=width, max_new_tokens=most,
        length_penalty=penalty, early_stopping=early_stopping, eos_token_id=list(ends), return_dict_in_generate=True,
        output_scores=True,
    )  # fmt: skip
    for index, prompt in enumerate(prompts):
        wanted = textbook(
            model, prompt, width=width, most=most, penalty=penalty, early_stopping=early_stopping, ends=ends
        )
        rows = slice(index * width, (index + 1) * width)
        assert [written(row, 2, ends) for row in out.sequences[rows]] == [tokens for _, tokens in wanted]
        assert out.sequences_scores[rows].tolist() == pytest.approx([score for score, _ in wanted], abs=1e-5)


def test_greedy_search_takes_the_best_token_and_fills_rows_that_ended() -> None:
    model = Table(6, seed=3)
    rows = model.generate(torch.tensor([[2, 3], [PAD, 4], [5, 5]]), max_new_tokens=12)
    lengths = set()
    for row, prompt in zip(rows, [[2, 3], [4], [5, 5]], strict=True):
        wanted = []
        while len(wanted) < 12 and EOS not in wanted:
            wanted.append(int(model.scores([*prompt, *wanted]).argmax()))
        lengths.add(len(wanted))
        assert row[2:].tolist() == wanted + [PAD] * (rows.shape[1] - 2 - len(wanted))
    assert len(lengths) > 1  # rows end at different times


def frequencies(tokens: torch.Tensor, words: int) -> torch.Tensor:
    return torch.bincount(tokens.flatten(), minlength=words) / tokens.numel()


DRAWS = 20_000


@pytest.mark.parametrize(
    "fields",
    [{}, {"temperature": 0.5}, {"temperature": 3.0, "top_k": 4}, {"top_p": 0.7}, {"min_p": 0.2}, {"typical_p": 0.5},
     {"epsilon_cutoff": 0.1}, {"eta_cutoff": 0.3}, {"top_k": 5, "top_p": 0.8, "temperature": 1.5}],
    ids=str,
)  # fmt: skip
def test_draws_follow_the_distribution(fields) -> None:
    model = Table(8, seed=1)
    options = {"top_k": 0} | fields
    rows = model.generate(
        torch.tensor([[2, 3]]), do_sample=True, num_return_sequences=DRAWS, max_new_tokens=1,
        generator=torch.Generator().manual_seed(0), **options,
    )  # fmt: skip
    config = SimpleNamespace(**{
        "temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": None, "typical_p": 1.0, "epsilon_cutoff": 0.0,
        "eta_cutoff": 0.0, **options,
    })  # fmt: skip
    wanted = narrow(model.scores([2, 3])[None], config).softmax(-1)[0]
    found = frequencies(rows[:, -1], 8)
    assert not found[wanted == 0].any()
    deviation = (wanted * (1 - wanted) / DRAWS).sqrt()
    assert ((found - wanted).abs() <= 4 * deviation + 1e-12).all()
    assert model.calls == [(1, 2)]  # the prompt is computed once


def test_whole_sequences_follow_the_distribution() -> None:
    """Three steps: a sequence's frequency is the product of its steps' probabilities."""
    model = Table(3, seed=4)
    rows = model.generate(
        torch.tensor([[2]]), do_sample=True, top_k=None, num_return_sequences=DRAWS, max_new_tokens=3,
        generator=torch.Generator().manual_seed(1),
    )  # fmt: skip
    count: dict[tuple[int, ...], int] = {}
    for row in rows:
        tokens = written(row, 1)
        count[tokens] = count.get(tokens, 0) + 1
    for tokens in every_sequence(3, 3):
        wanted = math.exp(probability(model, [2], [*tokens]))
        assert abs(count.get(tokens, 0) / DRAWS - wanted) <= 4 * math.sqrt(wanted * (1 - wanted) / DRAWS), (
            tokens
        )


def test_draws_without_replacement() -> None:
    """Beam sampling draws each pair as often as two draws without replacement do."""
    probabilities = torch.tensor([0.5, 0.3, 0.15, 0.05])
    total = probabilities.log().expand(DRAWS, 4)
    scores, index = _drawn(total, 2, torch.Generator().manual_seed(2))
    assert (scores[:, 0] >= scores[:, 1]).all()
    assert (index[:, 0] != index[:, 1]).all()
    for first, second in itertools.combinations(range(4), 2):
        p, q = probabilities[first].item(), probabilities[second].item()
        wanted = p * q / (1 - p) + q * p / (1 - q)
        found = ((index == first).any(1) & (index == second).any(1)).double().mean().item()
        assert abs(found - wanted) <= 4 * math.sqrt(wanted * (1 - wanted) / DRAWS)


def test_beam_sampling_scores_what_it_returns() -> None:
    model = Table(7, seed=5)
    out = model.generate(
        torch.tensor([[2, 3], [PAD, 4]]), do_sample=True, num_beams=3, num_return_sequences=2, max_new_tokens=4,
        top_k=0, generator=torch.Generator().manual_seed(3), return_dict_in_generate=True, output_scores=True,
    )  # fmt: skip
    for index, (row, score) in enumerate(zip(out.sequences, out.sequences_scores, strict=True)):
        tokens = written(row, 2)
        assert score.item() == pytest.approx(
            probability(model, [[2, 3], [4]][index // 2], tokens) / len(tokens), abs=1e-5
        )
    for ends, left in (([EOS], 2), ([EOS, 5, 6], 4)):  # something to go on with beside what ends
        cut = model.generate(
            torch.tensor([[2, 3]]), do_sample=True, num_beams=2, top_k=1, eos_token_id=ends, max_new_tokens=2,
            return_dict_in_generate=True, output_scores=True,
        )  # fmt: skip
        assert cut.scores[0].isfinite().sum(-1).tolist() == [left, left]
    few = model.generate(torch.tensor([[2, 3]]), do_sample=True, num_beams=4, top_k=2, max_new_tokens=3)
    assert few.shape[0] == 1  # two tokens a step are enough for four beams


def test_the_same_seed_draws_the_same() -> None:
    model = Table(50)
    options = {"do_sample": True, "max_new_tokens": 6, "num_return_sequences": 4, "top_k": 0}
    for beams in (1, 4):
        rows = [
            model.generate(
                torch.tensor([[2]]), num_beams=beams, generator=torch.Generator().manual_seed(seed), **options
            )
            for seed in (0, 0, 1)
        ]
        assert torch.equal(rows[0], rows[1])
        assert rows[0].shape != rows[2].shape or not torch.equal(rows[0], rows[2])
    torch.manual_seed(5)
    first = model.generate(torch.tensor([[2]]), **options)
    torch.manual_seed(5)
    assert torch.equal(model.generate(torch.tensor([[2]]), **options), first)


def test_more_sequences_than_there_are_raise() -> None:
    with pytest.raises(InputError, match=r"4 sequences .* prompt 0; expected 5, as num_return_sequences"):
        Table(4).generate(torch.tensor([[2]]), num_beams=5, num_return_sequences=5, max_new_tokens=1)


@pytest.mark.parametrize("fields", [{}, {"do_sample": True}])
def test_where_nothing_may_follow_it_raises(fields) -> None:
    with pytest.raises(InputError, match="no token may follow in row 1"):
        Table(4).generate(
            torch.tensor([[2, 2], [3, 3]]), max_new_tokens=2,
            logits_processor=[lambda ids, scores: scores.masked_fill((ids[:, :1] == 3), -math.inf)], **fields,
        )  # fmt: skip
    with pytest.raises(InputError, match="0 sequences"):
        Table(4).generate(torch.tensor([[2, 2]]), num_beams=2, suppress_tokens=[0, 1, 2, 3], max_new_tokens=2)


@pytest.mark.parametrize("fields", [{}, {"do_sample": True}, {"num_beams": 2}])
def test_scores_that_are_no_numbers_raise_or_are_replaced(fields) -> None:
    model = Table(5)
    right = model.scores
    model.scores = lambda ids: right(ids).index_fill(0, torch.tensor([3]), math.nan)
    with pytest.raises(InputError, match=r"row 0 that are not numbers.*remove_invalid_values"):
        model.generate(torch.tensor([[2]]), max_new_tokens=2, **fields)
    model.scores = lambda ids: right(ids).index_fill(0, torch.tensor([3]), math.inf)
    rows = model.generate(torch.tensor([[2]]), max_new_tokens=2, remove_invalid_values=True, **fields)
    assert rows.tolist() == [[2, 3, 3]]
