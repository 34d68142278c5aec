"""The recipes of recipes/fine_tuning: on a slice of SST-2 both beat the commonest label clearly, and answer again."""

import importlib
from pathlib import Path

import numpy as np
import pytest

NEEDED = {"with_keras": ("tensorflow", "keras"), "with_optax": ("jax", "flax", "optax")}


@pytest.fixture
def recipe(root: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest):
    for name in NEEDED[request.param]:
        pytest.importorskip(name)
    monkeypatch.syspath_prepend(root / "recipes" / "fine_tuning")
    return importlib.import_module(request.param)


@pytest.mark.slow  # 194 s for both on a busy machine
@pytest.mark.parametrize("recipe", NEEDED, indirect=True)
def test_a_slice_of_sst2_is_learnt(recipe, shared: Path, tmp_path: Path) -> None:
    sentences = importlib.import_module("sentences")
    options = sentences.Options(shared / "data" / "tasks" / "sst2", 2000, 2, output=tmp_path)
    accuracy, majority = recipe.fine_tune(options)
    assert majority == pytest.approx(444 / 872)
    assert accuracy > majority + 0.1

    from robertakit.batch import Batch, Encoding
    from robertakit.engine_choice import load_engine

    dev = sentences.read(options.data / "dev.tsv")
    engine = load_engine(tmp_path, "sequence-classification", engine="numpy")
    texts = [Encoding(ids[mask == 1]) for ids, mask in zip(dev.input_ids, dev.attention_mask, strict=True)]
    logits = np.concatenate(
        [
            engine.run(Batch.from_encodings(texts[first : first + 109], 1))["logits"]
            for first in range(0, 872, 109)
        ]
    )
    assert float((logits.argmax(-1) == dev.labels).mean()) == pytest.approx(accuracy, abs=2 / 872)
