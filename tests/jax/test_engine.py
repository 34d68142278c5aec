"""JAX's engine: how often it compiles, calls of one's own, devices, dtypes. All engines: `tests/test_engine.py`."""

import itertools

import numpy as np
import pytest

pytest.importorskip("flax")

import jax
import jax.numpy as jnp

from robertakit import pipeline
from robertakit.batch import Batch, Encoding, plan
from robertakit.buckets import buckets, padded_count
from robertakit.configuration import RobertaConfig
from robertakit.engine_choice import engine_of, load_engine
from robertakit.errors import InputError
from robertakit.jax import (
    Engine,
    FlaxRobertaForMaskedLM,
    FlaxRobertaForSequenceClassification,
    FlaxRobertaModel,
)

TEXTS = ["<mask> is here.", "One <mask> and, of another length, another <mask>!", "<mask>"]


def tiny(**fields: object) -> RobertaConfig:
    sizes = {
        "vocab_size": 50, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4,
        "intermediate_size": 24, "max_position_embeddings": 20, "type_vocab_size": 1, "initializer_range": 0.3,
    }  # fmt: skip
    return RobertaConfig(**(sizes | fields))


def batch_of(lengths: tuple[int, ...] = (7, 3, 0, 7, 1)) -> Batch:
    generator = np.random.default_rng(4)
    return Batch.from_encodings([Encoding(generator.integers(3, 50, n).tolist()) for n in lengths], 1)


@pytest.fixture(scope="module")
def compiled():
    """A list with one entry for each program that XLA compiles."""
    found = []
    jax.monitoring.register_event_duration_secs_listener(
        lambda event, *_, **__: found.append(event) if event.endswith("backend_compile_duration") else None
    )
    return found


def test_pipeline_answers_as_with_numpy(golden):
    where = golden / "fill_mask" / "roberta"
    with pipeline("fill-mask", where, framework="jax") as ours, pipeline("fill-mask", where) as reference:
        assert type(ours.model) is FlaxRobertaForMaskedLM
        for got, want in zip(ours(TEXTS), reference(TEXTS), strict=True):
            flat = [np.ravel(answers).tolist() for answers in (got, want)]
            assert [answer["token"] for answer in flat[0]] == [answer["token"] for answer in flat[1]]
            scores = [[answer["score"] for answer in answers] for answers in flat]
            np.testing.assert_allclose(*scores, rtol=0, atol=1e-6)


def test_a_stream_of_mixed_lengths_compiles_a_handful_of_times(compiled):
    """One program for each shape of a bucket, one for each count of rows, and none when the lengths come again."""
    drawn = np.random.default_rng(0).lognormal(np.log(50), 0.9, 400)
    lengths = np.clip(np.rint(drawn), 8, 512).astype(int).tolist()
    engine = Engine(FlaxRobertaForMaskedLM(tiny(max_position_embeddings=514, num_hidden_layers=1)))
    batches = [batch_of([lengths[i] for i in chosen]) for chosen in plan(lengths, engine.limits.tokens)]
    assert len({int(n) for batch in batches for n in batch.lengths}) > 100
    shapes = {call.shape for batch in batches for call in buckets(batch, 1, 512, 1024)}
    counts = {padded_count(len(batch)) for batch in batches}
    compiled.clear()
    for batch in batches:
        engine.run(batch, rows=batch.first_rows)
    assert len(compiled) == len(shapes) + len(counts)
    assert len(shapes) <= 12
    compiled.clear()
    for batch in reversed(batches):
        engine.run(batch, rows=batch.first_rows)
    assert compiled == []


def test_the_head_sees_the_rows_that_are_asked_for_and_no_more_than_their_count_is_rounded_to():
    engine, seen = Engine(FlaxRobertaForMaskedLM(tiny())), []
    score = engine._score
    engine._score = lambda model, rows: seen.append(rows.shape) or score(model, rows)
    engine.run(batch_of(), rows=np.array([2, 4]))
    engine.run(batch_of(), ("last_hidden_state",))
    assert seen == [(8, 16)]


