"""Fill-mask: which words stand in place of ``<mask>``, and how likely each is."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, cast

import numpy as np
from numpy.typing import NDArray

from robertakit.batch import Encoding
from robertakit.errors import ArgumentError, InputError, NoMask, TokenizerError
from robertakit.tasks.frame import Answer, Arrays, Options, Pipeline, Prepared, count, shortened
from robertakit.tokenizers.batch_encoding import BatchEncoding
from robertakit.tokenizers.pretrained import PreTrainedTokenizerBase

__all__ = ["FillMaskOptions", "FillMaskPipeline", "MaskedText"]

# Arguments of a tokenizer's call that change the form of what it returns, not the ids.
_FORMS = (
    "return_tensors",
    "return_overflowing_tokens",
    "is_split_into_words",
    "text_pair",
    "text_target",
    "return_attention_mask",
)


@dataclass(frozen=True, slots=True)
class FillMaskOptions(Options):
    """Arguments of fill-mask.

    Attributes:
        top_k: most words to return for a mask; None for 5.
        targets: a word or words to score in place of the whole vocabulary.
        tokenizer_kwargs: further arguments of the tokenizer's call, for example ``{"truncation": True}``.
    """

    top_k: int | None = 5
    targets: str | Sequence[str] | None = None
    tokenizer_kwargs: Mapping[str, object] | None = None

    def __post_init__(self) -> None:
        count("top_k", self.top_k, least=1)
        if self.targets is not None:
            given: object = self.targets
            words = [given] if isinstance(given, str) else list(given) if isinstance(given, Iterable) else []
            if not words or not all(isinstance(word, str) and word.strip() for word in words):
                raise InputError(
                    given=f"targets={self.targets!r}", expected="a word, or a list of one or more words"
                )
        for name in _FORMS:
            if name in (self.tokenizer_kwargs or {}):
                raise ArgumentError(
                    given=f"tokenizer_kwargs with {name!r}",
                    expected="arguments that leave one list of ids a text",
                )

    @property
    def most(self) -> int:
        """Most words to return for a mask."""
        return 5 if self.top_k is None else self.top_k

    @property
    def words(self) -> list[str]:
        """The targets as a list; empty where the whole vocabulary is asked."""
        return [self.targets] if isinstance(self.targets, str) else list(self.targets or [])


@dataclass(frozen=True, slots=True)
class MaskedText(Prepared):
    """A text with masks.

    Attributes:
        input_ids: the whole text with special tokens.
        masks: where its masks stand.
        wanted: for each encoding the ids whose probabilities are asked at its rows; None for the best ones.
        targets: ids of each target, without repeats; empty where the whole vocabulary is asked.
        chains: (mask, target) -> where the probability of each piece is: encoding, and place in its
            ``wanted``.
    """

    input_ids: Sequence[int] = ()
    masks: Sequence[int] = ()
    wanted: Sequence[Sequence[int] | None] = ()
    targets: Sequence[tuple[int, ...]] = ()
    chains: Mapping[tuple[int, int], Sequence[tuple[int, int, int]]] | None = None


@dataclass(frozen=True, slots=True)
class Scores:
    """Probabilities at the rows of one encoding: ids and scores, each (rows, k)."""

    ids: NDArray[np.int64]
    scores: NDArray[np.floating]


class FillMaskPipeline(Pipeline[MaskedText, FillMaskOptions, Scores]):
    """Fill the masks of a text.

    An answer is a list of ``{"score", "token", "token_str", "sequence"}``, the likeliest first; for a text
    with several masks a list of such lists, one a mask, each with the other masks left open.

    - ``score`` is the probability over the whole vocabulary, in fp32, also where ``targets`` are given.
    - ``token`` is the id, ``token_str`` its text, ``sequence`` the text with the mask filled.
    - A target is taken with a leading space if that is one piece of the vocabulary, else without if that is
      one, else as all of its pieces, with the leading space. A word of n pieces is scored by the chain rule,
      left to right: P(piece 1 | n masks) · P(piece 2 | piece 1, n - 1 masks) · …, which for n = 1 is the
      ordinary score. It is the word's probability given that it has n pieces; its ``token`` is the list of
      its ids.

    Example:
        >>> from robertakit.tasks import pipeline
        >>> fill = pipeline("fill-mask")
        >>> best = fill("The capital of France is <mask>.", top_k=1)[0]
        >>> sorted(best)
        ['score', 'sequence', 'token', 'token_str']
    """

    task = "fill-mask"
    head = "masked-lm"
    options_type: ClassVar[type[Options]] = FillMaskOptions

    def prepare(self, inputs: Sequence[object], options: FillMaskOptions) -> list[MaskedText | InputError]:
        """Tokenize texts, find their masks, and lay out the sequences that the targets need."""
        mask_id = self.tokenizer.mask_token_id
        if mask_id is None:
            raise TokenizerError(given="a tokenizer without a mask token", expected="one that knows <mask>")
        targets = list(dict.fromkeys(target_ids(self.tokenizer, word) for word in options.words))
        for item in inputs:
            if not isinstance(item, str):
                raise InputError(given=f"a text of type {type(item).__name__}", expected="str")
        texts = [str(item) for item in inputs]
        tokenize = cast("Callable[..., BatchEncoding]", self.tokenizer)  # whatever arguments the caller names
        encoded = tokenize(texts, **{"verbose": False, **(options.tokenizer_kwargs or {})})
        prepared: list[MaskedText | InputError] = []
        for index, text in enumerate(texts):
            real = encoded["attention_mask"][index]
            ids = [int(i) for i, kept in zip(encoded["input_ids"][index], real, strict=True) if kept]
            try:
                prepared.append(self._masked_text(text, index, ids, mask_id, targets))
            except InputError as error:
                prepared.append(error)
        return prepared

    def keep(self, prepared: MaskedText, index: int, arrays: Arrays, options: FillMaskOptions) -> Scores:
        """Read the wanted probabilities, or the best ones, off rows of logits (rows, V)."""
        scores = softmax(arrays["logits"])
        wanted = prepared.wanted[index]
        if wanted is None:
            return best(scores, options.most)
        ids = np.tile(np.asarray(wanted, np.int64), (len(scores), 1))
        return Scores(ids, scores[:, list(wanted)])

    def finish(self, prepared: MaskedText, kept: Sequence[Scores], options: FillMaskOptions) -> Answer:
        """Rank the words of each mask, and write each into the text."""
        answers = []
        for number, mask in enumerate(prepared.masks):
            ranked: list[tuple[tuple[int, ...], float]]
            if prepared.chains is None:
                ranked = [
                    ((int(i),), float(s))
                    for i, s in zip(kept[0].ids[number], kept[0].scores[number], strict=True)
                ]
            else:
                ranked = [
                    (
                        ids,
                        float(np.prod([kept[e].scores[row, i] for e, row, i in prepared.chains[number, t]])),
                    )
                    for t, ids in enumerate(prepared.targets)
                ]
                ranked.sort(key=lambda pair: -pair[1])
            answers.append(
                [self._result(prepared, mask, ids, score) for ids, score in ranked[: options.most]]
            )
        return answers if len(answers) > 1 else answers[0]

    def _masked_text(
        self, text: str, index: int, ids: list[int], mask_id: int, targets: Sequence[tuple[int, ...]]
    ) -> MaskedText:
        masks = [place for place, token in enumerate(ids) if token == mask_id]
        if not masks:
            cut = str(self.tokenizer.mask_token) in text
            raise NoMask(
                given=f"no {self.tokenizer.mask_token} in {shortened(text)}"
                + (" after truncation" if cut else ""),
                expected="one or more of it",
                hint="truncate less"
                if cut
                else f"write {self.tokenizer.mask_token} where a word is to be filled in",
            )
        hint = (
            "shorten the text, or, if its mask is near the beginning, pass tokenizer_kwargs={'truncation': True}"
            " (on the command line --truncation)"
        )
        longest = max(map(len, targets), default=1)
        self.check_length([*ids, *[mask_id] * (longest - 1)], text, hint)
        if not targets:
            return MaskedText([Encoding(ids, text_index=index)], [masks], ids, masks, [None])
        layout = TargetLayout(index, ids, masks, mask_id)
        for number in range(len(masks)):
            for t, pieces in enumerate(targets):
                layout.add(number, t, pieces)
        return MaskedText(layout.encodings, layout.rows, ids, masks, layout.wanted, targets, layout.chains)

    def _result(
        self, prepared: MaskedText, mask: int, ids: tuple[int, ...], score: float
    ) -> dict[str, object]:
        filled = [*prepared.input_ids[:mask], *ids, *prepared.input_ids[mask + 1 :]]
        filled = [
            i for i in filled if i != self.tokenizer.pad_token_id
        ]  # as the reference: also one in the text
        return {
            "score": score,
            "token": ids[0] if len(ids) == 1 else list(ids),
            "token_str": self.tokenizer.decode(list(ids)),
            # As in the reference: with several masks the special tokens stay, so that the open masks are
            # seen.
            "sequence": self.tokenizer.decode(filled, skip_special_tokens=len(prepared.masks) == 1),
        }


class TargetLayout:
    """The sequences that the targets of one text need, each once however many targets share it."""

    def __init__(self, text_index: int, ids: list[int], masks: list[int], mask_id: int) -> None:
        self.text_index, self.ids, self.masks, self.mask_id = text_index, ids, masks, mask_id
        self.encodings: list[Encoding] = []
        self.rows: list[list[int]] = []
        self.wanted: list[list[int]] = []
        self.chains: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        self._known: dict[tuple[int, ...], int] = {}

    def add(self, number: int, target: int, pieces: tuple[int, ...]) -> None:
        """Ask for the probability of each piece of a target at mask ``number``, given those before it."""
        mask, n = self.masks[number], len(pieces)
        steps = []
        for k, piece in enumerate(pieces):
            gap = [*pieces[:k], *[self.mask_id] * (n - k)]
            encoding = self._encoding([*self.ids[:mask], *gap, *self.ids[mask + 1 :]])
            rows, wanted = self.rows[encoding], self.wanted[encoding]
            if mask + k not in rows:
                rows.append(mask + k)
            if piece not in wanted:
                wanted.append(piece)
            steps.append((encoding, rows.index(mask + k), wanted.index(piece)))
        self.chains[number, target] = steps

    def _encoding(self, ids: list[int]) -> int:
        key = tuple(ids)
        if key not in self._known:
            self._known[key] = len(self.encodings)
            self.encodings.append(Encoding(ids, text_index=self.text_index))
            self.rows.append([])
            self.wanted.append([])
        return self._known[key]


def target_ids(tokenizer: PreTrainedTokenizerBase, word: str) -> tuple[int, ...]:
    """Return the ids that a target stands for: with a leading space, or without, or all of its pieces.

    Args:
        tokenizer: of either family.
        word: as a user writes it (``"pizza"``, ``" pizza"``), or a piece as the vocabulary spells a word that
            begins with a space (``"Ġpizza"``, ``"▁pizza"``).

    Raises:
        InputError: a character of the word is unknown to the vocabulary.
    """
    vocabulary = tokenizer.get_vocab()
    if word[0] in "Ġ▁" and word in vocabulary:
        return (vocabulary[word],)
    spaced = _pieces(tokenizer, " " + word.lstrip())
    if len(spaced) == 1:
        return spaced
    if not word[0].isspace():
        bare = _pieces(tokenizer, word)
        if len(bare) == 1:
            return bare
        # SentencePiece puts a space before any text, so that a piece without one is found by its spelling
        # alone.
        literal = vocabulary.get(word)
        if literal is not None and tokenizer.decode([literal]) == word:
            return (literal,)
    return spaced


def _pieces(tokenizer: PreTrainedTokenizerBase, text: str) -> tuple[int, ...]:
    ids = tuple(int(i) for i in tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"])
    if not ids or (tokenizer.unk_token_id in ids and text.strip() != tokenizer.unk_token):
        raise InputError(given=f"target {text.strip()!r}", expected="a word that the vocabulary can spell")
    return ids


def softmax(logits: NDArray[np.generic]) -> NDArray[np.floating]:
    """Return probabilities over the last axis, in float32 (float64 for float64 logits).

    Raises:
        InputError: a logit is NaN or infinite.
    """
    wide = logits.astype(np.promote_types(logits.dtype, np.float32))
    if not np.isfinite(wide).all():
        raise InputError(
            given="logits that are not finite",
            hint="the weights are damaged, or the dtype is too narrow for them",
        )
    wide -= wide.max(axis=-1, keepdims=True)
    np.exp(wide, out=wide)
    wide /= wide.sum(axis=-1, keepdims=True)
    return wide


def best(scores: NDArray[np.floating], k: int) -> Scores:
    """Return the ``k`` highest of each row (rows, V), the highest first; of equal ones the lower id first."""
    k = min(k, scores.shape[-1])
    ids = np.empty((len(scores), k), np.int64)
    for row, line in zip(ids, scores, strict=True):
        least = np.partition(line, len(line) - k)[len(line) - k]
        candidates = np.flatnonzero(line >= least)
        row[:] = candidates[np.argsort(-line[candidates], kind="stable")[:k]]
    return Scores(ids, np.take_along_axis(scores, ids, axis=-1))
