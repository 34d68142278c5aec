"""What the keywords of `from_pretrained` mean: fields of the configuration, the constructor's own, names of tensors.

The same in every framework; which class is asked for is all that differs.
"""

import copy
import inspect
import re
from collections.abc import Callable, Collection, Mapping
from typing import cast

from robertakit.checkpoints.loading import Weights
from robertakit.checkpoints.tensors import StoredTensor
from robertakit.configuration import PretrainedConfig
from robertakit.errors import ArgumentError, listed
from robertakit.field_values import refuse_unknown
from robertakit.files import WHERE

__all__ = ["renamed", "split_arguments"]


def _arguments_of(kind: type[object]) -> tuple[set[str], bool]:
    """Return the keywords of a model's constructor beside the configuration, and whether it takes any others."""
    known = inspect.signature(kind.__init__).parameters
    keywords = {name for name, p in known.items() if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return keywords - {"self", "config"}, any(p.kind is p.VAR_KEYWORD for p in known.values())


def split_arguments(
    kind: type[object],
    config_class: type[PretrainedConfig],
    given: PretrainedConfig | None,
    read: Callable[[], dict[str, object]],
    kwargs: Mapping[str, object],
    documented: set[str],
    own: Collection[str] | None = None,
) -> tuple[PretrainedConfig, dict[str, object]]:
    """Return the configuration under the caller's fields, and the keywords that are the constructor's.

    Args:
        kind: the model's class.
        config_class: its configuration's class; a file of a wider kind is read as one of this class.
        given: the caller's configuration, which is not changed.
        read: reads the fields of the checkpoint's, where there is no other.
        kwargs: fields and keywords of the constructor; what both know is the constructor's.
        documented: names of the other arguments, for the error.
        own: the constructor's keywords; None for those that its signature names.

    Raises:
        ArgumentError: a keyword that nothing knows.

    Example:
        >>> from robertakit.configuration import RobertaConfig
        >>> class Model:
        ...     def __init__(self, config, add_pooling_layer=True): ...
        >>> asked = {"num_labels": 3, "add_pooling_layer": False}
        >>> config, rest = split_arguments(Model, RobertaConfig, None, dict, asked, set())
        >>> config.num_labels, rest
        (3, {'add_pooling_layer': False})
    """
    own, any_other = _arguments_of(kind) if own is None else (set(own), False)
    if given is not None:
        config, rest = copy.deepcopy(given), dict(kwargs)
        if "attn_implementation" in rest:
            config.attn_implementation = cast("str | None", rest.pop("attn_implementation"))
            config.validate()
    else:
        fields = read()
        stored = PretrainedConfig.families.get(str(fields.get("model_type")), config_class)
        chosen = config_class if issubclass(config_class, stored) else stored
        ours = {name: value for name, value in kwargs.items() if name not in own}
        make: Callable[..., tuple[PretrainedConfig, dict[str, object]]] = chosen.from_dict
        config, rest = make(fields, return_unused_kwargs=True, **ours)
        rest |= {name: value for name, value in kwargs.items() if name in own}
    unknown = sorted(set(rest) - own)
    if any_other or not unknown:
        return config, rest
    if given is not None and unknown:
        raise ArgumentError(
            given=f"config, and {listed(unknown)} of {kind.__name__}.from_pretrained",
            hint="set fields on the config itself",
        )
    refuse_unknown(
        unknown, f"{kind.__name__}.from_pretrained", {*documented, *WHERE, *own, *config.to_dict()}
    )
    return config, rest


def renamed(stored: Weights, key_mapping: Mapping[str, str] | None) -> Weights:
    """Return stored tensors under other names: the first regular expression that matches is replaced.

    Raises:
        ArgumentError: two tensors get one name, or an expression is none.
    """
    if not key_mapping:
        return stored
    result: dict[str, StoredTensor] = {}
    for name, tensor in stored.items():
        new = name
        for pattern, replacement in key_mapping.items():
            try:
                new, count = re.subn(pattern, replacement, name)
            except (re.error, IndexError) as error:
                raise ArgumentError(
                    given=f"key_mapping with {pattern!r} and {replacement!r} ({error})",
                    expected="regular expressions",
                ) from error
            if count:
                break
        if new in result:
            raise ArgumentError(given=f"key_mapping that makes two tensors {new!r}")
        result[new] = tensor
    return result
