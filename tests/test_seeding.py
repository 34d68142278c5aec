"""set_seed: one seed for all generators, and what it does not import."""

import inspect
import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robertakit import set_seed
from robertakit.errors import ArgumentError

SOURCE = Path(__file__).resolve().parent.parent / "src"


def run(code: str) -> str:
    """What a fresh interpreter prints."""
    environment = {**os.environ, "PYTHONPATH": str(SOURCE)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def draws() -> list[float]:
    return [random.random(), float(np.random.rand())]  # noqa: NPY002 (what is seeded)


def test_the_same_seed_gives_the_same_draws() -> None:
    set_seed(7)
    first = draws()
    assert draws() != first
    set_seed(7)
    assert draws() == first
    set_seed(8)
    assert draws() != first


@pytest.mark.parametrize("seed", [-1, 2**32, 1.0, True, "1", None])
def test_a_seed_that_numpy_does_not_take(seed: object) -> None:
    before = random.getstate()
    with pytest.raises(ArgumentError, match=r"^seed=.*expected an integer from 0 to 4294967295\.$"):
        set_seed(seed)
    assert random.getstate() == before  # nothing was half done


def test_numpy_integers_are_seeds() -> None:
    set_seed(np.int64(3))
    first = draws()
    set_seed(3)
    assert draws() == first


def test_without_pytorch_nothing_is_missed() -> None:
    code = "import sys; sys.modules['torch'] = None; from robertakit import set_seed; set_seed(1, deterministic=True)"
    assert run(code) == ""


def test_pytorch_is_seeded_before_anybody_imports_it_and_deterministic_is_asked_of_its_products() -> None:
    """In a process of its own: TensorFlow, where it is imported, cannot be asked to forget that it is deterministic."""
    torch = pytest.importorskip("torch")
    code = (
        "import os\nfrom robertakit import set_seed\nset_seed(5)\nimport torch\nprint(torch.rand(()).item())\n"
        "os.environ.pop('CUBLAS_WORKSPACE_CONFIG', None)\n"
        "for wanted in (False, True):\n"
        "    set_seed(5, deterministic=wanted)\n"
        "    print(torch.are_deterministic_algorithms_enabled(), os.environ.get('CUBLAS_WORKSPACE_CONFIG'))"
    )
    drawn, *told = run(code).split()
    assert float(drawn) == torch.rand((), generator=torch.Generator().manual_seed(5)).item()
    assert told == ["False", "None", "True", ":4096:8"]


def test_a_new_model_after_a_seed_is_the_same_model() -> None:
    torch = pytest.importorskip("torch")
    from robertakit import RobertaConfig, RobertaModel

    config = RobertaConfig(vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2)
    made = []
    for seed in (11, 11, 12):
        set_seed(seed)
        made.append(RobertaModel(config).embeddings.word_embeddings.weight)
    assert torch.equal(made[0], made[1])
    assert not torch.equal(made[0], made[2])


def draws_of_tensorflow() -> tuple[float, float]:
    """A weight of a new model, and what TensorFlow draws next."""
    import tensorflow as tf

    from robertakit import RobertaConfig, TFRobertaModel

    config = RobertaConfig(
        vocab_size=9, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=9
    )
    model = TFRobertaModel(config)
    return model.get_input_embeddings().weights[0].numpy()[3, 0].item(), tf.random.uniform(()).numpy().item()


def test_tensorflow_is_seeded_where_it_is_imported() -> None:
    pytest.importorskip("tensorflow")
    pytest.importorskip("keras")
    set_seed(5)
    first = draws_of_tensorflow()
    set_seed(5)
    assert draws_of_tensorflow() == first != draws_of_tensorflow()


def test_tensorflow_is_seeded_when_our_models_import_it_unless_it_was_given_a_seed() -> None:
    """In one process, since importing TensorFlow takes seconds; it forgets its seed in between."""
    pytest.importorskip("tensorflow")
    lines = [
        "from robertakit import set_seed",
        "set_seed(5)",
        "import sys; print('tensorflow' in sys.modules)",
        "import tensorflow as tf",
        "tf.random.set_seed(6)",
        "from robertakit.seeding import seed_tensorflow",
        "seed_tensorflow()",
        "print(tf.compat.v1.get_seed(None)[0])",
        "tf.random.set_seed(None)",
        "print(tf.compat.v1.get_seed(None)[0])",
        "import robertakit.tensorflow",
        inspect.getsource(draws_of_tensorflow),
        "first = draws_of_tensorflow()",
        "set_seed(5)",
        "print(first == draws_of_tensorflow(), first == draws_of_tensorflow())",
    ]
    assert run("\n".join(lines)).split() == ["False", "6", "None", "True", "False"]
