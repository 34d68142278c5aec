"""The documented output containers: attribute, key, index and tuple, by one mechanism.

No framework is imported here; each framework's package registers the classes (``ModelOutput.registry``) with
its own tree utilities.
"""

from collections import OrderedDict
from collections.abc import Callable, ItemsView, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import ClassVar, Generic, NoReturn, Self, TypeGuard, TypeVar

from robertakit.errors import ArgumentError

__all__ = [
    "BaseModelOutput",
    "BaseModelOutputWithCrossAttentions",
    "BaseModelOutputWithPastAndCrossAttentions",
    "BaseModelOutputWithPooling",
    "BaseModelOutputWithPoolingAndCrossAttentions",
    "CausalLMOutputWithCrossAttentions",
    "FlaxBaseModelOutput",
    "FlaxBaseModelOutputWithPastAndCrossAttentions",
    "FlaxBaseModelOutputWithPooling",
    "FlaxBaseModelOutputWithPoolingAndCrossAttentions",
    "FlaxCausalLMOutputWithCrossAttentions",
    "FlaxMaskedLMOutput",
    "FlaxMultipleChoiceModelOutput",
    "FlaxQuestionAnsweringModelOutput",
    "FlaxSequenceClassifierOutput",
    "FlaxTokenClassifierOutput",
    "MaskedLMOutput",
    "ModelOutput",
    "MultipleChoiceModelOutput",
    "QuestionAnsweringModelOutput",
    "SequenceClassifierOutput",
    "TFBaseModelOutput",
    "TFBaseModelOutputWithCrossAttentions",
    "TFBaseModelOutputWithPastAndCrossAttentions",
    "TFBaseModelOutputWithPooling",
    "TFBaseModelOutputWithPoolingAndCrossAttentions",
    "TFCausalLMOutputWithCrossAttentions",
    "TFMaskedLMOutput",
    "TFMultipleChoiceModelOutput",
    "TFQuestionAnsweringModelOutput",
    "TFSequenceClassifierOutput",
    "TFTokenClassifierOutput",
    "TokenClassifierOutput",
]

#: What the backbone adds to a head's own fields, in the order of the documented tuples.
_OF_BACKBONE = ("past_key_values", "hidden_states", "attentions", "cross_attentions")

ArrayT = TypeVar("ArrayT")
Layers = tuple[ArrayT, ...]
Cache = tuple[tuple[ArrayT, ...], ...]


