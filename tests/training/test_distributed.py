"""Training by several processes against training by one: the same losses, gradients and weights, and resumption.

All of it is done once, by `distributed_worker.py`; the tests judge what it wrote. Gloo and processors.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

np = pytest.importorskip("numpy")
pytest.importorskip("torch")
if not hasattr(os, "fork"):
    pytest.skip("processes are forked", allow_module_level=True)

WORKER = Path(__file__).with_name("distributed_worker.py")
SOURCE = WORKER.parents[2] / "src"
TWO, FOUR = ["ddp2", "fsdp2"], ["ddp4", "fsdp4"]
RESUMED = [
    "fsdp2 to fsdp4", "fsdp2 to auto1", "fsdp2 to ddp2", "ddp2 to fsdp2", "ddp2 to auto1", "ddp2 to ddp4",
    "ddp2 to fsdp4",
]  # fmt: skip
DEFAULT = [
    "one", *TWO, "places ddp", "places fsdp", "first weights ddp", "first weights fsdp", "bf16", "judged",
    "full disk", "another model", "loop auto1", "loop fsdp2", "loop fsdp2 to fsdp4", "loop fsdp2 to auto1",
]  # fmt: skip
LOOPS = ["loop ddp2", "loop ddp4", "loop fsdp4"]
SLOW = [*FOUR, "half ddp2", "half fsdp2", *RESUMED, "killed", *LOOPS, "loop fsdp2 to ddp2"]

Results = dict[str, Any]


def work(out: Path, parts: list[str]) -> Results:
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, str(WORKER), str(out), *parts], env=environment, capture_output=True, text=True
    )
    assert ended.returncode == 0, ended.stderr[-4000:]
    return {part: json.loads((out / f"{part}.json").read_text()) for part in parts}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("distributed")


@pytest.fixture(scope="module")
def done(folder: Path) -> Results:
    return work(folder, DEFAULT)


@pytest.fixture(scope="module")
def slowly_done(folder: Path, done: Results) -> Results:
    return done | work(folder, SLOW)


def check_like_one(done: Results, ways: str) -> None:
    one, several = done["one"], done[ways]
    assert len(several["losses"]) == 20
    assert one["losses"][-1] < 0.9 * one["losses"][0]  # it does train
    assert several["losses"] == pytest.approx(one["losses"], rel=1e-5)
    assert several["norms"] == pytest.approx(one["norms"], rel=1e-5)
    assert several["gradients"].keys() == one["gradients"].keys()
    for name, gradient in one["gradients"].items():
        assert_close(several["gradients"][name], gradient, name)
    for name, weight in one["weights"].items():
        np.testing.assert_allclose(several["weights"][name], weight, rtol=0, atol=1e-4, err_msg=name)


def assert_close(found: object, expected: object, name: str) -> None:
    """Relative norm 1e-5; what is a sum that is exactly zero (keys' biases) is rounding in both."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, name
    difference = np.linalg.norm(found - expected)
    assert difference <= max(1e-5 * np.linalg.norm(expected), 1e-8), name


@pytest.mark.parametrize("ways", TWO)
def test_several_processes_train_as_one_does(done: Results, ways: str) -> None:
    check_like_one(done, ways)


@pytest.mark.slow
@pytest.mark.parametrize("ways", FOUR)
def test_four_processes_train_as_one_does(slowly_done: Results, ways: str) -> None:
    check_like_one(slowly_done, ways)


def test_tied_matrices_are_one_and_in_the_root_unit(done: Results) -> None:
    for ways in ("one", *TWO):
        weights = done[ways]["weights"]
        assert weights["lm_head.decoder.weight"] == weights["roberta.embeddings.word_embeddings.weight"], ways
        assert weights["lm_head.decoder.bias"] == weights["lm_head.bias"], ways
    units = done["places fsdp"][0]["units"]
    assert units == ["", "model.roberta.encoder.layer.0", "model.roberta.encoder.layer.1"]


def check_resumed(done: Results, name: str) -> None:
    one, resumed = done["one"], done[name]
    assert resumed["losses"] == pytest.approx(one["losses"][10:], rel=1e-5)
    for tensor, weight in one["weights"].items():
        np.testing.assert_allclose(resumed["weights"][tensor], weight, rtol=0, atol=1e-4, err_msg=tensor)


@pytest.mark.slow
@pytest.mark.parametrize("name", RESUMED)
def test_what_two_processes_saved_any_others_go_on_with(slowly_done: Results, name: str) -> None:
    check_resumed(slowly_done, name)


def check_loop(done: Results, name: str, first: int = 0) -> None:
    """The log of a run says the same as one process's: losses, norms, and figures on held-out text."""
    one, several = done["loop auto1"], done[name]

    def figures(run: Results, event: str, name: str) -> list[float]:
        return [line[name] for line in run["log"] if line["event"] == event and line["step"] > first]

    for event, name_of, count in (
        ("step", "loss", 20),
        ("step", "gradient_norm", 20),
        ("evaluate", "loss", 4),
    ):
        expected = figures(one, event, name_of)
        assert len(expected) == count * (20 - first) // 20
        assert figures(several, event, name_of) == pytest.approx(expected, rel=1e-5), (name, event, name_of)
    assert several["tokens"] == one["tokens"]
    for tensor, weight in one["weights"].items():
        np.testing.assert_allclose(several["weights"][tensor], weight, rtol=0, atol=1e-4, err_msg=tensor)
    losses = figures(one, "step", "loss")
    assert losses[-1] < losses[0]  # it does train
    shares = several["targets"]
    assert len({len(share) for share in shares}) == 1  # as many micro-batches on each process
    assert sum(map(sum, shares)) == sum(map(sum, one["targets"]))


def test_the_loop_trains_on_two_processes_as_on_one_and_goes_on_on_four_and_on_one(done: Results) -> None:
    check_loop(done, "loop fsdp2")
    check_loop(done, "loop fsdp2 to fsdp4", first=10)
    check_loop(done, "loop fsdp2 to auto1", first=10)
    assert [line["processes"] for line in done["loop fsdp2 to fsdp4"]["log"] if line["event"] == "start"] == [
        2,
        4,
    ]


@pytest.mark.slow
@pytest.mark.parametrize("name", LOOPS)
def test_the_loop_trains_on_several_processes_as_on_one(slowly_done: Results, name: str) -> None:
    check_loop(slowly_done, name)


@pytest.mark.slow
def test_the_loop_goes_on_in_another_way(slowly_done: Results) -> None:
    check_loop(slowly_done, "loop fsdp2 to ddp2", first=10)


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_processes_count_gather_and_wait_together(done: Results, way: str) -> None:
    first, second = done[f"places {way}"]
    assert (first["rank"], second["rank"]) == (0, 1)
    assert (first["first"], second["first"]) == (True, False)
    assert first["processes"] == second["processes"] == 2
    assert first["sum"] == second["sum"] == [2.0, 2.0]
    assert first["gathered"] == second["gathered"] == ["process 0", "process 1"]
    assert (first["done"], second["done"]) == ([0, 0], [])
    assert "ZeroDivisionError: integer division" in second["failed"]
    assert 0.45 < first["share"] < 0.55 if way == "fsdp" else first["share"] == 1


@pytest.mark.parametrize("way", ["ddp", "fsdp"])
def test_all_begin_with_the_weights_of_the_first(done: Results, way: str) -> None:
    assert done[f"first weights {way}"] == [1.0]


def test_fsdp_gathers_in_bfloat16_and_keeps_float32(done: Results) -> None:
    told = done["bf16"]
    assert (told["computed"], told["kept"]) == (["torch.bfloat16"], ["torch.float32"])
    assert told["losses"] == pytest.approx(done["one"]["losses"][:3], rel=2**-7)
    assert told["losses"] != done["one"]["losses"][:3]


def test_a_load_behind_an_evaluation_is_what_training_goes_on_with(done: Results) -> None:
    losses = done["judged"]
    assert losses[:4] == pytest.approx(done["one"]["losses"][:4], rel=1e-5)
    assert losses[4:] == losses[2:4]


def test_a_disk_that_is_full_for_one_process_stops_all_and_takes_nothing(done: Results) -> None:
    for told in done["full disk"]:
        leaf, sentence = told["error"]
        assert leaf == "SaveFailed"
        assert "No space left on device" in sentence
        assert "the checkpoints before it stand" in sentence
        assert (told["loaded"], told["then"]) == ({"saved": 1}, {"saved": 3})
        assert told["left"] == ["000001-step-1", "000002-step-2"]


def test_a_checkpoint_of_another_model_is_refused_by_all(done: Results) -> None:
    for leaf, sentence in done["another model"]:
        assert leaf == "TensorMismatch"
        assert "[99" in sentence
        assert "[101" in sentence


@pytest.mark.slow
def test_a_process_killed_while_all_save_leaves_a_whole_checkpoint(slowly_done: Results) -> None:
    outcomes = slowly_done["killed"]
    died = [ended for _, ended, _ in outcomes if {"ended": -9} in ended]
    survived = [ended for _, ended, _ in outcomes if {"ended": -9} not in ended]
    assert len(died) > 5
    assert survived  # the numbers go past the last step on the disk
    for at, ended, loaded in outcomes:
        assert loaded in ({"saved": 1}, {"saved": 2}), at
        assert loaded == {"saved": 2} or {"ended": -9} in ended, at


RECIPE = """
tokenizer = { train = "byte-level-bpe", vocabulary = 270 }
packing = { lengths = 32 }
held_out = { share = 0.2, prompts = ["The <mask> sat."] }
[model]
hidden_size = 16
num_hidden_layers = 2
num_attention_heads = 2
intermediate_size = 32
hidden_dropout_prob = 0.0
attention_probs_dropout_prob = 0.0
[training]
steps = 6
batch_sequences = 8
learning_rate = 1e-3
warm_up = 2
device = "cpu"
log_every = 1
evaluate_every = 3
save_every = 3
keep = 9
[[sources]]
files = "text.txt"
"""


@pytest.mark.slow
def test_the_same_command_under_torchrun_is_the_same_training(tmp_path: Path) -> None:
    """From text to the log: by one process, by two sharded ones, and by one that goes on with what two began."""
    words = ["the", "cat", "sat", "on", "a", "mat", "and", "the", "dog", "ran", "to", "the", "door"]
    sentences = [" ".join(words[(i * j) % 13] for j in range(1, 8)).capitalize() + "." for i in range(1, 200)]
    (tmp_path / "text.txt").write_text("\n\n".join(sentences))
    (tmp_path / "recipe.toml").write_text(RECIPE)
    torchrun = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]

    def pretrain(folder: str, *more: str, launch: list[str] = []) -> dict[tuple[str, int], float]:  # noqa: B006
        command = [
            sys.executable,
            *launch,
            "-m",
            "robertakit",
            "pretrain",
            "recipe.toml",
            "--folder",
            folder,
            *more,
        ]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)}
        ended = subprocess.run(
            [*command, "--quiet"], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=500
        )
        assert ended.returncode == 0, ended.stderr[-3000:]
        rows = map(json.loads, (tmp_path / folder / "log.jsonl").read_text().splitlines())
        return {(row["event"], row["step"]): row["loss"] for row in rows if "loss" in row}

    one = pretrain("one")
    two = pretrain("two", "--set", "training.parallel=fsdp", launch=torchrun)
    assert len(one) == 6 + 3
    assert two == pytest.approx(one, rel=1e-5)
    shutil.copytree(tmp_path / "two", tmp_path / "mixed")
    shutil.rmtree(tmp_path / "mixed" / "model")
    (last,) = (tmp_path / "mixed" / "checkpoints").glob("*-step-6")
    shutil.rmtree(last)
    assert pretrain("mixed") == pytest.approx(one, rel=1e-5)
    assert (tmp_path / "mixed" / "model" / "model.safetensors").is_file()
