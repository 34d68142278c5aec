"""Training of vocabularies: byte-level BPE by `tokenizers`, unigram by `sentencepiece`, both repeatable.

Each function writes the files that RoBERTa's and XLM-R's tokenizers read; reading them lives in the classes.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from robertakit.errors import ArgumentError, InputError

# RoBERTa's order of special tokens: four first, the mask last (fairseq's dictionary, then `<mask>`).
FIRST_TOKENS = ("<s>", "<pad>", "</s>", "<unk>")
MASK_TOKEN = "<mask>"
BYTES = 256
# XLM-R's ids are SentencePiece's shifted by one, since `<pad>` comes in; `<mask>` goes behind them.
IDS_BESIDE_SENTENCEPIECE = 2


def train_byte_level_bpe(
    texts: Iterable[str], vocab_size: int, folder: str | Path, *, min_frequency: int = 2
) -> Path:
    """Train a byte-level BPE vocabulary and save it as `vocab.json` and `merges.txt`.

    The same texts in the same order give the same files. GPT-2's splitter cuts the text, no normalisation,
    all 256 bytes are in the alphabet, so that no text has an unknown token.

    Args:
        texts: training text, any length each; a piece never crosses from one to the next.
        vocab_size: number of ids in all, special tokens included (`<s>` 0, `<pad>` 1, `</s>` 2, `<unk>` 3,
            `<mask>` last); at least 261. Little text may give fewer.
        folder: where the two files go; made if it is not there.
        min_frequency: pairs seen fewer times are not merged.

    Returns:
        The folder.

    Raises:
        ArgumentError: the size leaves no room for bytes and special tokens.
        InputError: there is no text.

    >>> from tempfile import mkdtemp
    >>> folder = train_byte_level_bpe(["low lower lowest"] * 4, 270, mkdtemp())
    >>> sorted(path.name for path in folder.iterdir())
    ['merges.txt', 'vocab.json']
    """
    import tokenizers

    smallest = BYTES + len(FIRST_TOKENS) + 1
    if vocab_size < smallest:
        raise ArgumentError(
            given=f"vocab_size={vocab_size}",
            expected=f"at least {smallest}: 256 bytes and {len(FIRST_TOKENS) + 1} special tokens",
            hint="ask for a larger vocabulary",
        )
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocab_size - 1,  # `<mask>` is put behind
        min_frequency=min_frequency,
        special_tokens=list(FIRST_TOKENS),
        initial_alphabet=sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    seen = _Counted(texts)
    tokenizer.train_from_iterator(seen, trainer=trainer)
    seen.require_some()
    model = json.loads(tokenizer.to_str())["model"]
    vocabulary: dict[str, int] = model["vocab"]
    vocabulary[MASK_TOKEN] = len(vocabulary)
    merges = [pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"]]

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    ordered = dict(sorted(vocabulary.items(), key=lambda item: item[1]))
    (folder / "vocab.json").write_text(json.dumps(ordered, ensure_ascii=False) + "\n", encoding="utf-8")
    (folder / "merges.txt").write_text("\n".join(["#version: 0.2", *merges, ""]), encoding="utf-8")
    return folder


def train_unigram(
    texts: Iterable[str], vocab_size: int, folder: str | Path, *, character_coverage: float = 0.9995
) -> Path:
    """Train a unigram vocabulary and save it as `sentencepiece.bpe.model`, XLM-R's file name for it.

    The same texts in the same order give the same file (one thread, nothing sampled). Text is normalised
    by `nmt_nfkc`, as XLM-R's is.

    Args:
        texts: training sentences; SentencePiece leaves out those longer than 4,192 bytes.
        vocab_size: number of ids in all as XLM-R counts them: SentencePiece's pieces, `<pad>` and `<mask>`.
        folder: where the file goes; made if it is not there.
        character_coverage: share of the text's characters that get a piece of their own, above 0, at most 1.

    Returns:
        The folder.

    Raises:
        ArgumentError: SentencePiece cannot make a vocabulary of that size from these texts.
        InputError: there is no text.

    >>> from tempfile import mkdtemp
    >>> folder = train_unigram(["low lower lowest", "new newer newest"] * 4, 20, mkdtemp())
    >>> [path.name for path in folder.iterdir()]
    ['sentencepiece.bpe.model']
    """
    import sentencepiece

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    target = folder / "sentencepiece.bpe.model"
    seen = _Counted(texts)
    try:
        with target.open("wb") as file:
            sentencepiece.SentencePieceTrainer.train(
                sentence_iterator=iter(seen),
                model_writer=file,
                model_type="unigram",
                vocab_size=vocab_size - IDS_BESIDE_SENTENCEPIECE,
                character_coverage=character_coverage,
                normalization_rule_name="nmt_nfkc",
                num_threads=1,  # more would sum floats in another order
                minloglevel=2,
            )
    except (RuntimeError, OSError) as error:
        target.unlink(missing_ok=True)
        seen.require_some()
        raise ArgumentError(
            given=f"vocab_size={vocab_size}",
            expected="a size that these texts can fill and that holds all their characters",
            hint=f"SentencePiece says: {str(error).rsplit(']', 1)[-1].strip() or error}",
        ) from error
    return folder


class _Counted:
    """An iterable of texts that remembers whether there was any."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._texts = texts
        self._some = False

    def __iter__(self) -> Iterator[str]:
        for text in self._texts:
            self._some = self._some or bool(text)
            yield text

    def require_some(self) -> None:
        if not self._some:
            raise InputError(
                given="no text", expected="at least one text that is not empty", hint="check the source"
            )
