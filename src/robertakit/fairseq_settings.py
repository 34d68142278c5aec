"""The configuration that fairseq's ``model.pt`` carries in place of a ``config.json``: settings beside its tensors.

Read as data: an ``argparse.Namespace`` under ``args``, or tables under ``cfg``. The sizes of tables (vocabulary,
positions, segments, labels) are those of the tensors, as fairseq writes them nowhere.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from robertakit.errors import ConfigError, CorruptFile, listed

__all__ = ["FAIRSEQ_FILE", "fairseq_fields", "fairseq_model"]

#: What fairseq's releases call a checkpoint.
FAIRSEQ_FILE: Final = "model.pt"
#: A setting -> the field that it is. The first four have no default here: no tensor tells all of them.
_REQUIRED: Final = {
    "encoder_embed_dim": "hidden_size",
    "encoder_layers": "num_hidden_layers",
    "encoder_attention_heads": "num_attention_heads",
    "encoder_ffn_embed_dim": "intermediate_size",
}
_OPTIONAL: Final = {
    "dropout": "hidden_dropout_prob",
    "attention_dropout": "attention_probs_dropout_prob",
    "pooler_dropout": "classifier_dropout",
}
#: Fairseq's name of an activation -> ours, where they differ. Its "fast" and "accurate" are GPT's tanh form.
_ACTIVATIONS: Final = {"gelu_fast": "gelu_new", "gelu_accurate": "gelu_new"}
#: What fairseq does not write because it is always so: its dictionary's first ids, and PyTorch's epsilon.
_ALWAYS: Final = {"layer_norm_eps": 1e-5, "bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}
_TABLES: Final = {
    "embed_tokens": "vocab_size",
    "embed_positions": "max_position_embeddings",
    "segment_embeddings": "type_vocab_size",
}


def fairseq_model(state: object) -> dict[object, object] | None:
    """Return the tensors of what fairseq saved, by its names; None where something else was saved."""
    if isinstance(state, dict) and ("args" in state or "cfg" in state):
        model = state.get("model")
        return model if isinstance(model, dict) else None
    return None


def fairseq_fields(path: Path, *, sentencepiece: bool) -> dict[str, object]:
    """Return the fields of the configuration of a fairseq checkpoint.

    Args:
        path: the ``model.pt``.
        sentencepiece: whether its vocabulary is a SentencePiece model's, which makes it an XLM-R.

    Raises:
        CorruptFile: the file contradicts itself, asks for code, or is no fairseq checkpoint.
        ConfigError: the settings make no RoBERTa.
    """
    from robertakit.archives.torch_save import open_torch_archive  # here: other configurations do without

    state = open_torch_archive(path).state
    model = fairseq_model(state)
    if model is None or not isinstance(state, dict):
        raise CorruptFile(
            given=f"'{path}' is no checkpoint of fairseq's, and there is no config.json beside it",
            expected="'model' with 'args' or 'cfg'",
            hint="add the model's config.json",
        )
    settings = _settings(state)
    missing = sorted(_REQUIRED.keys() - settings.keys())
    if missing:
        raise ConfigError(
            given=f"'{path}' whose settings lack {listed(missing)}",
            expected="the settings of a RoBERTa as fairseq saves them",
            hint="add the model's config.json",
        )
    family = "XLMRoberta" if sentencepiece else "Roberta"
    tables = _tables(model, path)
    layers = settings["encoder_layers"]
    if isinstance(layers, int) and layers > len(model):
        raise ConfigError(
            given=f"'{path}' with encoder_layers={layers} and {len(model)} tensors",
            expected="12 or more a layer",
        )
    head = "SequenceClassification" if "num_labels" in tables else "MaskedLM"
    activation = settings.get("activation_fn", "gelu")
    return {
        "model_type": "xlm-roberta" if sentencepiece else "roberta",
        "architectures": [f"{family}For{head}"],
        "hidden_act": _ACTIVATIONS.get(str(activation), activation),
        "type_vocab_size": 1,
        "tie_word_embeddings": settings.get("untie_weights_roberta") is not True,
        **_ALWAYS,
        **{field: settings[name] for name, field in _REQUIRED.items()},
        **{field: settings[name] for name, field in _OPTIONAL.items() if name in settings},
        **tables,
    }


def _settings(state: Mapping[object, object]) -> dict[object, object]:
    """The settings of the model: ``args`` of older checkpoints, ``cfg["model"]`` of newer ones."""
    return {**_fields(state.get("args")), **_fields(_fields(state.get("cfg")).get("model"))}


def _fields(value: object) -> dict[object, object]:
    from robertakit.archives.pickles import Namespace

    fields = value.fields if isinstance(value, Namespace) else value
    return fields if isinstance(fields, dict) else {}


def _tables(model: Mapping[object, object], path: Path) -> dict[str, object]:
    """Sizes that the tensors tell; the number of labels where there is exactly one classification head."""
    from robertakit.archives.pickles import TensorReference

    shapes = {str(name): value.shape for name, value in model.items() if isinstance(value, TensorReference)}
    found: dict[str, object] = {}
    for name, shape in shapes.items():
        match = re.fullmatch(r"(?:de|en)coder\.sentence_encoder\.(\w+)\.weight", name)
        if match and match[1] in _TABLES and len(shape) == 2:
            found[_TABLES[match[1]]] = shape[0]
    if not {"vocab_size", "max_position_embeddings"} <= found.keys():
        raise ConfigError(
            given=f"'{path}' holds no RoBERTa: {listed(shapes, 5)}",
            expected="sentence_encoder.embed_tokens and sentence_encoder.embed_positions",
        )
    labels = [shape[:1] for name, shape in shapes.items() if name.endswith(".out_proj.weight")
              and name.startswith("classification_heads.")]  # fmt: skip
    return found | ({"num_labels": labels[0][0]} if len(labels) == 1 and labels[0] else {})
