"""PyTorch's engine: what it computes, how it leaves the model, devices, dtypes. All engines: `tests/test_engine.py`."""

import threading

import numpy as np
import pytest
import torch
from torch import nn

from robertakit import pipeline
from robertakit.batch import Batch, Encoding
from robertakit.engine_choice import engine_of, load_engine
from robertakit.errors import InputError
from robertakit.torch import (
    Engine,
    RobertaForMaskedLM,
    RobertaForMultipleChoice,
    RobertaForSequenceClassification,
    RobertaModel,
    RobertaPreTrainedModel,
    XLMRobertaForMaskedLM,
)
from robertakit.torch.engine import in_eval_mode

TEXTS = ["<mask> is here.", "One <mask> and, of another length, another <mask>!", "<mask>"]
LENGTHS = (7, 3, 0, 7, 1)


@pytest.fixture
def folder(golden):
    return golden / "fill_mask" / "roberta"


@pytest.fixture
def batch():
    generator = np.random.default_rng(4)
    return Batch.from_encodings([Encoding(generator.integers(3, 50, n).tolist()) for n in LENGTHS], 1)


@pytest.fixture
def rows_seen():
    """``rows_seen(model)``: a list that gets the shape of what enters the first layer's feed-forward network."""

    def watch(model):
        seen = []
        layer = (
            model.base_model.encoder.layer[0]
            if hasattr(model, "base_model")
            else model.roberta.encoder.layer[0]
        )
        layer.intermediate.dense.register_forward_pre_hook(
            lambda module, given: seen.append(tuple(given[0].shape))
        )
        return seen

    return watch


@pytest.mark.parametrize("family", ["roberta", "xlm-roberta"])
def test_pipeline_answers_as_with_numpy(golden, family):
    where = golden / "fill_mask" / family
    with pipeline("fill-mask", where, engine="torch") as ours, pipeline("fill-mask", where) as reference:
        assert (
            type(ours.model) is {"roberta": RobertaForMaskedLM, "xlm-roberta": XLMRobertaForMaskedLM}[family]
        )
        for got, want in zip(ours(TEXTS), reference(TEXTS), strict=True):
            flat = [np.ravel(answers).tolist() for answers in (got, want)]
            assert [answer["token"] for answer in flat[0]] == [answer["token"] for answer in flat[1]]
            scores = [[answer["score"] for answer in answers] for answers in flat]
            np.testing.assert_allclose(*scores, rtol=0, atol=1e-6)


# What is computed.


@pytest.mark.parametrize(
    ("fields", "shape"),
    [
        ({}, (18, 16)),
        ({"attn_implementation": "packed"}, (18, 16)),
        ({"attn_implementation": "sdpa"}, (5, 7, 16)),
        ({"attn_implementation": "eager"}, (5, 7, 16)),
        ({"is_decoder": True}, (5, 7, 16)),
    ],
)
def test_real_tokens_alone_are_computed_unless_padding_is_asked_for(tiny, batch, rows_seen, fields, shape):
    model = RobertaForMaskedLM(tiny(**fields))
    seen = rows_seen(model)
    Engine(model).run(batch)
    assert seen == [shape]


def test_trap_19_the_head_sees_only_the_rows_that_are_asked_for(tiny, batch):
    model, seen = RobertaForMaskedLM(tiny()), []
    model.lm_head.dense.register_forward_pre_hook(lambda module, given: seen.append(tuple(given[0].shape)))
    engine = Engine(model)
    engine.run(batch, rows=np.array([2, 4]))
    engine.run(batch, ("last_hidden_state",))
    assert seen == [(2, 16)]


def test_a_head_of_ones_own_that_reads_the_whole_text(tiny, batch):
    """What replaces a documented submodule takes effect, on the packed way too."""

    class MeanHead(nn.Module):
        def __init__(self):
            super().__init__()
            self.out = nn.Linear(16, 2)

        def forward(self, features):
            return self.out(features.mean(1))

    model = RobertaForSequenceClassification(tiny(num_labels=2, attn_implementation="sdpa"))
    model.classifier = MeanHead()
    got = Engine(model).run(batch)["logits"]
    ids, mask, _ = batch.padded(1)
    with torch.no_grad():
        want = model.eval()(torch.from_numpy(ids).long(), torch.from_numpy(mask)).logits.numpy()
    want[2] = 0
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-5)
    assert np.ptp(got[:, 0]) > 1e-3


