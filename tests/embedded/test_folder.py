"""What ships inside the package: whole, small, licensed, and answering alike in NumPy and PyTorch."""

import json

import numpy as np
import pytest

from robertakit import AutoTokenizer, RobertaConfig, embedded, pipeline
from robertakit.checkpoints import inspect_checkpoint

FOLDER = embedded.folder()


def test_the_folder_is_a_whole_checkpoint():
    names = {path.name for path in FOLDER.iterdir()}
    assert {
        "ATTRIBUTION.md", "LICENSE", "README.md", "config.json", "merges.txt", "model.safetensors",
        "special_tokens_map.json", "tokenizer_config.json", "vocab.json",
    } <= names  # fmt: skip
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 12_000_000
    assert not inspect_checkpoint(FOLDER).trouble


def test_config_tokenizer_and_vocabulary_belong_together():
    config, tokenizer = RobertaConfig.from_pretrained(FOLDER), AutoTokenizer.from_pretrained(FOLDER)
    vocabulary = json.loads((FOLDER / "vocab.json").read_text(encoding="utf-8"))
    assert len(tokenizer) == config.vocab_size == len(vocabulary)
    assert tokenizer.model_max_length == config.max_position_embeddings - config.pad_token_id - 1
    assert (tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id) == (
        config.bos_token_id, config.pad_token_id, config.eos_token_id,
    )  # fmt: skip
    assert tokenizer.mask_token_id == config.vocab_size - 1


def test_the_card_holds_figures_and_names_the_licence():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")
    assert "license: cc-by-sa-4.0" in text
    assert "| bigram, both sides |" in text, "recipes/embedded_model/evaluate.py --card writes the figures"
    assert "photosynthesis" in text


@pytest.mark.parametrize("way", ["numpy", "torch", "tensorflow", "jax"])
def test_it_was_trained(way):
    """Any model that learned more than how often words are: neighbours change its mind."""
    if way != "numpy":
        pytest.importorskip(way)
    texts = [
        "She went to the <mask>.",
        "He has been <mask> for a long time.",
        "The United <mask> of America.",
    ]
    with pipeline("fill-mask", FOLDER, engine=way, top_k=16000) as fill:
        scores = np.array(
            [
                [answer["score"] for answer in sorted(found, key=lambda answer: answer["token"])]
                for found in fill(texts)
            ]
        )
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-3)
    divergence = (scores[:, None] * np.log(scores[:, None] / scores[None])).sum(-1)
    assert divergence[~np.eye(3, dtype=bool)].min() > 0.1  # nats; new weights: 0.00


@pytest.mark.parametrize("way", ["torch", "tensorflow", "jax"])
def test_all_engines_give_the_same_answers(way):
    pytest.importorskip(way)
    texts = [
        "The capital of France is <mask>.",
        "Plants create <mask> through a process known as photosynthesis.",
    ]
    with pipeline("fill-mask", FOLDER, engine=way) as framework, pipeline("fill-mask", FOLDER) as numpy:
        for ours, theirs in zip(framework(texts), numpy(texts), strict=True):
            assert [answer["token_str"] for answer in ours] == [answer["token_str"] for answer in theirs]
            np.testing.assert_allclose(*[[a["score"] for a in found] for found in (ours, theirs)], rtol=1e-4)
