"""TensorFlow's engine: how often it traces, calls of one's own, devices. All engines: `tests/test_engine.py`."""

import numpy as np
import pytest

pytest.importorskip("tensorflow")

import tensorflow as tf

from robertakit import pipeline
from robertakit.batch import Batch, Encoding, plan
from robertakit.buckets import buckets
from robertakit.configuration import RobertaConfig
from robertakit.engine_choice import engine_of, load_engine
from robertakit.errors import InputError
from robertakit.tensorflow import Engine, TFRobertaForMaskedLM, TFRobertaModel

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


def twin(model, kind=None):
    """A model of ours with the same weights."""
    made = (kind or type(model).__mro__[1])(model.config)
    made.set_weights(model.get_weights())
    return made


def test_pipeline_answers_as_with_numpy(golden):
    where = golden / "fill_mask" / "roberta"
    with pipeline("fill-mask", where, framework="tf") as ours, pipeline("fill-mask", where) as reference:
        assert type(ours.model) is TFRobertaForMaskedLM
        for got, want in zip(ours(TEXTS), reference(TEXTS), strict=True):
            flat = [np.ravel(answers).tolist() for answers in (got, want)]
            assert [answer["token"] for answer in flat[0]] == [answer["token"] for answer in flat[1]]
            scores = [[answer["score"] for answer in answers] for answers in flat]
            np.testing.assert_allclose(*scores, rtol=0, atol=1e-6)


def test_a_stream_of_mixed_lengths_is_traced_once_and_has_few_shapes():
    drawn = np.random.default_rng(0).lognormal(np.log(50), 0.9, 400)
    lengths = np.clip(np.rint(drawn), 8, 512).astype(int).tolist()
    model = TFRobertaForMaskedLM(tiny(max_position_embeddings=514, num_hidden_layers=1))
    engine, seen = Engine(model), []
    batches = [batch_of([lengths[i] for i in chosen]) for chosen in plan(lengths, engine.limits.tokens)]
    assert len({int(n) for batch in batches for n in batch.lengths}) > 100
    encode = engine._encode
    engine._encode = lambda model, call: seen.append(call.shape) or encode(model, call)
    for batch in batches:
        engine.run(batch, rows=batch.first_rows)
    assert set(seen) == {call.shape for batch in batches for call in buckets(batch, 1, 512, 1024)}
    assert len(set(seen)) <= 12
    programs = engine._compiled(model)
    assert [program.experimental_get_tracing_count() for program in programs] == [1, 1]


def test_values_and_variables_of_the_moment_answer():
    model = TFRobertaForMaskedLM(tiny(num_hidden_layers=1))
    engine, batch = engine_of(model), batch_of()
    before = engine.run(batch)["logits"]
    model.lm_head.bias.assign_add(tf.ones(50))
    np.testing.assert_allclose(engine.run(batch)["logits"], before + 1, rtol=0, atol=1e-5)
    model.resize_token_embeddings(57)
    after = engine.run(batch)["logits"]
    assert after.shape == (18, 57)
    np.testing.assert_allclose(after[:, :50], before + 1, rtol=0, atol=1e-5)
    np.testing.assert_array_equal(after, Engine(model).run(batch)["logits"])


class Doubled(TFRobertaForMaskedLM):
    def call(self, input_ids=None, attention_mask=None, position_ids=None, training=False):
        out = super().call(input_ids, attention_mask, position_ids=position_ids)
        out["logits"] = 2 * out.logits
        return out


@pytest.mark.parametrize("rows", [None, np.array([4, 0, 17])])
def test_a_call_of_ones_own_is_called(rows):
    model, names = Doubled(tiny(num_hidden_layers=1)), ("logits", "last_hidden_state")
    got, want = Engine(model).run(batch_of(), names, rows), Engine(twin(model)).run(batch_of(), names, rows)
    np.testing.assert_allclose(got["logits"], 2 * want["logits"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(got["last_hidden_state"], want["last_hidden_state"], rtol=0, atol=1e-5)


def test_a_model_without_a_known_head():
    with pytest.raises(InputError, match="type str, which has no head that a task knows"):
        Engine("a model")


@pytest.mark.parametrize("device", [None, "auto", "cpu", -1])
def test_the_processor(golden, device):
    where = golden / "fill_mask" / "roberta"
    found = load_engine(where, "masked-lm", engine="tensorflow", device=device).limits.device
    assert found == "cpu" or (device in (None, "auto") and tf.config.list_logical_devices("GPU"))


@pytest.mark.parametrize("device", ["cuda:7", "abacus", "cpu:99"])
def test_a_device_that_is_not_there_is_one_sentence(golden, device):
    where = golden / "fill_mask" / "roberta"
    for use in (
        lambda: load_engine(where, "masked-lm", engine="tensorflow", device=device),
        lambda: engine_of(TFRobertaModel(tiny()), device=device),
    ):
        with pytest.raises(
            InputError, match=rf"device='{device}', on which TensorFlow computes nothing here \("
        ) as told:
            use()
        assert "\n" not in str(told.value)


@pytest.fixture(scope="module")
def exact(golden):
    return load_engine(golden / "fill_mask" / "roberta", "masked-lm", engine="tensorflow").run(batch_of())[
        "logits"
    ]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_answers_in_float32(golden, exact, dtype):
    where = golden / "fill_mask" / "roberta"
    engine = load_engine(where, "masked-lm", engine="tensorflow", device="cpu", arguments={"dtype": dtype})
    assert (engine.limits.dtype, engine.limits.device) == (dtype, "cpu")
    logits = engine.run(batch_of())["logits"]
    assert logits.dtype == np.float32
    assert 0 < np.abs(logits - exact).max() < 0.05 * np.abs(exact).max()
