"""Models of one's own around the family's: how they begin, what they load, that they come back as they were."""

import copy
import json
import pickle

import numpy as np
import pytest
import torch
from torch import nn

from robertakit.architecture import HEADS, initial_weights
from robertakit.configuration import RobertaConfig, XLMRobertaConfig
from robertakit.errors import ArgumentError, TensorMismatch
from robertakit.torch import (
    PreTrainedModel,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaForTokenClassification,
    RobertaModel,
    RobertaPreTrainedModel,
    XLMRobertaModel,
    XLMRobertaPreTrainedModel,
)
from robertakit.torch.language_models import RobertaLMHead


class Scored(RobertaPreTrainedModel):
    """As people write them; its layers have names that classes of ours have for other things."""

    def __init__(self, config, scores=3):
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.dropout = nn.Dropout(0.1)
        self.head = nn.Linear(config.hidden_size, scores)
        self.score = nn.Embedding(7, config.hidden_size, padding_idx=2)
        self.norm = nn.BatchNorm1d(scores)
        self.recurrent = nn.GRU(2, 2)
        self.offset = nn.Parameter(torch.full((2,), 7.0))
        self.init_weights()

    def forward(self, input_ids, attention_mask=None):
        return self.norm(self.head(self.roberta(input_ids, attention_mask)[0][:, 0]))


def equal(model, other):
    ours, theirs = model.state_dict(), other.state_dict()
    return list(ours) == list(theirs) and all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_the_backbone_is_drawn_by_the_table_and_own_layers_by_their_type(tiny):
    config = tiny(hidden_size=64, initializer_range=0.5)
    torch.manual_seed(5)
    model = Scored(config)
    assert isinstance(model.head, nn.Linear)
    assert isinstance(model.score, nn.Embedding)
    values = model.state_dict()
    assert torch.equal(model.head.bias, torch.zeros(3))
    assert 0.4 < model.head.weight.std() < 0.6
    assert 0.4 < model.score.weight[3:].std() < 0.6
    assert torch.equal(model.score.weight[2], torch.zeros(64))
    assert torch.equal(model.norm.weight, torch.ones(3))
    assert torch.equal(
        model.offset, torch.full((2,), 7.0)
    )  # what nobody knows keeps its constructor's values
    assert model.recurrent.weight_ih_l0.abs().max() <= 2**-0.5
    assert not values["roberta.embeddings.word_embeddings.weight"][config.pad_token_id].any()
    assert 0.4 < values["roberta.encoder.layer.0.output.dense.weight"].std() < 0.6
    torch.manual_seed(5)
    assert equal(Scored(config), model)
    torch.manual_seed(6)
    assert not torch.equal(Scored(config).head.weight, model.head.weight)


def test_drawing_own_layers_leaves_the_generator_alone(tiny):
    class Watched(RobertaPreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.dense = nn.Linear(4, 4)
            before, values = torch.get_rng_state(), self.dense.weight.detach().clone()
            self.post_init()
            assert not torch.equal(self.dense.weight, values)
            assert torch.equal(torch.get_rng_state(), before)

    Watched(tiny())


def test_a_layer_wins_over_an_attribute_of_our_classes(tiny, tmp_path):
    class Shadowing(RobertaForSequenceClassification):
        def __init__(self, config):
            super().__init__(config)
            self.score = nn.Linear(config.hidden_size, 2)
            self.head = nn.Linear(2, 2)
            self.post_init()

    model = Shadowing(tiny())
    assert isinstance(model.score, nn.Linear)
    assert isinstance(model.head, nn.Linear)
    model.save_pretrained(tmp_path)
    again = Shadowing.from_pretrained(tmp_path)
    assert equal(again, model)
    assert again.score is again._modules["score"]
    assert again.to(torch.float64).head is again._modules["head"]
    again.score = None
    assert again.score is None
    assert "score.weight" not in again.state_dict()


def test_layers_of_one_shape_are_drawn_apart(tiny):
    class Two(RobertaPreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)
            self.post_init()

    model = Two(tiny())
    assert not torch.equal(model.first.weight, model.second.weight)


def test_a_second_post_init_draws_what_came_behind_the_first(tiny):
    class Deeper(Scored):
        def __init__(self, config):
            super().__init__(config)
            self.before = copy.deepcopy(self.state_dict())
            self.more = nn.Linear(4, 4)
            self.post_init()

    model = Deeper(tiny())
    assert torch.equal(model.more.bias, torch.zeros(4))
    for name, value in model.before.items():
        assert torch.equal(model.state_dict()[name], value), name
    again = copy.deepcopy(model.state_dict())
    state = torch.get_rng_state()
    model.init_weights()
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, again[name]) for name, value in model.state_dict().items())


