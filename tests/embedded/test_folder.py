"""What ships inside the package: whole, small, licensed, and answering alike in every engine."""

import json

import numpy as np
import pytest

from robertakit import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    RobertaConfig,
    XLMRobertaConfig,
    embedded,
    pipeline,
)
from robertakit.checkpoints import inspect_checkpoint
from robertakit.errors import ArgumentError

COMMON = {
    "ATTRIBUTION.md", "LICENSE", "README.md", "config.json", "model.safetensors", "special_tokens_map.json",
    "tokenizer_config.json",
}  # fmt: skip
FILES = {"english": {"merges.txt", "vocab.json"}, "multilingual": {"sentencepiece.bpe.model"}}
BYTES = {"english": 12_000_000, "multilingual": 10_000_000}
CLASSES = {"english": RobertaConfig, "multilingual": XLMRobertaConfig}
#: Whatever stands before and behind, other words fit.
UNLIKE = {
    "english": ["She went to the <mask>.", "He has been <mask> for a long time.", "The United <mask> of America."],
    "multilingual": ["Ich habe ein neues <mask>.", "Ella vive en una <mask> grande.", "Я не <mask>, что это."],
}  # fmt: skip
PROMPTS = {
    "english": [
        "The capital of France is <mask>.",
        "Plants create <mask> through a process known as photosynthesis.",
    ],
    "multilingual": ["Paris est la <mask> de la France.", "これは<mask>です。"],
}
each = pytest.mark.parametrize("name", embedded.NAMES)


@each
def test_the_folder_is_a_whole_checkpoint(name):
    folder = embedded.folder(name)
    assert {path.name for path in folder.iterdir()} == COMMON | FILES[name]
    assert sum(path.stat().st_size for path in folder.iterdir()) <= BYTES[name]
    assert not inspect_checkpoint(folder).trouble


def test_english_comes_without_a_name_and_another_is_told():
    assert embedded.folder() == embedded.folder("english")
    with pytest.raises(ArgumentError, match="'klingon'; expected one of english, multilingual"):
        embedded.folder("klingon")


@each
@pytest.mark.parametrize("fast", [True, False])
def test_config_tokenizer_and_vocabulary_belong_together(name, fast):
    folder = embedded.folder(name)
    config, tokenizer = (
        AutoConfig.from_pretrained(folder),
        AutoTokenizer.from_pretrained(folder, use_fast=fast),
    )
    assert type(config) is CLASSES[name]
    assert tokenizer.is_fast is fast
    assert len(tokenizer) == config.vocab_size == len(tokenizer.get_vocab())
    assert tokenizer.model_max_length == config.max_position_embeddings - config.pad_token_id - 1
    assert (tokenizer.bos_token_id, tokenizer.pad_token_id, tokenizer.eos_token_id) == (
        config.bos_token_id, config.pad_token_id, config.eos_token_id,
    )  # fmt: skip
    assert tokenizer.mask_token_id == config.vocab_size - 1


@each
def test_the_card_holds_figures_and_names_the_licence(name):
    text = (embedded.folder(name) / "README.md").read_text(encoding="utf-8")
    assert "license: cc-by-sa-4.0" in text
    assert "| bigram, both sides |" in text, "recipes/embedded_model writes the figures (--card)"
    assert "| run 1 |" in text


@each
@pytest.mark.parametrize("way", ["numpy", "torch", "tensorflow", "jax"])
def test_it_was_trained(way, name):
    """Any model that learned more than how often words are: neighbours change its mind."""
    if way != "numpy":
        pytest.importorskip(way)
    folder = embedded.folder(name)
    words = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    with pipeline("fill-mask", folder, engine=way, top_k=words) as fill:
        scores = np.array(
            [
                [answer["score"] for answer in sorted(found, key=lambda answer: answer["token"])]
                for found in fill(UNLIKE[name])
            ]
        )
    np.testing.assert_allclose(scores.sum(1), 1, atol=1e-3)
    divergence = (scores[:, None] * np.log(scores[:, None] / scores[None])).sum(-1)
    assert divergence[~np.eye(3, dtype=bool)].min() > 0.1  # nats; new weights: 0.00


@each
@pytest.mark.parametrize("way", ["torch", "tensorflow", "jax"])
def test_all_engines_give_the_same_answers(way, name):
    pytest.importorskip(way)
    folder, texts = embedded.folder(name), PROMPTS[name]
    with pipeline("fill-mask", folder, engine=way) as framework, pipeline("fill-mask", folder) as numpy:
        for ours, theirs in zip(framework(texts), numpy(texts), strict=True):
            assert [answer["token_str"] for answer in ours] == [answer["token_str"] for answer in theirs]
            np.testing.assert_allclose(*[[a["score"] for a in found] for found in (ours, theirs)], rtol=1e-4)


@each
def test_the_class_of_its_family_loads_it_whole(name):
    pytest.importorskip("torch")
    model, told = AutoModelForMaskedLM.from_pretrained(embedded.folder(name), output_loading_info=True)
    assert (
        type(model).__name__
        == {"english": "RobertaForMaskedLM", "multilingual": "XLMRobertaForMaskedLM"}[name]
    )
    assert not any(told.values())
