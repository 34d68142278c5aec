"""What comes before training: the recipe on record, the tokenizer, the tokens; each found again when it is done."""

from pathlib import Path

import pytest

from robertakit import AutoTokenizer, embedded
from robertakit.errors import RecipeError
from robertakit.training.preparation import RECIPE, TOKENIZER, have_tokens, prepare, training_corpora
from robertakit.training.recipe import Recipe, read_recipe

TEXT = "".join(
    f"Page {n}\nThe cat number {n} sat on the mat. The dog of {n} sat by the door.\n\n" for n in range(60)
)


def recipe_of(folder: Path, *overrides: str) -> Recipe:
    if not (folder / "text.txt").is_file():  # a text that is written anew is another one
        (folder / "text.txt").write_text(TEXT)
    (folder / "recipe.toml").write_text(
        'tokenizer = { train = "byte-level-bpe", vocabulary = 300 }\n'
        "model = { hidden_size = 8, num_hidden_layers = 1, num_attention_heads = 2, intermediate_size = 8 }\n"
        "packing = { lengths = 32 }\n"
        "held_out = { share = 0.2 }\n"
        "training = { steps = 2, batch_sequences = 4, learning_rate = 1e-3, warm_up = 0, workers = 1 }\n"
        f'sources = [{{ files = "{folder.as_posix()}/text.txt", language = "en" }}]\n'
    )
    return read_recipe(folder / "recipe.toml", overrides)


def test_held_out_documents_are_not_trained_on(tmp_path: Path) -> None:
    recipe, run = recipe_of(tmp_path), tmp_path / "run"
    assert not have_tokens(run)
    prepare(recipe, run)
    assert have_tokens(run)
    corpus, held_out = training_corpora(recipe, run)
    assert held_out is not None
    tokenizer = AutoTokenizer.from_pretrained(run / TOKENIZER)

    def pages(source: object) -> set[str]:
        text = tokenizer.decode(source.tokens.tolist())
        return {word for word in text.replace("The", " ").split() if word.isdigit()}

    trained, judged = pages(corpus.sources[0]), pages(held_out.sources[0])
    assert not trained & judged
    assert len(trained | judged) == 60
    assert 1 <= len(judged) <= 30


def test_what_is_done_is_taken_as_it_is_and_text_may_go(tmp_path: Path) -> None:
    recipe, run = recipe_of(tmp_path), tmp_path / "run"
    prepare(recipe, run)
    before = {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()}
    prepare(recipe, run)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before
    (tmp_path / "text.txt").unlink()
    prepare(recipe, run)
    assert {path: path.stat().st_mtime_ns for path in run.rglob("*") if path.is_file()} == before


def test_a_run_that_was_cut_off_goes_on_with_the_stage_it_was_in(tmp_path: Path) -> None:
    recipe, run = recipe_of(tmp_path), tmp_path / "run"
    prepare(recipe, run)
    whole = {path.relative_to(run): path.read_bytes() for path in run.rglob("*.tokens")}
    for stage in ("held-out", "text", TOKENIZER):
        for path in sorted((run / stage).rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()
        (run / stage).rmdir()
        prepare(recipe, run)
        assert {path.relative_to(run): path.read_bytes() for path in run.rglob("*.tokens")} == whole


def test_a_changed_recipe_is_refused_and_harmless_changes_are_written(tmp_path: Path) -> None:
    run = tmp_path / "run"
    prepare(recipe_of(tmp_path), run)
    prepare(recipe_of(tmp_path, "training.log_every=7"), run)
    assert "log_every = 7" in (run / RECIPE).read_text()
    with pytest.raises(RecipeError, match=r"masking.rate was 0.15 and is 0.3, training.seed was 1 and is 9"):
        prepare(recipe_of(tmp_path, "training.seed=9", "masking.rate=0.3"), run)
    assert "rate = 0.15" in (run / RECIPE).read_text()


def test_a_checkpoint_brings_its_tokenizer_which_may_grow(tmp_path: Path) -> None:
    shipped = embedded.folder()
    changes = ["tokenizer={}", f'model={{from="{Path(shipped).as_posix()}", extend_vocabulary=7}}']
    prepare(recipe_of(tmp_path, *changes), tmp_path / "run")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "run" / TOKENIZER)
    assert (
        len(AutoTokenizer.from_pretrained(shipped))
        < len(tokenizer)
        <= len(AutoTokenizer.from_pretrained(shipped)) + 7
    )
    with pytest.raises(RecipeError, match="has positions for"):
        prepare(recipe_of(tmp_path, *changes, "packing.lengths=4096"), tmp_path / "other")


def test_a_unigram_vocabulary_for_xlm_r(tmp_path: Path) -> None:
    changes = ['tokenizer={train="unigram", vocabulary=45}', 'model.family="xlm-roberta"']
    prepare(recipe_of(tmp_path, *changes), tmp_path / "run")
    assert (
        type(AutoTokenizer.from_pretrained(tmp_path / "run" / TOKENIZER)).__name__
        == "XLMRobertaTokenizerFast"
    )
