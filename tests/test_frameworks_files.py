"""A checkpoint that one framework writes is read by the others to the same bytes."""

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

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
