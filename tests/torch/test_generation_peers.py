"""`generate()` beside transformers' own, its positions made those of a plain forward; run by `make test-peers`."""

import random
import warnings

import pytest
import torch

from robertakit.generation import GenerationConfig

pytestmark = pytest.mark.peers
PAD = 1


@pytest.fixture(scope="module")
def pair(models, tmp_path_factory):
    """Our model and theirs with the same weights."""
    import transformers

    ours = models.build("causal-lm", is_decoder=True)
    folder = tmp_path_factory.mktemp("model")
    ours.save_pretrained(folder)
    theirs = transformers.RobertaForCausalLM.from_pretrained(folder, attn_implementation="eager").eval()
    plain = theirs.prepare_inputs_for_generation

    def prepare(input_ids, attention_mask=None, **kwargs):
        inputs = plain(input_ids, attention_mask=attention_mask, **kwargs)
        real = (
            torch.ones_like(input_ids) if attention_mask is None else attention_mask
        )  # 5 has None for all ones
        positions = real.cumsum(-1) * real + PAD
        inputs["position_ids"] = positions[:, -inputs["input_ids"].shape[1] :]
        return inputs

    theirs.prepare_inputs_for_generation = prepare
    return ours, theirs


def prompts(draw: random.Random, padded: bool) -> tuple[torch.Tensor, torch.Tensor]:
    rows, columns = draw.randint(1, 4), draw.randint(2, 8)
    ids = torch.tensor([[draw.randint(3, 60) for _ in range(columns)] for _ in range(rows)])
    if padded:
        for row in range(rows):
            ids[row, : draw.randint(0, columns - 1)] = PAD
    return ids, ids.ne(PAD).long()


def options(draw: random.Random, padded: bool) -> dict[str, object]:
    """Fields of a call; with padding none that looks back, since theirs counts padding as written tokens."""
    beams = draw.choice([1, 1, 2, 3, 5])
    ends = draw.sample(range(2, 61), draw.choice([1, 3, 12]))
    chosen: dict[str, object] = {
        "num_beams": beams,
        "max_new_tokens": draw.randint(1, 12),
        "eos_token_id": ends if draw.random() < 0.7 else 2,
        "do_sample": draw.random() < 0.3,
        "use_cache": draw.random() < 0.7,
        # never padding: it takes no position in a plain forward, and one in theirs
        "suppress_tokens": [PAD, *(draw.sample(range(3, 60), 3) if draw.random() < 0.3 else ())],
        "begin_suppress_tokens": draw.sample(range(3, 60), 3) if draw.random() < 0.3 else None,
        "renormalize_logits": draw.random() < 0.2,
    }
    if draw.random() < 0.4:
        chosen["min_new_tokens"] = draw.randint(0, chosen["max_new_tokens"])
    elif (
        padded and draw.random() < 0.4
    ):  # not where an end token is forbidden: theirs makes not-a-number of it
        chosen["exponential_decay_length_penalty"] = (draw.randint(0, 4), draw.uniform(1.01, 1.5))
    if (
        draw.random() < 0.2
        and chosen["max_new_tokens"] > 2
        and "exponential_decay_length_penalty" not in chosen
    ):
        chosen["forced_eos_token_id"] = draw.choice([5, [6, 7]] if beams == 1 else [5])  # equal scores
    if beams > 1:
        chosen |= {
            "length_penalty": draw.choice([-1.0, 0.0, 0.5, 1.0, 2.0]),
            "early_stopping": draw.choice([True, False, "never"]),
            "num_return_sequences": draw.randint(1, beams),
        }
    if chosen["do_sample"] and beams == 1:
        chosen |= {
            "temperature": draw.choice([0.5, 1.0, 2.0]),
            "top_k": draw.choice([0, 5, 50]),
            "top_p": draw.choice([0.5, 0.9, 1.0]),
            "min_p": draw.choice([None, 0.1]),
            "typical_p": draw.choice([0.6, 1.0]),
            "epsilon_cutoff": draw.choice([0.0, 0.02]),
            "eta_cutoff": draw.choice([0.0, 0.02]),
            "num_return_sequences": draw.randint(1, 3),
        }
    else:
        chosen["do_sample"] = False  # of beam sampling only the distribution could be compared
    if not padded:
        chosen |= {
            "repetition_penalty": draw.choice([1.0, 1.0, 1.4, 0.7]),
            "no_repeat_ngram_size": draw.choice([0, 0, 1, 2]),
            "encoder_no_repeat_ngram_size": draw.choice([0, 0, 2]),
        }
        if (
            beams == chosen.get("num_return_sequences", 1) == 1
        ):  # theirs meets the first rows only, with wrong prompts
            chosen["encoder_repetition_penalty"] = draw.choice([1.0, 1.0, 1.4])
        if draw.random() < 0.3:
            words = [
                token for token in range(3, 61) if token not in ends
            ]  # theirs lets a word that ends pass
            chosen["bad_words_ids"] = [[draw.choice(words) for _ in range(size)] for size in (1, 1, 2)]
        if draw.random() < 0.3:
            chosen["sequence_bias"] = {(draw.randint(3, 60),): 2.0, (draw.randint(3, 60), 9): -3.0}
    return chosen


