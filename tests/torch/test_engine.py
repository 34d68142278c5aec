"""The engine: the specification's numbers on packed batches, and its contract."""

import pickle

import numpy as np
import pytest
import torch

from robertakit import numpy as specification
from robertakit import pipeline
from robertakit.auto import engine_of, load_engine
from robertakit.batch import Batch, Encoding
from robertakit.errors import ArgumentError, DependencyError, InputError, TooLong
from robertakit.torch import Engine, RobertaForMaskedLM, RobertaModel

TEXTS = ["<mask> is here.", "One <mask> and, of another length, another <mask>!", "<mask>"]


@pytest.fixture
def folder(golden):
    return golden / "fill_mask" / "roberta"


@pytest.fixture
def batch():
    lengths = (7, 3, 0, 7, 1)
    generator = np.random.default_rng(4)
    return Batch.from_encodings([Encoding(generator.integers(3, 400, n).tolist()) for n in lengths], 1)


@pytest.mark.parametrize(
    ("head", "outputs"),
    [("masked-lm", ("logits", "last_hidden_state")), ("model", ("pooler_output", "last_hidden_state"))],
)
@pytest.mark.parametrize("rows", [None, np.array([4, 0, 17, 4])])
def test_numbers_are_the_specifications(folder, batch, head, outputs, rows, tmp_path):
    if head == "model":  # the folder has no pooler
        RobertaModel.from_pretrained(folder).save_pretrained(tmp_path)
        folder = tmp_path
    got = Engine.from_pretrained(folder, head).run(batch, outputs, rows)
    want = specification.Engine.from_pretrained(folder, head).run(batch, outputs, rows)
    assert list(got) == list(outputs)
    for name in outputs:
        assert got[name].dtype == np.float32
        limit = 1e-5 * max(1, np.abs(want[name]).max())
        np.testing.assert_allclose(got[name], want[name], rtol=0, atol=limit, err_msg=name)


def test_a_batch_without_tokens_gives_no_rows(folder):
    engine = Engine.from_pretrained(folder, "masked-lm")
    assert engine.run(Batch.from_encodings([Encoding([])], 1))["logits"].shape == (
        0,
        engine.config.vocab_size,
    )


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
def test_pipeline_answers_as_with_numpy(golden, family):
    where = golden / "fill_mask" / family
    with pipeline("fill-mask", where, engine="torch") as ours, pipeline("fill-mask", where) as reference:
        for got, want in zip(ours(TEXTS), reference(TEXTS), strict=True):
            flat = [np.ravel(answers).tolist() for answers in (got, want)]
            assert [answer["token"] for answer in flat[0]] == [answer["token"] for answer in flat[1]]
            scores = [[answer["score"] for answer in answers] for answers in flat]
            np.testing.assert_allclose(*scores, rtol=0, atol=1e-6)


def test_half_precision_answers_in_float32(folder, batch):
    engine = load_engine(folder, "masked-lm", engine="torch", arguments={"dtype": "bfloat16"})
    assert (engine.limits.dtype, engine.limits.device) == ("bfloat16", "cpu")
    logits = engine.run(batch)["logits"]
    want = Engine.from_pretrained(folder, "masked-lm").run(batch)["logits"]
    assert logits.dtype == np.float32
    assert 0 < np.abs(logits - want).max() < 0.05 * np.abs(want).max()


def test_a_model_becomes_an_engine_and_answers_without_dropout(tiny, batch):
    model = RobertaForMaskedLM(tiny(vocab_size=400, hidden_dropout_prob=0.5)).train()
    engine = engine_of(model)
    assert isinstance(engine, Engine)
    np.testing.assert_array_equal(engine.run(batch)["logits"], engine.run(batch)["logits"])
    assert engine.limits.longest == 18


def test_an_engine_pickles_as_its_recipe(folder, batch):
    engine = Engine.from_pretrained(folder, "masked-lm")
    text = pickle.dumps(engine)
    assert len(text) < 2000  # no weights
    np.testing.assert_array_equal(pickle.loads(text).run(batch)["logits"], engine.run(batch)["logits"])


def test_a_closed_engine_and_wrong_requests_raise(folder, batch):
    with Engine.from_pretrained(folder, "masked-lm") as engine:
        with pytest.raises(ArgumentError, match="pooler_output"):
            engine.run(batch, ("pooler_output",))
        with pytest.raises(InputError, match="rows from 0 to 18"):
            engine.run(batch, rows=np.array([0, 18]))
        with pytest.raises(InputError, match="input_ids 417"):
            engine.run(Batch.from_encodings([Encoding([0, 417])], 1))
        with pytest.raises(TooLong):
            engine.run(Batch.from_encodings([Encoding([5] * (engine.limits.longest + 1))], 1))
    with pytest.raises(InputError, match="closed"):
        engine.run(batch)


def test_heads_and_devices_that_are_not_there(folder):
    with pytest.raises(DependencyError, match="token-classification"):
        Engine.from_pretrained(folder, "token-classification")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="device='cuda:0'"):
            Engine.from_pretrained(folder, "masked-lm", device="cuda:0")
