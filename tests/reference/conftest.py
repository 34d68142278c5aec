"""A Hub cache whose small checkpoints bear the names of the reference pages, and answer as the pages say.

Random backbones with the published vocabularies; the heads are solved, not trained: on the pages' own texts the
specification in NumPy computes the hidden states, and the last layer is set so that the scores are those that give
the printed answers and losses. A framework that computes anything else prints something else.
"""

import math
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

import robertakit.numpy as specification
from robertakit import (
    PreTrainedTokenizerBase,
    RobertaConfig,
    RobertaTokenizerFast,
    XLMRobertaConfig,
    XLMRobertaTokenizerFast,
)
from robertakit.architecture import initial_weights
from robertakit.checkpoints import save_weights

Weights = dict[str, np.ndarray]
COMMIT = "0123456789abcdef0123456789abcdef01234567"
#: The checkpoints' names -> how one is made.
NAMES = {
    "roberta-base": "roberta-base",
    "FacebookAI/roberta-base": "roberta-base",
    "xlm-roberta-base": "xlm-roberta-base",
    "cardiffnlp/twitter-roberta-base-emotion": "emotion",
    "Jean-Baptiste/roberta-large-ner-english": "entities",
    "ydshieh/roberta-large-ner-english": "entities",
    "deepset/roberta-base-squad2": "answers",
    "ydshieh/roberta-base-squad2": "answers",
}
_ENTITIES = ("O", "ORG", "ORG", "O", "O", "O", "O", "O", "LOC", "O", "LOC", "LOC")
#: The companies of the pages -> the labels of their names' tokens. The second stands on the mirrored page, which
#: replaced the name and left the labels as they were: its name has a token more.
COMPANIES = {"HuggingFace": _ENTITIES[:3], "BOINCAI": (*_ENTITIES[:3], "ORG")}


def make_cache(cache: Path, vocabularies: Path) -> None:
    """Write the checkpoints into a folder as the Hub's client would have.

    Args:
        cache: made if it is not there; what ``HF_HUB_CACHE`` names.
        vocabularies: ``../shared/data/tokenizers``.
    """
    makers: dict[str, Callable[[Path, Path], None]] = {
        "roberta-base": _masked_words,
        "xlm-roberta-base": _many_languages,
        "emotion": _emotions,
        "entities": _named_entities,
        "answers": _answers,
    }
    made: dict[str, Path] = {}
    for name, kind in NAMES.items():
        repository = cache / f"models--{name.replace('/', '--')}"
        if kind in made:
            repository.symlink_to(made[kind], target_is_directory=True)
            continue
        files = cache / "made" / kind
        files.mkdir(parents=True)
        makers[kind](files, vocabularies)
        _store(repository, files)
        made[kind] = repository
    shutil.rmtree(cache / "made")


def _store(repository: Path, files: Path) -> None:
    """The Hub's layout: contents under ``blobs``, and a snapshot of links to them."""
    snapshot, blobs = repository / "snapshots" / COMMIT, repository / "blobs"
    for folder in (snapshot, blobs, repository / "refs"):
        folder.mkdir(parents=True)
    (repository / "refs" / "main").write_text(COMMIT)
    for number, file in enumerate(sorted(files.iterdir())):
        blob = blobs / f"{number:040x}"
        file.rename(blob)
        (snapshot / file.name).symlink_to(Path("..", "..", "blobs", blob.name))


def _config(**fields: object) -> RobertaConfig:
    sizes = {
        "vocab_size": 50265,
        "hidden_size": 32,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 48,
        "max_position_embeddings": 514,
        "type_vocab_size": 1,
        "layer_norm_eps": 1e-5,
        "initializer_range": 0.2,
    }
    return RobertaConfig(**(sizes | fields))


def _tokenizer(files: Path, vocabularies: Path) -> RobertaTokenizerFast:
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(vocabularies / "roberta" / name, files / name)
    return RobertaTokenizerFast.from_pretrained(files)


def _save(files: Path, config: RobertaConfig, weights: Weights, architecture: str) -> None:
    config.architectures = [architecture]
    save_weights(files, weights, config_json=config.to_json_string())


def _hidden(config: RobertaConfig, weights: Weights, encoding: Mapping[str, np.ndarray]) -> np.ndarray:
    """The last hidden states (L, W) of one text, in float64."""
    backbone = {
        name.removeprefix("roberta."): value for name, value in weights.items() if name.startswith("roberta.")
    }
    model = specification.RobertaModel(config, weights=backbone, dtype="float64", add_pooling_layer=False)
    hidden: np.ndarray = model(**encoding).last_hidden_state[0]
    return hidden


