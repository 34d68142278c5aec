"""Slow and fast cores give the same ids, offsets and words for all text of ../shared/data (`-s` shows counts)."""

import json
import lzma
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pytest

TEXT_FILES = {".xz", ".txt", ".tsv", ".conll", ".conllu", ".json", ".jsonl"}


def strings_in(value: object) -> Iterator[str]:
    """All strings of parsed JSON."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for each in value.values():
            yield from strings_in(each)
    elif isinstance(value, list):
        for each in value:
            yield from strings_in(each)


def documents(file: Path) -> Iterator[str]:
    """The strings of a JSON file, the lines of any other."""
    if file.suffix == ".json":
        yield from strings_in(json.loads(file.read_text("utf-8")))
        return
    opened = lzma.open if file.suffix == ".xz" else open
    with opened(file, "rt", encoding="utf-8") as lines:
        for line in lines:
            if file.suffix == ".jsonl":
                yield from strings_in(json.loads(line))
            else:
                yield line.rstrip("\n")


@pytest.mark.slow
@pytest.mark.parametrize("family", ["published_byte_level", "published_unigram"])
def test_slow_and_fast_agree_on_all_text(family, shared, request):
    pair = request.getfixturevalue(family)
    folders = [shared / "data" / "pretrain", shared / "data" / "tasks"]
    files = [file for folder in folders for file in sorted(folder.rglob("*")) if file.suffix in TEXT_FILES]
    assert files
    compared = size = 0
    for file in files:
        texts = documents(file)
        while batch := list(islice(texts, 2000)):
            for text, slow, fast in zip(
                batch, pair.slow.encode_batch(batch, True), pair.fast.encode_batch(batch, True), strict=True
            ):
                assert slow == fast, (file.name, text)
            compared += len(batch)
            size += sum(len(text.encode()) for text in batch)
    print(f"{family}: {compared} strings, {size / 1e6:.1f} MB, none differs")
