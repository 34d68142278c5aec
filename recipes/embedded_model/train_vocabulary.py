"""Train the byte-level BPE vocabulary of the embedded model.

python recipes/embedded_model/train_vocabulary.py --text ../shared/data/pretrain --to FOLDER
"""

import argparse
import random
from collections.abc import Iterator
from pathlib import Path

from corpus import documents, sources

from robertakit.tokenizers.training import train_byte_level_bpe

VOCABULARY = 16_000
SEED = 1


def sample(folder: Path, share: float) -> Iterator[str]:
    """Paragraphs of the corpus, drawn by the passes of the sources times `share` (at most once each)."""
    random_ = random.Random(SEED)
    for source in sources():
        for paragraphs in documents(folder / f"{source.file}.txt.xz"):
            if random_.random() < source.passes * share:
                yield from paragraphs


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, required=True, help="folder of the .txt.xz files")
    parser.add_argument("--to", type=Path, required=True, help="folder for vocab.json and merges.txt")
    parser.add_argument("--share", type=float, default=0.5, help="of a file with one pass (default 0.5)")
    arguments = parser.parse_args()
    train_byte_level_bpe(sample(arguments.text, arguments.share), VOCABULARY, arguments.to)


if __name__ == "__main__":
    main()
