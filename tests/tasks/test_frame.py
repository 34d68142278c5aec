"""The frame: packing, order, streams, errors in their place; on a task and an engine made for the purpose."""

import pickle
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from robertakit.architecture import HEADS
from robertakit.batch import Batch, Encoding
from robertakit.configuration import RobertaConfig
from robertakit.errors import ArgumentError, InputError
from robertakit.tasks.frame import Options, Pipeline, Prepared, shortened


@dataclass
class Limits:
    tokens: int = 16
    device: str = "cpu"


@dataclass
class CountingEngine:
    """Gives each token row (its id, its position), or each sequence (its length, its first id)."""

    head_name: str
    config: RobertaConfig = field(default_factory=RobertaConfig)
    limits: Limits = field(default_factory=Limits)
    batches: list[list[int]] = field(default_factory=list)
    open: bool = True

    @property
    def head(self) -> object:
        return HEADS[self.head_name]

    @property
    def model(self) -> object:
        return self

    def run(
        self, batch: Batch, outputs: Sequence[str] = ("logits",), rows: np.ndarray | None = None
    ) -> Mapping[str, np.ndarray]:
        self.batches.append(batch.lengths.tolist())
        if HEADS[self.head_name].rows == "first":
            return {"logits": np.stack([batch.lengths, batch.input_ids[batch.first_rows]], 1)}
        table = np.stack([batch.input_ids, batch.position_ids], 1)
        return {"logits": table if rows is None else table[rows]}

    def close(self) -> None:
        self.open = False


@dataclass(frozen=True, slots=True)
class EchoOptions(Options):
    shout: bool = False


@dataclass(frozen=True, slots=True)
class Words(Prepared):
    text: str = ""


class Echo(Pipeline[Words, EchoOptions, list[object]]):
    """Each word is an encoding of as many tokens as it has letters; the answer is all that came back."""

    task, head, options_type = "echo", "token-classification", EchoOptions
    last_letter_only = False

    def prepare(self, inputs: Sequence[object], options: EchoOptions) -> list[Words | InputError]:
        return [self.prepare_one(str(text)) for text in inputs]

    def prepare_one(self, text: str) -> Words | InputError:
        if "!" in text:
            return InputError(given=f"an exclamation in {text}")
        words = [Encoding([ord(c) for c in word], window=None) for word in text.split()]
        return Words(words, [[len(e) - 1] for e in words] if self.last_letter_only else None, text)

    def keep(
        self, prepared: Words, index: int, arrays: Mapping[str, np.ndarray], options: EchoOptions
    ) -> list[object]:
        return arrays["logits"].tolist()

    def finish(
        self, prepared: Words, kept: Sequence[list[object]], options: EchoOptions
    ) -> list[dict[str, object]]:
        return [{"text": prepared.text.upper() if options.shout else prepared.text, "rows": list(kept)}]


class EchoLast(Echo):
    last_letter_only = True


class EchoSequence(Echo):
    head = "sequence-classification"


def rows_of(text: str) -> list[object]:
    return [[[ord(c), i + 2] for i, c in enumerate(word)] for word in text.split()]


def echo(kind: type[Echo] = Echo, **arguments: object) -> Echo:
    return kind(CountingEngine(kind.head), None, **arguments)


texts = st.lists(st.text("abc !", max_size=30), max_size=12)


@given(texts, st.integers(1, 5) | st.none(), st.integers(0, 2), st.integers(1, 40))
def test_every_text_has_its_own_answer_or_error_in_its_place(
    given_texts: list[str], batch_size: int | None, num_workers: int, batch_tokens: int
) -> None:
    pipe = echo(batch_size=batch_size, num_workers=num_workers, batch_tokens=batch_tokens)
    outcomes = list(pipe.outcomes(given_texts))
    assert len(outcomes) == len(given_texts)
    for text, outcome in zip(given_texts, outcomes, strict=True):
        if "!" in text:
            assert isinstance(outcome, InputError)
            assert text in str(outcome)
        else:
            assert outcome == [{"text": text, "rows": rows_of(text)}]
    for lengths in pipe.engine.batches:
        assert sum(lengths) <= batch_tokens or len(lengths) == 1
        assert batch_size is None or len(lengths) <= batch_size


