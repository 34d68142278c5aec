"""Engines: the life that all share, and that those of the frameworks give the numbers of NumPy's."""

import gc
import importlib.util
import itertools
import multiprocessing
import pickle
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Self

import numpy as np
import pytest

from robertakit.architecture import HEADS, initial_weights, parameters
from robertakit.batch import Batch, Encoding
from robertakit.checkpoints import save_weights
from robertakit.configuration import AutoConfig, RobertaConfig
from robertakit.engine import Engine, Limits, ModelEngine, of_sequences
from robertakit.engine_choice import ENGINES, load_engine
from robertakit.errors import ArgumentError, InputError, TensorMismatch, TooLong

#: The engines whose frameworks are installed; NumPy's is the reference.
HERE = [name for name, (_, extra) in ENGINES.items() if extra is None or importlib.util.find_spec(extra)]
FRAMEWORKS = [name for name in HERE if name != "numpy"]
#: Those that pad and compile; their classes of another family are the same code, so that one head will do.
COMPILED = ("jax", "tensorflow")
#: Each engine with each head; a compiled one runs the packed batch of any head by the same lines, so that one head that
#: answers for tokens and one that answers for sequences are enough but for `make test-all`.
EACH = [
    pytest.param(
        engine,
        head,
        marks=pytest.mark.slow if engine in COMPILED and head not in ("masked-lm", "multiple-choice") else (),
    )
    for engine, head in itertools.product(HERE, HEADS)
]
LENGTHS = (9, 6, 0, 4, 6, 1)
FAMILIES = ("roberta", "xlm-roberta", "camembert")
SIZES = {
    "vocab_size": 61, "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 37,
    "max_position_embeddings": 40, "type_vocab_size": 2, "num_labels": 2,
}  # fmt: skip


@pytest.fixture
def children_see_the_source(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(root / "src"))


@pytest.fixture
def checkpoint(tmp_path: Path) -> Callable[..., Path]:
    """``checkpoint(head, model_type, **fields)``: a folder with weights wide enough for mistakes to show."""

    def write(head: str, model_type: str = "roberta", **fields: object) -> Path:
        config = AutoConfig.for_model(model_type, **{**SIZES, **fields})
        generator = np.random.default_rng(5)
        drawn = initial_weights(config, head, 5)
        table = parameters(config, head)
        weights = {
            name: (
                (10 if value.ndim > 1 else 1) * value + 0.2 * generator.standard_normal(value.shape)
            ).astype("f4")
            for name, value in drawn.items()
            if table[name].tied_to is None
        }
        save_weights(tmp_path, weights, config_json=config.to_json_string())
        return tmp_path

    return write


def batch_of(lengths: Sequence[int] = LENGTHS, types: bool = True) -> Batch:
    generator = np.random.default_rng(3)
    return Batch.from_encodings(
        [
            Encoding(
                generator.integers(3, 60, n).tolist(), generator.integers(0, 2, n).tolist() if types else None
            )
            for n in lengths
        ],
        padding_idx=1,
    )


def agree(got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray]) -> None:
    """Each row within 1e-5 times the larger of 1 and its largest entry."""
    assert list(got) == list(want)
    for name, values in want.items():
        assert got[name].shape == values.shape
        assert got[name].dtype == values.dtype
        if values.size:
            rows = values.reshape(len(values), -1)
            limit = 1e-5 * np.maximum(1, np.abs(rows).max(axis=1, keepdims=True))
            assert (np.abs(got[name].reshape(rows.shape) - rows) <= limit).all(), name


def beside_numpy(folder: Path, head: str, engine: str, **arguments: object) -> tuple[Engine, Engine]:
    reference, other = (
        load_engine(folder, head, engine=name, device="cpu", arguments=arguments)
        for name in ("numpy", engine)
    )
    return reference, other


# That the engines agree.


