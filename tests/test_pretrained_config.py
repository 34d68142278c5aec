"""What all configurations share: labels, aliases, files, equality, changes."""

import copy
import json
import pickle

import pytest

from robertakit.configuration import PretrainedConfig, RobertaConfig, XLMRobertaConfig
from robertakit.errors import ArgumentError, ConfigError, CorruptFile, NotFound
from robertakit.files import SAVE_ID


def written(folder):
    return json.loads((folder / "config.json").read_text())


class TestLabels:
    def test_two_by_default(self):
        config = RobertaConfig()
        assert config.num_labels == 2
        assert config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
        assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1}

    def test_each_map_is_made_from_the_other(self):
        assert RobertaConfig(id2label={"0": "no", "1": "yes", "2": "maybe"}).label2id == {
            "no": 0,
            "yes": 1,
            "maybe": 2,
        }
        assert RobertaConfig(label2id={"no": 0, "yes": 1}).id2label == {0: "no", 1: "yes"}
        both = RobertaConfig(id2label={0: "no"}, label2id={"NO": 0})
        assert (both.id2label, both.label2id) == ({0: "no"}, {"NO": 0})

    def test_num_labels_can_be_set(self):
        config = RobertaConfig(id2label={0: "a", 1: "b", 2: "c"})
        config.num_labels = 3
        assert config.id2label == {0: "a", 1: "b", 2: "c"}
        config.num_labels = 2
        assert config.id2label == {0: "LABEL_0", 1: "LABEL_1"}
        assert config.label2id == {"LABEL_0": 0, "LABEL_1": 1}

    def test_num_labels_overrides_those_of_a_file(self, tmp_path):
        RobertaConfig(id2label={0: "a", 1: "b", 2: "c"}).save_pretrained(tmp_path)
        assert RobertaConfig.from_pretrained(tmp_path, num_labels=5).num_labels == 5
        assert RobertaConfig.from_pretrained(tmp_path, num_labels=3).id2label == {0: "a", 1: "b", 2: "c"}
        assert RobertaConfig.from_pretrained(tmp_path, id2label={0: "x"}).label2id == {"x": 0}
        with pytest.raises(ConfigError, match="num_labels=4 and id2label with 1 entries"):
            RobertaConfig.from_pretrained(tmp_path, num_labels=4, id2label={0: "x"})

    def test_the_map_of_an_old_file_wins_over_its_num_labels(self):
        config = RobertaConfig.from_dict(
            {"num_labels": 2, "_num_labels": 3, "id2label": {"0": "a", "1": "b", "2": "c"}}
        )
        assert config.num_labels == 3

    @pytest.mark.parametrize(
        "wrong", [{"id2label": ["a"]}, {"label2id": {"a": "0"}}, {"num_labels": -1}, {"num_labels": "3"}]
    )
    def test_what_is_no_label(self, wrong):
        with pytest.raises(ConfigError):
            RobertaConfig(**wrong)


class TestNames:
    def test_aliases_are_one_field(self):
        config = RobertaConfig(torch_dtype="float16", attn_implementation="eager", name_or_path="x")
        assert (config.dtype, config.torch_dtype) == ("float16", "float16")
        assert config._attn_implementation == config.attn_implementation == "eager"
        assert config.name_or_path == "x"
        config.torch_dtype = None
        assert config.dtype is None
        with pytest.raises(ArgumentError, match="torch_dtype='float16' and dtype='float32'"):
            RobertaConfig(torch_dtype="float16", dtype="float32")

    def test_dtypes_are_kept_by_name(self):
        class Fake:
            def __repr__(self):
                return "torch.bfloat16"

        assert RobertaConfig(dtype=Fake()).to_dict()["dtype"] == "bfloat16"
        assert RobertaConfig(dtype=float).dtype == "float"

    def test_use_return_dict(self):
        assert RobertaConfig().use_return_dict
        assert not RobertaConfig(return_dict=False).use_return_dict
        assert not RobertaConfig(torchscript=True).use_return_dict

    def test_an_attribute_map(self):
        class Own(RobertaConfig):
            attribute_map = {"n_layer": "num_hidden_layers"}

        config = Own(n_layer=3)
        assert (config.n_layer, config.num_hidden_layers) == (3, 3)
        config.n_layer = 4
        assert config.num_hidden_layers == 4
        assert "n_layer" not in config.to_dict()
        with pytest.raises(AttributeError, match="n_head"):
            config.n_head  # noqa: B018

    def test_what_generation_reads_is_there(self):
        config = RobertaConfig()
        assert (config.max_length, config.num_beams, config.do_sample, config.top_k) == (20, 1, False, 50)
        assert (config.bos_token_id, config.pad_token_id, config.eos_token_id, config.sep_token_id) == (
            0,
            1,
            2,
            None,
        )


