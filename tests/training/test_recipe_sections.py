"""The sections of a recipe: what each setting means for the configuration, and that all of them are documented."""

import dataclasses
from pathlib import Path

import pytest

from robertakit import RobertaConfig, XLMRobertaConfig
from robertakit.training.recipe_sections import SECTIONS, Model
from robertakit.training.recipe_values import key_of, toml

PAGE = Path(__file__).resolve().parents[2] / "docs" / "pretraining.md"


@pytest.mark.parametrize("name", SECTIONS)
def test_each_setting_is_documented(name: str) -> None:
    section = SECTIONS[name]
    documented = (section.__doc__ or "").split("Attributes:")[1]
    for field in dataclasses.fields(section):
        assert f"\n        {field.name}: " in documented, field.name


def test_a_new_model_is_of_its_family_with_the_released_sizes() -> None:
    config = Model(family="xlm-roberta", fields={"num_hidden_layers": 2}).config(vocab_size=1000)
    assert type(config) is XLMRobertaConfig
    assert (config.num_hidden_layers, config.hidden_size, config.vocab_size) == (2, 768, 1000)
    assert (config.max_position_embeddings, config.type_vocab_size, config.layer_norm_eps) == (514, 1, 1e-5)
    assert type(Model().config(vocab_size=500)) is RobertaConfig


@pytest.mark.parametrize("name", SECTIONS)
def test_the_page_has_each_setting_with_its_default(name: str) -> None:
    _, _, table = PAGE.read_text(encoding="utf-8").partition(
        f"[{name}]" + ("]`" if name == "sources" else "`")
    )
    table = table.partition("\n##")[0]
    for field in dataclasses.fields(SECTIONS[name]):
        if field.metadata:
            mark = "" if field.metadata["decides"] else " *"
            default = f"`{toml(field.default)}`" if field.default not in (None, dataclasses.MISSING) else ""
            assert f"| `{key_of(field)}`{mark} | {default}" in table, field.name
