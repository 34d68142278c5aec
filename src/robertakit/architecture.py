"""The architecture as one table: every kind of tensor and every head, with the rules for labels and losses.

Building, initialising, loading, saving, converting, counting and sharding read this table; no other file
spells a tensor's name a second time. It knows no files and no framework: names and shapes are the
checkpoint's (PyTorch's).

Shape letters: V vocabulary, W width, P position rows, Y token types, A attention width of a layer (kept
heads x head width), D head width, R relative distances (2P - 1), F feed-forward width, C classes.
"""

import math
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from robertakit.errors import ArgumentError, ConfigError, InputError, listed

if TYPE_CHECKING:
    from robertakit.configuration import PretrainedConfig

__all__ = [
    "BACKBONE_PREFIX",
    "HEADS",
    "IGNORED_LABEL",
    "ROWS",
    "Head",
    "Parameter",
    "Row",
    "canonical_name",
    "check_head",
    "count_parameters",
    "head_dropout",
    "head_named",
    "heads_with",
    "initial_value",
    "initial_weights",
    "is_known_leftover",
    "kept_heads",
    "model_class_name",
    "parameters",
    "problem_type",
]

#: The attribute under which every head keeps the backbone, in both families and CamemBERT.
BACKBONE_PREFIX = "roberta."
#: Positions with this label take no part in a loss (the default of PyTorch's cross-entropy).
IGNORED_LABEL = -100

Kind = Literal["embedding", "matrix", "bias", "scale", "shift"]
Init = Literal["normal", "normal, padding row zero", "zeros", "ones"]
Group = Literal[
    "embeddings", "layer", "relative", "cross", "pooler", "lm", "class", "choice", "token", "span"
]
ProblemType = Literal["regression", "single_label_classification", "multi_label_classification"]


@dataclass(frozen=True, slots=True)
class Row:
    """One kind of tensor: its name below the backbone prefix, with ``{layer}`` where it repeats."""

    name: str
    kind: Kind
    shape: str
    init: Init
    group: Group
    tied_to: str | None = None


def _linear(name: str, out: str, inner: str, group: Group) -> tuple[Row, Row]:
    return (
        Row(f"{name}.weight", "matrix", out + inner, "normal", group),
        Row(f"{name}.bias", "bias", out, "zeros", group),
    )


def _norm(name: str, group: Group) -> tuple[Row, Row]:
    return (
        Row(f"{name}.weight", "scale", "W", "ones", group),
        Row(f"{name}.bias", "shift", "W", "zeros", group),
    )


def _attention(name: str, width: str, group: Group) -> tuple[Row, ...]:
    return (
        *_linear(f"{name}.self.query", width, "W", group),
        *_linear(f"{name}.self.key", width, "W", group),
        *_linear(f"{name}.self.value", width, "W", group),
        *_linear(f"{name}.output.dense", "W", width, group),
        *_norm(f"{name}.output.LayerNorm", group),
    )


_LAYER = "encoder.layer.{layer}"
#: The table. Cross-attention is never pruned (its width is W) and has no relative positions (4.57, fixtures).
ROWS: tuple[Row, ...] = (
    Row("embeddings.word_embeddings.weight", "embedding", "VW", "normal, padding row zero", "embeddings"),
    Row("embeddings.position_embeddings.weight", "embedding", "PW", "normal, padding row zero", "embeddings"),
    Row("embeddings.token_type_embeddings.weight", "embedding", "YW", "normal", "embeddings"),
    *_norm("embeddings.LayerNorm", "embeddings"),
    *_attention(f"{_LAYER}.attention", "A", "layer"),
    Row(f"{_LAYER}.attention.self.distance_embedding.weight", "embedding", "RD", "normal", "relative"),
    *_attention(f"{_LAYER}.crossattention", "W", "cross"),
    *_linear(f"{_LAYER}.intermediate.dense", "F", "W", "layer"),
    *_linear(f"{_LAYER}.output.dense", "W", "F", "layer"),
    *_norm(f"{_LAYER}.output.LayerNorm", "layer"),
    *_linear("pooler.dense", "W", "W", "pooler"),
    *_linear("lm_head.dense", "W", "W", "lm"),
    *_norm("lm_head.layer_norm", "lm"),
    Row("lm_head.bias", "bias", "V", "zeros", "lm"),
    Row(
        "lm_head.decoder.weight", "matrix", "VW", "normal", "lm", tied_to="embeddings.word_embeddings.weight"
    ),
    Row("lm_head.decoder.bias", "bias", "V", "zeros", "lm", tied_to="lm_head.bias"),
    *_linear("classifier.dense", "W", "W", "class"),
    *_linear("classifier.out_proj", "C", "W", "class"),
    *_linear("classifier", "1", "W", "choice"),
    *_linear("classifier", "C", "W", "token"),
    *_linear("qa_outputs", "C", "W", "span"),
)
_BACKBONE: frozenset[Group] = frozenset({"embeddings", "layer", "relative", "cross", "pooler"})
#: Logical axis names for sharding, by shape letter.
_AXES = {"V": "vocab", "W": "embed", "P": "position", "A": "heads", "F": "mlp", "D": "head", "C": "class"}


