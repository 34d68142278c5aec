"""What a model consists of: its tensors, each beside the architecture's row for it, and layers of somebody's own.

The table describes the family; a model may be a part of somebody's own model, have layers added or replaced, or share
tensors in a way of its own. Loading, saving and drawing weights go by what the model holds.
"""

from dataclasses import dataclass, replace
from typing import cast

from torch import Tensor, nn

from robertakit.architecture import BACKBONE_PREFIX, HEADS, Parameter, parameters
from robertakit.configuration import PretrainedConfig

__all__ = ["Contents", "contents_of", "head_of", "parts_of"]


@dataclass(frozen=True, slots=True)
class Contents:
    """The tensors that a model saves, by its own names and in its own order.

    Attributes:
        table: every parameter and persistent buffer; `tied_to` says what the model shares.
        tensors: the same names -> the model's own tensors.
        described: those that the architecture knows and can draw -> the configuration to draw them by.
        prefix: what stands before the names that checkpoints use; empty where these are the model's.
        lacking: names of the backbone's tensors that the configuration means and the model has not.
        ties: copy -> source, as the architecture has them, whether the model shares the two or not.
    """

    table: dict[str, Parameter]
    tensors: dict[str, Tensor]
    described: dict[str, PretrainedConfig]
    prefix: str
    lacking: tuple[str, ...]
    ties: dict[str, str]


def head_of(model: nn.Module) -> str | None:
    """Return the head of a model of the family, None for any other module, a model of somebody's own included."""
    head = getattr(type(model), "head", None)
    return head if isinstance(head, str) and head in HEADS else None


def parts_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the outermost models of the family in a model, by what stands before their names: itself has ""."""
    parts: dict[str, nn.Module] = {}
    for name, module in model.named_modules():
        prefix = f"{name}." if name else ""
        if head_of(module) is not None and not prefix.startswith(tuple(parts)):
            parts[prefix] = module
    return parts


def contents_of(model: nn.Module) -> Contents:
    """Return what a model consists of.

    Example:
        >>> from robertakit import RobertaConfig, RobertaForMaskedLM
        >>> sizes = {"vocab_size": 9, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2}
        >>> contents = contents_of(RobertaForMaskedLM(RobertaConfig(**sizes)))
        >>> contents.table["lm_head.decoder.weight"].tied_to
        'roberta.embeddings.word_embeddings.weight'
    """
    parts = parts_of(model)
    main = _main_part(model, parts)
    rows: dict[str, Parameter] = {}
    configs: dict[str, PretrainedConfig] = {}
    ties: dict[str, str] = {}
    for prefix, part in parts.items():
        config = cast(PretrainedConfig, part.config)
        pooler = getattr(part, "pooler", None) is not None
        for name, row in parameters(config, head_of(part) or "", add_pooling_layer=pooler).items():
            rows[prefix + name] = row if main in (None, prefix) else replace(row, part="own")
            configs[prefix + name] = config
            if row.tied_to is not None:
                ties[prefix + name] = prefix + row.tied_to
    tensors: dict[str, Tensor] = dict(model.named_parameters(remove_duplicate=False))
    kept = model.state_dict(keep_vars=True)
    tensors |= {name: buffer for name, buffer in model.named_buffers() if name in kept}
    first: dict[int, str] = {}
    table = {}
    for name, tensor in tensors.items():
        source = first.setdefault(id(tensor), name)
        row = rows.get(name, _own(name, tensor))
        tied_to = None if source == name else source
        table[name] = replace(row, name=name, shape=tuple(tensor.shape), tied_to=tied_to)
    bare = main == BACKBONE_PREFIX and head_of(parts[main]) == "model"
    prefix = "" if main is None or bare else main
    described = {name: config for name, config in configs.items() if name in tensors}
    lacking = tuple(name for name, row in rows.items() if row.part == "backbone" and name not in tensors)
    return Contents(table, tensors, described, prefix, lacking, ties)


def _main_part(model: nn.Module, parts: dict[str, nn.Module]) -> str | None:
    """The part that a checkpoint of the family is for: the one at `base_model_prefix`, or the only one."""
    named = f"{getattr(model, 'base_model_prefix', '')}."
    return named if named in parts else next(iter(parts)) if len(parts) == 1 else None


def _own(name: str, tensor: Tensor) -> Parameter:
    """The row of a tensor that the architecture does not know; nobody draws by it."""
    shape = tuple(tensor.shape)
    axes = (None,) * len(shape)
    return Parameter(name, shape, "matrix" if len(shape) > 1 else "bias", "zeros", "own", None, axes)