@pytest.mark.parametrize(
    ("engine", "model_type", "head"),
    [
        case
        for case in itertools.product(FRAMEWORKS, FAMILIES, HEADS)
        if case[0] not in COMPILED or case[1] == "roberta" or case[2] == "masked-lm"
    ],
)
def test_engines_agree(checkpoint: Callable[..., Path], engine: str, model_type: str, head: str) -> None:
    reference, other = beside_numpy(checkpoint(head, model_type), head, engine)
    names = (*HEADS[head].outputs, "last_hidden_state")
    for rows in (None, [25, 3, 10, 3], []):
        wanted = None if rows is None else np.array(rows, np.int32)
        want = reference.run(batch_of(), names, wanted)
        if rows != []:  # nothing is compared with zeros
            assert max(np.abs(value).max() for value in want.values()) > 0.5
        agree(other.run(batch_of(), names, wanted), want)


@pytest.mark.parametrize("positions", ["relative_key", "relative_key_query"])
@pytest.mark.parametrize(("head", "decoder"), [
    ("model", False), pytest.param("masked-lm", False, marks=pytest.mark.slow), ("causal-lm", True)])  # fmt: skip
@pytest.mark.parametrize("engine", FRAMEWORKS)
def test_engines_agree_on_relative_positions(
    checkpoint: Callable[..., Path], engine: str, head: str, decoder: bool, positions: str
) -> None:
    folder = checkpoint(head, position_embedding_type=positions, is_decoder=decoder)
    want, got = (e.run(batch_of(), HEADS[head].outputs) for e in beside_numpy(folder, head, engine))
    agree(got, want)


@pytest.mark.parametrize(
    ("engine", "head"),
    [
        case
        for case in itertools.product(FRAMEWORKS, HEADS)
        if case[0] not in COMPILED or case[1] in ("causal-lm", "multiple-choice")
    ],
)
def test_engines_agree_on_decoders(checkpoint: Callable[..., Path], engine: str, head: str) -> None:
    folder = checkpoint(head, is_decoder=True)
    reference, other = beside_numpy(folder, head, engine)
    names = HEADS[head].outputs
    want = reference.run(batch_of(), names)
    agree(other.run(batch_of(), names), want)
    encoder = load_engine(folder, head, engine="numpy", arguments={"is_decoder": False})
    if HEADS[head].rows != "first":  # a first token sees itself alone in a decoder
        assert np.abs(encoder.run(batch_of(), names)[names[0]] - want[names[0]]).max() > 1e-2


@pytest.mark.parametrize("fields", [{"pruned_heads": {0: [1, 3], 1: [0]}}, {"chunk_size_feed_forward": 3},
                                    {"tie_word_embeddings": False}, {"add_cross_attention": True, "is_decoder": True},
                                    {"hidden_act": "relu"}, {"attn_implementation": "eager"}])  # fmt: skip
@pytest.mark.parametrize("engine", FRAMEWORKS)
def test_engines_agree_on_other_switches(
    checkpoint: Callable[..., Path], engine: str, fields: dict[str, object]
) -> None:
    want, got = (
        e.run(batch_of()) for e in beside_numpy(checkpoint("causal-lm", **fields), "causal-lm", engine)
    )
    agree(got, want)


@pytest.mark.parametrize(("engine", "head"), EACH)
def test_a_sequence_gives_what_it_gives_alone(
    checkpoint: Callable[..., Path], engine: str, head: str
) -> None:
    runner = load_engine(checkpoint(head), head, engine=engine, device="cpu")
    names, batch = HEADS[head].outputs, batch_of(types=False)
    together = runner.run(batch, names)
    for s, (start, stop) in enumerate(itertools.pairwise(batch.cumulative_lengths.tolist())):
        alone = runner.run(Batch.from_encodings([Encoding(batch.input_ids[start:stop])], 1), names)
        agree(
            {name: alone[name] for name in names},
            {
                n: together[n][s : s + 1] if of_sequences(HEADS[head], n) else together[n][start:stop]
                for n in names
            },
        )