def test_parameters_of_the_moment_answer(compiled):
    model = FlaxRobertaForMaskedLM(tiny())
    engine, batch = engine_of(model), batch_of()
    before = engine.run(batch)["logits"]
    compiled.clear()
    model.params = jax.tree.map(lambda leaf: 2 * leaf, model.params)
    after = engine.run(batch)["logits"]
    assert np.abs(after - before).max() > 1e-2
    np.testing.assert_array_equal(after, Engine(model).run(batch)["logits"])


class Doubled(FlaxRobertaForMaskedLM):
    def __call__(self, *given, **named):
        out = super().__call__(*given, **named)
        out["logits"] = 2 * out.logits
        return out


class OwnHeadModule(FlaxRobertaForSequenceClassification.module_class):
    def setup(self):
        super().setup()

    def __call__(self, *given, **named):
        out = super().__call__(*given, **named)
        out["logits"] = -out.logits
        return out


class OwnHead(FlaxRobertaForSequenceClassification):
    module_class = OwnHeadModule


@pytest.mark.parametrize("rows", [None, np.array([4, 0, 17])])
def test_a_call_of_ones_own_is_called(rows):
    names = ("logits", "last_hidden_state")
    got = Engine(Doubled(tiny(), seed=3)).run(batch_of(), names, rows)
    want = Engine(FlaxRobertaForMaskedLM(tiny(), seed=3)).run(batch_of(), names, rows)
    np.testing.assert_allclose(got["logits"], 2 * want["logits"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(got["last_hidden_state"], want["last_hidden_state"], rtol=0, atol=1e-5)


def test_a_module_of_ones_own_is_called():
    got = Engine(OwnHead(tiny(), seed=3)).run(batch_of())["logits"]
    want = Engine(FlaxRobertaForSequenceClassification(tiny(), seed=3)).run(batch_of())["logits"]
    assert np.abs(want).max() > 1e-3
    np.testing.assert_allclose(got, -want, rtol=0, atol=1e-5)


def test_a_model_without_a_known_head():
    with pytest.raises(InputError, match="type str, which has no head that a task knows"):
        Engine("a model")


@pytest.mark.parametrize("device", [None, "auto", "cpu", -1])
def test_the_processor(golden, device):
    where = golden / "fill_mask" / "roberta"
    found = load_engine(where, "masked-lm", engine="jax", device=device).limits.device
    assert found == "cpu" or (device in (None, "auto") and jax.devices()[0].platform != "cpu")


@pytest.mark.parametrize("device", ["cuda:7", "abacus", "cpu:99"])
def test_a_device_that_is_not_there_is_one_sentence(golden, device):
    where = golden / "fill_mask" / "roberta"
    for use in (
        lambda: load_engine(where, "masked-lm", engine="jax", device=device),
        lambda: engine_of(FlaxRobertaModel(tiny()), device=device),
    ):
        with pytest.raises(
            InputError, match=rf"device='{device}', on which JAX computes nothing here \("
        ) as told:
            use()
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_answers_in_float32(golden, dtype):
    where = golden / "fill_mask" / "roberta"
    engine = load_engine(where, "masked-lm", engine="jax", device="cpu", arguments={"dtype": dtype})
    assert (engine.limits.dtype, engine.limits.device) == (dtype, "cpu")
    logits = engine.run(batch_of())["logits"]
    want = load_engine(where, "masked-lm", engine="jax").run(batch_of())["logits"]
    assert logits.dtype == np.float32
    assert 0 < np.abs(logits - want).max() < 0.05 * np.abs(want).max()


def test_float64_leaves_the_process_as_it_was(golden):
    where = golden / "fill_mask" / "roberta"
    engine = load_engine(where, "masked-lm", engine="jax", arguments={"dtype": "float64"})
    assert engine.run(batch_of())["logits"].dtype == np.float64
    assert jnp.zeros(1).dtype == np.float32
    assert all(leaf.dtype == np.float64 for leaf in itertools.chain(jax.tree.leaves(engine.model.params)))
