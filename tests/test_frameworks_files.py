"""A checkpoint that one framework writes is read by the others, and by transformers, to the same bytes."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from safetensors.numpy import load_file

from robertakit.architecture import HEADS

for _module in ("torch", "tensorflow", "keras", "jax", "flax"):
    pytest.importorskip(_module)

FRAMEWORKS = ("torch", "tensorflow", "jax")
FAMILIES = ("Roberta", "XLMRoberta")


def contents(file: Path) -> tuple[dict[str, object], bytes]:
    """The header of a safetensors file, without what tells one save from another, and all bytes of its tensors."""
    raw = file.read_bytes()
    length = int.from_bytes(raw[:8], "little")
    header = json.loads(raw[8 : 8 + length])
    header["__metadata__"] = {k: v for k, v in header.get("__metadata__", {}).items() if k == "format"}
    return header, raw[8 + length :]


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("family", FAMILIES)
def test_what_one_framework_saves_the_others_read_and_save_alike(
    frameworks: ModuleType, tmp_path: Path, family: str, head: str
) -> None:
    config = frameworks.config_of(head, family)
    wanted = None
    for writer, kind in frameworks.ALL.items():
        model, _ = kind.build(head, family, config, seed=3)
        if wanted is None:
            wanted = {name: np.array(value) for name, value in kind.named(model).items()}
        kind.assign(model, wanted)
        model.save_pretrained(tmp_path / writer)
    first = contents(tmp_path / "torch" / "model.safetensors")
    for writer in FRAMEWORKS:
        assert contents(tmp_path / writer / "model.safetensors") == first, writer
        for reader, kind in frameworks.ALL.items():
            if reader == writer:
                continue
            model = kind.load(tmp_path / writer, head, family)
            for name, value in kind.named(model).items():
                np.testing.assert_array_equal(value, wanted[name], err_msg=f"{writer} to {reader}: {name}")
            assert json.loads(model.config.to_json_string())["model_type"] == config.model_type


@pytest.mark.parametrize("writer", FRAMEWORKS)
def test_shards_and_half_precision_go_from_one_to_the_others(
    frameworks: ModuleType, tmp_path: Path, writer: str
) -> None:
    config = frameworks.config_of("masked-lm")
    kind = frameworks.ALL[writer]
    model, _ = kind.build("masked-lm", "Roberta", config)
    model.save_pretrained(tmp_path, max_shard_size="20KB")
    shards = sorted(path.name for path in tmp_path.glob("*.safetensors"))
    assert len(shards) > 1
    want = kind.named(model)
    for reader, other in frameworks.ALL.items():
        found = other.named(other.load(tmp_path, "masked-lm", "Roberta"))
        assert found.keys() == want.keys()
        for name, value in want.items():
            np.testing.assert_array_equal(found[name], value, err_msg=f"{reader}: {name}")


@pytest.mark.peers
@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("writer", FRAMEWORKS)
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