@dataclass(eq=False)
class ModelOutput(OrderedDict[str, object], Generic[ArrayT]):
    """The base of all outputs: a dictionary of the fields that are not None, which are attributes too.

    ``output.logits``, ``output["logits"]``, ``output[0]``, ``output[:2]`` and ``output.to_tuple()`` always agree.
    A subclass is a dataclass whose fields default to None. The first argument may also be a mapping, or an
    iterable of (name, value) pairs: that is how tree utilities (TensorFlow's, accelerate's) rebuild a mapping.

    Example:
        >>> output = MaskedLMOutput(logits=3)
        >>> output.loss, output["logits"], output[0], output.to_tuple()
        (None, 3, 3, (3,))
    """

    #: All containers, for the tree utilities of a framework.
    registry: ClassVar[list[type["ModelOutput[object]"]]] = []
    #: The documented fields, in order.
    field_names: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        registry: list[type[ModelOutput[ArrayT]]] = vars(ModelOutput)["registry"]
        registry.append(cls)
        cls.field_names = tuple(cls.__annotations__)  # plain data: a compiler of graphs can follow it

    @classmethod
    def answer(
        cls,
        own: Mapping[str, object],
        backbone: object = None,
        *,
        as_dict: bool,
        keep_none: tuple[str, ...] = (),
    ) -> Self | tuple[object, ...]:
        """Return the documented output of a call: this container, or the tuple that ``return_dict=False`` means.

        Args:
            own: the head's own fields in their order.
            backbone: what has the other fields of this container as attributes.
            as_dict: container or tuple.
            keep_none: fields that stand in the tuple even where they are None.

        Example:
            >>> MaskedLMOutput.answer({"loss": None, "logits": 1}, as_dict=False)
            (1,)
        """
        others = {name: getattr(backbone, name, None) for name in _OF_BACKBONE if name in cls.field_names}
        fields = {**own, **others}
        if as_dict:
            make: Callable[..., Self] = cls
            return make(**fields)
        return tuple(value for name, value in fields.items() if value is not None or name in keep_none)

    def __init__(self, pairs: Mapping[str, object] | Iterable[tuple[str, object]] = ()) -> None:
        for name, value in dict(pairs).items():
            self[name] = value

    def __post_init__(self) -> None:
        names = self.field_names
        first = getattr(self, names[0])
        if len(self) <= 1 and _is_pairs(first):
            object.__setattr__(self, names[0], None)
            super().__delitem__(names[0])
            for name, value in dict(first).items():
                self[name] = value

    def __setattr__(self, name: str, value: object) -> None:
        super().__setattr__(name, value)
        names = self.field_names
        if name not in names:
            return
        if value is None:
            if name in self:
                super().__delitem__(name)
            return
        new = name not in self
        super().__setitem__(name, value)
        if new:  # keep the order of the fields, in whatever order they are set
            for later in names[names.index(name) + 1 :]:
                if later in self:
                    self.move_to_end(later)

    def __setitem__(self, name: str, value: object) -> None:
        if name in self.field_names:
            setattr(self, name, value)
        elif value is not None:
            super().__setitem__(name, value)
            super().__setattr__(name, value)

    def __getitem__(self, key: str | int | slice) -> object:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def to_tuple(self) -> tuple[object, ...]:
        """Return the values that are not None, in the order of the fields."""
        return tuple(self.values())

    def __reduce__(self) -> tuple[type[Self], tuple[tuple[tuple[str, object], ...]]]:
        return type(self), (tuple(self.items()),)

    def __delitem__(self, name: str) -> NoReturn:
        self._refuse("deleting a key of")

    def pop(self, *args: object) -> NoReturn:
        """Refused: fields stay what the model gave."""
        self._refuse("pop() of")

    def popitem(self, last: bool = True) -> NoReturn:
        """Refused: fields stay what the model gave."""
        self._refuse("popitem() of")

    def setdefault(self, *args: object) -> NoReturn:
        """Refused: fields stay what the model gave."""
        self._refuse("setdefault() of")

    def update(self, *args: object, **kwargs: object) -> NoReturn:
        """Refused: fields stay what the model gave."""
        self._refuse("update() of")

    def _refuse(self, what: str) -> NoReturn:
        raise ArgumentError(given=f"{what} a {type(self).__name__}", hint="use dict(output) for a dictionary")


def _is_pairs(value: object) -> TypeGuard[Mapping[str, object] | Iterable[tuple[str, object]]]:
    """Whether the only argument of a constructor is all the fields, not the first one."""
    if isinstance(value, Mapping | Iterator | ItemsView):
        return True
    return isinstance(value, list | tuple) and all(
        isinstance(pair, list | tuple) and len(pair) == 2 and isinstance(pair[0], str) for pair in value
    )


@dataclass(eq=False)
class BaseModelOutput(ModelOutput[ArrayT]):
    """Hidden states (B, L, W): the last, and those of all layers; attentions (B, H, L, L)."""

    last_hidden_state: ArrayT | None = None
    hidden_states: Layers[ArrayT] | None = None
    attentions: Layers[ArrayT] | None = None


@dataclass(eq=False)
class BaseModelOutputWithPooling(ModelOutput[ArrayT]):
    """``BaseModelOutput`` and the pooled first token (B, W)."""

    last_hidden_state: ArrayT | None = None
    pooler_output: ArrayT | None = None
    hidden_states: Layers[ArrayT] | None = None
    attentions: Layers[ArrayT] | None = None


@dataclass(eq=False)
class BaseModelOutputWithCrossAttentions(ModelOutput[ArrayT]):
    """``BaseModelOutput`` and the cross-attentions (B, H, L, length of the encoder's states)."""

    last_hidden_state: ArrayT | None = None
    hidden_states: Layers[ArrayT] | None = None
    attentions: Layers[ArrayT] | None = None
    cross_attentions: Layers[ArrayT] | None = None


@dataclass(eq=False)
class BaseModelOutputWithPastAndCrossAttentions(ModelOutput[ArrayT]):
    """What an encoder stack gives: ``past_key_values`` holds, for each layer, key and value (B, H, L, D)."""

    last_hidden_state: ArrayT | None = None
    past_key_values: Cache[ArrayT] | None = None
    hidden_states: Layers[ArrayT] | None = None
    attentions: Layers[ArrayT] | None = None
    cross_attentions: Layers[ArrayT] | None = None


