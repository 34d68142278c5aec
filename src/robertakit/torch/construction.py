"""How a model comes into being: its parts first, without values; then every value, in one place and from one seed.

What the architecture describes is drawn by its table, so that a seed means the same weights in every framework.
Layers that somebody adds are drawn by their type, in `_init_weights`. A checkpoint's values are never drawn first.
"""

import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from robertakit.architecture import Parameter, initial_value
from robertakit.configuration import PretrainedConfig
from robertakit.torch.contents import Contents, contents_of, head_of
from robertakit.torch.sharing import holders, put

__all__ = [
    "Origin",
    "as_part",
    "draw",
    "draw_by_type",
    "draw_described",
    "drawn_seed",
    "loading",
    "mark_drawn",
]

_DRAWN = (
    nn.Linear, nn.Embedding, nn.Conv1d, nn.Conv2d, nn.Conv3d,
    nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip
_NORMALISING = (nn.LayerNorm, nn.RMSNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

_is_part: ContextVar[bool] = ContextVar("is_part", default=False)
_loading: ContextVar[int | None] = ContextVar("loading", default=None)


class _Undrawn(TorchFunctionMode):
    """Leaves out the draws of PyTorch's own constructors: on the meta device they import its compiler, for nothing."""

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        if getattr(func, "__module__", None) == "torch.nn.init" and kwargs and "tensor" in kwargs:
            return kwargs["tensor"]
        return func(*args, **(kwargs or {}))


@contextmanager
def as_part() -> Iterator[None]:
    """Build modules without values: those of the model that is being built, which gives them in `post_init`."""
    token = _is_part.set(True)
    try:
        with torch.device("meta"), _Undrawn():
            yield
    finally:
        _is_part.reset(token)


@contextmanager
def loading(seed: int) -> Iterator[None]:
    """Build models that a checkpoint gives their values; what it lacks is drawn from the seed."""
    token = _loading.set(seed)
    try:
        yield
    finally:
        _loading.reset(token)


def drawn_seed() -> int:
    """One draw from PyTorch's generator."""
    return int(torch.randint(2**31 - 1, (), device="cpu"))


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model's values come from.

    Attributes:
        seed: of all that is drawn.
        device: where the values go; the meta device for none at all.
        loading: whether a checkpoint will give the values that the architecture describes.
    """

    seed: int
    device: torch.device
    loading: bool

    @classmethod
    def now(cls) -> "Origin | None":
        """The origin of a model that is being built; None for the part of another one."""
        if _is_part.get():
            return None
        seed = _loading.get()
        return cls(drawn_seed() if seed is None else seed, torch.get_default_device(), seed is not None)


@torch.no_grad()
def draw(
    model: nn.Module, origin: Origin, init_weights: Callable[[nn.Module], None], of_somebody: bool
) -> None:
    """Give all modules their initial values that have none yet; children before their parents.

    Args:
        model: the model.
        origin: where its values come from.
        init_weights: draws the layers that the architecture does not describe.
        of_somebody: whether `init_weights` is somebody's own, and sees the model's other modules too.
    """
    contents = contents_of(model)
    new = [(name, module) for name, module in reversed(list(model.named_modules())) if not _is_drawn(module)]
    owned = {
        name: [f"{name}.{leaf}".removeprefix(".") for leaf, _ in module.named_parameters(recurse=False)]
        for name, module in new
    }
    if not origin.loading:
        _draw_described(model, contents, {name for names in owned.values() for name in names}, origin)
    parts = [module for module in model.modules() if module is not model and head_of(module) is not None]
    inner = {id(module) for part in parts for module in part.modules()}
    for name, module in new:
        known = [tensor for tensor in owned[name] if tensor in contents.described]
        if (known and origin.loading) or any(tensor.is_meta for tensor in module.parameters(recurse=False)):
            continue
        if len(known) < len(owned[name]) or (of_somebody and id(module) not in inner):
            shared = [tensor for tensor in owned[name] if contents.table[tensor].tied_to is not None]
            with _keyed_generator(origin.seed, name, module), _unchanged(model, shared):
                init_weights(module)
        mark_drawn(module)


def _draw_described(model: nn.Module, contents: Contents, names: set[str], origin: Origin) -> None:
    places = holders(model)
    for name, config in contents.described.items():
        tensor, row = contents.tensors[name], contents.table[name]
        if name not in names or row.tied_to is not None or (tensor.is_meta and origin.device.type == "meta"):
            continue
        if tensor.is_meta:
            place = places[id(tensor)]
            tensor = without_values(tensor, origin.device)
            put(place, tensor)
        draw_described(tensor, row, config, origin.seed)


@contextmanager
def _unchanged(model: nn.Module, names: list[str]) -> Iterator[None]:
    """Keep the values of parameters that belong to another module, whatever happens inside."""
    before = {name: model.get_parameter(name).clone() for name in names}
    yield
    for name, values in before.items():
        model.get_parameter(name).copy_(values)


def without_values(tensor: Tensor, device: torch.device) -> Tensor:
    """Return a tensor on a device in place of one on the meta device: the same but for values."""
    empty = torch.empty(
        tensor.shape, dtype=tensor.dtype, device=device
    )  # `empty_like` imports PyTorch's compiler
    return nn.Parameter(empty, tensor.requires_grad) if isinstance(tensor, nn.Parameter) else empty


def draw_described(tensor: Tensor, row: Parameter, config: PretrainedConfig, seed: int) -> None:
    """Write the value that the table draws for a tensor."""
    tensor.detach().copy_(torch.from_numpy(initial_value(row, config, seed)))


def mark_drawn(module: nn.Module) -> None:
    """Note that a module has its values: nothing draws them again."""
    vars(module)["_is_drawn"] = True


def _is_drawn(module: nn.Module) -> bool:
    return bool(vars(module).get("_is_drawn"))


@contextmanager
def _keyed_generator(seed: int, name: str, module: nn.Module) -> Iterator[None]:
    """Let PyTorch's own draws inside depend on the seed and the module's name, and the generators be as before."""
    key = zlib.crc32(f"{seed} {name}".encode())
    indices = sorted({tensor.get_device() for tensor in module.parameters() if tensor.is_cuda})
    with torch.random.fork_rng(devices=indices):
        torch.default_generator.manual_seed(key)
        for index in indices:
            with torch.cuda.device(index):
                torch.cuda.manual_seed(key)
        yield


def draw_by_type(module: nn.Module, deviation: float) -> None:
    """Draw a layer as the table draws one of its kind; one of another type keeps what its constructor gave.

    Args:
        module: linear layers, convolutions and embeddings are drawn from a normal distribution around 0, their
            biases and an embedding's padding row are zeros; normalising layers begin as the identity.
        deviation: standard deviation.
    """
    weight, bias = getattr(module, "weight", None), getattr(module, "bias", None)
    normalises = isinstance(module, _NORMALISING) or "LayerNorm" in type(module).__name__
    if not normalises and not isinstance(module, _DRAWN):
        return
    with torch.no_grad():
        if isinstance(weight, Tensor):
            weight.fill_(1.0) if normalises else weight.normal_(0.0, deviation)
        if isinstance(bias, Tensor):
            bias.zero_()
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            module.weight[module.padding_idx].zero_()
