"""Tensors of a step in files: whole, in pieces, of another step; the rest is in the tests of checkpoints."""

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from safetensors.torch import load_file  # noqa: E402
from torch import nn  # noqa: E402

from robertakit.errors import CorruptFile, TensorMismatch  # noqa: E402
from robertakit.training.checkpoint_tensors import check_tensors, load_tensors, save_tensors  # noqa: E402


def made(seed: int, *, stepped: bool = True) -> tuple[nn.Module, torch.optim.Optimizer]:
    torch.manual_seed(seed)
    step = nn.Sequential(nn.Linear(3, 2), nn.LayerNorm(2))
    optimiser = torch.optim.AdamW(step.parameters(), lr=0.1)
    if stepped:
        step(torch.randn(4, 3)).square().sum().backward()
        optimiser.step()
        optimiser.zero_grad()
    return step, optimiser


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_tensors_come_back_in_any_dtype(tmp_path: Path, dtype: torch.dtype) -> None:
    step, optimiser = made(1)
    step.to(dtype)
    for of in optimiser.state.values():
        of.update({name: value.to(dtype) for name, value in of.items() if name != "step"})
    save_tensors(tmp_path, step, optimiser, 1)
    other, its_optimiser = made(2)
    other.to(dtype)
    its_optimiser = torch.optim.AdamW(other.parameters())
    check_tensors(tmp_path, other, its_optimiser)
    load_tensors(tmp_path, other, its_optimiser, 1)
    for name, value in step.state_dict().items():
        assert torch.equal(other.state_dict()[name], value), name
    before, after = optimiser.state_dict()["state"], its_optimiser.state_dict()["state"]
    assert before.keys() == after.keys()
    for index, of in before.items():
        for name, value in of.items():
            assert torch.equal(after[index][name], value), (index, name)
            assert after[index][name].dtype == value.dtype


def test_pieces_in_several_files_are_put_together(tmp_path: Path) -> None:
    import json

    from safetensors.torch import save_file

    step, optimiser = made(1, stepped=False)
    save_tensors(tmp_path, step, optimiser, 1)
    (path,) = tmp_path.iterdir()
    tensors = load_file(path)
    path.unlink()
    for part, (rows, first) in enumerate(((slice(0, 1), 0), (slice(1, 2), 1))):
        pieces = {name: value[rows].contiguous() for name, value in tensors.items()}
        offsets = {
            name: {"saved_offsets": [first] + [0] * (value.dim() - 1)} for name, value in tensors.items()
        }
        save_file(pieces, tmp_path / f"{part}.safetensors", {"DCP_SHARDING_INFO": json.dumps(offsets)})
    other, its_optimiser = made(2)
    check_tensors(tmp_path, other, its_optimiser)
    load_tensors(tmp_path, other, its_optimiser, 1)
    assert all(torch.equal(other.state_dict()[name], value) for name, value in step.state_dict().items())
    assert not its_optimiser.state  # it had not stepped when it was saved


def test_what_differs_is_named(tmp_path: Path) -> None:
    save_tensors(tmp_path, *made(1), 1)
    fewer = nn.Sequential(nn.Linear(3, 2))
    with pytest.raises(
        TensorMismatch, match=r"lacks nothing and has optimiser/state.1.bias.exp_avg, .*besides"
    ):
        check_tensors(tmp_path, fewer, torch.optim.AdamW(fewer.parameters()))
    step, _ = made(1)
    with pytest.raises(TensorMismatch, match=r"it lacks optimiser/state.0.bias.momentum_buffer"):
        check_tensors(tmp_path, step, torch.optim.SGD(step.parameters(), lr=0.1, momentum=0.9))


def test_files_of_another_kind_are_no_pieces(tmp_path: Path) -> None:
    (tmp_path / "shard.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(CorruptFile, match="files that are no pieces of a checkpoint"):
        check_tensors(tmp_path, *made(1))