def rows_behind(out, prompt: int, ends: int | list[int]) -> list[torch.Tensor]:
    """For each step the rows of scores that a returned sequence came from; others go on as they like."""
    if "beam_indices" in out:
        return [step[step >= 0] for step in out.beam_indices.T]
    new = out.sequences[:, prompt:]
    over = torch.isin(new, torch.tensor(ends)).cumsum(1) - torch.isin(new, torch.tensor(ends)).long() > 0
    return [(~step).nonzero()[:, 0] for step in over.T]


@pytest.mark.parametrize("padded", [False, True])
def test_random_calls_give_the_same(pair, padded) -> None:
    ours, theirs = pair
    ended = 0
    for seed in range(150):
        draw = random.Random(seed)
        ids, mask = prompts(draw, padded)
        fields = options(draw, padded)
        asked = fields | {"return_dict_in_generate": True, "output_scores": True, "output_logits": True}
        results = []
        for model in (theirs, ours):
            torch.manual_seed(seed)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                results.append(model.generate(ids, attention_mask=mask, **asked))
        want, got = results
        what = f"seed {seed}: {fields}"
        assert torch.equal(got.sequences, want.sequences), what
        assert len(got.scores) == len(want.scores), what
        if fields["num_beams"] > 1:
            torch.testing.assert_close(got.sequences_scores, want.sequences_scores, rtol=1e-5, atol=1e-5)
            assert torch.equal(got.beam_indices, want.beam_indices.long()), what
        for step, rows in enumerate(rows_behind(got, ids.shape[1], fields["eos_token_id"])):
            for name in ("scores", "logits"):
                mine, other = (result[name][step][rows].clamp(min=-1e9) for result in results[::-1])
                torch.testing.assert_close(mine, other, rtol=1e-4, atol=2e-4, msg=f"{what} {name}")
        ended += got.sequences.shape[1] < ids.shape[1] + fields["max_new_tokens"]
    assert ended > 9  # not all ran to the end


def test_files_are_theirs_too(pair, tmp_path) -> None:
    import transformers

    config = GenerationConfig(
        num_beams=3, length_penalty=0.5, eos_token_id=[2, 5], sequence_bias={(5, 6): -2.0}, bad_words_ids=[[7]],
        do_sample=False,
    )  # fmt: skip
    config.save_pretrained(tmp_path / "ours")
    theirs = transformers.GenerationConfig.from_pretrained(tmp_path / "ours")
    assert (theirs.num_beams, theirs.length_penalty, theirs.eos_token_id) == (3, 0.5, [2, 5])
    assert theirs.sequence_bias == [[[5, 6], -2.0]]
    theirs.save_pretrained(tmp_path / "theirs")
    assert (
        GenerationConfig.from_pretrained(tmp_path / "theirs").given().items()
        >= {"num_beams": 3, "length_penalty": 0.5}.items()
    )
    ours, model = pair
    ids = torch.tensor([[0, 8, 9]])
    assert torch.equal(
        ours.generate(ids, theirs, max_new_tokens=6), model.generate(ids, theirs, max_new_tokens=6)
    )


def test_an_adapted_model_writes_what_its_own_forward_says(models) -> None:
    import peft

    base = models.build("causal-lm", is_decoder=True)
    ids = torch.tensor([[PAD, 0, 5, 6], [0, 7, 8, 9]])
    before = base.generate(ids, max_new_tokens=6)
    torch.manual_seed(0)
    options = {"target_modules": ["query", "value"], "init_lora_weights": False}
    adapted = peft.get_peft_model(base, peft.LoraConfig(task_type="CAUSAL_LM", **options)).eval()
    rows = adapted.generate(input_ids=ids, max_new_tokens=6)
    assert torch.equal(adapted.generate(input_ids=ids, max_new_tokens=6, use_cache=False), rows)
    assert adapted.generate(input_ids=ids, max_new_tokens=6, num_beams=3).shape[0] == 2
    written = ids[1:]
    for token in rows[1, 4:]:
        assert adapted(input_ids=written).logits[0, -1].argmax() == token
        written = torch.cat([written, token[None, None]], 1)
    assert not torch.equal(rows, before)
    with adapted.disable_adapter():
        assert torch.equal(adapted.generate(input_ids=ids, max_new_tokens=6), before)
