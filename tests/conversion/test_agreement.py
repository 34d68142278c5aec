"""The comparison: it lets pass what is the same model, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from robertakit import RobertaConfig
from robertakit.architecture import HEADS, initial_weights
from robertakit.checkpoints.rounding import rounded
from robertakit.checkpoints.saving import save_weights
from robertakit.checkpoints.tensors import StoredTensor, as_stored
from robertakit.conversion.agreement import LENGTHS, compared
from robertakit.conversion.content import Content
from robertakit.errors import SaveFailed, TensorMismatch

SIZES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 24,
}


def content(head: str, **fields: object) -> Content:
    config = RobertaConfig(**{**SIZES, "max_position_embeddings": 40, "initializer_range": 0.3, **fields})
    stored = {name: as_stored(value) for name, value in initial_weights(config, head, 7).items()}
    return Content.of(config, stored, head, strict=True, what="a test")


def written(
    folder: Path,
    original: Content,
    tensors: Mapping[str, StoredTensor] | None = None,
    change: Callable[[dict[str, object]], object] | None = None,
    size: str = "5GB",
) -> dict[str, Path]:
    """Files of a model whose tensors or configuration may be others."""
    config = json.loads(original.config.to_json_string())
    config["architectures"] = [f"Roberta{original.head.class_suffix}"]
    if change is not None:
        change(config)
    names = save_weights(
        folder, tensors or original.tensors, config_json=json.dumps(config), max_shard_size=size
    )
    return {name: folder / name for name in names}


CASES = [
    *((head, {}) for head in HEADS),
    ("causal-lm", {"is_decoder": True}),
    ("causal-lm", {"is_decoder": True, "add_cross_attention": True}),
    ("masked-lm", {"position_embedding_type": "relative_key_query"}),
    ("masked-lm", {"tie_word_embeddings": False}),
    ("model", {"pruned_heads": {0: [1]}, "type_vocab_size": 2, "pad_token_id": 5}),
    ("token-classification", {"num_labels": 21, "max_position_embeddings": 23}),
    ("sequence-classification", {"num_labels": 1, "max_position_embeddings": 3, "return_dict": False}),
]


@pytest.mark.parametrize(("head", "fields"), CASES)
def test_the_same_model_is_the_same(tmp_path: Path, head: str, fields: dict[str, object]) -> None:
    original = content(head, **fields)
    found = compared(original, written(tmp_path, original, size="2KB"), tmp_path)
    assert found.values == 0
    assert set(found.outputs) == set(HEADS[head].outputs)
    assert set(found.outputs.values()) == {0.0}
    assert found.tensors == len(original.tensors)
    longest = original.config.max_position_embeddings - original.config.pad_token_id - 1
    assert found.lengths == tuple(length for length in LENGTHS if length <= longest)


@pytest.mark.parametrize("dtype", ["F16", "BF16"])
@pytest.mark.parametrize(("head", "fields"), CASES)
def test_rounding_passes_and_its_figures_are_right(
    tmp_path: Path, head: str, fields: dict[str, object], dtype: str
) -> None:
    original = content(head, **fields)
    tensors = {name: rounded(tensor, dtype) for name, tensor in original.tensors.items()}
    found = compared(original, written(tmp_path, original, tensors), tmp_path)
    assert 0.9 < found.values <= 1
    assert all(0 < change <= found.bounds[name] < 1 for name, change in found.outputs.items())


def every_place(original: Content) -> list[str]:
    return [name for name, tensor in original.tensors.items() if tensor.size > 1]


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_one_wrong_value_anywhere_is_seen(tmp_path: Path, dtype: str) -> None:
    original = content("masked-lm")
    for name in every_place(original):
        values = original.tensors[name].read().copy()
        values.reshape(-1)[-1] += 0.05
        tensors = {**original.tensors, name: as_stored(values)}
        files = written(tmp_path, original, {key: rounded(tensor, dtype) for key, tensor in tensors.items()})
        with pytest.raises(
            TensorMismatch, match=rf"1 tensors written .* other values: {name};.*nothing was written"
        ):
            compared(original, files, tmp_path)


@pytest.mark.parametrize(
    ("field", "value"),
    [("layer_norm_eps", 0.1), ("hidden_act", "relu"), ("is_decoder", True), ("num_attention_heads", 2)],
)
@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_another_configuration_is_seen(tmp_path: Path, field: str, value: object, dtype: str) -> None:
    original = content("masked-lm", initializer_range=0.05)
    tensors = {name: rounded(tensor, dtype) for name, tensor in original.tensors.items()}
    files = written(tmp_path, original, tensors, lambda config: config.update({field: value}))
    with pytest.raises(TensorMismatch, match=f"the configuration written .* has another {field}; "):
        compared(original, files, tmp_path)


@pytest.mark.parametrize("dtype", ["F32", "BF16"])
def test_other_outputs_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dtype: str) -> None:
    """Values and fields agree, and still the model that is loaded computes something else."""
    original = content("masked-lm")
    tensors = {name: rounded(tensor, dtype) for name, tensor in original.tensors.items()}
    files = written(tmp_path, original, tensors)
    right = Content.model

    def wrong(self: Content) -> object:
        """What was written, as a loader would have it that takes keys for values."""
        if self.config is original.config:
            return right(self)
        stem = "roberta.encoder.layer.0.attention.self"
        key, value = self.tensors[f"{stem}.key.weight"], self.tensors[f"{stem}.value.weight"]
        return right(
            replace(self, tensors={**self.tensors, f"{stem}.key.weight": value, f"{stem}.value.weight": key})
        )

    monkeypatch.setattr(Content, "model", wrong)
    with pytest.raises(TensorMismatch, match=r"computes something else: logits by [\d.e-]+ of [\d.e-]+"):
        compared(original, files, tmp_path)


def test_tensors_that_only_one_has_are_seen(tmp_path: Path) -> None:
    original = content("masked-lm")
    more = {"qa_outputs.bias": as_stored(np.ones(2, np.float32))}
    files = written(tmp_path / "more", original, {**original.tensors, **more})
    with pytest.raises(TensorMismatch, match=r"do not both have qa_outputs\.bias"):
        compared(original, files, tmp_path)
    files = written(tmp_path / "less", original)
    with pytest.raises(TensorMismatch, match=r"do not both have qa_outputs\.bias"):
        compared(replace(original, tensors={**original.tensors, **more}), files, tmp_path)


def test_a_source_that_computes_no_numbers(tmp_path: Path) -> None:
    original = content("masked-lm")
    name = "lm_head.dense.weight"
    values = original.tensors[name].read().copy()
    values[0, 0] = np.nan
    spoiled = replace(original, tensors={**original.tensors, name: as_stored(values)})
    with pytest.raises(TensorMismatch, match="computes NaN or infinity; robertakit inspect tells which"):
        compared(spoiled, written(tmp_path, spoiled), tmp_path)


def test_the_comparison_is_part_of_the_save(tmp_path: Path) -> None:
    """Nothing has its name before the comparison, and nothing is left where it fails."""
    original = content("masked-lm")
    target = tmp_path / "new" / "target"
    seen: list[dict[str, Path]] = []

    def look(files: Mapping[str, Path]) -> None:
        seen.append(dict(files))
        assert not any((target / name).exists() for name in files)
        assert compared(original, files, target).values == 0

    config = json.loads(original.config.to_json_string()) | {"architectures": ["RobertaForMaskedLM"]}
    save_weights(target, original.tensors, config_json=json.dumps(config), approve=look)
    assert set(seen[0]) == {"model.safetensors", "config.json"} == {path.name for path in target.iterdir()}

    def refuse(files: Mapping[str, Path]) -> None:
        raise SaveFailed(given="no")

    before = {path.name: path.read_bytes() for path in target.iterdir()}
    with pytest.raises(SaveFailed, match="no"):
        save_weights(target, original.tensors, config_json="{}", approve=refuse)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    with pytest.raises(SaveFailed, match="no"):
        save_weights(tmp_path / "a" / "b", original.tensors, config_json="{}", approve=refuse)
    assert not (tmp_path / "a").exists()
