"""The frame of every task: texts -> ``prepare`` -> ``batch.plan`` -> ``engine.run`` -> ``finish`` -> answers.

A task says what it makes of a text and of the numbers; packing, order, streaming and errors are settled here,
once. No framework is named: an engine is whatever runs packed batches.
"""

import difflib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, fields, replace
from itertools import chain, pairwise
from types import MappingProxyType, TracebackType
from typing import ClassVar, Generic, Self, TypeVar, cast

import numpy as np
from numpy.typing import NDArray

from robertakit.batch import Batch, Encoding, longest_input, plan
from robertakit.engine import of_sequences
from robertakit.engine_choice import engine_of
from robertakit.errors import ArgumentError, InputError, RobertakitError, TooLong, listed
from robertakit.tokenizers.pretrained import PreTrainedTokenizerBase

__all__ = ["Answer", "AnyPipeline", "Options", "Pipeline", "Prepared", "count", "shortened"]

Answer = dict[str, object] | list[dict[str, object]] | list[list[dict[str, object]]]
Arrays = Mapping[str, NDArray[np.generic]]

# How far a stream is read ahead, so that texts of one length meet in a batch: in characters for each token of
# the budget (about four batches of English), and in texts.
CHARACTERS_AHEAD, TEXTS_AHEAD = 16, 1024


@dataclass(frozen=True, slots=True)
class Prepared:
    """One of the caller's texts, ready for the engine. Tasks add what their ``finish`` needs.

    Attributes:
        encodings: one or more sequences; windows, candidates and choices each are one.
        rows: for each encoding the token rows that the task reads; None where it reads all, or whole
            sequences.
    """

    encodings: Sequence[Encoding]
    rows: Sequence[Sequence[int]] | None = None


@dataclass(frozen=True, slots=True)
class Options:
    """Arguments of a task, each with its default; they may be given to ``pipeline()`` and again to a call."""


P = TypeVar("P", bound=Prepared)
O = TypeVar("O", bound=Options)  # noqa: E741 - P and O: prepared text and options
Kept = TypeVar("Kept")


