"""``robertakit inspect``: the report of good and bad folders, as text and as JSON."""

import json
import shutil
from pathlib import Path

import pytest

from robertakit.cli.main import main


@pytest.fixture
def tiny(golden: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(golden / "fill_mask" / "roberta", tmp_path / "tiny"))


def test_good_checkpoint(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tiny)]) == 0
    rows = dict(line.split(None, 1) for line in capsys.readouterr().out.splitlines())
    assert rows["checkpoint"] == str(tiny)
    assert rows["architecture"] == "RobertaForMaskedLM (roberta)"
    assert "num_hidden_layers 2" in rows["sizes"]
    assert rows["longest"] == "input   62 tokens"
    size = (tiny / "model.safetensors").stat().st_size
    assert rows["weights"].startswith(f"model.safetensors, {size / 1e3:,.1f} kB, ")
    assert rows["trouble"] == "none"


def test_tokenizer_is_told(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["inspect", str(tiny)])
    out = capsys.readouterr().out
    assert "RobertaTokenizerFast, tokens 417, mask_token <mask>, model_max_length 62" in out
    assert "vocab.json, merges.txt" in out


def test_weights_alone_are_no_trouble(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        (tiny / name).unlink()
    assert main(["inspect", str(tiny)]) == 0
    assert "note            there are no tokenizer files" in capsys.readouterr().out


def test_json(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tiny), "--json", "--no-values"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["head"] == "masked-lm"
    assert report["usable_length"] == 62
    assert report["tokenizer"]["tokens"] == report["sizes"]["vocab_size"] == 417
    assert report["weight_files"][0]["name"] == "model.safetensors"
    assert report["trouble"] == []


@pytest.mark.parametrize("spoiled", ["model.safetensors", "config.json", "merges.txt"])
def test_trouble_is_all_told_and_is_the_status(
    tiny: Path, spoiled: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tiny / spoiled
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2] + b"\x00 no more")
    assert main(["inspect", str(tiny)]) == 1
    shown = capsys.readouterr()
    trouble = [line for line in shown.out.splitlines() if line.startswith("trouble")]
    assert trouble
    assert any(spoiled in line for line in trouble), trouble
    assert shown.err == ""


def test_vocabulary_larger_than_the_model(tiny: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tiny / "added_tokens.json"
    path.write_text(json.dumps({"<extra>": 417}), encoding="utf-8")
    assert main(["inspect", str(tiny)]) == 1
    assert "the tokenizer has 418 tokens, the model 417 (vocab_size)" in capsys.readouterr().out


def test_nothing_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(tmp_path / "nowhere")]) == 1
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("robertakit inspect: ")
    assert "nowhere" in shown.err
