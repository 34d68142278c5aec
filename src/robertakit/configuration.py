"""The configurations of the family, with their documented fields, defaults and checks, and the published sizes.

No framework and no NumPy; weights and tokenizers are not known here. Files: ``pretrained_config.py``.
"""

import inspect
import os
from collections.abc import Callable, Mapping
from typing import ClassVar, Literal, Self, overload

from robertakit.errors import ArgumentError, ConfigError, listed
from robertakit.field_values import check_integer, check_number
from robertakit.files import Location, locate, take_where
from robertakit.pretrained_config import CONFIG_FILE, PretrainedConfig, read_fields

__all__ = [
    "ACTIVATIONS",
    "CONFIG_FILE",
    "POSITION_EMBEDDING_TYPES",
    "PRESETS",
    "AutoConfig",
    "CamembertConfig",
    "PretrainedConfig",
    "RobertaConfig",
    "XLMRobertaConfig",
    "read_config",
    "take_config",
]

#: Names that ``hidden_act`` may have: all of the reference's list that have no weights of their own.
ACTIVATIONS = (
    "gelu", "gelu_10", "gelu_accurate", "gelu_fast", "gelu_new", "gelu_python", "gelu_python_tanh",
    "gelu_pytorch_tanh", "laplace", "leaky_relu", "linear", "mish", "quick_gelu", "relu", "relu2", "relu6",
    "sigmoid", "silu", "swish", "tanh",
)  # fmt: skip
POSITION_EMBEDDING_TYPES = ("absolute", "relative_key", "relative_key_query")

#: The published sizes: (model type, fields). RoBERTa: Liu et al. 2019, appendix; XLM-R: Conneau et al. 2020,
#: appendix; positions, segments and epsilon as in the released checkpoints.
_RELEASED = {"max_position_embeddings": 514, "type_vocab_size": 1, "layer_norm_eps": 1e-5}
_BASE = _RELEASED | {
    "hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072,
}  # fmt: skip
_LARGE = _RELEASED | {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
}  # fmt: skip
PRESETS: dict[str, tuple[str, dict[str, int | float]]] = {
    "roberta-base": ("roberta", _BASE | {"vocab_size": 50265}),
    "roberta-large": ("roberta", _LARGE | {"vocab_size": 50265}),
    "xlm-roberta-base": ("xlm-roberta", _BASE | {"vocab_size": 250002}),
    "xlm-roberta-large": ("xlm-roberta", _LARGE | {"vocab_size": 250002}),
    "camembert-base": ("camembert", _BASE | {"vocab_size": 32005}),
}


