"""A vocabulary that grows: new pieces for the text of a domain, and rows of the embedding to begin with.

A byte-level BPE gets merges behind its own, found by going on with its training on the domain's text, so that it stays
a plain BPE and text without new pieces is cut as before. A unigram model gets the pieces that one trained on the
domain's text has and it lacks, with their log-probabilities there. Either way the old pieces keep their rows, and a
new piece begins as the mean of the old pieces that spelled it, which is what the model read in its place so far.
"""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from itertools import islice, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, cast

from robertakit.errors import ArgumentError, TokenizerError, require
from robertakit.tokenizers import (
    AutoTokenizer,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    XLMRobertaTokenizerFast,
)
from robertakit.tokenizers.byte_level import ByteLevelModel, read_merges, read_vocabulary
from robertakit.tokenizers.fast_bpe import FastByteLevelBPE
from robertakit.tokenizers.sentencepiece_model import PieceType, SentencePieceModel
from robertakit.tokenizers.training import train_unigram

if TYPE_CHECKING:
    from torch.nn import Embedding

    from robertakit.torch.language_models import RobertaForMaskedLM

__all__ = ["continued_merges", "extend_embeddings", "extend_vocabulary", "spellings"]

_TEXTS_AT_ONCE = 1000
_MODEL_FILE, _SETTINGS = "sentencepiece.bpe.model", "tokenizer_config.json"
#: A unigram vocabulary of the domain is this many times the pieces that are wanted: most of it is in the old one.
_DOMAIN_SIZE = 4

Pair = tuple[str, str]


def continued_merges(
    words: Mapping[tuple[str, ...], int], known: Collection[str], count: int, *, min_frequency: int = 2
) -> list[Pair]:
    """Go on with the training of a byte-level BPE, and return the merges that it would make next.

    The most frequent pair of neighbours becomes a piece, again and again (Sennrich et al. 2016); of equally frequent
    ones the first in the order of strings. A pair that spells a piece which is there already makes none, and is left
    alone: so no old merge applies to what a new one makes, and text is cut in the end as it was counted here.

    Args:
        words: word, as the old pieces that it is cut into -> how often it occurs.
        known: pieces of the old vocabulary.
        count: merges that are wanted.
        min_frequency: rarer pairs are not merged.

    Returns:
        At most ``count`` merges; fewer where the text has no more.

    Example:
        >>> continued_merges({("Ġmy", "el", "in"): 5, ("Ġmy", "th"): 2}, {"Ġmy", "el", "in", "th"}, 2)
        [('el', 'in'), ('Ġmy', 'elin')]
    """
    sequences = [list(word) for word in words]
    counts = list(words.values())
    frequency: Counter[Pair] = Counter()
    where: defaultdict[Pair, set[int]] = defaultdict(set)
    for index, pieces in enumerate(sequences):
        for pair in pairwise(pieces):
            frequency[pair] += counts[index]
            where[pair].add(index)
    heap = [(-number, pair) for pair, number in frequency.items() if number >= min_frequency]
    heapify(heap)
    taken, merges = set(known), list[Pair]()
    while heap and len(merges) < count:
        number, pair = heappop(heap)
        if -number != frequency[pair]:  # it changed since it was put here, and stands here again as it is now
            continue
        piece = "".join(pair)
        if piece in taken:
            continue
        taken.add(piece)
        merges.append(pair)
        changed: set[Pair] = set()
        for index in where.pop(pair):
            before = sequences[index]
            after = _merged(before, pair, piece)
            for old in pairwise(before):
                frequency[old] -= counts[index]
            for new in pairwise(after):
                frequency[new] += counts[index]
                where[new].add(index)
            changed.update(pairwise(before), pairwise(after))
            sequences[index] = after
        for one in changed:
            if frequency[one] >= min_frequency:
                heappush(heap, (-frequency[one], one))
    return merges


def _merged(pieces: list[str], pair: Pair, piece: str) -> list[str]:
    merged: list[str] = []
    at = 0
    while at < len(pieces):
        both = at + 1 < len(pieces) and (pieces[at], pieces[at + 1]) == pair
        merged.append(piece if both else pieces[at])
        at += 2 if both else 1
    return merged