@dataclass(frozen=True, slots=True)
class Head:
    """What a head consists of, gives and needs.

    Attributes:
        name: the head's name in this library, for example ``"masked-lm"``.
        class_suffix: what follows ``Roberta`` in the documented class name.
        group: the rows of the table that are its own; None for the bare model.
        outputs: documented output fields that it computes, in order, without the loss.
        labels: argument names that make a loss.
        rows: which token rows it reads: ``"all"``, ``"first"`` of each sequence, or ``"labelled"`` where
            labels or asked rows say so.
        pooler: whether the backbone has one: ``"optional"`` (``add_pooling_layer``), ``"yes"`` or ``"no"``.
    """

    name: str
    class_suffix: str
    group: Group | None
    outputs: tuple[str, ...]
    labels: tuple[str, ...]
    rows: Literal["all", "first", "labelled"]
    pooler: Literal["optional", "yes", "no"]


_LOGITS, _LABELS = ("logits",), ("labels",)
_STATES, _SPANS = ("last_hidden_state", "pooler_output"), ("start_logits", "end_logits")
_ENDS = ("start_positions", "end_positions")
#: Every head of the family, in the order of the documentation.
HEADS: dict[str, Head] = {
    head.name: head
    for head in (
        Head("model", "Model", None, _STATES, (), "all", "optional"),
        Head("causal-lm", "ForCausalLM", "lm", _LOGITS, _LABELS, "labelled", "no"),
        Head("masked-lm", "ForMaskedLM", "lm", _LOGITS, _LABELS, "labelled", "no"),
        Head(
            "sequence-classification", "ForSequenceClassification", "class", _LOGITS, _LABELS, "first", "no"
        ),
        Head("multiple-choice", "ForMultipleChoice", "choice", _LOGITS, _LABELS, "first", "yes"),
        Head("token-classification", "ForTokenClassification", "token", _LOGITS, _LABELS, "all", "no"),
        Head("question-answering", "ForQuestionAnswering", "span", _SPANS, _ENDS, "all", "no"),
    )
}


@dataclass(frozen=True, slots=True)
class Parameter:
    """One tensor of one model, as a checkpoint names it.

    Attributes:
        name: full checkpoint name, ``roberta.`` in front of the backbone's tensors where there is a head.
        shape: sizes, in PyTorch's order (matrices are (out, in)).
        kind: decides how a framework lays it out; never the name.
        init: how a new one is drawn; ``normal`` has mean 0 and deviation ``initializer_range``.
        part: ``"backbone"``, ``"pooler"``, ``"head"``, or ``"own"`` for a layer that somebody added to a model.
        tied_to: full name of the tensor that it is a copy of, or None.
        axes: logical axis names for sharding, None where an axis is never split.
    """

    name: str
    shape: tuple[int, ...]
    kind: Kind
    init: Init
    part: Literal["backbone", "pooler", "head", "own"]
    tied_to: str | None
    axes: tuple[str | None, ...]

    @property
    def decays(self) -> bool:
        """Whether weight decay applies: to matrices and embeddings, never to biases and LayerNorm."""
        return self.kind in ("matrix", "embedding")

    @property
    def quantisable(self) -> bool:
        """Whether it may be stored in 8 bits: the matrices and the word embeddings, nothing small."""
        return self.kind == "matrix" or (self.kind == "embedding" and self.axes[0] == "vocab")

    @property
    def size(self) -> int:
        """Number of values."""
        return math.prod(self.shape)


def head_named(name: str) -> Head:
    """Return a head by its name or by any documented class name.

    Raises:
        ArgumentError: there is no such head.

    Example:
        >>> head_named("TFXLMRobertaForMaskedLM").name, head_named("masked-lm").class_suffix
        ('masked-lm', 'ForMaskedLM')
    """
    if name in HEADS:
        return HEADS[name]
    suffix = re.sub(r"^(TF|Flax)?(XLMRoberta|Roberta|Camembert|Auto)", "", name)
    for head in HEADS.values():
        if head.class_suffix == suffix:
            return head
    raise ArgumentError(
        given=f"head {name!r}", expected=f"one of {listed(HEADS)}, or a class name such as RobertaModel"
    )


#: model_type -> what its class names begin with. CamemBERT is RoBERTa with another configuration and tokenizer, and
#: has no classes of its own.
_CLASS_PREFIXES = {"roberta": "Roberta", "xlm-roberta": "XLMRoberta", "camembert": "Roberta"}
_FRAMEWORK_PREFIXES = {"numpy": "", "torch": "", "tensorflow": "TF", "jax": "Flax"}


