"""Tokenization: the same shards whatever the workers, and after a kill at any instant; what is wrong is told."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from robertakit import RobertaTokenizerFast
from robertakit.errors import ArgumentError, ShardError, SourceError
from robertakit.tokenizers.training import train_byte_level_bpe
from robertakit.training import parts, shard_writing, tokenization
from robertakit.training.sentences import split_sentences
from robertakit.training.shards import MANIFEST, Corpus
from robertakit.training.sources import Source
from robertakit.training.tokenization import tokenize

ENGLISH = Path(__file__).parent.parent / "golden" / "english.txt"
RUN = """
import sys
from robertakit.training import parts
from robertakit.training.sources import Source
from robertakit.training.tokenization import tokenize
parts.PART_CHARACTERS = 2000
text, tokenizer, folder = sys.argv[1:]
tokenize([Source((f"{text}/a.txt",), weight=2), Source((f"{text}/b*.txt",))], tokenizer, folder, workers=1)
"""


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    lines = ENGLISH.read_text(encoding="utf-8").split("\n")[:300]
    return train_byte_level_bpe(lines, 500, tmp_path_factory.mktemp("tokenizer"))


@pytest.fixture
def text(tmp_path: Path) -> Path:
    folder = tmp_path / "text"
    folder.mkdir()
    lines = [line for line in ENGLISH.read_text(encoding="utf-8").split("\n") if line]
    (folder / "a.txt").write_text("\n\n".join(lines[:200]), encoding="utf-8")
    (folder / "b1.txt").write_text("\n\n".join(lines[200:210]), encoding="utf-8")
    (folder / "b2.txt").write_bytes("\n\n".join(lines[210:260]).encode() + b"\n\xff\n")
    return folder


def sources_of(text: Path) -> list[Source]:
    return [Source((str(text / "a.txt"),), weight=2), Source((str(text / "b*.txt"),))]


def content(folder: Path) -> dict[str, bytes]:
    assert all(path.is_file() for path in folder.iterdir()), "parts are left over"
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_CHARACTERS", 2000)


def test_shards_are_the_text(
    text: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch)
    corpus = tokenize(sources_of(text), tokenizer, tmp_path / "shards")
    loaded = RobertaTokenizerFast.from_pretrained(tokenizer)
    (first, second) = Corpus.open(tmp_path / "shards").sources
    documents = (text / "a.txt").read_text(encoding="utf-8").split("\n\n")
    assert len(first.document_offsets) == len(documents) + 1
    for number, document in enumerate(documents):
        begin, end = first.document_offsets[number : number + 2]
        spans = first.sentence_offsets[begin : end + 1].tolist()
        sentences = split_sentences(document.strip())
        assert len(spans) == len(sentences) + 1
        for sentence, a, b in zip(sentences, spans[:-1], spans[1:], strict=True):
            assert first.tokens[a:b].tolist() == loaded(sentence, add_special_tokens=False).input_ids
    assert (first.name, first.weight, second.name, second.weight) == ("a", 2, "b*", 1)
    assert len(second.document_offsets) - 1 == 60
    rows = corpus.manifest["sources"]
    assert isinstance(rows, list)
    assert rows[0]["counts"]["documents"] == 200
    assert rows[1]["faults"] == {"not UTF-8": 1}
    assert rows[1]["first_faults"] == [f"{text}/b2.txt:100: not UTF-8"]
    assert corpus.vocab_size == len(loaded)
    assert corpus.special.mask == loaded.mask_token_id


def test_the_bytes_do_not_depend_on_the_workers(
    text: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (text / "a.txt").write_bytes((text / "a.txt").read_bytes() * 3)
    monkeypatch.setattr(tokenization, "_SMALL", 0)
    tokenize(sources_of(text), tokenizer, tmp_path / "one", workers=1)
    seen = []
    tokenize(
        sources_of(text),
        tokenizer,
        tmp_path / "three",
        workers=3,
        progress=lambda *at: seen.append(at),
    )
    assert content(tmp_path / "one") == content(tmp_path / "three")
    assert seen[-1][0] == seen[-1][1] == sum(path.stat().st_size for path in text.iterdir())
    assert len(seen) > 3  # the large file was shared


def test_a_file_is_shared_by_parts(
    text: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As workers do it, in one process: each job takes every so manieth part."""
    small_parts(monkeypatch)
    tokenize(sources_of(text), tokenizer, tmp_path / "whole", workers=1)
    jobs = tokenization._jobs
    monkeypatch.setattr(tokenization, "_jobs", lambda files, sources, _: jobs(files, sources, 5))
    tokenize(sources_of(text), tokenizer, tmp_path / "shared", workers=1)
    assert content(tmp_path / "whole") == content(tmp_path / "shared")