@pytest.mark.parametrize(("engine", "head"), EACH)
def test_sequences_without_tokens_give_zeros_or_no_rows(
    checkpoint: Callable[..., Path], engine: str, head: str
) -> None:
    runner = load_engine(checkpoint(head), head, engine=engine, device="cpu")
    for lengths in ([0], [0, 0], [2, 0]):
        batch = batch_of(lengths)
        for name, value in runner.run(batch, HEADS[head].outputs).items():
            if of_sequences(HEADS[head], name):
                assert [bool(row.any()) for row in value] == [n > 0 for n in lengths]
            else:
                assert len(value) == sum(lengths)


# The life of an engine.


@pytest.mark.parametrize("engine", HERE)
def test_what_cannot_be_run_is_refused(checkpoint: Callable[..., Path], engine: str) -> None:
    with load_engine(checkpoint("masked-lm"), "masked-lm", engine=engine) as runner:
        batch = batch_of()
        with pytest.raises(
            ArgumentError, match="outputs pooler_output of 'masked-lm'; expected some of last_hid"
        ):
            runner.run(batch, ("pooler_output",))
        for row in (-1, 26):
            with pytest.raises(InputError, match=r"rows from .* expected 0 to 25"):
                runner.run(batch, rows=np.array([row]))
        with pytest.raises(InputError, match="input_ids 61 at 1"):
            runner.run(Batch.from_encodings([Encoding([0, 61])], 1))
        with pytest.raises(InputError, match="token_type_ids 2 at 0"):
            runner.run(Batch.from_encodings([Encoding([5], [2])], 1))
        with pytest.raises(TooLong, match=r"39 tokens.*at most 38"):
            runner.run(Batch.from_encodings([Encoding([5] * 39)], 1))
    for use in (lambda: runner.run(batch), lambda: runner.model):
        with pytest.raises(
            InputError, match="an engine that was closed; expected an open one; load it again"
        ):
            use()


@pytest.mark.parametrize("engine", HERE)
def test_what_an_engine_tells_of_itself(checkpoint: Callable[..., Path], engine: str) -> None:
    runner = load_engine(checkpoint("masked-lm"), "RobertaForMaskedLM", engine=engine, device="cpu",
                         arguments={"dtype": "float64"})  # fmt: skip
    assert isinstance(runner, Engine)
    assert (runner.head, runner.config.vocab_size) == (HEADS["masked-lm"], 61)
    assert (runner.limits.longest, runner.limits.dtype, runner.limits.device) == (38, "float64", "cpu")
    assert 512 <= runner.limits.tokens <= 2048
    assert runner.run(batch_of())["logits"].dtype == np.float64
    assert repr(runner) == f"<robertakit.{engine}.engine.Engine: masked-lm, float64 on cpu>"
    runner.close()
    assert repr(runner).endswith("on cpu, closed>")
    runner.close()  # a second time changes nothing


@pytest.mark.parametrize("engine", HERE)
def test_a_bare_model_without_its_pooler(checkpoint: Callable[..., Path], engine: str) -> None:
    runner = load_engine(checkpoint("model"), "model", engine=engine, arguments={"add_pooling_layer": False})
    assert runner.run(batch_of(), ("last_hidden_state",))["last_hidden_state"].shape == (26, 24)
    with pytest.raises(ArgumentError, match="pooler_output"):
        runner.run(batch_of(), ("pooler_output",))


@pytest.mark.parametrize("engine", HERE)
def test_an_engine_pickles_as_its_recipe_and_in_memory_with_its_weights(
    checkpoint: Callable[..., Path], engine: str
) -> None:
    runner = load_engine(checkpoint("masked-lm"), "masked-lm", engine=engine, device="cpu",
                         arguments={"dtype": "float64"})  # fmt: skip
    want = runner.run(batch_of())["logits"]
    text = pickle.dumps(runner)
    assert len(text) < 1000  # no weights
    again = pickle.loads(text)
    assert again.limits == runner.limits
    np.testing.assert_array_equal(again.run(batch_of())["logits"], want)
    in_memory = pickle.loads(pickle.dumps(type(runner)(runner.model)))
    np.testing.assert_allclose(in_memory.run(batch_of())["logits"], want, rtol=0, atol=1e-12)  # float64 still
    alone = type(runner)(runner.model)
    alone.close()
    with pytest.raises(InputError, match="closed"):
        pickle.dumps(alone)


