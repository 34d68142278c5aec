"""MB/s of the tokenizer cores beside plain `tokenizers`, per second of processor time on one core.

    python benchmarks/tokenization.py [--shared ../shared] [--megabytes 2] [--rounds 7]

Outputs are compared before anything is timed. Rounds are interleaved, every other one backwards, so that a busy
machine slows all alike; shown are the median and the lowest and highest of the rounds. Texts are lines of
../shared/data/pretrain.
"""

import argparse
import lzma
import os
import statistics
import time
from collections.abc import Callable
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"

from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from robertakit.tokenizers.byte_level import ByteLevelModel, read_merges, read_vocabulary
from robertakit.tokenizers.byte_level_bpe import ByteLevelBPE
from robertakit.tokenizers.core import Core
from robertakit.tokenizers.fast_bpe import FastByteLevelBPE
from robertakit.tokenizers.fast_unigram import FastUnigram
from robertakit.tokenizers.sentencepiece_model import SentencePieceModel
from robertakit.tokenizers.unigram import Unigram

Texts = list[str]
Run = Callable[[Texts], list[list[int]]]


def read_texts(folder: Path, pattern: str, megabytes: float) -> Texts:
    """Lines of the files, as many from each."""
    files = sorted(folder.glob(pattern))
    wanted = int(megabytes * 1e6 / len(files))
    texts: Texts = []
    for file in files:
        size = 0
        with lzma.open(file, "rt", encoding="utf-8") as lines:
            for line in lines:
                if line.strip():
                    texts.append(line.rstrip("\n"))
                    size += len(line.encode())
                if size > wanted:
                    break
    return texts


def plain_roberta(model: ByteLevelModel) -> Tokenizer:
    """RoBERTa's pipeline as `tokenizers` runs it."""
    backend = Tokenizer(models.BPE(dict(model.vocabulary), list(model.merges)))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.post_processor = processors.ByteLevel(trim_offsets=True)
    return backend


def plain_xlmr(core: Unigram) -> Tokenizer:
    """XLM-R's published pipeline as `tokenizers` runs it."""
    model = core.model
    scores = dict(zip(model.pieces, model.scores, strict=True))
    pieces = sorted(core.vocabulary, key=core.vocabulary.__getitem__)
    backend = Tokenizer(models.Unigram([(piece, scores.get(piece, 0.0)) for piece in pieces], 3, False))
    backend.normalizer = normalizers.Precompiled(model.charsmap)
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.WhitespaceSplit(), pre_tokenizers.Metaspace()]
    )
    backend.decoder = decoders.Metaspace()
    return backend


def runs_of(plain: Tokenizer, fast: Core, slow: Core) -> dict[str, Run]:
    """What is timed: name -> texts to ids."""

    def with_core(core: Core, offsets: bool) -> Run:
        return lambda texts: [pieces.ids for pieces in core.encode_batch(texts, offsets)]

    def with_plain(offsets: bool) -> Run:
        def run(texts: Texts) -> list[list[int]]:
            found = plain.encode_batch(texts, add_special_tokens=False)
            if offsets:
                return [(each.offsets, each.word_ids, each.ids)[-1] for each in found]
            return [each.ids for each in found]

        return run

    return {
        "tokenizers, ids": with_plain(False),
        "fast, ids": with_core(fast, False),
        "slow, ids": with_core(slow, False),
        "tokenizers, offsets": with_plain(True),
        "fast, offsets": with_core(fast, True),
        "slow, offsets": with_core(slow, True),
    }


def measure(title: str, runs: dict[str, Run], texts: Texts, rounds: int) -> None:
    """Compare, then time, then print."""
    megabytes = sum(len(text.encode()) for text in texts) / 1e6
    results = {name: run(texts) for name, run in runs.items()}
    ours = results["fast, ids"]
    assert all(results[name] == ours for name in ("slow, ids", "fast, offsets", "slow, offsets"))
    differ = sum(a != b for a, b in zip(ours, results["tokenizers, ids"], strict=True))
    print(
        f"\n{title}: {len(texts)} texts, {megabytes:.2f} MB; slow = fast in all, plain tokenizers differs in {differ}"
    )
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(rounds):
        for name in list(runs)[:: 1 if number % 2 else -1]:
            started = time.process_time()
            runs[name](texts)
            speeds[name].append(megabytes / (time.process_time() - started))
    for name, found in speeds.items():
        base = statistics.median(speeds[f"tokenizers, {name.split(', ')[1]}"])
        middle = statistics.median(found)
        print(
            f"  {name:20} {middle:6.2f} MB/s ({min(found):.2f}–{max(found):.2f}), {middle / base:.2f} × tokenizers"
        )


def main() -> None:
    """Measure both families on English and on many languages."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--shared", type=Path, default=Path(__file__).resolve().parents[2] / "shared")
    parser.add_argument("--megabytes", type=float, default=2.0)
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    folder = given.shared / "data" / "tokenizers"
    bpe = ByteLevelModel(
        read_vocabulary(folder / "roberta" / "vocab.json"), read_merges(folder / "roberta" / "merges.txt")
    )
    unigram = SentencePieceModel.from_file(folder / "xlm-roberta" / "sentencepiece.bpe.model")
    slow_unigram = Unigram(unigram)
    families = {
        "RoBERTa": runs_of(plain_roberta(bpe), FastByteLevelBPE(bpe), ByteLevelBPE(bpe)),
        "XLM-R": runs_of(plain_xlmr(slow_unigram), FastUnigram(unigram), slow_unigram),
    }
    pretrain = given.shared / "data" / "pretrain"
    samples = {
        "English": read_texts(pretrain, "[otw]*.txt.xz", given.megabytes),
        "many languages": read_texts(pretrain / "multilingual", "*.txt.xz", given.megabytes),
    }
    for family, runs in families.items():
        for language, texts in samples.items():
            measure(f"{family}, {language}", runs, texts, given.rounds)


if __name__ == "__main__":
    main()
