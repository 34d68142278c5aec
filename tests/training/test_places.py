"""One process's place, and a sentence for each way that does not fit; `test_distributed.py` has several processes."""

import math
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import distributed as dist  # noqa: E402
from torch import nn  # noqa: E402

from robertakit import RobertaConfig, RobertaForMaskedLM  # noqa: E402
from robertakit.errors import ArgumentError, TrainingError  # noqa: E402
from robertakit.training.places import Place, plain_name, tied_names, unwrapped  # noqa: E402


class Step(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        self.model = RobertaForMaskedLM(RobertaConfig(vocab_size=20, max_position_embeddings=20, **sizes))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.model(ids).logits.logsumexp(-1).sum()


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def place() -> Place:
    return Place.here(device="cpu")


def launched(monkeypatch: pytest.MonkeyPatch, **values: object) -> None:
    for name, value in values.items():
        monkeypatch.setenv(name, str(value))


def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


# --- one process ---


def test_one_process_is_first_and_alone(place: Place) -> None:
    assert (place.rank, place.processes, place.first, str(place.device)) == (0, 1, True, "cpu")
    assert place.sum(0.1, 3) == (0.1, 3.0)
    assert place.gather("x") == ["x"]
    done: list[int] = []
    place.once(lambda: done.append(1))
    assert done == [1]
    with pytest.raises(ZeroDivisionError):
        place.once(lambda: 1 // 0)


def test_a_launch_of_one_process_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, RANK=0, WORLD_SIZE=1, LOCAL_RANK=0)
    assert type(Place.here(device="cpu")) is Place
    assert not dist.is_initialized()


def test_the_step_stays_what_it_is(place: Place) -> None:
    step = Step()
    assert place.prepare(step) is step
    with place.accumulating(step, last=False), place.accumulating(step, last=True):
        pass


@pytest.mark.parametrize("most", [0.0, math.inf])
def test_a_norm_is_measured_and_nothing_clipped(place: Place, most: float) -> None:
    step = Step()
    step(torch.tensor([[0, 5, 2]])).backward()
    before = [parameter.grad.clone() for parameter in step.parameters() if parameter.grad is not None]
    expected = math.sqrt(sum(float(gradient.double().square().sum()) for gradient in before))
    assert place.clip(step, most) == pytest.approx(expected, rel=1e-6)
    after = [parameter.grad for parameter in step.parameters() if parameter.grad is not None]
    assert all(torch.equal(one, other) for one, other in zip(before, after, strict=True))


def test_a_long_gradient_is_shortened_and_a_short_one_left(place: Place) -> None:
    step = Step()
    step(torch.tensor([[0, 5, 2]])).backward()
    norm = place.clip(step, 0.0)
    assert place.clip(step, norm / 4) == pytest.approx(norm, rel=1e-6)
    assert place.clip(step, norm) == pytest.approx(norm / 4, rel=1e-4)
    assert place.clip(step, 0.0) == pytest.approx(norm / 4, rel=1e-4)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_gradient_that_is_no_number_is_told(place: Place, bad: float) -> None:
    step = Step()
    step(torch.tensor([[0, 5, 2]])).backward()
    step.model.lm_head.dense.bias.grad[0] = bad
    assert not math.isfinite(place.clip(step, 0.0))


def test_weights_are_exported_under_the_models_own_names(place: Place) -> None:
    step = place.prepare(Step())
    weights = place.state_for_export(step)
    assert weights is not None
    plain = step.model.state_dict()
    assert weights.keys() == plain.keys()
    assert all(torch.equal(weights[name], value) for name, value in plain.items())
    assert (
        weights["lm_head.decoder.weight"] is weights["roberta.embeddings.word_embeddings.weight"]
    )  # once in memory
    with torch.no_grad():
        step.model.lm_head.bias.fill_(7)
    assert weights["lm_head.bias"].eq(0).all()  # what is trained next does not change it
    other = RobertaForMaskedLM(step.model.config)
    other.load_state_dict(weights)


def test_half_precision_is_exported_as_float32(place: Place) -> None:
    weights = place.state_for_export(Step().to(torch.bfloat16))
    assert weights is not None
    assert {value.dtype for value in weights.values()} == {torch.float32}


def test_names_are_the_models_own_when_compiled(place: Place) -> None:
    step = Step()
    plain = place.state_for_export(step)
    step.model.roberta.encoder.layer[0] = torch.compile(step.model.roberta.encoder.layer[0], backend="eager")
    compiled = torch.compile(step, backend="eager")
    assert plain is not None
    assert unwrapped(compiled) is step
    assert (place.state_for_export(compiled) or {}).keys() == plain.keys()
    assert tied_names(compiled) == {
        "model.lm_head.decoder.weight": "model.roberta.embeddings.word_embeddings.weight",
        "model.lm_head.decoder.bias": "model.lm_head.bias",
    }
    assert plain_name("a._orig_mod.b._orig_mod.c") == "a.b.c"


# --- what does not fit ---


def test_an_unknown_way_is_refused() -> None:
    with pytest.raises(ArgumentError, match="parallel='fsdp1'; expected 'auto', 'ddp' or 'fsdp'"):
        Place.here("fsdp1")


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_several_processes_want_torchrun(way: str) -> None:
    with pytest.raises(
        ArgumentError, match=f"parallel='{way}' in a process by itself; start it with: torchrun"
    ):
        Place.here(way)


def test_an_unknown_precision_is_refused(place: Place) -> None:
    with pytest.raises(ArgumentError, match="precision='int8'; expected 'fp32', 'tf32', 'bf16' or 'fp16'"):
        place.prepare(Step(), "int8")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        (
            {"RANK": 0},
            "RANK=0, no WORLD_SIZE in the environment; expected both, whole numbers; unset them, or",
        ),
        ({"WORLD_SIZE": 2}, "no RANK, WORLD_SIZE=2 in the environment"),
        ({"RANK": "one", "WORLD_SIZE": 2}, "RANK=one, WORLD_SIZE=2 in the environment"),
        ({"RANK": 2, "WORLD_SIZE": 2}, "expected ranks below WORLD_SIZE"),
        ({"RANK": -1, "WORLD_SIZE": 2}, "expected ranks below WORLD_SIZE"),
    ],
)
def test_half_an_environment_is_no_launch(
    monkeypatch: pytest.MonkeyPatch, values: dict[str, object], sentence: str
) -> None:
    launched(monkeypatch, **values)
    with pytest.raises(ArgumentError) as raised:
        Place.here(device="cpu")
    assert sentence in str(raised.value)


