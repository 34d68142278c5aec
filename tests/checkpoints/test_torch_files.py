"""The closed reader against PyTorch: what ``torch.save`` writes in either format comes back bit for bit."""

import os
import subprocess
import sys
from collections import OrderedDict
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from robertakit.checkpoints.torch_files import read_torch_file
from robertakit.errors import CorruptFile

torch = pytest.importorskip("torch")

SOURCE = Path(__file__).resolve().parents[2] / "src"
DTYPES = {
    torch.float64: "F64",
    torch.float32: "F32",
    torch.float16: "F16",
    torch.bfloat16: "BF16",
    torch.int64: "I64",
    torch.int32: "I32",
    torch.int16: "I16",
    torch.int8: "I8",
    torch.uint8: "U8",
    torch.bool: "BOOL",
}


def bits_of(value: torch.Tensor) -> bytes:
    plain = value.detach().contiguous()
    return (plain.view(torch.int16) if plain.dtype == torch.bfloat16 else plain).numpy().tobytes()


@st.composite
def state_dicts(draw: st.DrawFn) -> dict[str, torch.Tensor]:
    """Tensors that are whole, transposed, cut out, shared or empty."""
    state: dict[str, torch.Tensor] = OrderedDict()
    for number in range(draw(st.integers(0, 4))):
        shape = draw(st.lists(st.integers(0, 4), max_size=3))
        generator = torch.Generator().manual_seed(draw(st.integers(0, 99)))
        whole = torch.randn([*shape, 4], generator=generator) * 100
        value = whole.to(draw(st.sampled_from(list(DTYPES))))
        way = draw(st.sampled_from(["whole", "transposed", "cut", "row", "parameter"]))
        if way == "transposed":
            value = value.transpose(0, -1)
        elif way == "cut":
            value = value[..., 1:3]
        elif way == "row" and value.shape[0]:
            value = value[-1]
        elif way == "parameter" and value.is_floating_point():
            value = torch.nn.Parameter(value)
        state[f"t{number}"] = value
        if draw(st.booleans()):
            state[f"s{number}"] = value
    return state


@pytest.mark.parametrize("new", [True, False], ids=["zip", "old"])
@given(state=state_dicts())
@settings(max_examples=100)
def test_what_torch_saves_comes_back(
    state: dict[str, torch.Tensor], new: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("torch") / "pytorch_model.bin"
    torch.save(state, path, _use_new_zipfile_serialization=new)
    tensors = read_torch_file(path)
    assert list(tensors) == list(state)
    for name, value in state.items():
        assert tensors[name].dtype == DTYPES[value.dtype]
        assert tensors[name].shape == tuple(value.shape)
        assert bytes(tensors[name].c_bytes()) == bits_of(value)
        if value.is_floating_point():
            assert np.array_equal(tensors[name].read(np.float64), value.detach().double().numpy())
    path.unlink()


@pytest.mark.parametrize("new", [True, False], ids=["zip", "old"])
def test_state_dict_of_a_module_with_its_metadata(tmp_path: Path, new: bool) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.BatchNorm1d(3))
    torch.save(module.state_dict(), tmp_path / "a.bin", _use_new_zipfile_serialization=new)
    tensors = read_torch_file(tmp_path / "a.bin")
    assert tensors.keys() == module.state_dict().keys()


def test_dtypes_that_came_later(tmp_path: Path) -> None:
    """They are saved as bytes with a dtype beside them (``_rebuild_tensor_v3``)."""
    torch.save({"a": torch.arange(5).to(torch.uint16)}, tmp_path / "a.bin")
    tensor = read_torch_file(tmp_path / "a.bin")["a"]
    assert tensor.dtype == "U16"
    assert tensor.bits.tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize("new", [True, False], ids=["zip", "old"])
@pytest.mark.parametrize("what", ["module", "optimizer", "wrapped", "sparse"])
def test_what_is_no_plain_state_dict_is_refused(tmp_path: Path, what: str, new: bool) -> None:
    module = torch.nn.Linear(2, 2)
    things: dict[str, object] = {
        "module": module,
        "optimizer": torch.optim.Adam(module.parameters()).state_dict(),
        "wrapped": {"state_dict": module.state_dict()},
        "sparse": {"a": torch.eye(3).to_sparse()},
    }
    torch.save(things[what], tmp_path / "a.bin", _use_new_zipfile_serialization=new)
    with pytest.raises(CorruptFile):
        read_torch_file(tmp_path / "a.bin")


def test_storages_are_mapped_not_copied(tmp_path: Path) -> None:
    torch.save({"a": torch.zeros(1000)}, tmp_path / "a.bin")
    value = read_torch_file(tmp_path / "a.bin")["a"].read()
    assert not value.flags.owndata
    assert not value.flags.writeable


def test_trap_18_no_torch_and_no_pickle_is_needed(golden: Path) -> None:
    code = (
        "import sys; from pathlib import Path;"
        "before = set(sys.modules);"
        "from robertakit.checkpoints.weight_files import read_weight_file;"
        "[read_weight_file(Path(name)) for name in sys.argv[1:]];"
        "sys.exit('torch' in sys.modules)"
    )
    names = [
        str(golden / "checkpoints" / name / "pytorch_model.bin")
        for name in ("mlm_bin", "mlm_legacy_pickle_bin")
    ]
    environment = os.environ | {"PYTHONPATH": str(SOURCE)}
    assert subprocess.run([sys.executable, "-c", code, *names], env=environment, check=False).returncode == 0