@dataclass(eq=False)
class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput[ArrayT]):
    """What the bare model gives, as encoder or decoder."""

    last_hidden_state: ArrayT | None = None
    pooler_output: ArrayT | None = None
    hidden_states: Layers[ArrayT] | None = None
    past_key_values: Cache[ArrayT] | None = None
    attentions: Layers[ArrayT] | None = None
    cross_attentions: Layers[ArrayT] | None = None


@dataclass(eq=False)
class MaskedLMOutput(ModelOutput[ArrayT]):
    """Loss () and logits (B, L, V)."""

    loss: ArrayT | None = None
    logits: ArrayT | None = None
    hidden_states: Layers[ArrayT] | None = None
    attentions: Layers[ArrayT] | None = None


@dataclass(eq=False)
class CausalLMOutputWithCrossAttentions(ModelOutput[ArrayT]):
    """Loss () of the next token, logits (B, L, V), and the cache."""

    loss: ArrayT | None = None
    logits: ArrayT | None = None
    past_key_values: Cache[ArrayT] | None = None
    hidden_states: Layers[ArrayT] | None = None
    attentions: Layers[ArrayT] | None = None
    cross_attentions: Layers[ArrayT] | None = None


@dataclass(eq=False)
class SequenceClassifierOutput(ModelOutput[ArrayT]):
    """Loss () and logits (B, C)."""

    loss: ArrayT | None = None
    logits: ArrayT | None = None
    hidden_states: Layers[ArrayT] | None = None
    attentions: Layers[ArrayT] | None = None


@dataclass(eq=False)
class MultipleChoiceModelOutput(ModelOutput[ArrayT]):
    """Loss () and logits (B, choices)."""

    loss: ArrayT | None = None
    logits: ArrayT | None = None
    hidden_states: Layers[ArrayT] | None = None
    attentions: Layers[ArrayT] | None = None


@dataclass(eq=False)
class TokenClassifierOutput(ModelOutput[ArrayT]):
    """Loss () and logits (B, L, C)."""

    loss: ArrayT | None = None
    logits: ArrayT | None = None
    hidden_states: Layers[ArrayT] | None = None
    attentions: Layers[ArrayT] | None = None


@dataclass(eq=False)
class QuestionAnsweringModelOutput(ModelOutput[ArrayT]):
    """Loss (), logits (B, L) of the answer's first token, and of its last."""

    loss: ArrayT | None = None
    start_logits: ArrayT | None = None
    end_logits: ArrayT | None = None
    hidden_states: Layers[ArrayT] | None = None
    attentions: Layers[ArrayT] | None = None


# The same containers by the names that the reference has for them in TensorFlow and in JAX.
TFBaseModelOutput = BaseModelOutput
TFBaseModelOutputWithCrossAttentions = BaseModelOutputWithCrossAttentions
TFBaseModelOutputWithPastAndCrossAttentions = BaseModelOutputWithPastAndCrossAttentions
TFBaseModelOutputWithPooling = BaseModelOutputWithPooling
TFBaseModelOutputWithPoolingAndCrossAttentions = BaseModelOutputWithPoolingAndCrossAttentions
TFCausalLMOutputWithCrossAttentions = CausalLMOutputWithCrossAttentions
TFMaskedLMOutput = MaskedLMOutput
TFMultipleChoiceModelOutput = MultipleChoiceModelOutput
TFQuestionAnsweringModelOutput = QuestionAnsweringModelOutput
TFSequenceClassifierOutput = SequenceClassifierOutput
TFTokenClassifierOutput = TokenClassifierOutput
FlaxBaseModelOutput = BaseModelOutput
FlaxBaseModelOutputWithPastAndCrossAttentions = BaseModelOutputWithPastAndCrossAttentions
FlaxBaseModelOutputWithPooling = BaseModelOutputWithPooling
FlaxBaseModelOutputWithPoolingAndCrossAttentions = BaseModelOutputWithPoolingAndCrossAttentions
FlaxCausalLMOutputWithCrossAttentions = CausalLMOutputWithCrossAttentions
FlaxMaskedLMOutput = MaskedLMOutput
FlaxMultipleChoiceModelOutput = MultipleChoiceModelOutput
FlaxQuestionAnsweringModelOutput = QuestionAnsweringModelOutput
FlaxSequenceClassifierOutput = SequenceClassifierOutput
FlaxTokenClassifierOutput = TokenClassifierOutput