class Pipeline(ABC, Generic[P, O, Kept]):
    """A task on a model: call it with a text, a list of texts, or any iterable of texts.

    A single text gives its answer. A list or tuple gives the list of answers, in order, also a list of one.
    Any other iterable (a generator, a data set) gives an iterator, which reads ahead by a bounded number of
    texts and never holds the whole. No answer depends on which texts shared a batch.

    Args:
        model: an engine, or a model that one can be made of: what ``pipeline()`` loads, or one of your own.
        tokenizer: the model's tokenizer.
        framework: the model's own, ``"np"`` or ``"pt"``, where it is to be made sure.
        device: where the model is moved; see ``pipeline()``.
        batch_size: most sequences of a batch, None for no bound but ``batch_tokens``. With 1, an iterator is
            read one text at a time.
        num_workers: threads that prepare the next texts while the engine runs; 0 prepares them in between.
        batch_tokens: most tokens of a batch; the engine's own limit by default.
        options: the task's own arguments; see its class.

    Attributes:
        model: what the engine runs.
        tokenizer: the tokenizer.
        device: where the engine computes, for example ``"cpu"``.
        task: name of the task, for example ``"fill-mask"``.
    """

    task: ClassVar[str]
    head: ClassVar[str]
    outputs: ClassVar[tuple[str, ...]] = ("logits",)
    options_type: ClassVar[type[Options]]

    def __init__(
        self,
        model: object,
        tokenizer: PreTrainedTokenizerBase,
        *,
        framework: str | None = None,
        device: object = None,
        batch_size: int | None = None,
        num_workers: int | None = None,
        batch_tokens: int | None = None,
        **options: object,
    ) -> None:
        self.engine, self.tokenizer = engine_of(model, framework=framework, device=device), tokenizer
        if self.engine.head.name != self.head:
            raise ArgumentError(
                given=f"a model with the head {self.engine.head.name!r}",
                expected=f"{self.head!r} for {self.task}",
            )
        self.batch_size = count("batch_size", batch_size, least=1)
        self.num_workers = count("num_workers", num_workers, least=0) or 0
        self.batch_tokens = count("batch_tokens", batch_tokens, least=1) or self.engine.limits.tokens
        self.options = self._with(cast(O, self.options_type()), options)

    # What a task is.

    @abstractmethod
    def prepare(self, inputs: Sequence[object], options: O) -> list[P | InputError]:
        """Turn inputs into encodings: for each input what ``finish`` needs, or why it cannot be answered."""

    @abstractmethod
    def keep(self, prepared: P, index: int, arrays: Arrays, options: O) -> Kept:
        """Return what is kept of the outputs of encoding ``index`` until its text is finished.

        Vocabulary-sized rows are read here and dropped, so that memory is bounded by one batch.
        """

    @abstractmethod
    def finish(self, prepared: P, kept: Sequence[Kept], options: O) -> Answer:
        """Turn what was kept of a text's encodings, in their order, into its answer."""

    # What the frame does with it.

    @property
    def model(self) -> object:
        """The model that the engine runs."""
        return self.engine.model

    @property
    def device(self) -> str:
        """Where the engine computes."""
        return self.engine.limits.device

    def __call__(
        self,
        inputs: object,
        *,
        batch_size: int | None = None,
        num_workers: int | None = None,
        **options: object,
    ) -> Answer | list[Answer] | Iterator[Answer]:
        """Answer a text, a list of texts, or an iterable of texts.

        Args:
            inputs: str (or what else the task takes), list, tuple or another iterable of them.
            batch_size: as in the class, for this call.
            num_workers: as in the class, for this call.
            options: the task's own arguments, for this call.

        Returns:
            An answer, a list of answers, or an iterator of answers.

        Raises:
            ArgumentError: an argument that the task does not have.
            InputError: a text that cannot be answered. An iterator gives the answers before it first.
        """
        if isinstance(inputs, str | Mapping):
            return next(self._answers([inputs], batch_size, num_workers, options))
        if isinstance(inputs, list | tuple):
            return list(self._answers(inputs, batch_size, num_workers, options))
        if isinstance(inputs, bytes) or not isinstance(inputs, Iterable):
            raise InputError(
                given=f"inputs of type {type(inputs).__name__}",
                expected="a str, or a list or iterable of str",
            )
        return self._answers(inputs, batch_size, num_workers, options)

    def outcomes(
        self,
        inputs: Iterable[object],
        options: Mapping[str, object] = MappingProxyType({}),
        *,
        batch_size: int | None = None,
        num_workers: int | None = None,
    ) -> Iterator[Answer | InputError]:
        """Answer inputs one after the other, with the error in place of an answer where there is none.

        For callers who go on after a bad text, as the command line does. Arguments are those of a call.
        """
        size = count("batch_size", batch_size, least=1) or self.batch_size
        threads = count("num_workers", num_workers, least=0)
        chosen = self._with(self.options, options)
        return chain.from_iterable(
            self._run(prepared, chosen, size)
            for prepared in self._prepared(
                inputs, chosen, size, self.num_workers if threads is None else threads
            )
        )

    def close(self) -> None:
        """Give back what the engine holds."""
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}(task={self.task!r}, model={self.engine!r})"

    def check_length(self, ids: Sequence[int], text: str, hint: str) -> None:
        """Raise the one error for a text that is longer than the model."""
        config = self.engine.config
        if len(ids) > longest_input(config):
            raise TooLong(
                given=f"{len(ids)} tokens in {shortened(text)}",
                expected=f"at most {longest_input(config)} (max_position_embeddings {config.max_position_embeddings}"
                f" - pad_token_id {config.pad_token_id} - 1)",
                hint=hint,
            )

    def _answers(
        self,
        inputs: Iterable[object],
        batch_size: int | None,
        num_workers: int | None,
        options: Mapping[str, object],
    ) -> Iterator[Answer]:
        """Check the arguments now, and give answers, or raise, when asked for them."""
        found = self.outcomes(inputs, options, batch_size=batch_size, num_workers=num_workers)
        return map(_answer_or_raise, found)

    def _with(self, defaults: O, given: Mapping[str, object]) -> O:
        known = [field.name for field in fields(defaults)]
        for name in given:
            if name not in known:
                close = difflib.get_close_matches(name, known, n=1)
                raise ArgumentError(
                    given=f"{name}={given[name]!r} for {self.task}",
                    expected=f"one of {listed(known)}",
                    hint=f"did you mean {close[0]}?" if close else "",
                )
        return replace(defaults, **given)

    def _prepared(
        self, inputs: Iterable[object], options: O, batch_size: int | None, threads: int
    ) -> Iterator[list[P | InputError]]:
        """Prepare stretches of the inputs, in order, on this thread or ahead of it on others."""
        stretches = self._stretches(inputs, 1 if batch_size == 1 else TEXTS_AHEAD)
        if not threads:
            yield from (self.prepare(stretch, options) for stretch in stretches)
            return
        with ThreadPoolExecutor(threads) as pool:
            waiting: deque[Future[list[P | InputError]]] = deque()
            try:
                for stretch in stretches:
                    waiting.append(pool.submit(self.prepare, stretch, options))
                    if len(waiting) > threads:
                        yield waiting.popleft().result()
                while waiting:
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()

    def _stretches(self, inputs: Iterable[object], most: int) -> Iterator[list[object]]:
        stretch: list[object] = []
        room = full = self.batch_tokens * CHARACTERS_AHEAD
        for item in inputs:
            stretch.append(item)
            room -= len(item) if isinstance(item, str) else len(str(item))
            if room <= 0 or len(stretch) >= most:
                yield stretch
                stretch, room = [], full
        if stretch:
            yield stretch

    def _run(
        self, prepared: Sequence[P | InputError], options: O, batch_size: int | None
    ) -> Iterator[Answer | InputError]:
        """Run all encodings in planned batches; then finish the texts in their order."""
        texts = [[] if isinstance(text, InputError) else list(text.encodings) for text in prepared]
        places = [(t, e) for t, encodings in enumerate(texts) for e in range(len(encodings))]
        kept: dict[tuple[int, int], Kept] = {}
        for group in plan([len(texts[t][e]) for t, e in places], self.batch_tokens):
            step = batch_size or len(group)
            for start in range(0, len(group), step):
                members = [places[i] for i in group[start : start + step]]
                found = self._run_batch([cast(P, prepared[t]) for t, _ in members], [e for _, e in members])
                for (t, e), arrays in zip(members, found, strict=True):
                    kept[t, e] = self.keep(cast(P, prepared[t]), e, arrays, options)
        for t, text in enumerate(prepared):
            if isinstance(text, InputError):
                yield text
            else:
                yield self.finish(text, [kept.pop((t, e)) for e in range(len(texts[t]))], options)

    def _run_batch(self, texts: Sequence[P], indices: Sequence[int]) -> list[Arrays]:
        """Run one encoding of each text as one batch, and give each its share of the outputs."""
        batch = Batch.from_encodings(
            [text.encodings[e] for text, e in zip(texts, indices, strict=True)],
            self.engine.config.pad_token_id,
        )
        starts = batch.cumulative_lengths
        shares = [slice(a, b) for a, b in pairwise(starts.tolist())]
        rows = None
        if texts[0].rows is not None:
            wanted = [
                np.asarray(cast(Sequence[Sequence[int]], text.rows)[e], np.int32)
                for text, e in zip(texts, indices, strict=True)
            ]
            rows = np.concatenate(
                [ids + start for ids, start in zip(wanted, starts, strict=False)], dtype=np.int32
            )
            ends = np.cumsum([len(ids) for ids in wanted]).tolist()
            shares = [slice(end - len(ids), end) for ids, end in zip(wanted, ends, strict=True)]
        arrays = self.engine.run(batch, self.outputs, rows)
        return [
            {
                name: array[s] if of_sequences(self.engine.head, name) else array[share]
                for name, array in arrays.items()
            }
            for s, share in enumerate(shares)
        ]


#: A pipeline of a task that is not known before it is asked for.
AnyPipeline = Pipeline[Prepared, Options, object]


def _answer_or_raise(outcome: Answer | InputError) -> Answer:
    if isinstance(outcome, RobertakitError):
        raise outcome
    return outcome


def count(name: str, value: object, *, least: int) -> int | None:
    """Return the value of an argument that is None or an integer of at least ``least``; raise if it is neither."""
    if value is None:
        return None
    if isinstance(value, int | np.integer) and not isinstance(value, bool) and value >= least:
        return int(value)
    raise InputError(given=f"{name}={value!r}", expected=f"an integer of at least {least}, or None")


def shortened(text: str, most: int = 60) -> str:
    """Return a text in quotes, cut after ``most`` characters, for an error message.

    Example:
        >>> shortened("one two three", most=7)
        "'one two…'"
    """
    return repr(text if len(text) <= most else text[:most] + "…")
