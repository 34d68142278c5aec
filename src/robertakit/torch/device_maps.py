"""Where the parts of a model go: what `device_map` means. More than one device is accelerate's business."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType

import torch
from torch import nn

from robertakit.errors import ArgumentError, DependencyError, InputError, listed

__all__ = ["Device", "DeviceMap", "Placement", "placement", "values_of_dispatched"]

Device = torch.device | str | int
DeviceMap = Device | Mapping[str, Device]
_AUTOMATIC = ("auto", "balanced", "balanced_low_0", "sequential")
#: Part of an accelerator's free memory that a model may take: a call needs room, too.
_ROOM = 0.9


@dataclass(frozen=True, slots=True)
class Placement:
    """Where each part of a model goes.

    Attributes:
        devices: name of a module or parameter -> device, or `"disk"`; "" names the whole model.
        offload_folder: where what goes to the disk is kept.
        offload_buffers: whether buffers go along.
    """

    devices: dict[str, Device]
    offload_folder: str | os.PathLike[str] | None = None
    offload_buffers: bool = False

    def device_of(self, name: str) -> torch.device:
        """The device on which a tensor is made: that of the innermost part that has one; for the disk the processor."""
        inside = [part for part in self.devices if not part or f"{name}.".startswith(f"{part}.")]
        device = self.devices[max(inside, key=len)]
        return torch.device("cpu" if device == "disk" else device)

    def finish(self, model: nn.Module, skip_keys: str) -> None:
        """Let a model whose tensors are in place run on its devices; note them as `hf_device_map`."""
        devices = {str(device) for device in self.devices.values()}
        if devices == {"disk"}:
            found = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
            _accelerate().disk_offload(
                model, self.offload_folder, execution_device=found or torch.device("cpu"),
                offload_buffers=self.offload_buffers,
            )  # fmt: skip
        elif len(devices) > 1:
            _accelerate().dispatch_model(
                model, _spelled_out(model, self.devices), offload_dir=self.offload_folder,
                offload_buffers=self.offload_buffers, skip_keys=skip_keys,
            )  # fmt: skip
        vars(model)["hf_device_map"] = dict(self.devices)


def placement(
    model: nn.Module,
    device_map: DeviceMap | None,
    *,
    unsplit: list[str],
    max_memory: Mapping[int | str, int | str] | None = None,
    offload_folder: str | os.PathLike[str] | None = None,
    offload_buffers: bool = False,
) -> Placement | None:
    """Return where the parts of a model go; None where nobody says.

    Args:
        model: in its dtype, on the meta device or any other.
        device_map: a device; a mapping from names of modules to devices or `"disk"`; or `"auto"`, `"balanced"`,
            `"balanced_low_0"`, `"sequential"`: the accelerators of the machine, then its memory, then the disk.
        unsplit: classes of modules that stay on one device.
        max_memory: the most that an automatic map may take of each device, for example `{0: "1GB", "cpu": "4GB"}`.
        offload_folder: where what goes to the disk is kept.
        offload_buffers: whether buffers go along.

    Raises:
        ArgumentError: a map that names no module, or not all of them; arguments without their map.
        InputError: PyTorch cannot compute on one of the devices.
        DependencyError: several devices, and accelerate is not installed.
    """
    automatic = isinstance(device_map, str) and device_map in _AUTOMATIC
    offloads = automatic or (isinstance(device_map, Mapping) and "disk" in device_map.values())
    for name, value, fits in (
        ("max_memory", max_memory, automatic),
        ("offload_folder", offload_folder, offloads),
        ("offload_buffers", offload_buffers, offloads),
    ):
        if value and not fits:
            raise ArgumentError(
                given=f"{name} and device_map={device_map!r}",
                expected="device_map='auto'" + ("" if name == "max_memory" else ", or one that names 'disk'"),
            )
    if device_map is None:
        return None
    if isinstance(device_map, str) and automatic:
        devices = _inferred(model, device_map, unsplit, max_memory)
    else:
        devices = dict(device_map) if isinstance(device_map, Mapping) else {"": device_map}
    _check_names(model, devices)
    for device in {*devices.values()} - {"disk"}:
        _check_device(device)
    if "disk" in devices.values() and offload_folder is None:
        raise ArgumentError(
            given="device_map that sends parts to the disk", expected="offload_folder, a folder for them"
        )
    return Placement(devices, offload_folder, offload_buffers)


def _spelled_out(model: nn.Module, devices: Mapping[str, Device]) -> dict[str, Device]:
    """A map without "" for the rest, which accelerate leaves out where the rest goes to the disk."""
    result = {name: device for name, device in devices.items() if name}
    if "" not in devices:
        return result
    for name, _ in (*model.named_modules(), *model.named_parameters(remove_duplicate=False)):
        around = tuple(f"{part}." for part in result)
        if (
            name
            and not f"{name}.".startswith(around)
            and not any(part.startswith(f"{name}.") for part in result)
        ):
            result[name] = devices[""]
    return result


def values_of_dispatched(model: nn.Module) -> dict[str, torch.Tensor]:
    """Return the state dict of a model that runs on several devices, with what was offloaded."""
    state: dict[str, torch.Tensor] = _accelerate().utils.modeling.get_state_dict_offloaded_model(model)
    return state


def _inferred(
    model: nn.Module, how: str, unsplit: list[str], max_memory: Mapping[int | str, int | str] | None
) -> dict[str, Device]:
    """An automatic map; a model that fits on the only device there is needs nobody to make it."""
    count = torch.accelerator.device_count() if torch.accelerator.is_available() else 0
    if count <= 1 and max_memory is None and (count == 0 or _fits(model)):
        return {"": 0 if count else "cpu"}
    modeling = _accelerate().utils
    if how == "sequential":
        most = modeling.get_max_memory(max_memory)
    else:
        most = modeling.get_balanced_memory(
            model, max_memory=max_memory, no_split_module_classes=unsplit, low_zero=how == "balanced_low_0"
        )
    return dict(modeling.infer_auto_device_map(model, max_memory=most, no_split_module_classes=unsplit))


def _fits(model: nn.Module) -> bool:
    if not torch.cuda.is_available():  # only CUDA says how much memory is free
        return True
    needed = sum(tensor.numel() * tensor.element_size() for tensor in model.parameters())
    return needed < _ROOM * torch.cuda.mem_get_info()[0]


def _check_names(model: nn.Module, devices: Mapping[str, Device]) -> None:
    tensors = set(model.state_dict())
    known = {name for name, _ in model.named_modules()} | tensors
    if unknown := set(devices) - known:
        raise ArgumentError(
            given=f"device_map with {listed(unknown, 5)}, which {type(model).__name__} has not",
            expected="names of modules or parameters, such as 'roberta.encoder.layer.0'",
        )
    parts = tuple(f"{part}." for part in devices)
    left = {name for name in tensors if not f"{name}.".startswith(parts)}
    if left and "" not in devices:
        raise ArgumentError(
            given=f"device_map without a device for {listed(left, 5)}",
            expected="every part of the model, or '' for the rest",
        )


def _check_device(device: Device) -> None:
    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(
            given=f"the device {str(device)!r}, on which PyTorch computes nothing here ({reason})",
            expected="a device of this machine",
        ) from error


def _accelerate() -> ModuleType:
    try:
        import accelerate  # here: one device needs nobody
    except ModuleNotFoundError as error:
        raise DependencyError(
            given="a model on several devices needs accelerate, which is not installed",
            hint="install it with: pip install accelerate; or name one device",
        ) from error
    module: ModuleType = accelerate
    return module
