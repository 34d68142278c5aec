"""From a recipe to a model: every stage, gone on with after a kill, in one process and in two."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from safetensors.numpy import load_file

from robertakit import AutoModelForMaskedLM, AutoTokenizer, pipeline
from robertakit.errors import RecipeError, RobertakitError
from robertakit.training.logs import read_log
from robertakit.training.preparation import prepare
from robertakit.training.pretraining import pretrain
from robertakit.training.recipe import Recipe, read_recipe

TEXT = "".join(f"The cat number {n} sat on the mat. The dog of {n} sat by the door.\n\n" for n in range(80))


def write_recipe(folder: Path) -> Path:
    if not (folder / "text.txt").is_file():  # a text that is written anew is another one
        (folder / "text.txt").write_text(TEXT)
    path = folder / "recipe.toml"
    path.write_text(
        f"""
[tokenizer]
train = "byte-level-bpe"
vocabulary = 300
[[sources]]
files = "{folder.as_posix()}/text.txt"
name = "cats | dogs"
language = "en"
licence = "public domain"
[held_out]
share = 0.2
prompts = ["The cat sat on the <mask>."]
[model]
hidden_size = 16
num_hidden_layers = 1
num_attention_heads = 2
intermediate_size = 16
[packing]
lengths = 32
[training]
steps = 12
batch_sequences = 8
learning_rate = 1e-2
warm_up = 2
deterministic = true
device = "cpu"
log_every = 3
evaluate_every = 4
save_every = 4
workers = 1
"""
    )
    return path


def recipe_in(folder: Path, *overrides: str) -> Recipe:
    return read_recipe(write_recipe(folder), overrides)


def weights(model: Path) -> dict[str, np.ndarray]:
    return load_file(model / "model.safetensors")


def test_a_run_leaves_a_model_a_card_a_report_and_goes_on_when_it_is_done(tmp_path: Path) -> None:
    done = pretrain(recipe_in(tmp_path), tmp_path / "run", shown=False)
    assert (done.step, done.stopped) == (12, None)
    assert done.model is not None
    with pipeline("fill-mask", str(done.model)) as fill:
        assert fill("The cat sat on the <mask>.")[0]["score"] > 0
    assert AutoModelForMaskedLM.from_pretrained(done.model).config.vocab_size == 300
    card = (done.model / "README.md").read_text(encoding="utf-8")
    assert "| cats \\| dogs | en |" in card
    assert "to be written here" not in card
    rows = read_log(tmp_path / "run" / "log.jsonl")
    judged = [row for row in rows if row["event"] == "evaluate"]
    assert [row["step"] for row in judged] == [0, 4, 8, 12]
    assert judged[-1]["loss"] < judged[0]["loss"]
    assert all(len(row["samples"][0]["answers"]) == 5 for row in judged)
    assert "en" in judged[-1]["languages"]
    assert done.figures["loss"] == judged[-1]["loss"]
    page = done.report.read_text(encoding="utf-8")
    assert "cats | dogs" in page
    assert "The cat sat on the &lt;mask&gt;." in page

    before = weights(done.model)
    again = pretrain(recipe_in(tmp_path, "output.weights=float16"), tmp_path / "run", shown=False)
    assert again.model is not None
    for name, value in weights(again.model).items():
        np.testing.assert_array_equal(value, before[name].astype(np.float16))


def test_it_goes_on_from_a_checkpoint_with_more_words(tmp_path: Path) -> None:
    first = pretrain(recipe_in(tmp_path), tmp_path / "first", shown=False)
    assert first.model is not None
    (tmp_path / "text.txt").write_text("Demyelination slows axonal conduction.\n\n" * 40)
    source = f'sources=[{{files="{tmp_path.as_posix()}/text.txt"}}]'
    changes = [
        "tokenizer={}", f'model={{from="{first.model.as_posix()}", extend_vocabulary=12, hidden_dropout_prob=0.0}}',
        "held_out={}", source, "training.steps=3",
    ]  # fmt: skip
    recipe = read_recipe(tmp_path / "recipe.toml", changes)
    second = pretrain(recipe, tmp_path / "second", shown=False)
    assert second.model is not None
    model, tokenizer = (
        AutoModelForMaskedLM.from_pretrained(second.model),
        AutoTokenizer.from_pretrained(second.model),
    )
    assert model.config.vocab_size == len(tokenizer) == 312
    assert model.config.hidden_dropout_prob == 0.0
    assert len(tokenizer.tokenize("axonal conduction")) < len(
        AutoTokenizer.from_pretrained(first.model).tokenize("axonal conduction")
    )
    assert "was gone on with" in (second.model / "README.md").read_text(encoding="utf-8")


def test_a_prompt_that_does_not_fit_is_told_before_training(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path, f'held_out.prompts=["{"cat " * 600}<mask>"]')
    with pytest.raises(RecipeError, match="expected at most 512"):
        pretrain(recipe, tmp_path / "run", shown=False)
    assert not (tmp_path / "run" / "log.jsonl").is_file()


def test_a_damaged_text_is_told(tmp_path: Path) -> None:
    recipe = recipe_in(tmp_path)
    prepare(recipe, tmp_path / "run")
    path = next((tmp_path / "run" / "text").glob("*.tokens"))
    content = bytearray(path.read_bytes())
    content[3] ^= 1
    path.write_bytes(content)
    with pytest.raises(RobertakitError, match=path.name):
        pretrain(recipe, tmp_path / "run", shown=False)


def command(recipe: Path, run: Path, *more: str, processes: int = 1) -> list[str]:
    launcher = [sys.executable, "-m"]
    if processes > 1:
        launcher += ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}", "-m"]
    return [*launcher, "robertakit", "pretrain", str(recipe), "--folder", str(run), "--quiet", *more]


ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_killed_at_any_stage_the_command_ends_with_the_same_weights(tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path)
    longer = ["--set", "training.steps=60", "--set", "model.hidden_dropout_prob=0.1"]
    subprocess.run(
        command(recipe, tmp_path / "whole", *longer), check=True, env=ENVIRONMENT, capture_output=True
    )
    kills, generator = 0, np.random.default_rng(5)
    for _ in range(8):
        process = subprocess.Popen(
            command(recipe, tmp_path / "killed", *longer),
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(2.0 + 2.5 * generator.random())
        if process.poll() is None:
            process.send_signal(signal.SIGKILL)
            kills += 1
        process.wait()
    subprocess.run(
        command(recipe, tmp_path / "killed", *longer), check=True, env=ENVIRONMENT, capture_output=True
    )
    assert kills >= 2
    one, other = weights(tmp_path / "whole" / "model"), weights(tmp_path / "killed" / "model")
    assert one.keys() == other.keys()
    for name, value in one.items():
        np.testing.assert_array_equal(value, other[name])


@pytest.mark.slow
@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_train_what_one_does(tmp_path: Path, parallel: str) -> None:
    recipe = write_recipe(tmp_path)
    same = ["--set", "model.hidden_dropout_prob=0.0", "--set", "model.attention_probs_dropout_prob=0.0"]
    subprocess.run(command(recipe, tmp_path / "one", *same), check=True, env=ENVIRONMENT, capture_output=True)
    two = command(recipe, tmp_path / "two", *same, "--set", f"training.parallel={parallel}", processes=2)
    subprocess.run(two, check=True, env=ENVIRONMENT, capture_output=True)
    rows = [read_log(tmp_path / name / "log.jsonl") for name in ("one", "two")]
    losses = [[row["loss"] for row in each if row["event"] in ("step", "evaluate")] for each in rows]
    assert len(losses[0]) == len(losses[1]) == 8
    np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
    samples = [[row["samples"] for row in each if row["event"] == "evaluate"] for each in rows]
    assert json.dumps([s[0]["answers"][0]["token"] for s in samples[0]]) == json.dumps(
        [s[0]["answers"][0]["token"] for s in samples[1]]
    )
    one, other = weights(tmp_path / "one" / "model"), weights(tmp_path / "two" / "model")
    for name, value in one.items():
        np.testing.assert_allclose(other[name], value, rtol=1e-3, atol=1e-4)
