"""The family's configurations: documented fields and defaults, validation, presets, the automatic class."""

import inspect
import json
from pathlib import Path

import numpy as np
import pytest

from robertakit.architecture import count_parameters
from robertakit.configuration import (
    ACTIVATIONS,
    PRESETS,
    AutoConfig,
    CamembertConfig,
    PretrainedConfig,
    RobertaConfig,
    XLMRobertaConfig,
    read_config,
)
from robertakit.errors import ArgumentError, ConfigError, NotFound

CLASSES = [RobertaConfig, XLMRobertaConfig, CamembertConfig]
SIGNATURES = json.loads((Path(__file__).parent / "golden" / "signatures.json").read_text())


@pytest.mark.parametrize("kind", [RobertaConfig, XLMRobertaConfig])
def test_documented_fields_order_and_defaults(kind):
    documented = SIGNATURES[kind.__name__]["__init__"]["parameters"]
    for signature in (inspect.signature(kind), inspect.signature(kind.__init__)):
        ours = [
            (f"**{name}" if parameter.kind is parameter.VAR_KEYWORD else name, parameter.default)
            for name, parameter in signature.parameters.items()
            if name != "self"
        ]
        assert [name for name, _ in ours] == [name for name, _ in documented]
        assert [repr(default) for _, default in ours[:-1]] == [default for _, default in documented[:-1]]
    config = kind()
    for name, default in documented[:-1]:
        assert repr(getattr(config, name)) == default


def test_positional_arguments():
    config = XLMRobertaConfig(100, 24, 2, 3, 37, "relu")
    assert (config.vocab_size, config.hidden_size, config.num_attention_heads, config.hidden_act) == (
        100,
        24,
        3,
        "relu",
    )


@pytest.mark.parametrize(
    ("name", "backbone", "pooler"),
    [
        ("roberta-base", 124_055_040, 590_592),
        ("roberta-large", 354_310_144, 1_049_600),
        ("xlm-roberta-base", 277_453_056, 590_592),
        ("xlm-roberta-large", 558_840_832, 1_049_600),
        ("camembert-base", 110_031_360, 590_592),
    ],
)
def test_presets_have_the_published_sizes(name, backbone, pooler):
    """users-and-peers 3.1; CamemBERT: 110 million (Martin et al. 2020, table 2)."""
    kind = {"roberta": RobertaConfig, "xlm-roberta": XLMRobertaConfig, "camembert": CamembertConfig}[
        PRESETS[name][0]
    ]
    config = kind.preset(name)
    assert count_parameters(config, "model", add_pooling_layer=False) == backbone
    assert count_parameters(config, "model") == backbone + pooler
    assert (config.max_position_embeddings, config.type_vocab_size, config.layer_norm_eps) == (514, 1, 1e-5)
    assert type(config) is kind


def test_presets_take_changes_and_refuse_other_families():
    assert RobertaConfig.preset("roberta-base", num_labels=5).num_labels == 5
    with pytest.raises(
        ConfigError, match="preset 'xlm-roberta-base' of RobertaConfig; expected one of roberta-base"
    ):
        RobertaConfig.preset("xlm-roberta-base")
    with pytest.raises(ConfigError, match="preset 'roberta-huge'"):
        RobertaConfig.preset("roberta-huge")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"hidden_size": 100}, "hidden_size=100 and num_attention_heads=12"),
        ({"num_attention_heads": 0}, "num_attention_heads=0; expected at least 1"),
        ({"vocab_size": -1}, "vocab_size=-1; expected at least 1"),
        ({"vocab_size": "50265"}, "vocab_size='50265'; expected an integer"),
        ({"intermediate_size": 12.5}, "intermediate_size=12.5; expected an integer"),
        ({"type_vocab_size": 0}, "type_vocab_size=0"),
        ({"num_hidden_layers": -1}, "num_hidden_layers=-1; expected at least 0"),
        ({"hidden_size": True}, "hidden_size=True; expected an integer"),
        ({"hidden_act": "geluu"}, "hidden_act='geluu'; expected a function or one of gelu, gelu_10"),
        ({"hidden_act": "prelu"}, "hidden_act='prelu'"),
        ({"position_embedding_type": "rotary"}, "position_embedding_type='rotary'; expected one of absolute"),
        ({"hidden_dropout_prob": 1.5}, "hidden_dropout_prob=1.5; expected a number from 0 to 1"),
        ({"attention_probs_dropout_prob": -0.1}, "attention_probs_dropout_prob=-0.1"),
        ({"attention_probs_dropout_prob": None}, "attention_probs_dropout_prob=None"),
        ({"classifier_dropout": 2}, "classifier_dropout=2"),
        ({"layer_norm_eps": -1e-5}, "layer_norm_eps=-1e-05; expected a number at least 0"),
        ({"layer_norm_eps": float("nan")}, "layer_norm_eps=nan"),
        ({"initializer_range": "0.02"}, "initializer_range='0.02'"),
        ({"pad_token_id": None}, "pad_token_id=None; expected an integer"),
        ({"pad_token_id": -1}, "pad_token_id=-1; expected at least 0"),
        ({"pad_token_id": 511}, "pad_token_id=511 and max_position_embeddings=512"),
        (
            {"problem_type": "guess"},
            "problem_type='guess'; expected None or one of multi_label_classification",
        ),
        ({"pruned_heads": {0: [12]}}, r"pruned_heads=\{0: \[12\]\}; expected .*heads from 0 to 11"),
        ({"pruned_heads": {12: [0]}}, "layers from 0 to 11"),
        ({"pruned_heads": {"a": [0]}}, "pruned_heads with the keys a; expected integers"),
        ({"chunk_size_feed_forward": -4}, "chunk_size_feed_forward=-4"),
        ({"is_decoder": "yes"}, "is_decoder='yes'; expected true or false"),
        ({"use_cache": None}, "use_cache=None; expected true or false"),
        ({"output_attentions": 1}, "output_attentions=1; expected true or false"),
        ({"initializer_range": float("inf")}, "initializer_range=inf; expected a number at least 0"),
        ({"attn_implementation": "flash_attention_2"}, "attn_implementation='flash_attention_2'"),
        ({"num_labels": 3, "id2label": {0: "a"}}, "num_labels=3 and id2label with 1 entries"),
    ],
)
def test_fields_that_make_no_model(fields, message):
    with pytest.raises(ConfigError, match=message) as caught:
        RobertaConfig(**fields)
    assert isinstance(caught.value, ValueError)


