"""A configuration out of a fairseq checkpoint."""

import argparse
from collections.abc import Callable
from pathlib import Path

import pytest

from robertakit import AutoConfig, RobertaConfig, XLMRobertaConfig
from robertakit.errors import ConfigError, CorruptFile, NotFound
from robertakit.fairseq_settings import fairseq_fields, fairseq_model

torch = pytest.importorskip("torch")

SETTINGS = {
    "encoder_layers": 2,
    "encoder_embed_dim": 8,
    "encoder_ffn_embed_dim": 12,
    "encoder_attention_heads": 2,
    "activation_fn": "relu",
    "dropout": 0.2,
    "attention_dropout": 0.3,
    "pooler_dropout": 0.4,
    "encoder_layerdrop": 0,
}


def model(labels: int | None = None) -> dict[str, torch.Tensor]:
    found = {
        "decoder.sentence_encoder.embed_tokens.weight": torch.zeros(11, 8),
        "decoder.sentence_encoder.embed_positions.weight": torch.zeros(12, 8),
    }
    return found | ({"classification_heads.a.out_proj.weight": torch.zeros(labels, 8)} if labels else {})


@pytest.fixture
def saved(tmp_path: Path) -> Callable[..., Path]:
    def save(**state: object) -> Path:
        torch.save({"model": model(), **state}, tmp_path / "model.pt")
        return tmp_path

    return save


@pytest.mark.parametrize(
    "state",
    [
        {"args": argparse.Namespace(**SETTINGS)},
        {"args": None, "cfg": {"model": SETTINGS, "task": {"_name": "masked_lm"}}},
        {"cfg": {"model": argparse.Namespace(**SETTINGS)}},
        {"cfg": argparse.Namespace(model=argparse.Namespace(**SETTINGS))},
    ],
    ids=["args", "cfg", "cfg of a namespace", "namespaces"],
)
def test_settings_become_fields(saved: Callable[..., Path], state: dict[str, object]) -> None:
    config = RobertaConfig.from_pretrained(saved(**state))
    assert config.to_diff_dict() == {
        **RobertaConfig(
            vocab_size=11, hidden_size=8, num_hidden_layers=2, num_attention_heads=2, intermediate_size=12,
            hidden_act="relu", hidden_dropout_prob=0.2, attention_probs_dropout_prob=0.3, classifier_dropout=0.4,
            max_position_embeddings=12, type_vocab_size=1, layer_norm_eps=1e-5,
            architectures=["RobertaForMaskedLM"],
        ).to_diff_dict()
    }  # fmt: skip


@pytest.mark.parametrize(
    ("theirs", "ours"), [("gelu_fast", "gelu_new"), ("gelu_accurate", "gelu_new"), ("gelu", "gelu")]
)
def test_activations_have_our_names(saved: Callable[..., Path], theirs: str, ours: str) -> None:
    folder = saved(
        args=argparse.Namespace(**SETTINGS | {"activation_fn": theirs, "untie_weights_roberta": True})
    )
    config = AutoConfig.from_pretrained(folder)
    assert config.hidden_act == ours
    assert not config.tie_word_embeddings


def test_labels_and_segments_are_counted_in_the_tensors(saved: Callable[..., Path]) -> None:
    tensors = model(labels=5) | {"decoder.sentence_encoder.segment_embeddings.weight": torch.zeros(2, 8)}
    config = AutoConfig.from_pretrained(saved(args=argparse.Namespace(**SETTINGS), model=tensors))
    assert (config.num_labels, config.type_vocab_size) == (5, 2)
    assert config.architectures == ["RobertaForSequenceClassification"]


def test_a_sentencepiece_model_makes_it_an_xlm_r(saved: Callable[..., Path]) -> None:
    folder = saved(args=argparse.Namespace(**SETTINGS))
    (folder / "sentencepiece.bpe.model").write_bytes(b"")
    config = AutoConfig.from_pretrained(folder)
    assert isinstance(config, XLMRobertaConfig)
    assert config.architectures == ["XLMRobertaForMaskedLM"]


def test_the_file_may_be_named_itself_and_a_config_json_wins(saved: Callable[..., Path]) -> None:
    folder = saved(args=argparse.Namespace(**SETTINGS))
    (folder / "model.pt").rename(folder / "checkpoint_best.pt")
    assert AutoConfig.from_pretrained(folder / "checkpoint_best.pt").num_hidden_layers == 2
    with pytest.raises(NotFound, match=r"config\.json"):
        AutoConfig.from_pretrained(folder)
    (folder / "checkpoint_best.pt").rename(folder / "model.pt")
    RobertaConfig(num_hidden_layers=7).save_pretrained(folder)
    assert AutoConfig.from_pretrained(folder).num_hidden_layers == 7


def test_what_makes_no_roberta(saved: Callable[..., Path], tmp_path: Path) -> None:
    lacking = argparse.Namespace(arch="transformer", encoder_layers=3)
    with pytest.raises(
        ConfigError, match="lack encoder_attention_heads, encoder_embed_dim, encoder_ffn_embed_dim"
    ):
        AutoConfig.from_pretrained(saved(args=lacking))
    for tensors in ({"encoder.embed_tokens.weight": torch.zeros(2, 2)}, {}):
        with pytest.raises(ConfigError, match="holds no RoBERTa"):
            AutoConfig.from_pretrained(saved(args=argparse.Namespace(**SETTINGS), model=tensors))
    with pytest.raises(ConfigError, match=r"hidden_size=7 and num_attention_heads=2"):
        AutoConfig.from_pretrained(saved(args=argparse.Namespace(**SETTINGS | {"encoder_embed_dim": 7})))
    with pytest.raises(ConfigError, match="encoder_layers=1000000000 and 2 tensors"):
        AutoConfig.from_pretrained(saved(args=argparse.Namespace(**SETTINGS | {"encoder_layers": 10**9})))
    with pytest.raises(ConfigError, match="num_hidden_layers='three'"):
        AutoConfig.from_pretrained(saved(args=argparse.Namespace(**SETTINGS | {"encoder_layers": "three"})))
    for state in ({}, {"args": None, "model": 1}):
        with pytest.raises((CorruptFile, ConfigError), match=r"no checkpoint of fairseq's|lack"):
            AutoConfig.from_pretrained(saved(**state))
    torch.save([1], tmp_path / "model.pt")
    with pytest.raises(CorruptFile, match=r"no checkpoint of fairseq's, and there is no config\.json"):
        fairseq_fields(tmp_path / "model.pt", sentencepiece=False)


def test_other_files_are_none_of_fairseqs() -> None:
    assert (
        fairseq_model({"model": {}}) is fairseq_model({"args": None, "model": 3}) is fairseq_model([]) is None
    )
    assert fairseq_model({"model": {"a": 1}, "cfg": None}) == {"a": 1}