class Doubled(RobertaForMaskedLM):
    def forward(self, *given, **named):
        out = super().forward(*given, **named)
        out["logits"] = 2 * out.logits
        return out


class Reversed(RobertaForMultipleChoice):
    def forward(self, *given, **named):
        out = super().forward(*given, **named)
        out["logits"] = -out.logits
        return out


class Shifted(RobertaModel):
    def forward(self, *given, **named):
        out = super().forward(*given, **named)
        out["last_hidden_state"] = out.last_hidden_state + 1
        return out


@pytest.mark.parametrize("rows", [None, np.array([4, 0, 17])])
def test_a_forward_of_ones_own_is_called(tiny, batch, rows):
    config = tiny(num_labels=2)
    model, names = Doubled(config), ("logits", "last_hidden_state")
    ours = RobertaForMaskedLM(config)
    ours.load_state_dict(model.state_dict())
    got, want = Engine(model).run(batch, names, rows), Engine(ours).run(batch, names, rows)
    np.testing.assert_allclose(got["logits"], 2 * want["logits"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(got["last_hidden_state"], want["last_hidden_state"], rtol=0, atol=1e-5)

    model = Reversed(config)
    ours = RobertaForMultipleChoice(config)
    ours.load_state_dict(model.state_dict())
    got, want = Engine(model).run(batch)["logits"], Engine(ours).run(batch)["logits"]
    np.testing.assert_allclose(got, -want, rtol=0, atol=1e-5)
    assert got.shape == (5,)

    ours = RobertaForMaskedLM(config)
    before = Engine(ours).run(batch, ("last_hidden_state",), rows)["last_hidden_state"]
    backbone = Shifted(config, add_pooling_layer=False)
    backbone.load_state_dict(ours.roberta.state_dict())
    np.testing.assert_allclose(Engine(backbone).run(batch, ("last_hidden_state",), rows)["last_hidden_state"],
                               before + 1, rtol=0, atol=1e-5)  # fmt: skip
    ours.roberta = backbone
    np.testing.assert_allclose(Engine(ours).run(batch, ("last_hidden_state",), rows)["last_hidden_state"],
                               before + 1, rtol=0, atol=1e-5)  # fmt: skip


def test_a_layer_named_as_our_method_is_not_called_in_its_place(tiny, batch):
    class Named(RobertaForMaskedLM):
        def __init__(self, config):
            super().__init__(config)
            self.score = nn.Linear(16, 3)

    model = Named(tiny())
    assert Engine(model).run(batch)["logits"].shape == (18, 50)


def test_hooks_take_effect(tiny, batch):
    model = RobertaForMaskedLM(tiny())
    engine = Engine(model)
    before = engine.run(batch)["logits"]
    model.roberta.encoder.layer[1].attention.self.value.register_forward_hook(lambda m, given, out: 2 * out)
    assert np.abs(engine.run(batch)["logits"] - before).max() > 1e-2


# How a model is left.


def test_a_model_in_training_answers_without_dropout_and_trains_on(tiny, batch):
    model = RobertaForMaskedLM(tiny(hidden_dropout_prob=0.5, attention_probs_dropout_prob=0.5)).train()
    model.roberta.embeddings.eval()  # a part that its owner froze
    modes = [module.training for module in model.modules()]
    engine = engine_of(model)
    assert isinstance(engine, Engine)
    first = engine.run(batch)["logits"]
    assert [module.training for module in model.modules()] == modes
    np.testing.assert_array_equal(engine.run(batch)["logits"], first)
    model.eval()
    np.testing.assert_array_equal(engine.run(batch)["logits"], first)
    assert not model.training
    assert all(parameter.requires_grad and parameter.grad is None for parameter in model.parameters())


def test_the_mode_comes_back_after_an_error(tiny, batch):
    model = RobertaForMaskedLM(tiny()).train()

    def fail(module, given):
        raise ValueError("a hook's own error")

    model.lm_head.register_forward_pre_hook(fail)
    with pytest.raises(ValueError, match="own error"):
        Engine(model).run(batch)
    assert all(module.training for module in model.modules())


def test_the_mode_waits_for_the_last_thread():
    model = nn.Sequential(nn.Dropout(0.5)).train()
    entered, leave, seen = threading.Event(), threading.Event(), []

    def stay():
        with in_eval_mode(model):
            entered.set()
            leave.wait(10)
            seen.append(model.training)

    thread = threading.Thread(target=stay)
    thread.start()
    entered.wait(10)
    with in_eval_mode(model):
        pass
    assert not model.training  # the other one still answers
    leave.set()
    thread.join()
    assert seen == [False]
    assert model.training
    assert model[0].training


def test_threads_and_gradients_of_the_process_are_left_alone(tiny, folder, batch):
    before = (torch.get_num_threads(), torch.get_num_interop_threads(), torch.is_grad_enabled())
    with pipeline("fill-mask", folder, engine="torch", num_workers=2, batch_size=2) as fill:
        fill(TEXTS)
    assert (torch.get_num_threads(), torch.get_num_interop_threads(), torch.is_grad_enabled()) == before
    model = RobertaForMaskedLM(tiny())
    state = torch.get_rng_state()
    Engine(model).run(batch)
    assert torch.equal(torch.get_rng_state(), state)
    model(torch.tensor([[0, 9, 2]])).logits.sum().backward()  # nothing became a tensor of inference
    assert model.lm_head.dense.weight.grad is not None


def test_a_model_without_a_known_head(tiny):
    class Own(RobertaPreTrainedModel):
        head = None

    with pytest.raises(
        InputError, match="type Own, which has no head that a task knows; expected a class such as"
    ):
        Engine(Own(tiny()))


# Devices and dtypes.


@pytest.mark.parametrize("device", [None, "auto", "cpu", -1])
def test_the_processor(folder, device):
    found = load_engine(folder, "masked-lm", engine="torch", device=device).limits.device
    assert found == "cpu" or (device in (None, "auto") and torch.accelerator.is_available())


def test_auto_is_the_accelerator_where_there_is_one(tiny, monkeypatch):
    moved = []
    model = RobertaModel(tiny())
    monkeypatch.setattr(model, "to", moved.append)
    monkeypatch.setattr(torch.accelerator, "is_available", lambda: True)
    monkeypatch.setattr(torch.accelerator, "current_accelerator", lambda: torch.device("cuda"))
    Engine(model)
    assert moved == []
    Engine(model, "auto")
    assert moved == ["cuda"]


@pytest.mark.parametrize("device", ["cuda:7", "abacus", "meta"])
def test_a_device_that_is_not_there_is_one_sentence(folder, tiny, device):
    for use in (
        lambda: load_engine(folder, "masked-lm", engine="torch", device=device),
        lambda: engine_of(RobertaModel(tiny()), device=device),
    ):
        with pytest.raises(
            InputError, match=rf"device='{device}', on which PyTorch computes nothing here \("
        ) as told:
            use()
        assert "\n" not in str(told.value)


@pytest.mark.parametrize("text", ["CUDA out of memory. Tried to allocate 2.00 GiB.",
                                  "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried"])  # fmt: skip
def test_a_batch_without_room_is_one_sentence(tiny, batch, monkeypatch, text):
    model = RobertaForMaskedLM(tiny())

    def fail(*given):
        raise RuntimeError(text)

    monkeypatch.setattr(model.roberta, "encode_packed", fail)
    with pytest.raises(InputError, match="a batch of 18 tokens, for which cpu has no memory; give pipeline"):
        Engine(model).run(batch)


def test_other_errors_of_the_framework_stay_what_they_are(tiny, batch, monkeypatch):
    model = RobertaForMaskedLM(tiny())
    monkeypatch.setattr(model.roberta, "encode_packed", lambda *given: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        Engine(model).run(batch)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_answers_in_float32(folder, batch, dtype):
    engine = load_engine(folder, "masked-lm", engine="torch", device="cpu", arguments={"dtype": dtype})
    assert (engine.limits.dtype, engine.limits.device) == (dtype, "cpu")
    logits = engine.run(batch)["logits"]
    want = Engine.from_pretrained(folder, "masked-lm", device="cpu").run(batch)["logits"]
    assert logits.dtype == np.float32
    assert 0 < np.abs(logits - want).max() < 0.05 * np.abs(want).max()


def test_ids_are_looked_at_once(folder, batch):
    """The engine checks them where they are made; the model of a checkpoint need not ask its device again."""
    assert Engine.from_pretrained(folder, "masked-lm").model.check_inputs is False
    with pytest.raises(InputError, match="input_ids 417"):
        Engine.from_pretrained(folder, "masked-lm").run(Batch.from_encodings([Encoding([0, 417])], 1))
