"""``convert_checkpoint``: every format in, one format out, and the same numbers behind both."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from safetensors.numpy import load_file

from robertakit import numpy as specification
from robertakit.checkpoints import inspect_checkpoint
from robertakit.conversion import convert_checkpoint
from robertakit.errors import (
    ArgumentError,
    CorruptFile,
    NotFound,
    SaveFailed,
    TensorMismatch,
    UnsupportedFormat,
)

if TYPE_CHECKING:
    from hub_stand_in import StandIn

Saved = Callable[..., Path]


def names_in(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def cases(golden: Path) -> list[tuple[str, dict[str, object]]]:
    found = []
    for folder in sorted(golden.iterdir()):
        if folder.name != "broken" and (folder / "expect.json").is_file():
            expect = json.loads((folder / "expect.json").read_text())
            found += [(folder.name, case) for case in expect.get("loads", []) + expect.get("converts", [])]
    return found


CHECKPOINTS = Path(__file__).resolve().parent.parent / "golden" / "checkpoints"
FORMATS = {f"{name}-{case['class']}": (name, case) for name, case in cases(CHECKPOINTS)}


@pytest.mark.parametrize(("name", "case"), FORMATS.values(), ids=FORMATS)
def test_every_format_gives_the_recorded_outputs(
    checkpoints: Path, tmp_path: Path, name: str, case: dict[str, object]
) -> None:
    done = convert_checkpoint(checkpoints / name, tmp_path / "out")
    assert done.agreement.values == 0
    assert set(done.agreement.outputs.values()) == {0.0}
    assert done.written == ["model.safetensors", "config.json"]
    assert inspect_checkpoint(tmp_path / "out").trouble == []
    model = specification.load(tmp_path / "out", str(case["class"]))
    if case["expected"] is None:  # a head that the checkpoint has not, and that loading draws anew
        return
    inputs = load_file(checkpoints / "inputs.safetensors")
    answer = model(**inputs)
    expected = load_file(checkpoints / "_expected" / f"{case['expected']}.safetensors")
    for field in case["fields"]:
        np.testing.assert_allclose(getattr(answer, field), expected[field], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["fairseq_decoder_args", "fairseq_encoder_cfg", "fairseq_in_proj"])
def test_fairseq_becomes_what_the_published_script_makes_of_it(
    checkpoints: Path, tmp_path: Path, name: str
) -> None:
    convert_checkpoint(checkpoints / name, tmp_path / "out")
    ours = load_file(tmp_path / "out" / "model.safetensors")
    for case in json.loads((checkpoints / name / "expect.json").read_text())["converts"]:
        expected = load_file(checkpoints / case["state"])
        assert expected.keys() - ours.keys() <= {"lm_head.decoder.weight", "lm_head.decoder.bias"}  # tied
        for key in expected.keys() & ours.keys():
            assert np.array_equal(ours[key], expected[key]), key


def test_a_file_is_a_source(checkpoints: Path, tmp_path: Path) -> None:
    both = Path(shutil.copytree(checkpoints / "mlm_bin", tmp_path / "both"))
    shutil.copy(checkpoints / "mlm_tf_h5" / "tf_model.h5", both)
    assert convert_checkpoint(both, tmp_path / "a").read == ["pytorch_model.bin"]
    assert convert_checkpoint(both / "tf_model.h5", tmp_path / "b").read == ["tf_model.h5"]
    assert convert_checkpoint(both, tmp_path / "c", container="h5").read == ["tf_model.h5"]
    weights = [(tmp_path / name / "model.safetensors").read_bytes() for name in "abc"]
    assert weights[1] == weights[2]


@pytest.mark.parametrize(
    ("dtype", "stored"), [("float16", "F16"), ("bfloat16", "BF16"), ("float32", "F32"), ("keep", "F32")]
)
def test_dtypes(saved: Saved, tmp_path: Path, dtype: str, stored: str) -> None:
    done = convert_checkpoint(saved("masked-lm"), tmp_path / "out", dtype=dtype)
    assert done.dtypes == {stored: done.agreement.tensors}
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    named = "float32" if dtype == "keep" else dtype
    assert config["dtype"] == named
    assert config["architectures"] == ["RobertaForMaskedLM"]
    assert inspect_checkpoint(tmp_path / "out").weight_files[0].dtypes == done.dtypes
    again = convert_checkpoint(tmp_path / "out", tmp_path / "wide", dtype="float32")
    assert again.agreement.values == 0
    narrow = convert_checkpoint(tmp_path / "wide", tmp_path / "narrow", dtype=named)
    assert narrow.agreement.values == 0
    out, narrowed = (tmp_path / name / "model.safetensors" for name in ("out", "narrow"))
    assert out.read_bytes() == narrowed.read_bytes()


def test_heads(saved: Saved, tmp_path: Path) -> None:
    source = saved("masked-lm", also="sequence-classification", num_labels=3)
    everything = convert_checkpoint(source, tmp_path / "all", head=None)
    assert everything.left_out == []
    for head, also in [("masked-lm", "classifier"), ("sequence-classification", "lm_head")]:
        done = convert_checkpoint(tmp_path / "all", tmp_path / head, head=head)
        assert done.left_out
        assert all(name.startswith(also) for name in done.left_out)
        assert inspect_checkpoint(tmp_path / head).head == head
    bare = convert_checkpoint(tmp_path / "all", tmp_path / "bare", head="RobertaModel")
    assert bare.architecture == "RobertaModel"
    assert "embeddings.word_embeddings.weight" in load_file(tmp_path / "bare" / "model.safetensors")
    with pytest.raises(
        TensorMismatch, match=r"lacks qa_outputs.bias, qa_outputs.weight of RobertaForQuestion"
    ):
        convert_checkpoint(tmp_path / "bare", tmp_path / "none", head="question-answering")
    assert not (tmp_path / "none").exists()


@pytest.mark.parametrize(
    ("named", "written"),
    [
        (["CamembertForMaskedLM"], "CamembertForMaskedLM"),
        (["TFRobertaForMaskedLM"], "RobertaForMaskedLM"),
        (["Unheard", "RobertaForMaskedLM"], "RobertaForMaskedLM"),
        (None, "RobertaForMaskedLM"),
    ],
)
def test_the_class_that_the_configuration_names(
    saved: Saved, tmp_path: Path, named: list[str] | None, written: str
) -> None:
    done = convert_checkpoint(saved("masked-lm", architectures=named), tmp_path / "out")
    assert done.architecture == written


def test_shards(saved: Saved, tmp_path: Path) -> None:
    done = convert_checkpoint(saved("masked-lm"), tmp_path / "out", max_shard_size="4KB")
    shards = [name for name in done.written if name.startswith("model-")]
    assert len(shards) > 2
    assert names_in(tmp_path / "out") == {*shards, "model.safetensors.index.json", "config.json"}
    back = convert_checkpoint(tmp_path / "out", tmp_path / "out", force=True)
    assert back.read == shards
    assert names_in(tmp_path / "out") == {"model.safetensors", "config.json"}


def test_what_is_there_is_replaced_only_by_force(checkpoints: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "notes.txt").write_text("mine")
    convert_checkpoint(checkpoints / "mlm_bin", target)
    before = {path.name: path.read_bytes() for path in target.iterdir()}
    with pytest.raises(SaveFailed, match=r"holds config.json, model.safetensors already; .*--force"):
        convert_checkpoint(checkpoints / "mlm_safetensors", target, dtype="float16")
    assert {path.name: path.read_bytes() for path in target.iterdir()} == before
    convert_checkpoint(checkpoints / "mlm_safetensors", target, dtype="float16", force=True)
    assert (target / "model.safetensors").read_bytes() != before["model.safetensors"]
    assert (target / "notes.txt").read_text() == "mine"
    with pytest.raises(SaveFailed, match=r"notes.txt' is no folder"):
        convert_checkpoint(checkpoints / "mlm_bin", target / "notes.txt", force=True)


def test_other_weights_of_the_target_count_as_held(checkpoints: Path, tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    shutil.copy(checkpoints / "mlm_bin" / "pytorch_model.bin", target)
    with pytest.raises(SaveFailed, match=r"holds pytorch_model.bin already"):
        convert_checkpoint(checkpoints / "mlm_safetensors", target)
    convert_checkpoint(checkpoints / "mlm_safetensors", target, force=True)
    assert names_in(target) == {"model.safetensors", "config.json"}


def test_in_place(checkpoints: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(checkpoints / "mlm_bin", tmp_path / "model"))
    done = convert_checkpoint(folder, folder, force=True)
    assert done.read == ["pytorch_model.bin"]
    assert names_in(folder) == {"model.safetensors", "config.json", "expect.json"}


@pytest.mark.parametrize(
    "broken",
    sorted(path.name for path in (CHECKPOINTS / "broken").iterdir() if (path / "expect.json").is_file()),
)
def test_a_broken_source_leaves_nothing(
    checkpoints: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    monkeypatch.chdir(tmp_path)
    source = checkpoints / "broken" / broken
    expect = json.loads((source / "expect.json").read_text())
    results = {case["result"] for case in expect.get("loads", ()) if not case["kwargs"]}
    if results == {"ok"}:
        assert convert_checkpoint(source, tmp_path / "a" / "out").agreement.values == 0
        return
    with pytest.raises((CorruptFile, NotFound, TensorMismatch, UnsupportedFormat, ValueError)):
        convert_checkpoint(source, tmp_path / "a" / "out")
    assert list(tmp_path.iterdir()) == []


def test_values_beyond_float16_are_refused(saved: Saved, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedFormat, match=r"tensor '\S+' holds -?\d+\S*, which no F16 can be"):
        convert_checkpoint(saved("masked-lm", initializer_range=1e5), tmp_path / "out", dtype="float16")
    assert not (tmp_path / "out").exists()


def test_a_comparison_that_fails_leaves_what_was_there(
    saved: Saved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = saved("masked-lm")
    convert_checkpoint(source, tmp_path / "out")
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    from robertakit.checkpoints import saving

    right = saving.write_safetensors

    def wrong(file: object, tensors: dict[str, object], metadata: object) -> None:
        """Takes one tensor for another of the same shape."""
        stem = "roberta.encoder.layer.1.attention.self"
        swapped = {f"{stem}.query.weight": tensors[f"{stem}.key.weight"]}
        right(file, {**tensors, **swapped}, metadata)

    monkeypatch.setattr(saving, "write_safetensors", wrong)
    for target in ("out", "new"):
        with pytest.raises(
            TensorMismatch, match=r"other values: roberta\.encoder\.layer\.1\.attention\.self\.query"
        ):
            convert_checkpoint(source, tmp_path / target, force=True)
    assert not (tmp_path / "new").exists()
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_unknown_fields_and_generation_settings_go_along(saved: Saved, tmp_path: Path) -> None:
    source = saved("causal-lm", is_decoder=True, my_own_field=[1, 2])
    (source / "generation_config.json").write_text('{"max_new_tokens": 7}')
    done = convert_checkpoint(source, tmp_path / "out")
    assert json.loads((tmp_path / "out" / "config.json").read_text())["my_own_field"] == [1, 2]
    assert (tmp_path / "out" / "generation_config.json").read_text() == '{"max_new_tokens": 7}'
    assert "generation_config.json" in done.written


def test_from_the_hub(hub: StandIn, checkpoints: Path, tmp_path: Path) -> None:
    for name in ("config.json", "flax_model.msgpack"):
        hub.files["org/flax", hub.branches["v1"], name] = (
            checkpoints / "mlm_flax_msgpack" / name
        ).read_bytes()
    done = convert_checkpoint("org/flax", tmp_path / "out", revision="v1")
    assert done.read == ["flax_model.msgpack"]
    with pytest.raises(NotFound, match="no revision 'v7'"):
        convert_checkpoint("org/flax", tmp_path / "none", revision="v7")


def test_arguments_that_are_none(saved: Saved, tmp_path: Path) -> None:
    source = saved("masked-lm")
    for arguments, said in [
        ({"dtype": "int8"}, "dtype='int8'; expected 'keep' or one of bfloat16"),
        ({"head": "poetry"}, "head 'poetry'"),
        ({"max_shard_size": "much"}, "max_shard_size='much'"),
        ({"container": "zip"}, "container='zip'"),
        ({"revison": "main"}, "unknown argument 'revison' of convert_checkpoint"),
    ]:
        with pytest.raises(ArgumentError, match=said):
            convert_checkpoint(source, tmp_path / "out", **arguments)
    assert not (tmp_path / "out").exists()
    assert sorted(os.listdir(tmp_path)) == ["source"]  # noqa: PTH208
