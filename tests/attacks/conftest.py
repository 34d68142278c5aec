"""One process that does the loading, so that an attack is measured from a clean peak of memory."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from robertakit import RobertaConfig
from robertakit.architecture import initial_weights
from robertakit.checkpoints import save_weights

WORKER = Path(__file__).parent / "worker.py"
GOLDEN = WORKER.parent.parent / "golden" / "checkpoints"
OTHER_READERS = ("mlm_bin", "mlm_tf_h5", "mlm_flax_msgpack", "fairseq_in_proj")
SOURCE = WORKER.parent.parent.parent / "src"


@dataclass(frozen=True)
class Attempt:
    """What came of loading a folder."""

    leaf: str
    text: str
    seconds: float
    growth: int
    created: list[str]


@pytest.fixture(scope="session")
def tiny() -> RobertaConfig:
    return RobertaConfig(
        vocab_size=11,
        hidden_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=12,
        max_position_embeddings=10,
        type_vocab_size=1,
    )


@pytest.fixture
def victim(tmp_path: Path, tiny: RobertaConfig) -> Path:
    """A sound checkpoint that a test then spoils."""
    folder = tmp_path / "victim"
    save_weights(folder, initial_weights(tiny, "masked-lm", 1), config_json=tiny.to_json_string())
    return folder


@pytest.fixture(scope="session")
def worker(tmp_path_factory: pytest.TempPathFactory, tiny: RobertaConfig) -> Iterator[subprocess.Popen[str]]:
    sound = tmp_path_factory.mktemp("sound")
    save_weights(sound, initial_weights(tiny, "masked-lm", 1), config_json=tiny.to_json_string())
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(SOURCE)}
    process = subprocess.Popen(
        [sys.executable, str(WORKER), str(sound), *(str(GOLDEN / name) for name in OTHER_READERS)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    with process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


@pytest.fixture
def attempt(worker: "subprocess.Popen[str]", tmp_path: Path) -> Callable[[Path], Attempt]:
    def load(folder: Path) -> Attempt:
        cwd = tmp_path / "cwd"
        cwd.mkdir(exist_ok=True)
        assert worker.stdin is not None
        assert worker.stdout is not None
        worker.stdin.write(json.dumps({"folder": str(folder.absolute()), "cwd": str(cwd)}) + "\n")
        worker.stdin.flush()
        answer = json.loads(worker.stdout.readline())
        return Attempt(**answer, created=sorted(path.name for path in cwd.iterdir()))

    return load