def test_an_init_weights_of_ones_own_is_asked_for_ones_own_layers(tiny):
    class Constant(RobertaForSequenceClassification):
        def __init__(self, config):
            super().__init__(config)
            self.more = nn.Linear(4, 4)
            self.post_init()

        def _init_weights(self, module):
            if isinstance(module, nn.Linear):
                module.weight.data.fill_(0.125)
            else:
                super()._init_weights(module)

    model = Constant(tiny())
    assert torch.equal(model.more.weight, torch.full((4, 4), 0.125))
    assert torch.equal(model.classifier.dense.weight, torch.full((16, 16), 0.125))
    torch.manual_seed(1)
    ours = Constant(tiny()).roberta.state_dict()
    torch.manual_seed(1)
    assert all(
        torch.equal(value, ours[name])
        for name, value in RobertaForSequenceClassification(tiny()).roberta.state_dict().items()
    )


@pytest.fixture
def masked_lm(tiny, tmp_path):
    """A checkpoint of the family, and its model."""
    model = RobertaForMaskedLM(tiny()).eval()
    model.save_pretrained(tmp_path / "mlm")
    return tmp_path / "mlm", model


def test_a_checkpoint_of_the_family_gives_the_backbone(masked_lm, caplog):
    folder, source = masked_lm
    torch.manual_seed(8)
    model, report = Scored.from_pretrained(folder, scores=4, output_loading_info=True)
    after = torch.rand(())
    assert equal(model.roberta, source.roberta)
    own = {name for name in model.state_dict() if not name.startswith("roberta.")}
    assert set(report["missing_keys"]) == own
    assert {name.partition(".")[0] for name in report["unexpected_keys"]} == {"lm_head"}
    assert len(caplog.records) == 1
    assert "head.bias" in caplog.text
    assert torch.equal(model.head.bias, torch.zeros(4))
    torch.manual_seed(8)
    assert equal(Scored.from_pretrained(folder, scores=4), model)
    assert torch.rand(()) == after
    torch.manual_seed(8)
    torch.randint(2**31 - 1, ())
    assert torch.rand(()) == after  # whatever own layers draw, one draw is taken