def logits_of(runner: Engine) -> np.ndarray:
    return runner.run(batch_of())["logits"]


@pytest.mark.usefixtures("children_see_the_source")
def test_engines_go_to_other_processes(checkpoint: Callable[..., Path]) -> None:
    folder = checkpoint("masked-lm")
    engines = [load_engine(folder, "masked-lm", engine=name, device="cpu") for name in HERE]
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        for runner, found in zip(engines, pool.map(logits_of, engines), strict=True):
            np.testing.assert_allclose(found, logits_of(runner), rtol=0, atol=1e-5)


@pytest.mark.parametrize("engine", HERE)
def test_several_threads_share_an_engine(checkpoint: Callable[..., Path], engine: str) -> None:
    runner = load_engine(checkpoint("masked-lm"), "masked-lm", engine=engine, device="cpu")
    batches = [batch_of(lengths) for lengths in ((3, 8), (5,), (1, 1, 1), (12, 0, 2))]
    want = [runner.run(batch)["logits"] for batch in batches]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(lambda i: runner.run(batches[i % 4])["logits"], range(80)))
    for i, logits in enumerate(found):
        np.testing.assert_array_equal(logits, want[i % 4])


@pytest.mark.parametrize("engine", HERE)
def test_closing_frees_the_weights(checkpoint: Callable[..., Path], engine: str) -> None:
    runner = load_engine(checkpoint("masked-lm"), "masked-lm", engine=engine)
    runner.run(batch_of())
    model = weakref.ref(runner.model)
    runner.close()
    gc.collect()
    assert model() is None


@pytest.mark.parametrize("engine", HERE)
def test_an_engine_gives_no_random_answers(checkpoint: Callable[..., Path], engine: str) -> None:
    folder = checkpoint("token-classification")
    with pytest.raises(TensorMismatch, match=r"has no masked-lm head.*answers would be random"):
        load_engine(folder, "RobertaForMaskedLM", engine=engine)


@pytest.mark.parametrize("engine", HERE)
def test_a_pooler_that_was_never_trained_gives_nothing(golden: Path, engine: str) -> None:
    runner = load_engine(golden / "checkpoints" / "mlm_safetensors", "model", engine=engine)
    batch = Batch.from_encodings([Encoding([0, 5, 2])], 1)
    assert len(runner.run(batch, ("last_hidden_state",))["last_hidden_state"]) == 3
    with pytest.raises(
        ArgumentError, match="outputs pooler_output of 'model'; expected some of last_hidden_state"
    ):
        runner.run(batch, ("pooler_output",))


class Words:
    """A model that is no tensor's: it knows how many words each sequence has."""


class Counting(ModelEngine[Words]):
    """A third framework in a few lines: what it must say is how it loads and how it runs."""

    def __init__(self, model: Words) -> None:
        super().__init__(model, RobertaConfig(), HEADS["sequence-classification"], Limits(8, 512, "float32"))

    @classmethod
    def _load(
        cls, name_or_path: object, head: str, **arguments: object
    ) -> tuple[Self, Mapping[str, Sequence[str]]]:
        return cls(Words()), {"missing_keys": [], "mismatched_keys": []}

    def _run(
        self,
        model: Words,
        batch: Batch,
        outputs: Sequence[str],
        rows: np.ndarray | None,
        first: np.ndarray,
    ) -> dict[str, np.ndarray]:
        return {"logits": batch.input_ids[first][:, None].astype("f4")}


def test_a_framework_says_two_things() -> None:
    runner = Counting.from_pretrained("anywhere", "sequence-classification")
    batch = Batch.from_encodings([Encoding([7, 2]), Encoding([]), Encoding([5])], 1)
    assert runner.run(batch)["logits"].tolist() == [[7], [0], [5]]
    assert pickle.loads(pickle.dumps(runner)).run(batch)["logits"].tolist() == [[7], [0], [5]]
    with runner, pytest.raises(ArgumentError, match="'sequence-classification'"):
        runner.run(batch, ("start_logits",))
    with pytest.raises(InputError, match="closed"):
        runner.run(batch)
