"""The tokenizer that goes along: carried as it is, made for a fairseq model, taken from elsewhere, or left out."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from robertakit import AutoTokenizer, RobertaConfig
from robertakit.conversion import convert_checkpoint
from robertakit.conversion.companions import companions, gpt2_encoder
from robertakit.errors import TokenizerError
from robertakit.files import locate
from robertakit.tokenizers.byte_level import read_merges
from robertakit.tokenizers.fairseq_dictionary import DICTIONARY
from robertakit.tokenizers.training import train_byte_level_bpe

Saved = Callable[..., Path]
ROWS = 290


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    return Path(
        train_byte_level_bpe(["some words to split into a few pieces"] * 3, ROWS, tmp_path / "trained")
    )


@pytest.fixture
def fairseq(checkpoints: Path, tmp_path: Path, trained: Path) -> tuple[Path, RobertaConfig]:
    """A fairseq folder with a dictionary, and its configuration."""
    folder = tmp_path / "fairseq"
    folder.mkdir()
    shutil.copy(checkpoints / "fairseq_in_proj" / "model.pt", folder)
    pieces = (
        len(gpt2_encoder(read_merges(trained / "merges.txt"))) - 1
    )  # the end of a text is not in RoBERTa's
    (folder / DICTIONARY).write_text("".join(f"{number} 1\n" for number in reversed(range(pieces))))
    return folder, RobertaConfig(vocab_size=pieces + 5, max_position_embeddings=40)


def test_files_are_carried_as_they_are(saved: Saved, trained: Path, tmp_path: Path) -> None:
    source = saved("masked-lm", vocab_size=ROWS)
    AutoTokenizer.from_pretrained(trained).save_pretrained(source)
    (source / "tokenizer.json").write_bytes((source / "tokenizer.json").read_bytes() + b"\n")
    done = convert_checkpoint(source, tmp_path / "out")
    assert done.notes == []
    for name in (
        "tokenizer.json",
        "vocab.json",
        "merges.txt",
        "tokenizer_config.json",
        "special_tokens_map.json",
    ):
        assert (tmp_path / "out" / name).read_bytes() == (source / name).read_bytes()
        assert name in done.written
    text = "some words"
    assert AutoTokenizer.from_pretrained(tmp_path / "out")(text) == AutoTokenizer.from_pretrained(source)(
        text
    )


def test_none_is_left_out_and_told(saved: Saved, trained: Path, tmp_path: Path) -> None:
    source = saved("masked-lm", vocab_size=ROWS)
    (note,) = convert_checkpoint(source, tmp_path / "a").notes
    assert note == f"no tokenizer goes along: folder '{source}' has none"
    AutoTokenizer.from_pretrained(trained).save_pretrained(source)
    done = convert_checkpoint(source, tmp_path / "b", tokenizer=False)
    assert (done.written, done.notes) == (["model.safetensors", "config.json"], [])


def test_another_places_tokenizer(saved: Saved, trained: Path, tmp_path: Path) -> None:
    source = saved("masked-lm", vocab_size=ROWS)
    done = convert_checkpoint(source, tmp_path / "out", tokenizer=trained)
    assert {"vocab.json", "merges.txt"} <= set(done.written)
    small = saved("masked-lm", vocab_size=ROWS - 5)
    with pytest.raises(TokenizerError, match=rf"has \d+ tokens, the model {ROWS - 5} rows"):
        convert_checkpoint(small, tmp_path / "none", tokenizer=trained)
    with pytest.raises(TokenizerError):
        convert_checkpoint(source, tmp_path / "none", tokenizer=small)
    assert not (tmp_path / "none").exists()


def test_made_for_fairseq(fairseq: tuple[Path, RobertaConfig], trained: Path, tmp_path: Path) -> None:
    folder, config = fairseq
    shutil.copy(trained / "merges.txt", folder / "vocab.bpe")
    files, notes = companions(locate(folder), config, None, {})
    assert notes == []
    assert {"vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json"} <= set(files)
    target = tmp_path / "out"
    target.mkdir()
    for name, write in files.items():
        with (target / name).open("wb") as file:
            write(file)
    tokenizer = AutoTokenizer.from_pretrained(target)
    assert tokenizer.model_max_length == 38
    assert len(tokenizer) == config.vocab_size
    ids = tokenizer("some words <mask>")["input_ids"]
    assert ids[-2:] == [config.vocab_size - 1, 2]
    pieces = list(gpt2_encoder(read_merges(trained / "merges.txt")))[:-1]
    assert tokenizer.convert_ids_to_tokens(4) == pieces[-1]
    assert str(folder) not in (target / "tokenizer_config.json").read_text()


def test_fairseq_without_pieces_is_told_and_may_get_them_from_elsewhere(
    fairseq: tuple[Path, RobertaConfig], trained: Path, checkpoints: Path
) -> None:
    folder, config = fairseq
    files, (note,) = companions(locate(folder), config, None, {})
    assert files == {}
    assert note == f"no tokenizer goes along: folder '{folder}' tells its ids (dict.txt) but not its pieces"
    files, notes = companions(locate(folder), config, trained, {"revision": "of another repository"})
    assert "vocab.json" in files
    assert notes == []
    with pytest.raises(TokenizerError, match="has no tokenizer that goes with"):
        companions(locate(folder), config, checkpoints, {})


def test_a_dictionary_of_another_model_stops_a_conversion(
    fairseq: tuple[Path, RobertaConfig], trained: Path, tmp_path: Path
) -> None:
    folder, _ = fairseq
    shutil.copy(trained / "merges.txt", folder / "vocab.bpe")
    with pytest.raises(TokenizerError, match=r"symbols for a model with 99 rows.*leave the tokenizer out"):
        convert_checkpoint(folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    assert convert_checkpoint(folder, tmp_path / "out", tokenizer=False).agreement.values == 0


def test_gpt2s_numbers_are_the_published_ones(shared: Path, tmp_path: Path) -> None:
    """RoBERTa's published dict.txt begins with 13, 262, 11, 284: its vocab.json with '.', ' the', ',', ' to'."""
    published = shared / "data" / "tokenizers" / "roberta"
    vocabulary: dict[str, int] = json.loads((published / "vocab.json").read_text(encoding="utf-8"))
    encoder = gpt2_encoder(read_merges(published / "merges.txt"))
    ordered = sorted(vocabulary, key=lambda piece: vocabulary[piece])[4:-1]
    assert [encoder[piece] for piece in ordered[:4]] == [13, 262, 11, 284]
    (tmp_path / DICTIONARY).write_text("".join(f"{encoder.get(piece, piece)} 1\n" for piece in ordered))
    config = RobertaConfig.preset("roberta-base")
    files, notes = companions(locate(tmp_path), config, published, {})
    assert notes == []
    with (tmp_path / "made.json").open("wb") as file:
        files["vocab.json"](file)
    assert json.loads((tmp_path / "made.json").read_bytes()) == vocabulary
