"""What a framework saves, transformers reads; where several are installed, each. They write the same bytes.

That TensorFlow and JAX write what PyTorch writes, byte for byte, is `test_frameworks_files.py`'s to see.
"""

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import load_file

from robertakit.architecture import HEADS

HERE = [name for name in ("torch", "tensorflow", "jax") if importlib.util.find_spec(name) is not None]


@pytest.mark.peers
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("writer", HERE)
def test_transformers_reads_what_each_framework_saves(
    frameworks: ModuleType, tmp_path: Path, writer: str, head: str
) -> None:
    import torch
    import transformers

    kind = frameworks.ALL[writer]
    model, _ = kind.build(head, "XLMRoberta", frameworks.config_of(head, "XLMRoberta"), seed=1)
    model.save_pretrained(tmp_path)
    theirs, report = getattr(transformers, f"XLMRoberta{HEADS[head].class_suffix}").from_pretrained(
        tmp_path, output_loading_info=True, attn_implementation="eager"
    )
    assert not report["missing_keys"]
    assert not report["unexpected_keys"]
    stored = load_file(tmp_path / "model.safetensors")
    own = theirs.state_dict()
    for name, value in stored.items():
        np.testing.assert_array_equal(own[name].numpy(), value, err_msg=name)
    given = frameworks.call_of(head, labels=False)
    with torch.no_grad():
        want = theirs.eval()(**{name: torch.from_numpy(value).long() for name, value in given.items()})
    real = given["attention_mask"].astype(bool)
    for name in HEADS[head].outputs:
        got, value = kind.call(model, given)[name], want[name].numpy()
        if got.shape[:2] == real.shape and HEADS[head].rows != "first" and name != "pooler_output":
            got, value = got[real], value[real]
        np.testing.assert_allclose(got, value, rtol=0, atol=2e-5 * max(1.0, float(np.abs(value).max())))
