"""Recipes: read, judged whole, overridden; and each of those that come with the project."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from robertakit.errors import RecipeError
from robertakit.training.recipe import Recipe, read_recipe

GOOD = """
[tokenizer]
train = "byte-level-bpe"
vocabulary = 300

[[sources]]
files = "text/*.txt"
language = "en"

[model]
hidden_size = 32
num_attention_heads = 2
num_hidden_layers = 1

[training]
steps = 10
batch_sequences = 8
learning_rate = 1e-3
warm_up = 2
"""


@pytest.fixture(autouse=True)
def in_a_folder_with_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "text").mkdir()
    (tmp_path / "text" / "a.txt").write_text("Some text.\n")
    (tmp_path / "good.toml").write_text(GOOD)
    monkeypatch.chdir(tmp_path)


def problems(*overrides: str, recipe: str = "good.toml") -> list[str]:
    with pytest.raises(RecipeError) as caught:
        read_recipe(recipe, overrides)
    return re.findall(r"^- (.*)$", str(caught.value), re.MULTILINE)


def test_a_good_recipe_is_read() -> None:
    recipe = read_recipe("good.toml")
    assert recipe.sources[0].files == ("text/*.txt",)
    assert recipe.training.betas == (0.9, 0.98)
    config = recipe.model.config(vocab_size=300)
    # What the recipe leaves out is as released: 514 positions, one segment.
    assert (config.hidden_size, config.vocab_size, config.max_position_embeddings) == (32, 300, 514)


def test_a_resolved_recipe_reads_back_as_the_same_and_says_everything(tmp_path: Path) -> None:
    recipe = read_recipe("good.toml", ["masking.rate=0.3", 'held_out.prompts=["A \\"b\\" <mask>."]'])
    (tmp_path / "resolved.toml").write_text(recipe.toml())
    assert read_recipe("resolved.toml") == recipe
    assert "epsilon = 1e-06" in recipe.toml()


@pytest.mark.parametrize(
    ("override", "got"),
    [
        ("training.steps=20", lambda recipe: recipe.training.steps == 20),
        ("training.precision=bf16", lambda recipe: recipe.training.precision == "bf16"),
        ('training.precision="bf16"', lambda recipe: recipe.training.precision == "bf16"),
        ("sources.0.weight=2", lambda recipe: recipe.sources[0].weight == 2),
        ("sources.0.files=text/a.txt", lambda recipe: recipe.sources[0].files == ("text/a.txt",)),
        ("model.num_hidden_layers = 3", lambda recipe: recipe.model.fields["num_hidden_layers"] == 3),
        ("packing.lengths=[[64,0.5],[128,0.5]]", lambda recipe: len(recipe.packing.lengths) == 2),
    ],
)
def test_settings_are_overridden(override: str, got: Callable[[Recipe], bool]) -> None:
    assert got(read_recipe("good.toml", [override]))


def test_all_problems_stand_in_one_message() -> None:
    told = problems(
        "training.setps=5", "masking.rate=15", "sources.0.files=gone/*.txt", "trainin.x=1", "nothing"
    )
    assert told == [
        "'nothing' sets nothing; expected section.key=value",
        "[trainin] is unknown; did you mean [training]?",
        "masking.rate is 15; expected a number above 0 and below 1",
        "training.setps is unknown; did you mean 'steps'?",
        'sources.0.files: there is no file "gone/*.txt".',
    ]


@pytest.mark.parametrize(
    ("overrides", "words"),
    [
        (["tokenizer.from=x"], "one of train (a kind of vocabulary) and from"),
        (["tokenizer.vocabulary=100"], "at least 261"),
        (["model.family=xlm-roberta"], "reads 'unigram'"),
        (["model.family=bert"], "expected 'roberta' or 'xlm-roberta'"),
        (["model.hidden_size=33"], "33"),
        (["model.hiden_size=64"], "did you mean 'hidden_size'?"),
        (["model.vocab_size=64"], "the tokenizer's to say"),
        (["model.extend_vocabulary=5"], "needs model.from"),
        (["model.from=x"], "[tokenizer] stands beside model.from"),
        (["packing.lengths=1024"], "has room for 512"),
        (["packing.lengths=[[64,0.5],[128,0.4]]"], "add up to 1"),
        (["packing.smoothing=0.3", "sources=[{files='text/a.txt'}]"], "have no language"),
        (["masking.split=[0.8,0.1,0.2]"], "add up to 1"),
        (["held_out.share=0.1", "held_out.files=text/a.txt"], "expected one of them"),
        (["held_out.prompts=No hole."], "one <mask> in each"),
        (["training.warm_up=11"], "within the run"),
        (["training.minutes=3"], "one of steps"),
        (["sources=[]"], "no [[sources]]"),
        (["sources.3.weight=2"], "there is no sources.3"),
        (["training.steps=[1"], "no value in TOML"),
        (["training.steps=1\nx=2"], "more than one value"),
    ],
)
def test_contradictions_are_told(overrides: list[str], words: str) -> None:
    assert words in "\n".join(problems(*overrides))


def test_files_need_not_be_there_once_they_are_tokenized() -> None:
    Path("text/a.txt").unlink()
    assert read_recipe("good.toml", files=False).sources
    assert problems() == ['sources.0.files: there is no file "text/*.txt".']


def test_a_file_that_is_no_recipe_is_told() -> None:
    with pytest.raises(RecipeError, match="there is no recipe"):
        read_recipe("absent.toml")
    Path("bad.toml").write_text("[training")
    with pytest.raises(RecipeError, match="TOML"):
        read_recipe("bad.toml")


def test_changes_name_what_decides() -> None:
    old = read_recipe("good.toml")
    new = read_recipe("good.toml", ["training.log_every=1", "training.seed=7", "sources.0.weight=2"])
    assert old.changes(new) == ["sources.0.weight was 1.0 and is 2.0", "training.seed was 1 and is 7"]


def test_reading_needs_no_framework() -> None:
    code = (
        "import sys; from robertakit.training.recipe import read_recipe; read_recipe('good.toml');"
        "print(*{'torch', 'tensorflow', 'jax'} & set(sys.modules))"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert (done.returncode, done.stdout.strip()) == (0, ""), done.stderr


RECIPES = sorted((Path(__file__).resolve().parents[2] / "recipes").glob("*.toml"))


@pytest.mark.skipif(not RECIPES, reason="an installed package has no recipes beside it")
@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_each_recipe_of_the_project_is_right(path: Path, tmp_path: Path) -> None:
    recipe = read_recipe(path, files=False)
    (tmp_path / "resolved.toml").write_text(recipe.toml(), encoding="utf-8")
    assert read_recipe(tmp_path / "resolved.toml", files=False) == recipe
    if recipe.model.origin is None:
        assert recipe.model.config(vocab_size=recipe.tokenizer.vocabulary).num_hidden_layers > 0


# Liu et al. 2019, table 9, and Conneau et al. 2020, section 3.1:
# (layers, width, feed-forward, heads, vocabulary, updates, rows, peak, warm-up, smoothing).
PUBLISHED = {
    "roberta-base": (12, 768, 3072, 12, 50265, 500_000, 8192, 6e-4, 24_000, None),
    "roberta-large": (24, 1024, 4096, 16, 50265, 500_000, 8192, 4e-4, 30_000, None),
    "xlm-roberta-base": (12, 768, 3072, 12, 250_002, 1_500_000, 8192, 6e-4, 24_000, 0.3),
    "xlm-roberta-large": (24, 1024, 4096, 16, 250_002, 1_500_000, 8192, 4e-4, 30_000, 0.3),
}


@pytest.mark.skipif(not RECIPES, reason="an installed package has no recipes beside it")
@pytest.mark.parametrize("name", PUBLISHED)
def test_published_recipes_have_the_papers_numbers(name: str) -> None:
    recipe = read_recipe(RECIPES[0].with_name(f"{name}.toml"), files=False)
    config, training = recipe.model.config(recipe.tokenizer.vocabulary), recipe.training
    found = (
        config.num_hidden_layers, config.hidden_size, config.intermediate_size, config.num_attention_heads,
        config.vocab_size, training.steps, training.batch_sequences, training.learning_rate, training.warm_up,
        recipe.packing.smoothing,
    )  # fmt: skip
    assert found == PUBLISHED[name]
    assert (training.betas, training.epsilon, training.weight_decay, training.clip) == (
        (0.9, 0.98),
        1e-6,
        0.01,
        0,
    )
    assert (config.hidden_dropout_prob, config.attention_probs_dropout_prob) == (0.1, 0.1)
    assert (recipe.masking.rate, recipe.masking.split) == (0.15, (0.8, 0.1, 0.1))
    preset = type(config).preset(name)
    for field in (
        "max_position_embeddings",
        "type_vocab_size",
        "layer_norm_eps",
        "hidden_act",
        "hidden_size",
    ):
        assert getattr(config, field) == getattr(preset, field)
