"""The recipe's folder on the path; a small text in the layout of its corpus, a tokenizer of it, and a new model."""

import lzma
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent / "recipes" / "embedded_model"))

from safetensors.numpy import save_file

from robertakit import RobertaConfig, RobertaTokenizerFast
from robertakit.architecture import initial_weights
from robertakit.tokenizers.training import train_byte_level_bpe

VOCABULARY = 400


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
def model_folder(text, tmp_path_factory):
    """A model with new weights and a tokenizer of the text."""
    folder = tmp_path_factory.mktemp("model")
    lines = [lzma.decompress((text / f"{name}.txt.xz").read_bytes()).decode() for name in ("one", "two")]
    asked = ["It is he. It is she. This is good and that is bad."] * 100  # words of the bias probes
    train_byte_level_bpe([*"".join(lines).split("\n"), *asked], VOCABULARY, folder)
    tokenizer = RobertaTokenizerFast.from_pretrained(folder)
    tokenizer.save_pretrained(folder)
    config = RobertaConfig(
        vocab_size=len(tokenizer), hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=514, type_vocab_size=1,
    )  # fmt: skip
    config.save_pretrained(folder)
    save_file(initial_weights(config, "masked-lm", 1), folder / "model.safetensors", {"format": "pt"})
    return folder


@pytest.fixture(scope="session")
def tokenizer(model_folder):
    return RobertaTokenizerFast.from_pretrained(model_folder)


class KnowingEngine:
    """An engine that gives each packed row the logits that `say(batch, row)` names: {id: logit}, else 0."""

    def __init__(self, vocab_size, say):
        self.vocab_size, self.say = vocab_size, say

    def run(self, batch, rows=None):
        logits = np.zeros((len(rows), self.vocab_size))
        for at, row in enumerate(rows):
            for index, logit in self.say(batch, int(row)).items():
                logits[at, index] = logit
        return {"logits": logits}


@pytest.fixture
def knowing():
    return KnowingEngine


@pytest.fixture(scope="session")
def shipped_tokenizer(root):
    return RobertaTokenizerFast.from_pretrained(root / "src" / "robertakit" / "embedded" / "english")
