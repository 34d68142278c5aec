"""The `generation_config` of a model: what its `generate` is asked for where a call does not say otherwise."""

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

from robertakit.errors import ArgumentError
from robertakit.generation.config import GenerationConfig
from robertakit.generation.request import merge
from robertakit.pretrained_config import PretrainedConfig

__all__ = ["Defaults", "as_generation_config"]


@runtime_checkable
class _Fields(Protocol):
    """Another library's `GenerationConfig`."""

    def to_diff_dict(self) -> dict[str, object]: ...


def as_generation_config(value: object) -> GenerationConfig:
    """Return a `GenerationConfig`, or one made of another library's.

    Raises:
        ArgumentError: neither.

    Example:
        >>> as_generation_config(GenerationConfig(num_beams=2)).num_beams
        2
    """
    if isinstance(value, GenerationConfig):
        return value
    if not isinstance(value, _Fields):
        raise ArgumentError(
            given=f"a generation_config of type {type(value).__name__}", expected="GenerationConfig"
        )
    return GenerationConfig.from_dict(value.to_diff_dict())


class Defaults:
    """Holds a model's `generation_config`.

    Made of the model's configuration, whose later changes count too; what is set by hand wins.

    Args:
        model_config: the model's.
        value: a `GenerationConfig` in place of the one that `model_config` gives.

    Attributes:
        value: the `GenerationConfig`.

    Example:
        >>> from robertakit.configuration import RobertaConfig
        >>> defaults = Defaults(RobertaConfig())
        >>> defaults.value.num_beams = 3
        >>> asked = defaults.merge(None, {"max_new_tokens": 5})
        >>> asked.num_beams, asked.max_new_tokens, asked.eos_token_id
        (3, 5, 2)
    """

    def __init__(self, model_config: PretrainedConfig, value: object = None) -> None:
        derived = GenerationConfig.from_model_config(model_config)
        self._model_config, self._derived = model_config, derived.given()
        self.value = derived if value is None else as_generation_config(value)

    def merge(
        self, given: object, fields: Mapping[str, object], use_model_defaults: bool | None = None
    ) -> GenerationConfig:
        """Return what a call asks for, see `request.merge`.

        Args:
            given: the argument `generation_config` of the call, or None.
            fields: those among the keywords of the call.
            use_model_defaults: as for `request.merge`.
        """
        asked = None if given is None else as_generation_config(given)
        return merge(self._model_config, self.value.own(self._derived), asked, fields, use_model_defaults)
