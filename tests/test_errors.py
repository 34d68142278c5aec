"""The exception tree: every leaf raised for real, with what was given, what was expected and what to do."""

import pickle
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import robertakit
import robertakit.numpy
from robertakit import RobertaConfig, errors
from robertakit.architecture import head_named
from robertakit.batch import check_ids, plan, position_ids, unpack
from robertakit.checkpoints import load_weights, save_weights
from robertakit.checkpoints.loading import stored_weights
from robertakit.errors import RobertakitError, listed, require
from robertakit.files import locate
from robertakit.training.loop_settings import check_unchanged
from robertakit.training.recipe import read_recipe
from robertakit.training.shards import Corpus
from robertakit.training.sources import Source

GOLDEN = Path(__file__).parent / "golden"
CHECKPOINTS = GOLDEN / "checkpoints"
SMALL = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}


def leaves(cls: type[RobertakitError] = RobertakitError) -> Iterator[type[RobertakitError]]:
    below = [child for child in cls.__subclasses__() if child.__module__ == errors.__name__]
    if not below:
        yield cls
    for child in below:
        yield from leaves(child)


def an_unsupported_format(folder: Path) -> None:
    header = b'{"x": {"dtype": "F8_E4M3", "shape": [2], "data_offsets": [0, 2]}}'
    (folder / "model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header + bytes(2))
    stored_weights(locate(folder))["x"].read()


def a_failed_save(folder: Path) -> None:
    (folder / "taken").write_text("a file where the folder should be")
    save_weights(folder / "taken", {"x": np.zeros(2, np.float32)}, config_json=None)


def no_mask(folder: Path) -> None:
    with robertakit.pipeline("fill-mask", str(GOLDEN / "fill_mask" / "roberta")) as fill:
        fill("nothing to fill")


#: One way to each leaf, and words that its sentence must hold: of what was given, expected, and to be done.
TRIGGERS: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "ConfigError": (
        lambda _: RobertaConfig(hidden_size=10, num_attention_heads=3),
        ("hidden_size", "10", "3"),
    ),
    "TooLong": (
        lambda _: check_ids(RobertaConfig(**SMALL), position_ids=position_ids(np.zeros((1, 513), int), 1)),
        ("513 tokens", "at most 510", "truncate"),
    ),
    "NoMask": (no_mask, ("nothing to fill", "<mask>")),
    "BadShape": (
        lambda _: unpack(np.zeros(2), np.array([[True]])),
        ("2 rows", "expected 1"),
    ),
    "ArgumentError": (lambda _: head_named("RobertaForNothing"), ("RobertaForNothing", "masked-lm")),
    "RecipeError": (
        lambda folder: read_recipe(folder / "absent.toml"),
        ("absent.toml", "name a TOML file"),
    ),
    "TokenizerError": (
        robertakit.RobertaTokenizer.from_pretrained,
        ("vocab.json",),
    ),
    "DependencyError": (
        lambda _: require("no_such_framework", extra="torch", needed_for="RobertaModel"),
        ("RobertaModel", "no_such_framework", "robertakit[torch]"),
    ),
    "NotFound": (lambda folder: locate(folder / "absent"), ("absent",)),
    "CorruptFile": (
        lambda _: load_weights(CHECKPOINTS / "broken/truncated", RobertaConfig(**SMALL), "masked-lm"),
        ("model.safetensors",),
    ),
    "UnsupportedFormat": (an_unsupported_format, ("F8_E4M3", "convert it first")),
    "TensorMismatch": (
        lambda _: robertakit.numpy.load(CHECKPOINTS / "broken/missing_backbone_tensor", head="masked-lm"),
        ("roberta.encoder.layer.1.output.dense.weight", "strict=False"),
    ),
    "SaveFailed": (a_failed_save, ("taken",)),
    "SourceError": (
        lambda folder: Source((str(folder / "*.txt"),)).paths(),
        ("*.txt", "finds no file", "glob"),
    ),
    "ShardError": (Corpus.open, ("manifest.json", "folder of shards", "tokenize")),
    "TrainingError": (
        lambda _: check_unchanged({"seed": 1}, {"seed": 2}),
        ("seed was 1 and is 2", "another folder"),
    ),
}


def test_every_leaf_has_a_trigger() -> None:
    assert {leaf.__name__ for leaf in leaves()} == set(TRIGGERS)


@pytest.mark.parametrize("name", TRIGGERS)
def test_each_leaf_is_raised_for_real(name: str, tmp_path: Path) -> None:
    trigger, words = TRIGGERS[name]
    with pytest.raises(getattr(errors, name)) as caught:
        trigger(tmp_path)
    sentence = str(caught.value)
    assert caught.value.given
    assert caught.value.expected or caught.value.hint
    for word in words:
        assert word in sentence, sentence
    assert "\n" not in sentence
    assert sentence.endswith(".")


def test_the_root_is_above_all_and_inputs_are_value_errors() -> None:
    with pytest.raises(RobertakitError):
        plan([1], 0)
    assert issubclass(errors.InputError, ValueError)
    assert issubclass(errors.ArgumentError, TypeError)
    assert issubclass(errors.DependencyError, ImportError)
    assert issubclass(errors.NotFound, OSError)


def test_the_tree_in_the_text_is_the_tree_in_the_code() -> None:
    drawn = {
        line.lstrip("│├└─ ").split(" ")[0] for line in (errors.__doc__ or "").splitlines() if "─ " in line
    }
    in_code = {name for name in errors.__all__ if isinstance(getattr(errors, name), type)}
    assert drawn | {"RobertakitError"} == in_code


@pytest.mark.parametrize("leaf", list(leaves()), ids=lambda leaf: leaf.__name__)
def test_errors_survive_pickling(leaf: type[RobertakitError]) -> None:
    """Worker processes hand errors to their parents by pickle."""
    error = leaf(given="a", expected="b", hint="c")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.hint) == (leaf, "a; expected b; c.", "c")


def test_lists_are_sorted_and_cut_with_a_count() -> None:
    assert listed(["b", "a"]) == "a, b"
    assert listed((str(n) for n in range(12)), most=3) == "0, 1, 10 (+9 more)"


def test_a_package_that_is_broken_inside_is_not_called_absent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import something_it_lacks")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="something_it_lacks") as caught:
        require("half_installed", extra="torch", needed_for="RobertaModel")
    assert not isinstance(caught.value, errors.DependencyError)


def test_a_question_ends_the_sentence():
    assert (
        str(errors.InputError("the task 'x'", hint="did you mean 'y'?")) == "the task 'x'; did you mean 'y'?"
    )
