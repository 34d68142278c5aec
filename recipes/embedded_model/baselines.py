"""What counting words gives at the same positions: a unigram and two bigrams of the training text.

- unigram: the same guess everywhere;
- bigram: P(word | left neighbour), interpolated with the unigram;
- bigram, both sides: P(word | left) · P(right | word), normalised; a neighbour that is itself hidden, or special, tells
  nothing. The interpolation weight of both is the best of a grid on every tenth held-out row, so they are flattered,
  and the model is not.

Shape letters: R positions, V vocabulary.
"""

from collections.abc import Iterable, Iterator

import numpy as np
from figures import Figures, score
from numpy.typing import NDArray
from positions import FIRST_WORD, Hidden, Ints

from robertakit.training.sampling import smoothed_passes
from robertakit.training.shards import Corpus

Floats = NDArray[np.float64]
CHUNK = 512
KEPT = (0.6, 0.7, 0.8, 0.9, 0.95)


class Bigrams:
    """Counts of tokens, and of neighbours inside documents, weighted by the passes over their sources.

    `smoothing`: exponent of the languages' shares, None for the sources' own weights.
    """

    def __init__(self, corpus: Corpus, smoothing: float | None = None) -> None:
        self.vocab_size = corpus.vocab_size
        unigram, keys, weights = np.zeros(self.vocab_size), list[Ints](), list[Floats]()
        for source, passes in zip(corpus.sources, smoothed_passes(corpus.sources, smoothing), strict=True):
            tokens = np.asarray(source.tokens, np.int64)
            unigram += passes * np.bincount(tokens, minlength=self.vocab_size)
            pairs = np.ones(len(tokens) - 1, bool)
            pairs[source.sentence_offsets[source.document_offsets[1:-1]] - 1] = False
            key, count = np.unique(
                tokens[:-1][pairs] * self.vocab_size + tokens[1:][pairs], return_counts=True
            )
            keys.append(key)
            weights.append(passes * count)
        unigram[:FIRST_WORD] = 0
        self.unigram = (unigram + 1e-3) / (unigram + 1e-3).sum()
        self._index(np.concatenate(keys), np.concatenate(weights))

    def _index(self, keys: Ints, weights: Floats) -> None:
        order = np.argsort(keys, kind="stable")
        keys, weights = keys[order], weights[order]
        first = np.flatnonzero(np.r_[True, keys[1:] != keys[:-1]])
        self.count = np.add.reduceat(weights, first)
        self.left, self.right = keys[first] // self.vocab_size, keys[first] % self.vocab_size
        self.as_left = np.bincount(self.left, weights=self.count, minlength=self.vocab_size)
        self.left_offsets = np.searchsorted(self.left, np.arange(self.vocab_size + 1))
        self.by_right = np.argsort(self.right, kind="stable")
        self.right_offsets = np.searchsorted(self.right[self.by_right], np.arange(self.vocab_size + 1))

    def after(self, left: int, kept: float) -> Floats:
        """P(word | left), (V,): `kept` of it from the counts, the rest from the unigram."""
        if not self.as_left[left]:
            return self.unigram
        part = slice(self.left_offsets[left], self.left_offsets[left + 1])
        row = (1 - kept) * self.unigram
        row[self.right[part]] += kept * self.count[part] / self.as_left[left]
        return row

    def before(self, right: int, kept: float) -> Floats:
        """P(right | word) / P(right) for every word, (V,)."""
        part = self.by_right[self.right_offsets[right] : self.right_offsets[right + 1]]
        ratio = np.full(self.vocab_size, 1 - kept)
        words = self.left[part]
        ratio[words] += kept * self.count[part] / self.as_left[words] / self.unigram[right]
        return ratio

    def predict(self, left: Ints, right: Ints, kept: float) -> Iterator[Floats]:
        """Log-probabilities, a few (r, V) at a time, between two neighbours, -1 where one tells nothing."""
        for at in range(0, len(left), CHUNK):
            part = slice(at, at + CHUNK)
            rows = np.empty((len(left[part]), self.vocab_size))
            for index, (one, other) in enumerate(zip(left[part].tolist(), right[part].tolist(), strict=True)):
                row = self.unigram if one < 0 else self.after(one, kept)
                if other >= 0:
                    row = row * self.before(other, kept)
                rows[index] = row / row.sum()
            yield np.log(rows)

    def sentence(self, ids: Iterable[int], kept: float = 0.8) -> float:
        """The log-probability of a sentence, word by word from the left."""
        total, left = 0.0, -1
        for word in ids:
            total += float(np.log((self.unigram if left < 0 else self.after(left, kept))[word]))
            left = word
        return total


def baselines(counts: Bigrams, hidden: Hidden, kinds: tuple[str, ...]) -> dict[str, Figures]:
    """Figures of the unigram and of both bigrams."""
    sample = hidden.part(hidden.row % 10 == 0)

    def figures(of: Hidden, sides: int, kept: float) -> Figures:
        nothing = np.full_like(of.left, -1)
        left, right = of.left if sides else nothing, of.right if sides == 2 else nothing
        return score(counts.predict(left, right, kept), of, kinds)

    found = {"unigram": figures(hidden, 0, 0.0)}
    for sides, name in ((1, "bigram"), (2, "bigram, both sides")):
        tried = {kept: figures(sample, sides, kept)["all tokens"]["perplexity"] for kept in KEPT}
        found[name] = figures(hidden, sides, min(KEPT, key=lambda kept: tried[kept]))
    return found
