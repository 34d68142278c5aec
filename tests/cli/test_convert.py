"""``robertakit convert``: what it prints, what it refuses, and what it leaves behind."""

import json
from pathlib import Path

import pytest

from robertakit.cli.main import main


@pytest.fixture
def source(golden: Path) -> Path:
    return golden / "checkpoints" / "mlm_tf_h5"


def rows_of(text: str) -> dict[str, str]:
    return dict(line.split(None, 1) for line in text.splitlines())


def test_figures_are_printed(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(source), str(tmp_path / "out")]) == 0
    rows = rows_of(capsys.readouterr().out)
    assert rows["read"] == f"{source}: tf_model.h5"
    assert rows["architecture"] == "RobertaForMaskedLM"
    assert rows["values"] == "42 tensors compared, all equal"
    assert rows["outputs"] == "logits: equal (53 tokens in 7 sequences)"
    assert rows["written"] == f"{tmp_path / 'out'}: model.safetensors, config.json"
    assert rows["tensors"] == "42 F32, 19,341 parameters"
    assert rows["note"].startswith("no tokenizer goes along")


def test_half_precision_and_one_head(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        main(["convert", str(source), str(tmp_path / "out"), "--dtype", "bfloat16", "--head", "RobertaModel"])
        == 0
    )
    rows = rows_of(capsys.readouterr().out)
    assert rows["architecture"] == "RobertaModel"
    assert rows["values"].startswith("37 tensors compared, at most 0.9")
    assert rows["outputs"].startswith("last_hidden_state: relative difference 0.00")
    assert "lm_head.dense.weight" in rows["left"]
    assert rows["tensors"].startswith("37 BF16, ")


def test_json(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["convert", str(source), str(tmp_path / "out"), "--json", "--max-shard-size", "30KB"]) == 0
    done = json.loads(capsys.readouterr().out)
    assert done["agreement"]["values"] == 0
    assert done["agreement"]["outputs"] == {"logits": 0}
    assert done["written"][0] == "model-00001-of-00003.safetensors"


def test_refusals_are_one_sentence(source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out"
    assert main(["convert", str(source), str(target), "--no-tokenizer"]) == 0
    capsys.readouterr()
    assert main(["convert", str(source), str(target)]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"robertakit convert: '{target}' holds config.json, model.safetensors already; ")
    assert said.count("\n") == 1
    assert main(["convert", str(source), str(target), "--force"]) == 0
    assert main(["convert", str(tmp_path / "nowhere"), str(tmp_path / "new")]) == 1
    assert not (tmp_path / "new").exists()


def test_misuse(source: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, said in [
        (["--dtype", "int8"], "invalid choice: 'int8'"),
        (["--tokenizer", "a", "--no-tokenizer"], "not allowed with argument"),
        (["--contianer", "h5"], "did you mean '--container'?"),
    ]:
        with pytest.raises(SystemExit) as caught:
            main(["convert", str(source), "x", *words])
        assert caught.value.code == 2
        assert said in capsys.readouterr().err
