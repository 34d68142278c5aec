"""`return_tensors` in every framework: the same numbers, in the framework's own arrays."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from robertakit import embedded
from robertakit.errors import DependencyError
from robertakit.tokenizers import AutoTokenizer, BatchEncoding

TEXTS = ["The capital of France is Paris.", "Hello"]
KINDS = {"pt": "torch", "tf": "tensorflow", "jax": "jax"}


@pytest.fixture(scope="module", params=[True, False], ids=["fast", "slow"])
def tokenizer(request: pytest.FixtureRequest) -> object:
    return AutoTokenizer.from_pretrained(embedded.folder(), use_fast=request.param)


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_is_the_same_numbers_in_every_framework(tokenizer: object, kind: str) -> None:
    framework = pytest.importorskip(KINDS[kind])
    arguments = {"padding": True, "return_special_tokens_mask": True, "return_length": True}
    plain = tokenizer(TEXTS, return_tensors="np", **arguments)  # type: ignore[operator]
    batch = tokenizer(TEXTS, return_tensors=kind, **arguments)  # type: ignore[operator]
    tensor = {"pt": "Tensor", "tf": "Tensor", "jax": "Array"}[kind]
    assert set(batch) == set(plain)
    for name, value in batch.items():
        assert isinstance(value, getattr(framework, tensor)), name
        np.testing.assert_array_equal(np.asarray(value), plain[name])
        assert ("int64" if kind == "pt" else "int32") in str(value.dtype)
    assert tokenizer.decode(batch["input_ids"][1], skip_special_tokens=True) == TEXTS[1]  # type: ignore[attr-defined]
    assert tokenizer.batch_decode(batch.input_ids, skip_special_tokens=True) == TEXTS  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", KINDS)
def test_one_text_is_a_batch_of_one_and_columns_keep_their_axes(tokenizer: object, kind: str) -> None:
    pytest.importorskip(KINDS[kind])
    one = tokenizer(TEXTS[0], return_tensors=kind)  # type: ignore[operator]
    assert one["input_ids"].shape[0] == 1
    assert one["input_ids"].shape == tokenizer(TEXTS[:1], return_tensors=kind)["input_ids"].shape  # type: ignore[operator]
    flat = BatchEncoding({"x": [1, 2], "y": [0.5, 1.5]}).convert_to_tensors(kind)
    assert tuple(flat["x"].shape) == (2,)  # type: ignore[attr-defined]
    assert "float32" in str(flat["y"].dtype)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("kind", "extra"), KINDS.items())
def test_an_absent_framework_is_named(
    tokenizer: object, kind: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, extra, None)
    with pytest.raises(
        DependencyError, match=rf"return_tensors='{kind}' needs {extra}.*robertakit\[{extra}\]"
    ):
        tokenizer(TEXTS[0], return_tensors=kind)  # type: ignore[operator]


def test_numbers_of_one_framework_import_no_other(root: Path) -> None:
    pytest.importorskip("jax")
    code = (
        "import sys; from robertakit import AutoTokenizer, embedded\n"
        "AutoTokenizer.from_pretrained(embedded.folder())('Hello', return_tensors='jax')\n"
        "print('jax' in sys.modules, 'torch' in sys.modules, 'tensorflow' in sys.modules, 'flax' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={"PYTHONPATH": str(root / "src")},
    )
    assert done.stdout.split() == ["True", "False", "False", "False"]
