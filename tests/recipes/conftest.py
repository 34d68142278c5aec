"""The recipe's folder on the path, and a small text in the layout of its corpus."""

import importlib.util
import lzma
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "recipes" / "embedded_model"))

import corpus

from robertakit.tokenizers.training import train_byte_level_bpe

if importlib.util.find_spec("torch") is None:  # which the recipe of the embedded model is written in
    collect_ignore = ["test_embedded_model.py", "test_evaluate.py", "test_start.py"]

VOCABULARY = 320


@pytest.fixture(scope="session")
def text(tmp_path_factory):
    """A folder of text in the layout of the corpus: two sources and a held-out file."""
    folder = tmp_path_factory.mktemp("text")
    generator = np.random.default_rng(0)
    words = ["river", "mountain", "forest", "valley", "city", "garden", "window", "summer", "winter"]
    for name, documents in (("one", 30), ("two", 12), ("heldout", 8)):
        with lzma.open(folder / f"{name}.txt.xz", "wt", encoding="utf-8") as file:
            for number in range(documents):
                file.write(f"{name} {number}\n")
                for _ in range(generator.integers(1, 4)):
                    drawn = [generator.choice(words, generator.integers(2, 9)) for _ in range(3)]
                    file.write(" ".join(f"The {' '.join(part)} is old." for part in drawn) + "\n")
                file.write("\n")
    return folder


@pytest.fixture(scope="session")
def shards(text, tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    paragraphs = [p for name in ("one", "two") for d in corpus.documents(text / f"{name}.txt.xz") for p in d]
    train_byte_level_bpe(paragraphs, VOCABULARY, folder / "tokenizer")
    tokenizer = corpus.load_tokenizer(folder / "tokenizer")
    for name in ("one", "two", "heldout"):
        corpus.tokenize(text / f"{name}.txt.xz", tokenizer).save(folder / f"{name}.npz.xz")
    return folder