def extend_vocabulary(
    tokenizer: PreTrainedTokenizerBase, texts: Iterable[str], count: int, *, min_frequency: int = 2
) -> PreTrainedTokenizerBase:
    """Return a tokenizer with more pieces, trained on the text of a domain.

    Args:
        tokenizer: RoBERTa's or XLM-R's, as published; it is left as it is.
        texts: text of the domain.
        count: new pieces that are wanted; little text gives fewer.
        min_frequency: (byte-level BPE) pairs seen fewer times are not merged.

    Returns:
        A tokenizer of the same kind. RoBERTa's keeps all its ids, and new ones follow; XLM-R's ``<mask>``, always
        its last id, moves.

    Raises:
        ArgumentError: a count below 1, or no text that a piece could be made of.
        TokenizerError: a tokenizer of another kind, or one with tokens that were added behind its vocabulary.

    Example:
        >>> from tempfile import mkdtemp
        >>> from robertakit.tokenizers.training import train_byte_level_bpe
        >>> folder = train_byte_level_bpe(["the low, lower, lowest"] * 4, 275, mkdtemp())
        >>> old = AutoTokenizer.from_pretrained(folder)
        >>> new = extend_vocabulary(old, ["the myelin sheath of the axon"] * 3, 20)
        >>> len(old) < len(new) <= len(old) + 20, new.mask_token_id == old.mask_token_id
        (True, True)
        >>> len(new.tokenize("the myelin")) < len(old.tokenize("the myelin"))
        True
        >>> new.tokenize("lower") == old.tokenize("lower")
        True
    """
    if count < 1:
        raise ArgumentError(given=f"count={count}", expected="1 or more new pieces")
    with TemporaryDirectory() as name:
        folder = Path(name)
        tokenizer.save_pretrained(folder)
        if (folder / "merges.txt").is_file():
            _extend_byte_level(tokenizer, folder, texts, count, min_frequency)
        elif (folder / _MODEL_FILE).is_file():
            _refuse_added(tokenizer, XLMRobertaTokenizerFast(folder / _MODEL_FILE).get_vocab())
            model = _with_pieces(SentencePieceModel.from_file(folder / _MODEL_FILE), texts, count)
            (folder / _MODEL_FILE).write_bytes(model.to_bytes())
        else:
            raise TokenizerError(
                given=f"a {type(tokenizer).__name__}",
                expected="RoBERTa's byte-level BPE or XLM-R's unigram model",
            )
        # What was derived from the old vocabulary is derived anew from the new one.
        (folder / "tokenizer.json").unlink(missing_ok=True)
        settings: dict[str, object] = json.loads((folder / _SETTINGS).read_text(encoding="utf-8"))
        settings.pop("added_tokens_decoder", None)
        (folder / _SETTINGS).write_text(json.dumps(settings), encoding="utf-8")
        return AutoTokenizer.from_pretrained(folder)


def _extend_byte_level(
    tokenizer: PreTrainedTokenizerBase, folder: Path, texts: Iterable[str], count: int, min_frequency: int
) -> None:
    """Replace `vocab.json` and `merges.txt` of a folder by longer ones."""
    model = ByteLevelModel(read_vocabulary(folder / "vocab.json"), read_merges(folder / "merges.txt"))
    _refuse_added(tokenizer, model.vocabulary)
    merges = continued_merges(_words(model, texts), model.vocabulary, count, min_frequency=min_frequency)
    _refuse_none(merges)
    first = max(model.vocabulary.values()) + 1
    new = {"".join(pair): first + number for number, pair in enumerate(merges)}
    lines = ["#version: 0.2", *(f"{left} {right}" for left, right in (*model.merges, *merges)), ""]
    (folder / "merges.txt").write_text("\n".join(lines), encoding="utf-8")
    (folder / "vocab.json").write_text(json.dumps({**model.vocabulary, **new}), encoding="utf-8")


def _refuse_added(tokenizer: PreTrainedTokenizerBase, vocabulary: Mapping[str, int]) -> None:
    """New pieces take the ids behind the vocabulary, where added tokens would be."""
    added = [token for token in tokenizer.get_added_vocab() if token not in vocabulary]
    if added:
        raise TokenizerError(
            given=f"a tokenizer with the added tokens {', '.join(map(repr, added[:5]))}",
            expected="one whose tokens are all in its vocabulary",
            hint="extend the vocabulary before tokens are added",
        )


def _refuse_none(pieces: Collection[object]) -> None:
    if not pieces:
        raise ArgumentError(
            given="text in which no new piece occurs often enough", expected="text of a domain, enough of it"
        )


def _words(model: ByteLevelModel, texts: Iterable[str]) -> Counter[tuple[str, ...]]:
    """Count the words of texts, each as the pieces that it is cut into."""
    core = FastByteLevelBPE(model)
    words: Counter[tuple[str, ...]] = Counter()
    for batch in _batches(texts):
        for found in core.encode_batch(batch, with_offsets=True):
            pieces = [core.piece_of(id) for id in found.ids]
            assert found.words is not None
            start = 0
            for end in range(1, len(pieces) + 1):
                if end == len(pieces) or found.words[end] != found.words[start]:
                    words[tuple(pieces[start:end])] += 1
                    start = end
    return words