class RobertaConfig(PretrainedConfig):
    """The configuration of a RoBERTa model, with the documented fields and defaults.

    Args:
        vocab_size: rows of the word embedding (V).
        hidden_size: width (W); a multiple of the heads.
        num_hidden_layers: layers.
        num_attention_heads: heads (H), before pruning.
        intermediate_size: feed-forward width (F).
        hidden_act: activation of the feed-forward: a name of ``ACTIVATIONS`` or a function.
        hidden_dropout_prob: dropout of embeddings, attention output and feed-forward output, 0 to 1.
        attention_probs_dropout_prob: dropout of the attention weights, 0 to 1.
        max_position_embeddings: rows of the position table (P); the longest input has
            ``P - pad_token_id - 1`` tokens, because positions start after the padding's.
        type_vocab_size: rows of the segment table.
        initializer_range: standard deviation of new weights.
        layer_norm_eps: added to variances.
        pad_token_id: id that takes no position of its own, and the row that its positions point at.
        bos_token_id: first token of a text.
        eos_token_id: last token of a text.
        position_embedding_type: "absolute", "relative_key" (Shaw et al. 2018) or "relative_key_query"
            (Huang et al. 2020).
        use_cache: whether a decoder returns keys and values.
        classifier_dropout: dropout of the classification heads; None takes ``hidden_dropout_prob``.
        **kwargs: the fields that all configurations have (see ``PretrainedConfig``).

    Raises:
        ConfigError: fields contradict each other.
        ArgumentError: a keyword that looks like a misspelt field.

    Example:
        >>> RobertaConfig(hidden_size=24, num_attention_heads=3).hidden_act
        'gelu'
    """

    model_type: ClassVar[str] = "roberta"

    def __init__(
        self,
        vocab_size: int = 50265,
        hidden_size: int = 768,
        num_hidden_layers: int = 12,
        num_attention_heads: int = 12,
        intermediate_size: int = 3072,
        hidden_act: str | Callable[..., object] = "gelu",
        hidden_dropout_prob: float = 0.1,
        attention_probs_dropout_prob: float = 0.1,
        max_position_embeddings: int = 512,
        type_vocab_size: int = 2,
        initializer_range: float = 0.02,
        layer_norm_eps: float = 1e-12,
        pad_token_id: int = 1,
        bos_token_id: int | None = 0,
        eos_token_id: int | list[int] | None = 2,
        position_embedding_type: str = "absolute",
        use_cache: bool = True,
        classifier_dropout: float | None = None,
        **kwargs: object,
    ) -> None:
        self.vocab_size = vocab_size
        self.hidden_size = hidden_size
        self.num_hidden_layers = num_hidden_layers
        self.num_attention_heads = num_attention_heads
        self.intermediate_size = intermediate_size
        self.hidden_act = hidden_act
        self.hidden_dropout_prob = hidden_dropout_prob
        self.attention_probs_dropout_prob = attention_probs_dropout_prob
        self.max_position_embeddings = max_position_embeddings
        self.type_vocab_size = type_vocab_size
        self.initializer_range = initializer_range
        self.layer_norm_eps = layer_norm_eps
        self.position_embedding_type = position_embedding_type
        self.use_cache = use_cache
        self.classifier_dropout = classifier_dropout
        super().__init__(
            pad_token_id=pad_token_id, bos_token_id=bos_token_id, eos_token_id=eos_token_id, **kwargs
        )

    @classmethod
    def preset(cls, name: str, **kwargs: object) -> Self:
        """Return the configuration of a published size, its fields overridden by ``kwargs``.

        Example:
            >>> RobertaConfig.preset("roberta-large").hidden_size
            1024
        """
        model_type, fields = PRESETS.get(name, ("", {}))
        if model_type != cls.model_type:
            mine = [preset for preset, (kind, _) in PRESETS.items() if kind == cls.model_type]
            raise ConfigError(given=f"preset {name!r} of {cls.__name__}", expected=f"one of {listed(mine)}")
        make: Callable[..., Self] = cls
        return make(**{**fields, **kwargs})

    def validate(self, *, building: bool = False) -> None:
        """Raise unless the fields agree with each other (see ``PretrainedConfig.validate``)."""
        super().validate(building=building)
        for name in (
            "vocab_size",
            "hidden_size",
            "num_attention_heads",
            "intermediate_size",
            "max_position_embeddings",
            "type_vocab_size",
        ):
            check_integer(name, getattr(self, name), least=1)
        check_integer("num_hidden_layers", self.num_hidden_layers, least=0)
        for name in ("hidden_dropout_prob", "attention_probs_dropout_prob", "classifier_dropout"):
            check_number(name, getattr(self, name), most=1.0, optional=name == "classifier_dropout")
        check_number("initializer_range", self.initializer_range)
        check_number("layer_norm_eps", self.layer_norm_eps)
        self._validate_attention(building)
        self._validate_positions()
        if not callable(self.hidden_act) and self.hidden_act not in ACTIVATIONS:
            raise ConfigError(
                given=f"hidden_act={self.hidden_act!r}",
                expected=f"a function or one of {listed(ACTIVATIONS, most=len(ACTIVATIONS))}",
            )

    def _validate_attention(self, building: bool) -> None:
        width, heads = self.hidden_size, self.num_attention_heads
        if width % heads:
            raise ConfigError(
                given=f"hidden_size={width} and num_attention_heads={heads}",
                expected="a hidden_size that is a multiple of num_attention_heads",
            )
        if self.position_embedding_type not in POSITION_EMBEDDING_TYPES:
            raise ConfigError(
                given=f"position_embedding_type={self.position_embedding_type!r}",
                expected=f"one of {listed(POSITION_EMBEDDING_TYPES)}",
            )
        if building and self.add_cross_attention and not self.is_decoder:
            raise ConfigError(
                given="add_cross_attention=True and is_decoder=False",
                expected="a decoder where cross-attention is added",
                hint="set is_decoder=True",
            )
        for layer, pruned in self.pruned_heads.items():
            wrong = [head for head in pruned if not 0 <= head < heads]
            if not 0 <= layer < self.num_hidden_layers or wrong:
                raise ConfigError(
                    given=f"pruned_heads={{{layer}: {pruned}}}",
                    expected=f"layers from 0 to {self.num_hidden_layers - 1} and heads from 0 to {heads - 1}",
                )

    def _validate_positions(self) -> None:
        check_integer("pad_token_id", self.pad_token_id, least=0)
        if self.max_position_embeddings - self.pad_token_id - 1 < 1:
            raise ConfigError(
                given=f"pad_token_id={self.pad_token_id} and "
                f"max_position_embeddings={self.max_position_embeddings}",
                expected="at least pad_token_id + 2 positions, since they are counted from pad_token_id + 1",
            )


def _with_vocabulary(size: int) -> Callable[..., None]:
    """``RobertaConfig.__init__`` with another default of ``vocab_size``, shown in its signature too."""

    def __init__(self: RobertaConfig, vocab_size: int = size, *args: object, **kwargs: object) -> None:  # noqa: N807
        fill: Callable[..., None] = RobertaConfig.__init__
        fill(self, vocab_size, *args, **kwargs)

    shown = inspect.signature(RobertaConfig.__init__)
    own = [p.replace(default=size) if p.name == "vocab_size" else p for p in shown.parameters.values()]
    vars(__init__)["__signature__"] = shown.replace(parameters=own)
    return __init__