class TestUnknown:
    def test_an_unknown_keyword_is_kept_and_written(self, tmp_path):
        config = RobertaConfig(flavour="sour", summary={"a": [1]})
        assert config.flavour == "sour"
        config.save_pretrained(tmp_path)
        assert written(tmp_path)["flavour"] == "sour"
        assert RobertaConfig.from_pretrained(tmp_path) == config

    @pytest.mark.parametrize(
        ("typo", "meant"),
        [
            ("num_atention_heads", "num_attention_heads"),
            ("hidden_sise", "hidden_size"),
            ("layer_norm_epsilon", "layer_norm_eps"),
            ("num_label", "num_labels"),
            ("is_decodr", "is_decoder"),
            ("max_position_embedding", "max_position_embeddings"),
        ],
    )
    def test_a_slip_of_the_pen_is_refused(self, typo, meant):
        with pytest.raises(ArgumentError, match=f"unknown field '{typo}'; expected '{meant}'") as caught:
            RobertaConfig(**{typo: 1})
        assert isinstance(caught.value, TypeError)

    @pytest.mark.parametrize(
        "name",
        [
            "gradient_checkpointing",
            "output_past",
            "summary_type",
            "rope_theta",
            "mask_token_id",
            "cls_token_id",
        ],
    )
    def test_names_of_other_libraries_are_no_slips(self, name):
        assert getattr(RobertaConfig(**{name: 1}), name) == 1

    def test_a_file_is_never_judged_by_its_spelling(self):
        config = RobertaConfig.from_dict({"num_atention_heads": 3, "hidden_size": 24})
        assert config.num_atention_heads == 3
        assert config.to_diff_dict()["num_atention_heads"] == 3

    def test_unused_keywords(self, tmp_path):
        RobertaConfig(flavour="sour").save_pretrained(tmp_path)
        config, unused = RobertaConfig.from_pretrained(
            tmp_path, flavour="sweet", other=1, return_unused_kwargs=True
        )
        assert (config.flavour, unused) == ("sweet", {"other": 1})
        with pytest.raises(ArgumentError, match="unknown argument 'other' of RobertaConfig"):
            RobertaConfig.from_pretrained(tmp_path, other=1)
        with pytest.raises(ArgumentError, match=r"unknown argument 'hiden_size'.*'hidden_size'"):
            RobertaConfig.from_dict({}, hiden_size=24)


