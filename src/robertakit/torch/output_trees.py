"""The documented outputs as trees of tensors, which data-parallel wrappers and `torch.export` look through.

They are registered when `robertakit.torch` is imported.
"""

from collections.abc import Iterable

from torch.utils import _pytree as pytree

from robertakit.outputs import ModelOutput

__all__ = ["register_outputs"]


def _register(kind: type[ModelOutput[object]]) -> None:
    def flatten(output: ModelOutput[object]) -> tuple[list[object], list[str]]:
        return list(output.values()), list(output)

    def unflatten(values: Iterable[object], names: object) -> ModelOutput[object]:
        assert isinstance(names, list)
        return kind(dict(zip(names, values, strict=True)))

    pytree.register_pytree_node(
        kind, flatten, unflatten, serialized_type_name=f"{kind.__module__}.{kind.__qualname__}"
    )


def register_outputs() -> None:
    """Tell PyTorch how to take every output container apart and how to put it together again."""
    for kind in ModelOutput.registry:
        if kind not in pytree.SUPPORTED_NODES:
            _register(kind)
