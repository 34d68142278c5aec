"""The card of a model: what it says is true of the model, and what nobody knows is not in it."""

import re

import pytest
from huggingface_hub import ModelCard

from robertakit import RobertaConfig, XLMRobertaConfig
from robertakit.architecture import HEADS, Head, count_parameters
from robertakit.model_card import PIPELINE_TAGS, model_card

CONFIG = {"vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


def rows_of(text: str) -> dict[str, str]:
    return dict(re.findall(r"^\| (.+?) \| (.*) \|$", text, re.MULTILINE))


def test_each_head_has_a_task_of_the_hub() -> None:
    assert PIPELINE_TAGS.keys() == HEADS.keys()


@pytest.mark.parametrize("head", HEADS.values(), ids=lambda head: head.name)
def test_numbers_are_those_of_the_table(head: Head) -> None:
    config = RobertaConfig(**CONFIG)
    text = model_card(config, head, "me/model", f"Roberta{head.class_suffix}")
    rows = rows_of(text)
    number = {
        name: int(value.replace(",", "")) for name, value in rows.items() if name.startswith("parameters")
    }
    assert number.pop("parameters") == sum(number.values()) == count_parameters(config, head)
    assert (rows["layers"], rows["longest input"]) == ("2", "510 tokens")
    assert f"A `Roberta{head.class_suffix}`." in text


@pytest.mark.parametrize("head", HEADS.values(), ids=lambda head: head.name)
def test_metadata_as_the_hub_reads_it(head: Head) -> None:
    card = ModelCard(model_card(XLMRobertaConfig(**CONFIG), head, "me/model", "X"))
    assert card.data.to_dict() == {
        "library_name": "transformers",
        "pipeline_tag": PIPELINE_TAGS[head.name],
        "tags": ["robertakit", "xlm-roberta"],
    }


@pytest.mark.parametrize("head", HEADS.values(), ids=lambda head: head.name)
def test_the_class_in_the_example_is_there(head: Head) -> None:
    import robertakit.auto

    (name,) = re.findall(
        r"from robertakit import (\w+), AutoTokenizer", model_card(RobertaConfig(), head, "a/b", "X")
    )
    assert getattr(robertakit.auto, name).head == head.name


def test_a_pooler_that_is_not_there_is_not_counted() -> None:
    config, head = RobertaConfig(**CONFIG), HEADS["model"]
    with_pooler = rows_of(model_card(config, head, "a/b", "RobertaModel"))
    without = rows_of(model_card(config, head, "a/b", "RobertaModel", add_pooling_layer=False))
    assert with_pooler["parameters, pooler"] == "272"
    assert with_pooler.keys() - without.keys() == {"parameters, pooler"}


def test_labels_stand_in_a_table_whole() -> None:
    config = RobertaConfig(**CONFIG, id2label={0: "a|b", 1: "c"})
    assert r"| labels | a\|b, c |" in model_card(config, HEADS["token-classification"], "a/b", "X")
    assert "labels" not in rows_of(model_card(config, HEADS["masked-lm"], "a/b", "X"))
    many = RobertaConfig(**CONFIG, num_labels=60)
    labels = rows_of(model_card(many, HEADS["sequence-classification"], "a/b", "X"))["labels"]
    assert labels.startswith("LABEL_0, ")
    assert labels.endswith("LABEL_49, …")


def test_licence_and_origin_only_where_they_are_known() -> None:
    made = RobertaConfig(**CONFIG, name_or_path="some-folder", license="mit")
    card = ModelCard(model_card(made, HEADS["model"], "me/model", "X"))
    assert (card.data.license, card.data.base_model) == ("mit", None)
    fetched = RobertaConfig(**CONFIG, name_or_path="org/base", _commit_hash="f" * 40)
    assert ModelCard(model_card(fetched, HEADS["model"], "me/model", "X")).data.base_model == "org/base"
    assert ModelCard(model_card(fetched, HEADS["model"], "org/base", "X")).data.base_model is None