class TestFiles:
    def test_what_a_file_holds(self, tmp_path):
        """The keys that transformers 4.57.6 writes for the same configuration, but its version."""
        RobertaConfig(num_labels=3, is_decoder=True, pruned_heads={0: [1]}).save_pretrained(tmp_path)
        fields = written(tmp_path)
        assert sorted(fields) == [
            "attention_probs_dropout_prob", "bos_token_id", "classifier_dropout", "eos_token_id", "hidden_act",
            "hidden_dropout_prob", "hidden_size", "id2label", "initializer_range", "intermediate_size", "is_decoder",
            "label2id", "layer_norm_eps", "max_position_embeddings", "model_type", "num_attention_heads",
            "num_hidden_layers", "pad_token_id", "position_embedding_type", "pruned_heads", "type_vocab_size",
            "use_cache", "vocab_size",
        ]  # fmt: skip
        assert list(fields) == sorted(fields)
        assert fields["pruned_heads"] == {"0": [1]}
        assert (tmp_path / "config.json").read_bytes().endswith(b"}\n")

    def test_round_trip(self, tmp_path):
        config = XLMRobertaConfig(
            num_labels=3, is_decoder=True, add_cross_attention=True, pruned_heads={0: [1], 3: [2, 0]},
            hidden_act="relu",
            classifier_dropout=0.2, torch_dtype="float16", architectures=["XLMRobertaModel"], chunk_size_feed_forward=4,
            problem_type="regression", return_dict=False, eos_token_id=[2, 5], flavour="sour",
        )  # fmt: skip
        config.save_pretrained(tmp_path)
        read = XLMRobertaConfig.from_pretrained(tmp_path)
        assert read == config
        assert read.pruned_heads == {0: [1], 3: [2, 0]}
        assert read.to_dict() == config.to_dict() | {"_name_or_path": str(tmp_path)}
        assert XLMRobertaConfig.from_json_file(tmp_path / "config.json") == config
        assert XLMRobertaConfig.from_pretrained(tmp_path / "config.json") == config
        config.to_json_file(tmp_path / "other.json", use_diff=False)
        assert XLMRobertaConfig.from_json_file(tmp_path / "other.json") == config

    def test_where_it_came_from_is_not_written(self, tmp_path):
        RobertaConfig(attn_implementation="eager").save_pretrained(tmp_path)
        read = RobertaConfig.from_pretrained(tmp_path)
        assert read.name_or_path == str(tmp_path)
        assert read.attn_implementation is None
        assert not {"_name_or_path", "_attn_implementation", "_commit_hash"} & set(read.to_diff_dict())

    def test_the_id_of_a_save_is_no_field(self, tmp_path):
        (tmp_path / "config.json").write_text(json.dumps({"model_type": "roberta", SAVE_ID: "abc"}))
        config = RobertaConfig.from_pretrained(tmp_path)
        assert config == RobertaConfig()
        assert SAVE_ID not in config.to_dict()

    def test_the_version_of_a_transformers_file_is_kept(self):
        assert (
            RobertaConfig.from_dict({"transformers_version": "4.9.2"}).to_diff_dict()["transformers_version"]
            == "4.9.2"
        )

    @pytest.mark.parametrize("content", ["", "{", "[1]", "3", '"text"', "{'a': 1}", "[" * 100_000])
    def test_files_that_hold_no_configuration(self, tmp_path, content):
        (tmp_path / "config.json").write_text(content, encoding="utf-8")
        for read in (
            RobertaConfig.from_pretrained,
            lambda folder: RobertaConfig.from_json_file(folder / "config.json"),
        ):
            with pytest.raises(CorruptFile):
                read(tmp_path)

    def test_nothing_there(self, tmp_path):
        for read in (RobertaConfig.from_pretrained, RobertaConfig.from_json_file):
            with pytest.raises(NotFound) as caught:
                read(tmp_path / "nothing.json")
            assert isinstance(caught.value, OSError)

    def test_what_json_cannot_hold(self, tmp_path):
        with pytest.raises(ConfigError, match="JSON cannot hold"):
            RobertaConfig(hidden_act=len).save_pretrained(tmp_path)
        assert not list(tmp_path.iterdir())

    def test_arguments_that_saving_has_not(self, tmp_path):
        with pytest.raises(
            ArgumentError, match="'repo_id' of save_pretrained; expected it together with push"
        ):
            RobertaConfig().save_pretrained(tmp_path, repo_id="me/model")
        with pytest.raises(ArgumentError, match="unknown argument 'safe'"):
            RobertaConfig().save_pretrained(tmp_path, safe=True)

    def test_a_subfolder(self, tmp_path):
        RobertaConfig(hidden_size=24).save_pretrained(tmp_path / "inner")
        assert RobertaConfig.from_pretrained(tmp_path, subfolder="inner").hidden_size == 24


class TestChanges:
    def test_update_sets_fields(self):
        config = RobertaConfig()
        config.update({"hidden_size": 24, "num_labels": 4, "own": 1})
        assert (config.hidden_size, config.num_labels, config.own) == (24, 4, 1)

    def test_update_from_a_string_keeps_types(self):
        config = RobertaConfig()
        config.update_from_string(
            "hidden_size=24,use_cache=False,layer_norm_eps=1e-3,hidden_act=relu,is_decoder=yes"
        )
        assert (config.hidden_size, config.use_cache, config.layer_norm_eps) == (24, False, 1e-3)
        assert (config.hidden_act, config.is_decoder) == ("relu", True)
        for wrong in ("zzz=1", "hidden_size=many", "use_cache=perhaps"):
            with pytest.raises(ConfigError):
                config.update_from_string(wrong)

    def test_equality_is_by_class_and_fields(self):
        assert RobertaConfig() == RobertaConfig()
        assert RobertaConfig() != RobertaConfig(hidden_size=24)
        assert RobertaConfig(vocab_size=30522) != XLMRobertaConfig()
        assert RobertaConfig() != "text"
        with pytest.raises(TypeError, match="unhashable"):
            hash(RobertaConfig())

    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
    def test_copies(self, copied):
        config = RobertaConfig(flavour="sour", pruned_heads={0: [1]})
        assert copied(config) == config

    def test_dictionaries_are_copies_and_defaults_are_not_shared(self):
        config = RobertaConfig()
        config.to_dict()["id2label"][0] = "changed"
        config.pruned_heads[0] = [1]
        assert config.id2label[0] == "LABEL_0"
        assert RobertaConfig().pruned_heads == {}

    def test_a_bare_configuration(self):
        config = PretrainedConfig(vocab_size=4)
        assert config.vocab_size == 4
        assert config.to_diff_dict() == {"vocab_size": 4}
        assert PretrainedConfig.model_type == ""

    def test_how_it_prints(self):
        assert repr(RobertaConfig(hidden_size=24)).startswith(
            'RobertaConfig {\n  "attention_probs_dropout_prob": 0.1,'
        )
        assert "hidden_size" in list(RobertaConfig())
        assert RobertaConfig().get_text_config().model_type == "roberta"