def test_what_is_saved_comes_back(masked_lm, tmp_path):
    model = Scored.from_pretrained(masked_lm[0]).train()
    ids = torch.tensor([[0, 5, 6, 2], [0, 7, 2, 1], [0, 8, 9, 2]])
    model(ids, ids.ne(1).long())
    model.eval()
    assert model.norm.num_batches_tracked == 1
    model.save_pretrained(tmp_path / "own")
    assert json.loads((tmp_path / "own" / "config.json").read_text())["architectures"] == ["Scored"]
    again, report = Scored.from_pretrained(tmp_path / "own", output_loading_info=True)
    assert not any(report.values())
    assert equal(again, model)
    assert torch.equal(again(ids), model(ids))
    with pytest.raises(TensorMismatch, match=r"unexpected: head\.bias"):
        RobertaModel.from_pretrained(tmp_path / "own")
    assert equal(RobertaModel.from_pretrained(tmp_path / "own", False, strict=False), model.roberta)
    for copied in (copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert equal(copied, model)
        assert copied.head is copied._modules["head"]


def test_a_layer_that_is_half_there_or_of_another_shape_is_an_error(masked_lm, tmp_path):
    model = Scored.from_pretrained(masked_lm[0])
    state = model.state_dict()
    with pytest.raises(TensorMismatch, match=r"missing: head\.bias"):
        Scored.from_pretrained(masked_lm[0], state_dict={n: t for n, t in state.items() if n != "head.bias"})
    with pytest.raises(TensorMismatch, match=r"2 of another shape.*ignore_mismatched_sizes=True"):
        Scored.from_pretrained(
            masked_lm[0], state_dict=state | {"head.bias": torch.ones(9), "offset": torch.ones(3)}
        )
    loaded, report = Scored.from_pretrained(
        masked_lm[0], state_dict=state | {"offset": torch.ones(3)}, ignore_mismatched_sizes=True,
        output_loading_info=True,
    )  # fmt: skip
    assert report["mismatched_keys"] == ["offset"]
    assert torch.equal(loaded.offset, torch.full((2,), 7.0))


def test_integers_and_fractions_are_not_mixed_up(masked_lm):
    state = Scored.from_pretrained(masked_lm[0]).state_dict()
    with pytest.raises(TensorMismatch, match=r"F32 in the file; expected values for torch\.int64"):
        Scored.from_pretrained(
            masked_lm[0], state_dict=state | {"norm.num_batches_tracked": torch.tensor(1.5)}
        )


@pytest.mark.parametrize("named", [True, False])
def test_the_backbone_may_stand_under_another_name(masked_lm, tmp_path, named):
    class Wrapped(RobertaPreTrainedModel):
        base_model_prefix = "text" if named else "roberta"

        def __init__(self, config):
            super().__init__(config)
            self.text = RobertaModel(config)
            self.classifier = nn.Linear(config.hidden_size, 2)
            self.post_init()

    folder, source = masked_lm
    model, report = Wrapped.from_pretrained(folder, output_loading_info=True)
    assert torch.equal(
        model.text.encoder.layer[1].output.dense.weight, source.roberta.encoder.layer[1].output.dense.weight
    )
    assert set(report["missing_keys"]) == {
        "classifier.bias", "classifier.weight", "text.pooler.dense.bias", "text.pooler.dense.weight",
    }  # fmt: skip
    model.save_pretrained(tmp_path / "own")
    again, report = Wrapped.from_pretrained(tmp_path / "own", output_loading_info=True)
    assert not any(report.values())
    assert equal(again, model)
    assert again.get_input_embeddings() is again.text.embeddings.word_embeddings
    with pytest.raises(TensorMismatch, match=r"all names begin with 'text\.'"):
        RobertaModel.from_pretrained(tmp_path / "own")


def test_a_head_model_may_be_a_part(masked_lm, tmp_path):
    class Around(PreTrainedModel):
        config_class = RobertaConfig
        base_model_prefix = "mlm"

        def __init__(self, config):
            super().__init__(config)
            self.mlm = RobertaForMaskedLM(config)
            self.more = nn.Linear(2, 2)
            self.post_init()

    folder, source = masked_lm
    model, report = Around.from_pretrained(folder, output_loading_info=True)
    assert equal(model.mlm, source)
    assert report["missing_keys"] == ["more.bias", "more.weight"]
    assert model.mlm.lm_head.decoder.weight is model.get_input_embeddings().weight
    files = model.save_pretrained(tmp_path / "own")
    assert files == ["model.safetensors", "config.json"]
    again = Around.from_pretrained(tmp_path / "own")
    assert equal(again, model)
    assert again.mlm.lm_head.decoder.weight is again.get_input_embeddings().weight


def test_two_backbones_come_back_and_one_checkpoint_is_not_guessed_into_both(masked_lm, tmp_path):
    class Both(RobertaPreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.question = RobertaModel(config, add_pooling_layer=False)
            self.passage = RobertaModel(config, add_pooling_layer=False)
            self.post_init()

    model = Both(masked_lm[1].config)
    name = "encoder.layer.0.output.dense.weight"
    assert not torch.equal(model.question.state_dict()[name], model.passage.state_dict()[name])
    model.save_pretrained(tmp_path / "own")
    assert equal(Both.from_pretrained(tmp_path / "own"), model)
    with pytest.raises(TensorMismatch, match="missing"):
        Both.from_pretrained(masked_lm[0])


def test_a_second_backbone_beside_the_checkpoints_own_is_new(masked_lm):
    class Beside(RobertaPreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.roberta = RobertaModel(config, add_pooling_layer=False)
            self.other = RobertaModel(config, add_pooling_layer=False)
            self.post_init()

    model, report = Beside.from_pretrained(masked_lm[0], output_loading_info=True)
    assert equal(model.roberta, masked_lm[1].roberta)
    assert {name.partition(".")[0] for name in report["missing_keys"]} == {"other"}
    assert model.other.embeddings.word_embeddings.weight.std() > 0.2


def test_a_part_may_be_loaded_in_the_constructor(masked_lm, tmp_path):
    folder, source = masked_lm

    class Ready(RobertaPreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.roberta = RobertaModel.from_pretrained(folder, add_pooling_layer=False)
            self.classifier = nn.Linear(config.hidden_size, 2)
            self.post_init()

    model = Ready(source.config)
    assert equal(model.roberta, source.roberta)
    assert torch.equal(model.classifier.bias, torch.zeros(2))
    with torch.no_grad():
        model.roberta.embeddings.LayerNorm.bias.add_(1)
    model.save_pretrained(tmp_path / "own")
    assert equal(Ready.from_pretrained(tmp_path / "own"), model)


class Tied(RobertaPreTrainedModel):
    """A language model as people write it: the decoder is tied because `get_output_embeddings` names it."""

    def __init__(self, config):
        super().__init__(config)
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.lm_head = RobertaLMHead(config)
        self.post_init()

    def get_output_embeddings(self):
        return self.lm_head.decoder

    def set_output_embeddings(self, new_embeddings):
        self.lm_head.decoder = new_embeddings


def test_a_decoder_of_ones_own_is_tied(masked_lm, tiny, tmp_path):
    fresh = Tied(tiny())
    assert fresh.lm_head.decoder.weight is fresh.get_input_embeddings().weight
    assert not fresh.get_input_embeddings().weight[1].any()
    assert (
        Tied(tiny(tie_word_embeddings=False)).lm_head.decoder.weight
        is not fresh.get_input_embeddings().weight
    )
    model, report = Tied.from_pretrained(masked_lm[0], output_loading_info=True)
    assert not any(report.values())
    assert equal(model, masked_lm[1])
    assert model.lm_head.decoder.weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path / "own")
    assert equal(Tied.from_pretrained(tmp_path / "own"), model)
    assert equal(RobertaForMaskedLM.from_pretrained(tmp_path / "own"), model)


def test_a_tensor_that_is_shared_in_the_constructor_stays_shared(masked_lm, tmp_path):
    class Shared(RobertaPreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.roberta = RobertaModel(config, add_pooling_layer=False)
            self.scores = nn.Linear(config.hidden_size, config.vocab_size)
            self.scores.weight = self.roberta.embeddings.word_embeddings.weight
            self.post_init()

    torch.manual_seed(2)
    fresh = Shared(masked_lm[1].config)
    assert fresh.scores.weight is fresh.get_input_embeddings().weight
    assert not fresh.scores.weight[1].any()  # the table drew it; the layer's type did not draw over it
    model = Shared.from_pretrained(masked_lm[0])
    assert model.scores.weight is model.get_input_embeddings().weight
    model.save_pretrained(tmp_path / "own")
    again = Shared.from_pretrained(tmp_path / "own", dtype="bfloat16").to(torch.float32)
    assert again.scores.weight is again.get_input_embeddings().weight


def test_a_head_may_be_replaced(masked_lm, tmp_path):
    class Replaced(RobertaForSequenceClassification):
        def __init__(self, config):
            super().__init__(config)
            self.classifier = nn.Sequential(nn.Dropout(0.1), nn.Linear(config.hidden_size, 5))
            self.post_init()

    model, report = Replaced.from_pretrained(masked_lm[0], output_loading_info=True)
    assert report["missing_keys"] == ["classifier.1.bias", "classifier.1.weight"]
    assert torch.equal(model.classifier[1].bias, torch.zeros(5))
    model.save_pretrained(tmp_path / "own")
    assert equal(Replaced.from_pretrained(tmp_path / "own"), model)
    sequence = RobertaForSequenceClassification(masked_lm[1].config)
    sequence.save_pretrained(tmp_path / "sequence")
    assert equal(Replaced.from_pretrained(tmp_path / "sequence").roberta, sequence.roberta)


def test_a_head_replaced_by_one_of_another_size_loads_and_saves(masked_lm, tmp_path):
    class Wider(RobertaForTokenClassification):
        def __init__(self, config):
            super().__init__(config)
            self.classifier = nn.Linear(config.hidden_size, 9)

    model = Wider.from_pretrained(masked_lm[0])
    assert model.classifier.weight.shape == (9, 16)
    model.save_pretrained(tmp_path / "own")
    assert equal(Wider.from_pretrained(tmp_path / "own"), model)


def test_without_post_init_the_backbone_has_its_values_all_the_same(masked_lm, tiny):
    class Bare(RobertaPreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.roberta = RobertaModel(config)
            self.classifier = nn.Linear(config.hidden_size, 2)

    assert Bare(tiny()).roberta.embeddings.word_embeddings.weight.std() > 0.2
    assert equal(Bare.from_pretrained(masked_lm[0]).roberta.encoder, masked_lm[1].roberta.encoder)


def test_a_constructor_that_computes_with_the_weights(masked_lm):
    class Mean(RobertaPreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.roberta = RobertaModel(config, add_pooling_layer=False)
            self.register_buffer("mean", self.roberta.embeddings.word_embeddings.weight.detach().mean(0))
            self.post_init()

    with pytest.raises(ArgumentError, match=r"mean, which is made of weights.*low_cpu_mem_usage=False"):
        Mean.from_pretrained(masked_lm[0])
    model = Mean.from_pretrained(masked_lm[0], low_cpu_mem_usage=False)
    assert not model.mean.is_meta
    assert equal(model.roberta, masked_lm[1].roberta)


def test_buffers_that_are_not_saved_are_there(masked_lm, tmp_path):
    class Counting(RobertaPreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.roberta = RobertaModel(config, add_pooling_layer=False)
            self.register_buffer("kept", torch.arange(3))
            self.register_buffer("steps", torch.arange(4), persistent=False)
            self.post_init()

    model = Counting.from_pretrained(masked_lm[0])
    assert model.steps.tolist() == [0, 1, 2, 3]
    model.kept.mul_(2)
    model.save_pretrained(tmp_path / "own")
    again = Counting.from_pretrained(tmp_path / "own", dtype=torch.float64)
    assert again.kept.tolist() == [0, 2, 4]
    assert again.steps.tolist() == [0, 1, 2, 3]
    assert again.dtype == torch.float64


def test_a_configuration_class_of_ones_own_is_used(masked_lm, tmp_path):
    class ScoredConfig(RobertaConfig):
        def __init__(self, scores=6, **kwargs):
            super().__init__(**kwargs)
            self.scores = scores

    class Configured(RobertaPreTrainedModel):
        config_class = ScoredConfig

        def __init__(self, config):
            super().__init__(config)
            self.roberta = RobertaModel(config, add_pooling_layer=False)
            self.scores = nn.Linear(config.hidden_size, config.scores)
            self.post_init()

    assert Configured.from_pretrained(masked_lm[0]).scores.out_features == 6
    model = Configured.from_pretrained(masked_lm[0], scores=2)
    model.save_pretrained(tmp_path / "own")
    again = Configured.from_pretrained(tmp_path / "own")
    assert (type(again.config), again.scores.out_features) == (ScoredConfig, 2)


def test_keywords_go_to_a_constructor_that_takes_any(masked_lm):
    class Open(RobertaPreTrainedModel):
        def __init__(self, config, *args, **kwargs):
            super().__init__(config)
            self.roberta = RobertaModel(config, add_pooling_layer=False)
            self.given = (args, kwargs)

    assert Open.from_pretrained(masked_lm[0], 1, colour="red", num_labels=5).given == (
        (1,),
        {"colour": "red"},
    )


def test_a_class_may_say_what_is_no_fault(masked_lm, tmp_path, caplog):
    class Lenient(Scored):
        _keys_to_ignore_on_load_missing = [r"^recurrent\.", r"^norm\."]
        _keys_to_ignore_on_load_unexpected = [r"lm_head\.dense", r"stray"]
        _keys_to_ignore_on_save = ["offset"]

    state = masked_lm[1].state_dict() | {"a.stray.weight": torch.zeros(2)}
    model, report = Lenient.from_pretrained(masked_lm[0], state_dict=state, output_loading_info=True)
    assert report["missing_keys"] == ["head.bias", "head.weight", "offset", "score.weight"]
    assert report["unexpected_keys"] == ["lm_head.bias", "lm_head.decoder.bias", "lm_head.decoder.weight",
                                         "lm_head.layer_norm.bias", "lm_head.layer_norm.weight"]  # fmt: skip
    assert "recurrent" not in caplog.text
    with pytest.raises(TensorMismatch, match=r"a\.stray\.weight"):
        Scored.from_pretrained(masked_lm[0], state_dict=state)
    model.save_pretrained(tmp_path / "own")
    assert Lenient.from_pretrained(tmp_path / "own", output_loading_info=True)[1]["missing_keys"] == [
        "offset"
    ]


def test_xlm_roberta_has_its_own_base(masked_lm):
    class Own(XLMRobertaPreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.roberta = XLMRobertaModel(config, add_pooling_layer=False)
            self.post_init()

    model = Own.from_pretrained(masked_lm[0])
    assert isinstance(model.config, XLMRobertaConfig)
    assert equal(model.roberta, masked_lm[1].roberta)


def test_another_librarys_configuration_is_refused():
    with pytest.raises(ArgumentError, match=r"builtins\.dict; expected a RobertaConfig"):
        RobertaModel({})


@pytest.mark.parametrize("head", HEADS)
def test_every_head_is_drawn_by_the_table(tiny, head):
    import robertakit

    kind = getattr(robertakit, f"Roberta{HEADS[head].class_suffix}")
    config = tiny(is_decoder=head == "causal-lm")
    torch.manual_seed(4)
    seed = int(torch.randint(2**31 - 1, ()))
    after = torch.rand(())
    torch.manual_seed(4)
    model = kind(config)
    assert torch.rand(()) == after
    drawn = initial_weights(config, head, seed)
    assert set(drawn) <= set(model.state_dict())
    for name, value in drawn.items():
        np.testing.assert_array_equal(model.state_dict()[name].numpy(), value, err_msg=name)
    copies = set(model.state_dict()) - set(drawn)
    assert copies == set(model._tied_weights_keys or ())
