"""What the tokens that were written so far forbid, force and favour: plain Python over lists of ids."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from robertakit.generation.checks import as_ids, biased_sequences
from robertakit.generation.config import GenerationConfig
from robertakit.generation.request import Lengths

__all__ = ["TokenRules", "completed", "following"]

Ids = Sequence[int]


def following(history: Ids, written: Ids, size: int) -> set[int]:
    """Return the ids that would complete a sequence of `size` tokens that `written` has.

    Args:
        history: the row so far.
        written: where such sequences are looked for: the row itself, or its prompt.
        size: tokens of a sequence, from 1.

    Example:
        >>> following([5, 6, 7, 5], [5, 6, 7, 5], 2)
        {6}
    """
    last = tuple(history[len(history) - size + 1 :])
    if len(last) != size - 1:
        return set()
    starts = range(len(written) - size + 1)
    return {written[i + size - 1] for i in starts if tuple(written[i : i + size - 1]) == last}


def completed(history: Ids, sequences: Mapping[tuple[int, ...], float]) -> dict[int, float]:
    """Return the ids that would complete a sequence, each with the sum of what its sequences are given.

    Example:
        >>> completed([5, 6], {(6, 9): -1.0, (9,): -2.0, (5, 8): -4.0})
        {9: -3.0}
    """
    found: dict[int, float] = {}
    for (*start, last), value in sequences.items():
        if len(start) <= len(history) and list(history[len(history) - len(start) :]) == start:
            found[last] = found.get(last, 0.0) + value
    return found


@dataclass(frozen=True, slots=True)
class TokenRules:
    """The rules of one call.

    Padding is no part of a row's history, so that a padded row obeys what it would obey alone.

    Attributes:
        config: what the call asks for.
        lengths: of its sequences.
        prompts: real tokens of each prompt.
        copies: rows of each prompt, side by side.
    """

    config: GenerationConfig
    lengths: Lengths
    prompts: list[list[int]]
    copies: int = 1

    @property
    def eos(self) -> tuple[int, ...]:
        """The ids that end a sequence."""
        return as_ids("eos_token_id", self.config.eos_token_id)

    def too_early(self, columns: int) -> tuple[int, ...]:
        """Return the ids that may not end a sequence yet, after `columns`."""
        return self.eos if columns < self.lengths.shortest else ()

    def suppressed(self, columns: int) -> set[int]:
        """Return the ids that no row may write next, after `columns`, not even where one is forced."""
        banned = set(self.config.suppress_tokens or ())
        # a forced first token does not count as the beginning
        forced_first = self.lengths.prompt == 1 and self.config.forced_bos_token_id is not None
        if columns == self.lengths.prompt + forced_first:
            banned.update(self.config.begin_suppress_tokens or ())
        return banned

    def look_back(self) -> bool:
        """Whether rows are forbidden tokens of their own."""
        config = self.config
        return bool(
            config.no_repeat_ngram_size or config.encoder_no_repeat_ngram_size or config.bad_words_ids
        )

    def forbidden_in(self, row: int, history: Ids) -> set[int]:
        """Return the ids that one row may not write behind its real tokens."""
        config = self.config
        banned = set(completed(history, {tuple(word): 0.0 for word in config.bad_words_ids or ()}))
        if config.no_repeat_ngram_size:
            banned |= following(history, history, config.no_repeat_ngram_size)
        if config.encoder_no_repeat_ngram_size:
            banned |= following(
                history, self.prompts[row // self.copies], config.encoder_no_repeat_ngram_size
            )
        return banned

    def biases(self) -> dict[tuple[int, ...], float]:
        """Return what completing a sequence adds to a score."""
        return {} if self.config.sequence_bias is None else biased_sequences(self.config.sequence_bias)

    def forced(self, columns: int) -> tuple[int, ...]:
        """Return the ids of which one must follow after `columns`; none for no such rule."""
        forced = self.config.forced_bos_token_id
        if columns == 1 and forced is not None:
            return (forced,)
        if columns == self.lengths.longest - 1:
            return as_ids("forced_eos_token_id", self.config.forced_eos_token_id)
        return ()

    def urge(self, columns: int) -> float:
        """Return by what part of their size the scores of `eos` grow after `columns`."""
        if self.config.exponential_decay_length_penalty is None:
            return 0.0
        start, factor = self.config.exponential_decay_length_penalty
        over = columns - self.lengths.prompt - start
        return factor**over - 1.0 if over > 0 else 0.0
