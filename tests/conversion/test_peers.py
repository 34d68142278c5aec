"""What a conversion writes, as transformers loads it."""

import json
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

from robertakit.conversion import convert_checkpoint

pytestmark = pytest.mark.peers

CHECKPOINTS = Path(__file__).resolve().parent.parent / "golden" / "checkpoints"
#: Formats that need no package of their own.
FORMATS = ("mlm_old_bin", "mlm_bin_sharded", "mlm_flax_msgpack", "fairseq_decoder_args", "fairseq_in_proj",
           "seqcls_safetensors", "xlmr_mlm_safetensors")  # fmt: skip


@pytest.mark.parametrize("dtype", ["keep", "float16", "bfloat16"])
@pytest.mark.parametrize("name", FORMATS)
def test_transformers_computes_the_recorded_outputs(tmp_path: Path, name: str, dtype: str) -> None:
    import torch
    import transformers

    done = convert_checkpoint(CHECKPOINTS / name, tmp_path, dtype=dtype, max_shard_size="30KB")
    expect = json.loads((CHECKPOINTS / name / "expect.json").read_text())
    cases = {case["class"]: case for case in [*expect.get("loads", []), *expect.get("converts", [])]}
    kind = getattr(transformers, done.architecture)
    model, info = kind.from_pretrained(tmp_path, output_loading_info=True, torch_dtype=torch.float32)
    assert not info["missing_keys"]
    assert not info["unexpected_keys"]
    inputs = {
        key: torch.from_numpy(value) for key, value in load_file(CHECKPOINTS / "inputs.safetensors").items()
    }
    with torch.no_grad():
        logits = model.eval()(**inputs).logits.numpy()
    expected = load_file(CHECKPOINTS / "_expected" / f"{cases[done.architecture]['expected']}.safetensors")[
        "logits"
    ]
    if dtype == "keep":
        np.testing.assert_allclose(logits, expected, rtol=0, atol=1e-4)
    change = np.linalg.norm(logits - expected) / np.linalg.norm(expected)
    assert change <= max(done.agreement.bounds["logits"], 1e-5)