def _solve(rows: np.ndarray, scores: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The linear layer (C, W), (C,) that gives these scores (R, C) on these rows (R, W)."""
    extended = np.hstack([rows, np.ones((len(rows), 1))])
    solved = np.linalg.lstsq(extended, scores, rcond=None)[0].T
    assert np.abs(extended @ solved.T - scores).max() < 1e-6, "more rows than the layer has room for"
    return solved[:, :-1].astype(np.float32), solved[:, -1].astype(np.float32)


def _masked_words(files: Path, vocabularies: Path) -> None:
    """``' Paris'`` for the capital of France, with a loss of 0.1."""
    config = _config()
    weights = initial_weights(config, "masked-lm", seed=0)
    _teach_paris(config, weights, _tokenizer(files, vocabularies))
    _save(files, config, weights, "RobertaForMaskedLM")


def _many_languages(files: Path, vocabularies: Path) -> None:
    """The same with XLM-R's vocabulary."""
    shutil.copyfile(
        vocabularies / "xlm-roberta" / "sentencepiece.bpe.model", files / "sentencepiece.bpe.model"
    )
    sizes = _config(vocab_size=250002, hidden_size=16).to_dict()
    config = XLMRobertaConfig.from_dict(
        {name: value for name, value in sizes.items() if name != "model_type"}
    )
    weights = initial_weights(config, "masked-lm", seed=1)
    _teach_paris(config, weights, XLMRobertaTokenizerFast.from_pretrained(files))
    _save(files, config, weights, "XLMRobertaForMaskedLM")


def _teach_paris(config: RobertaConfig, weights: Weights, tokenizer: PreTrainedTokenizerBase) -> None:
    """Set the bias of one word, which the decoder shares with no embedding."""
    encoding = tokenizer("The capital of France is <mask>.", return_tensors="np")
    (paris,) = tokenizer(" Paris", add_special_tokens=False)["input_ids"]
    logits = specification.RobertaForMaskedLM(config, weights=weights, dtype="float64")(**encoding).logits[0]
    scores = logits[encoding["input_ids"][0] == tokenizer.mask_token_id][0]
    others = np.logaddexp.reduce(np.delete(scores, paris))
    right = math.exp(-0.1)
    weights["lm_head.bias"][paris] += others + math.log(right / (1 - right)) - scores[paris]


def _emotions(files: Path, vocabularies: Path) -> None:
    """``'optimism'``, with a loss of 0.08; of several labels, this one alone."""
    tokenizer = _tokenizer(files, vocabularies)
    config = _config(id2label=dict(enumerate(["joy", "optimism", "anger", "sadness"])))
    weights = initial_weights(config, "sequence-classification", seed=2)
    encoding = tokenizer("Hello, my dog is cute", return_tensors="np")
    model = specification.RobertaForSequenceClassification(config, weights=weights, dtype="float64")
    right = math.exp(-0.08)
    wanted = np.log([(1 - right) / 3, right, (1 - right) / 3, (1 - right) / 3]) + 1  # above 0 for one alone
    weights["classifier.out_proj.bias"] += (wanted - model(**encoding).logits[0]).astype(np.float32)
    _save(files, config, weights, "RobertaForSequenceClassification")


def _named_entities(files: Path, vocabularies: Path) -> None:
    """The twelve labels, with a loss of 0.01, for the companies of all pages."""
    tokenizer = _tokenizer(files, vocabularies)
    labels = ["O", "LOC", "MISC", "ORG", "PER"]
    config = _config(id2label=dict(enumerate(labels)))
    weights = initial_weights(config, "token-classification", seed=3)
    right = math.exp(-0.01)
    rows, scores = [], []
    for name, first in COMPANIES.items():
        text = f"{name} is a company based in Paris and New York"
        rows.append(_hidden(config, weights, tokenizer(text, add_special_tokens=False, return_tensors="np")))
        wanted = [labels.index(label) for label in (*first, *_ENTITIES[3:])]
        chances = np.full((len(wanted), len(labels)), (1 - right) / (len(labels) - 1))
        chances[range(len(wanted)), wanted] = right
        scores.append(np.log(chances))
    solved = _solve(np.concatenate(rows), np.concatenate(scores))
    weights["classifier.weight"], weights["classifier.bias"] = solved
    _save(files, config, weights, "RobertaForTokenClassification")


def _answers(files: Path, vocabularies: Path) -> None:
    """``' puppet'`` (token 15), with a loss of 0.86 where the answer begins one token earlier."""
    tokenizer = _tokenizer(files, vocabularies)
    config = _config()
    weights = initial_weights(config, "question-answering", seed=4)
    encoding = tokenizer("Who was Jim Henson?", "Jim Henson was a nice puppet", return_tensors="np")
    rows = _hidden(config, weights, encoding)
    end = 0.9
    begin = math.exp(-2 * 0.86 - math.log(end))  # the loss is the mean of both
    scores = np.full((len(rows), 2), (1 - end) / (len(rows) - 1))
    scores[:, 0] = (1 - begin - 0.75) / (len(rows) - 2)
    scores[[14, 15], 0] = begin, 0.75
    scores[15, 1] = end
    weights["qa_outputs.weight"], weights["qa_outputs.bias"] = _solve(rows, np.log(scores))
    _save(files, config, weights, "RobertaForQuestionAnswering")


@pytest.fixture(scope="session")
def cache(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Hub's cache with a small checkpoint under every name of the pages."""
    folder = tmp_path_factory.mktemp("hub")
    make_cache(folder, shared / "data" / "tokenizers")
    return folder


@pytest.fixture
def hub(cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """The environment in which the cache is all there is; returned for other processes."""
    environment = {"HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    for module, name, value in [  # who imported these before has read the environment as it was then
        ("huggingface_hub.constants", "HF_HUB_CACHE", str(cache)),
        ("huggingface_hub.constants", "HF_HUB_OFFLINE", True),
        ("transformers.utils.hub", "TRANSFORMERS_CACHE", str(cache)),
        ("transformers.utils.hub", "_is_offline_mode", True),
    ]:
        if hasattr(sys.modules.get(module), name):
            monkeypatch.setattr(sys.modules[module], name, value)
    monkeypatch.chdir(tmp_path)
    return environment