def test_a_padding_id_outside_the_vocabulary_is_no_error_where_positions_allow_it():
    assert RobertaConfig(vocab_size=99, pad_token_id=120, max_position_embeddings=200).pad_token_id == 120


def test_validation_again_at_building():
    config = RobertaConfig(add_cross_attention=True)  # is_decoder may still be set
    with pytest.raises(ConfigError, match="add_cross_attention=True and is_decoder=False"):
        config.validate(building=True)
    config.is_decoder = True
    config.validate(building=True)
    config.hidden_size = 100
    with pytest.raises(ConfigError, match="hidden_size=100"):
        config.validate()


@pytest.mark.parametrize("act", [*ACTIVATIONS, np.tanh])
def test_every_activation_is_taken(act):
    assert RobertaConfig(hidden_act=act).hidden_act is act


def test_the_automatic_class(tmp_path):
    for kind in CLASSES:
        kind(hidden_size=24, num_attention_heads=2).save_pretrained(tmp_path / kind.model_type)
        for config in (
            AutoConfig.from_pretrained(tmp_path / kind.model_type),
            read_config(tmp_path / kind.model_type),
        ):
            assert type(config) is kind
            assert config.hidden_size == 24
        assert type(AutoConfig.for_model(kind.model_type, hidden_size=24)) is kind
    config, unused = AutoConfig.from_pretrained(
        tmp_path / "roberta", num_labels=4, other=1, return_unused_kwargs=True
    )
    assert (config.num_labels, unused) == (4, {"other": 1})
    with pytest.raises(ArgumentError, match=r"AutoConfig\.from_pretrained"):
        AutoConfig()


@pytest.mark.parametrize(
    ("architecture", "kind"),
    [
        ("RobertaForMaskedLM", RobertaConfig),
        ("XLMRobertaModel", XLMRobertaConfig),
        ("CamembertModel", CamembertConfig),
    ],
)
def test_old_files_without_a_model_type_are_known_by_their_architecture(tmp_path, architecture, kind):
    (tmp_path / "config.json").write_text(json.dumps({"architectures": [architecture], "hidden_size": 24}))
    assert type(AutoConfig.from_pretrained(tmp_path)) is kind


@pytest.mark.parametrize("fields", [{"model_type": "bert"}, {}, {"model_type": 3}])
def test_another_architecture_is_refused(tmp_path, fields):
    (tmp_path / "config.json").write_text(json.dumps(fields))
    with pytest.raises(ConfigError, match="expected model_type one of camembert, roberta, xlm-roberta"):
        AutoConfig.from_pretrained(tmp_path)


def test_a_bert_checkpoint_is_no_roberta(tmp_path):
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigError, match=r"model_type 'bert'; expected one of .*another architecture"):
        RobertaConfig.from_pretrained(tmp_path)


def test_a_class_of_the_family_reads_a_file_of_its_sister(tmp_path):
    XLMRobertaConfig(hidden_size=24).save_pretrained(tmp_path)
    config = RobertaConfig.from_pretrained(tmp_path)
    assert (type(config), config.hidden_size, config.vocab_size) == (RobertaConfig, 24, 30522)


def test_nothing_there(tmp_path):
    for folder in (tmp_path, tmp_path / "nowhere" / "at" / "all"):
        with pytest.raises(NotFound):
            read_config(folder)


def test_a_class_of_ones_own_is_found_by_its_model_type(tmp_path):
    class OwnConfig(RobertaConfig):
        model_type = "own"

        def __init__(self, depth=3, **kwargs):
            super().__init__(**kwargs)
            self.depth = depth

    try:
        OwnConfig(depth=5).save_pretrained(tmp_path)
        config = AutoConfig.from_pretrained(tmp_path)
        assert (type(config), config.depth) == (OwnConfig, 5)
    finally:
        del PretrainedConfig.families["own"]