@pytest.mark.parametrize("device", ["gpu", "cuda:x", "c p u"])
def test_an_unknown_device_is_refused(device: str) -> None:
    with pytest.raises(ArgumentError, match=f"device='{device}'; expected 'cpu', 'cuda' or 'cuda:0'"):
        Place.here(device=device)


def test_a_gpu_that_is_not_there_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ArgumentError, match="GPU 2, of 2 that PyTorch sees here; start as many processes as"):
        Place.here(device="cuda:2")
    launched(monkeypatch, RANK=5, LOCAL_RANK=3, WORLD_SIZE=8)
    with pytest.raises(ArgumentError, match="GPU 3, of 2"):
        Place.here(device="cuda")
    with pytest.raises(ArgumentError, match="device='cuda:1' under torchrun; expected 'cuda'; each process"):
        Place.here(device="cuda:1")
    with pytest.raises(ArgumentError, match="device='mps' under torchrun; expected 'cpu' or 'cuda'"):
        Place.here(device="mps")


def test_processes_that_do_not_find_each_other_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    launched(monkeypatch, RANK=1, WORLD_SIZE=2)  # nobody said where
    with pytest.raises(TrainingError, match=r"did not find each other .*MASTER_ADDR"):
        Place.here(device="cpu")
    assert not dist.is_initialized()


@pytest.mark.parametrize("lacking", ["torch.distributed", "gloo", "nccl"])
def test_a_pytorch_without_a_transport_is_told(monkeypatch: pytest.MonkeyPatch, lacking: str) -> None:
    launched(
        monkeypatch, RANK=0, WORLD_SIZE=2, LOCAL_RANK=0, MASTER_ADDR="127.0.0.1", MASTER_PORT=free_port()
    )
    names = {"torch.distributed": "is_available", "gloo": "is_gloo_available", "nccl": "is_nccl_available"}
    monkeypatch.setattr(dist, names[lacking], lambda: False)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(TrainingError, match=f"this PyTorch was built without {lacking}"):
        Place.here(device="cuda" if lacking == "nccl" else "cpu")


# --- the end ---


def threads() -> int:
    """How many this process has, those of the group among them; those for products are there after one."""
    torch.ones(300, 300) @ torch.ones(300, 300)
    return sum(1 for _ in Path("/proc/self/task").iterdir())


@pytest.mark.skipif(sys.platform != "linux", reason="asks Linux for the threads")
def test_closing_ends_the_group_though_the_step_lives_on(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else DDP's reducer ends it later, in a way that hangs now and then."""
    launched(monkeypatch, RANK=0, WORLD_SIZE=1, MASTER_ADDR="127.0.0.1", MASTER_PORT=free_port())
    before = threads()
    with Place.here("ddp", "cpu") as place:
        step, other = (place.prepare(torch.nn.Linear(2, 1)) for _ in range(2))
        (step(torch.ones(3, 2)) + other(torch.ones(3, 2))).sum().backward()
        assert threads() > before
    assert threads() == before
    assert set(place.state_for_export(torch.nn.Linear(2, 1))) == {"weight", "bias"}
    assert step.module.weight.grad is not None is not other.module.weight.grad


# --- a real start by torchrun ---

PROGRAM = """
import json, os, sys
from pathlib import Path
from robertakit.training.places import Place
with Place.here(sys.argv[1], "cpu") as place:
    said = [type(place).__name__, place.rank, place.processes, place.sum(1)[0]]
    Path(sys.argv[2], str(place.rank)).write_text(json.dumps(said))
"""


@pytest.mark.slow
@pytest.mark.parametrize(("way", "kind"), [("auto", "DataParallel"), ("fsdp", "FullySharded")])
def test_torchrun_is_understood(tmp_path: Path, way: str, kind: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(PROGRAM)
    ended = subprocess.run(
        [
            sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port",
            str(free_port()), str(program), way, str(tmp_path),
        ],
        env=os.environ | {"OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr[-3000:]
    for rank in (0, 1):
        assert (tmp_path / str(rank)).read_text() == f'["{kind}", {rank}, 2, 2.0]'