class XLMRobertaConfig(RobertaConfig):
    """The configuration of an XLM-RoBERTa model: RoBERTa's with, as documented, 30522 words by default.

    Example:
        >>> XLMRobertaConfig.preset("xlm-roberta-base").vocab_size
        250002
    """

    model_type: ClassVar[str] = "xlm-roberta"
    __init__ = _with_vocabulary(30522)


class CamembertConfig(RobertaConfig):
    """The configuration of a CamemBERT model: RoBERTa's with, as documented, 30522 words by default."""

    model_type: ClassVar[str] = "camembert"
    __init__ = _with_vocabulary(30522)


class AutoConfig:
    """Chooses the configuration class by the ``model_type`` of a file.

    Example:
        >>> type(AutoConfig.for_model("xlm-roberta")).__name__
        'XLMRobertaConfig'
    """

    def __init__(self) -> None:
        raise ArgumentError(given="AutoConfig()", expected="AutoConfig.from_pretrained(name_or_path)")

    @classmethod
    def for_model(cls, model_type: str, **kwargs: object) -> PretrainedConfig:
        """Return a configuration of a model type: "roberta", "xlm-roberta" or "camembert"."""
        make: Callable[..., PretrainedConfig] = _class_for(model_type, f"model_type {model_type!r}")
        return make(**kwargs)

    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        return_unused_kwargs: Literal[False] = False,
        **kwargs: object,
    ) -> PretrainedConfig: ...
    @overload
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        return_unused_kwargs: Literal[True],
        **kwargs: object,
    ) -> tuple[PretrainedConfig, dict[str, object]]: ...
    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        return_unused_kwargs: bool = False,
        **kwargs: object,
    ) -> PretrainedConfig | tuple[PretrainedConfig, dict[str, object]]:
        """Read a configuration; arguments and errors as for ``PretrainedConfig.from_pretrained``."""
        fields, kwargs = PretrainedConfig.get_config_dict(pretrained_model_name_or_path, **kwargs)
        kind = _class_of(fields, pretrained_model_name_or_path)
        config, unused = kind._from_fields(fields, kwargs, refuse_unknown=not return_unused_kwargs)
        return (config, unused) if return_unused_kwargs else config


def take_config(
    pretrained_model_name_or_path: str | os.PathLike[str], arguments: dict[str, object]
) -> PretrainedConfig:
    """Take out of the arguments of a ``from_pretrained`` what makes the configuration, and return that.

    Args:
        pretrained_model_name_or_path: where the model is, and its configuration if the arguments name no other.
        arguments: ``config`` (a configuration, or where it is) and fields of it are taken out; what is left is the
            model's, where to look among it, and a dtype although a field is called so.

    Example:
        >>> arguments = {"config": RobertaConfig(num_labels=3), "dtype": "float64"}
        >>> take_config("unused", arguments).num_labels, arguments
        (3, {'dtype': 'float64'})
    """
    given = arguments.pop("config", None)
    if isinstance(given, PretrainedConfig):
        return given
    where = take_where(arguments)
    of_model: dict[str, object] = {n: arguments.pop(n) for n in ("dtype", "torch_dtype") if n in arguments}
    source = pretrained_model_name_or_path if given is None else str(given)
    config, rest = AutoConfig.from_pretrained(source, return_unused_kwargs=True, **arguments, **where)
    arguments.clear()
    arguments.update(rest | of_model | where)
    return config


def read_config(place: str | os.PathLike[str] | Location) -> PretrainedConfig:
    """Read the configuration of a place, or of a local folder, with the class that its ``model_type`` names."""
    fields = read_fields(place if isinstance(place, Location) else locate(place))
    return _class_of(fields, place).from_dict(fields)


def _class_for(model_type: object, given: str) -> type[PretrainedConfig]:
    kind = PretrainedConfig.families.get(model_type) if isinstance(model_type, str) else None
    if kind is None:
        raise ConfigError(given=given, expected=f"model_type one of {listed(PretrainedConfig.families)}")
    return kind


def _class_of(fields: Mapping[str, object], source: object) -> type[PretrainedConfig]:
    """The class that a file asks for; files of 2019 are known by their ``architectures``."""
    model_type = fields.get("model_type")
    if model_type is None and isinstance(names := fields.get("architectures"), list):
        families = {"Roberta": "roberta", "XLMRoberta": "xlm-roberta", "Camembert": "camembert"}
        known = [kind for name in names for prefix, kind in families.items() if str(name).startswith(prefix)]
        model_type = known[0] if known else None
    return _class_for(model_type, f"model_type {model_type!r} in {source}")