class Cut(BaseException):
    """In place of a kill: nothing that handles errors handles it."""


@pytest.mark.parametrize("name", ["fsync", "replace", "rename", "write"])
def test_a_run_that_is_cut_off_goes_on(
    text: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    """Cut off at each sync, rename and write in turn; each run gets one step further, the last ends as if alone."""
    monkeypatch.setattr(parts, "PART_CHARACTERS", 400)
    few = [Source((str(text / "b1.txt"),))]
    tokenize(few, tokenizer, tmp_path / "whole")
    left = 0

    def cutting(function):
        def cut(*arguments: object, **keywords: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                raise Cut
            return function(*arguments, **keywords)

        return cut

    if name == "fsync":
        monkeypatch.setattr(os, "fsync", cutting(os.fsync))
    elif name == "write":
        monkeypatch.setattr(shard_writing._ArrayWriter, "append", cutting(shard_writing._ArrayWriter.append))
    else:
        monkeypatch.setattr(Path, name, cutting(getattr(Path, name)))
    cuts = 0
    while True:
        left = cuts + 1
        try:
            tokenize(few, tokenizer, tmp_path / "cut")
            break
        except Cut:
            cuts += 1
    assert content(tmp_path / "cut") == content(tmp_path / "whole")
    assert cuts > {"fsync": 5, "replace": 5, "rename": -1, "write": 5}[name]


def test_a_run_that_is_killed_goes_on(
    text: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_parts(monkeypatch)
    (text / "a.txt").write_bytes((text / "a.txt").read_bytes() * 20)
    tokenize(sources_of(text), tokenizer, tmp_path / "whole", workers=1)
    killed = tmp_path / "killed"
    for parts_before in (1, 4):
        process = subprocess.Popen([sys.executable, "-c", RUN, str(text), str(tokenizer), str(killed)])
        while process.poll() is None and len(list(killed.glob("parts/[!.]*"))) < parts_before:
            time.sleep(0.002)
        process.send_signal(signal.SIGKILL)
        process.wait()
        assert not (killed / MANIFEST).exists()
    done = {path.name: path.stat().st_mtime_ns for path in killed.glob("parts/[!.]*")}
    assert len(done) >= 4
    made: list[str] = []
    save = parts._save
    monkeypatch.setattr(parts, "_save", lambda target, part: (made.append(target.name), save(target, part)))
    tokenize(sources_of(text), tokenizer, killed, workers=1)
    assert made
    assert not set(made) & set(done)
    assert content(killed) == content(tmp_path / "whole")


def test_what_is_finished_is_taken_as_it_is(text: Path, tokenizer: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    tokenize(sources_of(text), tokenizer, folder)
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    tokenize(sources_of(text), tokenizer, folder)
    os.utime(text / "a.txt", ns=(1, 1))  # copied anew, the same text
    tokenize(sources_of(text), tokenizer, folder)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before
    told = [Source((str(text / "a.txt"),), name="new", weight=3, language="en"), sources_of(text)[1]]
    source = tokenize(told, tokenizer, folder).sources[0]
    assert (source.name, source.weight, source.language) == ("new", 3, "en")
    after = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert {name for name in before if before[name] != after[name]} == {MANIFEST}


def test_shards_of_something_else_are_told(text: Path, tokenizer: Path, tmp_path: Path) -> None:
    folder = tmp_path / "shards"
    tokenize(sources_of(text), tokenizer, folder)
    with pytest.raises(ShardError, match=r"of other sources.*overwrite"):
        tokenize(sources_of(text)[:1], tokenizer, folder)
    other = RobertaTokenizerFast.from_pretrained(tokenizer)
    other.add_tokens(["newword"])
    other.save_pretrained(tmp_path / "other")
    with pytest.raises(ShardError, match="of other tokenizer"):
        tokenize(sources_of(text), tmp_path / "other", folder)
    with (text / "a.txt").open("a") as file:
        file.write("\n\nOne more.")
    with pytest.raises(ShardError, match="of other sources"):
        tokenize(sources_of(text), tokenizer, folder)
    corpus = tokenize(sources_of(text), tokenizer, folder, overwrite=True)
    assert len(corpus.sources[0].document_offsets) == 202
    damaged = bytearray((folder / "source-000.tokens").read_bytes())
    damaged[10] ^= 1
    (folder / "source-000.tokens").write_bytes(damaged)
    with pytest.raises(ShardError, match=r"source-000\.tokens"):
        tokenize(sources_of(text), tokenizer, folder)


def test_a_file_that_is_cut_off_ends_the_work(text: Path, tokenizer: Path, tmp_path: Path) -> None:
    (text / "b3.txt").write_bytes(b"\x1f\x8b\x08\x00")
    for workers in (1, 2):
        with pytest.raises(SourceError, match=r"b3\.txt"):
            tokenize(sources_of(text), tokenizer, tmp_path / "shards", workers=workers)
    assert not (tmp_path / "shards" / MANIFEST).exists()
    (text / "b3.txt").unlink()
    assert tokenize(sources_of(text), tokenizer, tmp_path / "shards").tokens


def test_a_source_without_text_is_told(text: Path, tokenizer: Path, tmp_path: Path) -> None:
    (text / "c.jsonl").write_text("{\n{\n")
    with pytest.raises(SourceError, match=r"'c' has no text.*'not JSON': 2.*c\.jsonl:1"):
        tokenize([Source((str(text / "c.jsonl"),))], tokenizer, tmp_path / "shards")


def test_a_share_that_holds_no_document_is_told(text: Path, tokenizer: Path, tmp_path: Path) -> None:
    (text / "one.txt").write_text("A single document.\n")
    with pytest.raises(
        SourceError, match=r"'one' has no text in share 0 to 1e-09 of its documents.*held out"
    ):
        tokenize([Source((str(text / "one.txt"),), share=(0.0, 1e-9))], tokenizer, tmp_path / "shards")


def test_a_full_disk_is_told_and_the_next_run_goes_on(
    text: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A limit on the size of files stands for a disk that is full; the second run has none."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    small_parts(monkeypatch)
    (text / "a.txt").write_bytes((text / "a.txt").read_bytes() * 5)
    tokenize(sources_of(text), tokenizer, tmp_path / "whole", workers=1)
    largest = max(path.stat().st_size for path in (tmp_path / "whole").iterdir())
    try:
        for most in (100, largest - 1):  # parts do not fit; parts fit and an array does not
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
            with pytest.raises(ShardError, match=r"(make room).*goes on"):
                tokenize(sources_of(text), tokenizer, tmp_path / "shards", workers=1)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert list((tmp_path / "shards" / "parts").iterdir())
    assert not [path for path in (tmp_path / "shards").rglob(".*") if path.is_file()]
    tokenize(sources_of(text), tokenizer, tmp_path / "shards", workers=1)
    assert content(tmp_path / "shards") == content(tmp_path / "whole")


def test_a_worker_that_dies_is_told(
    text: Path, tokenizer: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tokenization, "_begin_worker", os._exit)
    with pytest.raises(ShardError, match="Run again"):
        next(
            tokenization._in_pool(
                tokenization._jobs([[text / "a.txt"]], sources_of(text)[:1], 2),
                2,
                tokenizer,
                tmp_path,
            )
        )


def test_arguments(text: Path, tokenizer: Path, tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="no sources"):
        tokenize([], tokenizer, tmp_path / "x")
    with pytest.raises(ArgumentError, match="workers=-1"):
        tokenize(sources_of(text), tokenizer, tmp_path / "x", workers=-1)
    with pytest.raises(ArgumentError, match="several sources of the name a"):
        tokenize([sources_of(text)[0], sources_of(text)[0]], tokenizer, tmp_path / "x")
    (tmp_path / "file").write_text("")
    with pytest.raises(ShardError, match="is a file"):
        tokenize(sources_of(text), tokenizer, tmp_path / "file")
    with pytest.raises(ShardError, match="cannot be written"):
        tokenize(sources_of(text), tokenizer, tmp_path / "file" / "below")


def test_word_starts_are_those_of_the_tokenizer(text: Path, tokenizer: Path, tmp_path: Path) -> None:
    source = tokenize(sources_of(text)[:1], tokenizer, tmp_path / "shards").sources[0]
    starts = np.unpackbits(source.word_starts, bitorder="little")[: len(source.tokens)]
    assert starts[source.sentence_offsets[:-1]].all()
    pieces = RobertaTokenizerFast.from_pretrained(tokenizer).convert_ids_to_tokens(source.tokens.tolist())
    assert all(starts[number] for number, piece in enumerate(pieces) if piece[0] == "Ġ" and len(piece) > 1)
    assert 0.2 < starts.mean() < 1
