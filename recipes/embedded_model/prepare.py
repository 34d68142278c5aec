r"""Tokenize the text of the embedded model: one shard a source, and one of the held-out text.

python recipes/embedded_model/prepare.py --text ../shared/data/pretrain \
    --tokenizer src/robertakit/embedded/english --to runs/shards
"""

import argparse
from pathlib import Path

from corpus import load_tokenizer, sources, tokenize

HELD_OUT = "heldout"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--text", type=Path, required=True, help="folder of the .txt.xz files")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of vocab.json and merges.txt")
    parser.add_argument("--to", type=Path, required=True, help="folder for the shards")
    arguments = parser.parse_args()
    tokenizer = load_tokenizer(arguments.tokenizer)
    arguments.to.mkdir(parents=True, exist_ok=True)
    for name in [*(source.file for source in sources()), HELD_OUT]:
        shard = tokenize(arguments.text / f"{name}.txt.xz", tokenizer)
        path = arguments.to / f"{name}.npz.xz"
        shard.save(path)
        print(
            f"{name}: {len(shard.document_lengths):,} documents, {len(shard.sentence_lengths):,} sentences, "
            f"{len(shard.tokens):,} tokens, {path.stat().st_size / 1e6:.2f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