def test_rows_are_those_asked_for() -> None:
    assert echo(EchoLast)(["ab c", "", "abc"]) == [
        [{"text": "ab c", "rows": [[[ord("b"), 3]], [[ord("c"), 2]]]}],
        [{"text": "", "rows": []}],
        [{"text": "abc", "rows": [[[ord("c"), 4]]]}],
    ]


def test_heads_on_first_tokens_give_a_row_a_sequence() -> None:
    assert echo(EchoSequence)(["abc b", "cc"]) == [
        [{"text": "abc b", "rows": [[3, ord("a")], [1, ord("b")]]}],
        [{"text": "cc", "rows": [[2, ord("c")]]}],
    ]


def test_trap_15_texts_of_one_length_share_a_batch() -> None:
    pipe = echo(batch_tokens=6)
    pipe(["a", "aaaaa", "bb", "ccccc", "b", "bb"])
    assert pipe.engine.batches == [[5], [5], [2, 2, 1, 1]]


def test_form_of_the_result_follows_the_form_of_the_inputs() -> None:
    pipe = echo()
    answer = [{"text": "ab", "rows": rows_of("ab")}]
    assert pipe("ab") == answer
    assert pipe(["ab"]) == [answer]
    assert pipe(("ab", "ab")) == [answer, answer]
    assert pipe([]) == []
    stream = pipe(text for text in ["ab"])
    assert isinstance(stream, Iterator)
    assert list(stream) == [answer]
    for wrong in (3, None, b"ab"):
        with pytest.raises(InputError, match=f"inputs of type {type(wrong).__name__}"):
            pipe(wrong)


def test_stream_reads_ahead_by_a_bound() -> None:
    read = 0

    def source() -> Iterator[str]:
        nonlocal read
        for _ in range(100_000):
            read += 1
            yield "abc"

    pipe = echo(batch_tokens=10)
    stream = pipe(source())
    assert read == 0
    next(stream)
    assert read <= 10 * 16
    stream = pipe(source(), batch_size=1)
    before = read
    next(stream)
    assert read == before + 1


def test_arguments_are_checked_before_a_stream_is_read() -> None:
    with pytest.raises(ArgumentError):
        echo()(iter(["a"]), nonsense=1)
    with pytest.raises(InputError):
        echo()(iter(["a"]), batch_size=0)


def test_workers_read_ahead_by_a_bound_and_stop_when_the_stream_is_dropped() -> None:
    read = 0

    def source() -> Iterator[str]:
        nonlocal read
        while True:
            read += 1
            yield "abc"

    stream = echo(batch_tokens=4)(source(), num_workers=2)
    next(stream)
    assert read <= 4 * (4 * 16)
    del stream


def test_error_of_a_worker_comes_out() -> None:
    class Broken(Echo):
        def prepare(self, inputs: Sequence[object], options: EchoOptions) -> list[Words | InputError]:
            raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        echo(Broken, num_workers=2)(["a"])


def test_options_have_defaults_and_may_be_given_twice() -> None:
    pipe = echo(shout=True)
    assert pipe("a")[0]["text"] == "A"
    assert pipe("a", shout=False)[0]["text"] == "a"
    assert pipe("a")[0]["text"] == "A"
    with pytest.raises(ArgumentError, match=r"shot=True for echo; expected one of shout; did you mean shout"):
        pipe("a", shot=True)
    with pytest.raises(ArgumentError, match="whisper=1"):
        echo(whisper=1)


def test_another_head_is_refused() -> None:
    with pytest.raises(ArgumentError, match="'masked-lm'; expected 'token-classification' for echo"):
        Echo(CountingEngine("masked-lm"), None)


def test_closes_its_engine_and_pickles() -> None:
    with echo(batch_tokens=3, shout=True) as pipe:
        again = pickle.loads(pickle.dumps(pipe))
        assert again(["ab", "c"]) == pipe(["ab", "c"])
        assert again.batch_tokens == 3
    assert not pipe.engine.open
    assert pipe.model is pipe.engine


def test_shortened() -> None:
    assert shortened("short") == "'short'"
    assert len(shortened("x" * 100_000)) < 70