def model_class_name(model_type: str, head: str | Head, framework: str = "torch") -> str:
    """Return the name of the class that a model type and a head mean.

    Args:
        model_type: the configuration's.
        head: a head, its name, or a class name.
        framework: ``"numpy"``, ``"torch"``, ``"tensorflow"`` or ``"jax"``.

    Raises:
        InputError: no such model type.

    Example:
        >>> model_class_name("xlm-roberta", "masked-lm", "tensorflow"), model_class_name("camembert", "model")
        ('TFXLMRobertaForMaskedLM', 'RobertaModel')
    """
    if model_type not in _CLASS_PREFIXES:
        raise InputError(given=f"model_type {model_type!r}", expected=f"one of {listed(_CLASS_PREFIXES)}")
    suffix = (head_named(head) if isinstance(head, str) else head).class_suffix
    return _FRAMEWORK_PREFIXES[framework] + _CLASS_PREFIXES[model_type] + suffix


def check_head(config: "PretrainedConfig", head: str | Head) -> None:
    """Raise for a configuration of which no model with such a head is built.

    Raises:
        ConfigError: question answering with other than two labels.
    """
    head = head_named(head) if isinstance(head, str) else head
    if head.group == "span" and config.num_labels != 2:
        raise ConfigError(
            given=f"num_labels={config.num_labels} for question answering", expected="2, a start and an end"
        )


def head_dropout(config: "PretrainedConfig") -> float:
    """Return the dropout of the classification heads: ``classifier_dropout`` where the configuration has one."""
    return config.hidden_dropout_prob if config.classifier_dropout is None else config.classifier_dropout


def kept_heads(config: "PretrainedConfig", layer: int) -> int:
    """Return how many attention heads a layer has left after ``config.pruned_heads``."""
    return config.num_attention_heads - len(set(config.pruned_heads.get(layer, ())))


def parameters(
    config: "PretrainedConfig", head: str | Head, *, add_pooling_layer: bool = True
) -> dict[str, Parameter]:
    """Return every tensor of a model by its checkpoint name, in checkpoint order, tied copies included.

    Args:
        config: sizes and switches; ``config.pruned_heads`` narrows single layers.
        head: a head, its name, or a class name.
        add_pooling_layer: whether the bare model has its pooler; other heads know for themselves.

    Example:
        >>> from robertakit import RobertaConfig
        >>> table = parameters(RobertaConfig(num_hidden_layers=1), "masked-lm")
        >>> table["lm_head.decoder.weight"].tied_to
        'roberta.embeddings.word_embeddings.weight'
    """
    head = head_named(head) if isinstance(head, str) else head
    prefix = "" if head.group is None else BACKBONE_PREFIX
    has_pooler = head.pooler == "yes" or (head.pooler == "optional" and add_pooling_layer)
    wanted: set[Group] = {"embeddings", "layer"}
    wanted |= {"pooler"} if has_pooler else set()
    wanted |= {"relative"} if config.position_embedding_type != "absolute" else set()
    wanted |= {"cross"} if config.add_cross_attention else set()
    wanted |= {head.group} if head.group else set()
    table: dict[str, Parameter] = {}
    for row, layer in _expand(config.num_hidden_layers):
        if row.group in wanted:
            parameter = _parameter(row, layer, config, prefix)
            table[parameter.name] = parameter
    return table


def _expand(layers: int) -> Iterator[tuple[Row, int]]:
    """Yield rows in checkpoint order: those with ``{layer}`` once a layer, layer by layer."""
    repeated = [row for row in ROWS if "{layer}" in row.name]
    first = ROWS.index(repeated[0])
    yield from ((row, 0) for row in ROWS[:first])
    yield from ((row, layer) for layer in range(layers) for row in repeated)
    yield from ((row, 0) for row in ROWS[first + len(repeated) :])


def _parameter(row: Row, layer: int, config: "PretrainedConfig", prefix: str) -> Parameter:
    head_width = config.hidden_size // config.num_attention_heads
    sizes = {
        "V": config.vocab_size,
        "W": config.hidden_size,
        "P": config.max_position_embeddings,
        "Y": config.type_vocab_size,
        "A": kept_heads(config, layer) * head_width,
        "D": head_width,
        "R": 2 * config.max_position_embeddings - 1,
        "F": config.intermediate_size,
        "C": config.num_labels,
        "1": 1,
    }
    tied_to = row.tied_to
    if tied_to and tied_to.startswith("embeddings."):
        tied_to = prefix + tied_to if config.tie_word_embeddings else None
    return Parameter(
        name=(prefix if row.group in _BACKBONE else "") + row.name.format(layer=layer),
        shape=tuple(sizes[letter] for letter in row.shape),
        kind=row.kind,
        init=row.init,
        part="pooler" if row.group == "pooler" else "backbone" if row.group in _BACKBONE else "head",
        tied_to=tied_to,
        axes=tuple(_AXES.get(letter) for letter in row.shape),
    )