def _batches(texts: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(texts)
    while batch := list(islice(remaining, _TEXTS_AT_ONCE)):
        yield batch


def _with_pieces(model: SentencePieceModel, texts: Iterable[str], count: int) -> SentencePieceModel:
    """A unigram model with the best pieces of the texts' own model that it lacks."""
    kept = list(texts)  # tried at more than one size
    size, own = _DOMAIN_SIZE * count + 1000, None
    while own is None:
        with TemporaryDirectory() as folder:
            try:
                own = SentencePieceModel.from_file(train_unigram(kept, size, folder) / _MODEL_FILE)
            except ArgumentError:  # the text does not fill as large a vocabulary
                if size < 16:
                    raise
                size = size * 2 // 3
    there = set(model.pieces)
    scored = [
        (-score, piece)
        for piece, score, type in zip(own.pieces, own.scores, own.types, strict=True)
        if type == PieceType.NORMAL and piece not in there
    ]
    new = sorted(scored)[:count]
    _refuse_none(new)
    return SentencePieceModel(
        [*model.pieces, *(piece for _, piece in new)],
        [*model.scores, *(-score for score, _ in new)],
        [*model.types, *([int(PieceType.NORMAL)] * len(new))],
        model.charsmap,
    )


def spellings(old: PreTrainedTokenizerBase, new: PreTrainedTokenizerBase) -> list[list[int]]:
    """Return for each id of a tokenizer the ids of another one that spell it; one id where the piece is in both.

    Args:
        old: the tokenizer of the model.
        new: the one that ``extend_vocabulary`` gave.

    Returns:
        A list for each id of ``new``, none of them empty.
    """
    known = old.get_vocab()
    unknown = int(old.unk_token_id or 0)
    if not isinstance(old, PreTrainedTokenizerFast):
        raise TokenizerError(given=f"a {type(old).__name__}", expected="a fast tokenizer")
    model = old.backend_tokenizer.model
    rows: list[list[int]] = [[] for _ in range(len(new))]
    for piece, id in new.get_vocab().items():
        if piece in known:
            rows[id] = [known[piece]]
        else:  # the model cuts the piece's own letters (`Ġmyelin`), no normalisation comes first
            found = [known.get(token.value, unknown) for token in model.tokenize(piece)]
            rows[id] = [old_id for old_id in found if old_id != unknown] or [unknown]
    return rows


def extend_embeddings(model: "RobertaForMaskedLM", rows: Sequence[Sequence[int]]) -> None:
    """Give a model the vocabulary of ``rows``: word embeddings, and matrix and bias of the decoder, tied as they were.

    Args:
        model: any model of the family with a masked-LM head; it is changed.
        rows: for each new id the old ids whose rows it begins as the mean of (``spellings``).

    Example:
        >>> import torch
        >>> from robertakit import RobertaConfig, RobertaForMaskedLM
        >>> sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
        >>> model = RobertaForMaskedLM(RobertaConfig(vocab_size=6, **sizes))
        >>> old = model.get_input_embeddings().weight.detach().clone()
        >>> extend_embeddings(model, [[0], [1], [2], [3], [4], [5], [4, 5]])
        >>> new = model.get_input_embeddings().weight
        >>> model.config.vocab_size, torch.equal(new[:6], old), torch.allclose(new[6], (old[4] + old[5]) / 2)
        (7, True, True)
        >>> model.lm_head.decoder.weight is new
        True
    """
    torch = require("torch", extra="torch", needed_for="longer embeddings")
    with torch.no_grad():
        decoder = model.get_output_embeddings()
        old = {
            "embeddings": cast("Embedding", model.get_input_embeddings()).weight.detach().clone(),
            "decoder": decoder.weight.detach().clone(),
            "bias": decoder.bias.detach().clone(),
        }
        model.resize_token_embeddings(len(rows), mean_resizing=False)
        decoder = model.get_output_embeddings()
        new = {
            "embeddings": cast("Embedding", model.get_input_embeddings()).weight,
            "decoder": decoder.weight,
            "bias": decoder.bias,
        }
        flat = torch.tensor([id for ids in rows for id in ids], device=old["bias"].device)
        owner = torch.repeat_interleave(
            torch.arange(len(rows), device=flat.device),
            torch.tensor([len(ids) for ids in rows], device=flat.device),
        )
        for name, values in old.items():
            sums = torch.zeros(len(rows), *values.shape[1:], dtype=torch.float64, device=flat.device)
            sums.index_add_(0, owner, values[flat].double())
            counts = torch.bincount(owner, minlength=len(rows)).double()
            new[name].copy_(sums / counts.reshape(-1, *[1] * (values.dim() - 1)))