def count_parameters(config: "PretrainedConfig", head: str | Head, *, add_pooling_layer: bool = True) -> int:
    """Return the number of trained values; a tied copy counts once.

    Example:
        >>> from robertakit import RobertaConfig
        >>> base = RobertaConfig(vocab_size=50265, max_position_embeddings=514, type_vocab_size=1)
        >>> count_parameters(base, "model", add_pooling_layer=False)  # Liu et al. 2019, base
        124055040
    """
    table = parameters(config, head, add_pooling_layer=add_pooling_layer)
    return sum(parameter.size for parameter in table.values() if parameter.tied_to is None)


def initial_weights(
    config: "PretrainedConfig", head: str | Head, seed: int, *, add_pooling_layer: bool = True
) -> dict[str, NDArray[np.float32]]:
    """Draw the initial weights of a model: the same seed gives the same weights in every framework.

    Each tensor has a generator of its own, keyed by the seed and its name below the backbone prefix, so the
    backbone is the same under every head and no tensor depends on the order of others. Tied copies are left
    out.

    Returns:
        Checkpoint name -> array, float32, C order.
    """
    table = parameters(config, head, add_pooling_layer=add_pooling_layer)
    return {
        name: initial_value(parameter, config, seed)
        for name, parameter in table.items()
        if parameter.tied_to is None
    }


def initial_value(parameter: Parameter, config: "PretrainedConfig", seed: int) -> NDArray[np.float32]:
    """Draw one tensor as ``initial_weights`` does."""
    if parameter.init == "zeros":
        return np.zeros(parameter.shape, np.float32)
    if parameter.init == "ones":
        return np.ones(parameter.shape, np.float32)
    key = zlib.crc32(parameter.name.removeprefix(BACKBONE_PREFIX).encode())
    generator = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, key])))
    value = generator.standard_normal(parameter.shape, np.float32)
    value *= np.float32(config.initializer_range)
    if parameter.init == "normal, padding row zero" and config.pad_token_id is not None:
        value[config.pad_token_id : config.pad_token_id + 1] = 0  # a slice: it may lie outside
    return value


def canonical_name(stored: str) -> str:
    """Return today's name of a tensor: LayerNorm's ``weight`` and ``bias`` were ``gamma`` and ``beta`` once.

    Example:
        >>> canonical_name("roberta.embeddings.LayerNorm.gamma")
        'roberta.embeddings.LayerNorm.weight'
    """
    stem, _, leaf = stored.rpartition(".")
    if stem.endswith(("LayerNorm", "layer_norm")):
        leaf = {"gamma": "weight", "beta": "bias"}.get(leaf, leaf)
    return f"{stem}.{leaf}" if stem else leaf


def is_known_leftover(name: str) -> bool:
    """Whether a stored tensor is a buffer that old releases saved and that carries no trained value.

    Example:
        >>> is_known_leftover("roberta.embeddings.position_ids"), is_known_leftover("classifier.weight")
        (True, False)
    """
    return name.removeprefix(BACKBONE_PREFIX) in ("embeddings.position_ids", "embeddings.token_type_ids")


@cache
def _patterns() -> tuple[tuple[re.Pattern[str], Group], ...]:
    return tuple(
        (re.compile(re.escape(row.name).replace(re.escape("{layer}"), r"\d+")), row.group) for row in ROWS
    )


def heads_with(name: str) -> tuple[str, ...]:
    """Return the heads that have a tensor of this name as their own, or ``("pooler",)``; () if none has.

    Backbone tensors belong to no head. Loading uses it to tell another task's head from a stray tensor.

    Example:
        >>> heads_with("lm_head.dense.weight"), heads_with("roberta.pooler.dense.bias"), heads_with("x")
        (('causal-lm', 'masked-lm'), ('pooler',), ())
    """
    short = name.removeprefix(BACKBONE_PREFIX)
    groups = {group for pattern, group in _patterns() if pattern.fullmatch(short)}
    if "pooler" in groups:
        return ("pooler",)
    return tuple(head.name for head in HEADS.values() if head.group in groups)


def problem_type(config: "PretrainedConfig", *, labels_are_integers: bool) -> ProblemType:
    """Decide which loss sequence classification takes, as the reference does where the config is silent.

    One label means regression, integer labels one class of several, other labels any number of classes.
    """
    if config.problem_type is not None:
        return config.problem_type
    if config.num_labels == 1:
        return "regression"
    return "single_label_classification" if labels_are_integers else "multi_label_classification"
