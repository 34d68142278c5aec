"""Models that are changed: embeddings, vocabulary, heads, attention."""

import pytest
import torch
from torch import nn

from robertakit import torch as family
from robertakit.architecture import HEADS
from robertakit.errors import ArgumentError, ConfigError
from robertakit.torch import (
    RobertaForCausalLM,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaModel,
    RobertaPreTrainedModel,
)

IDS = torch.tensor([[0, 5, 9, 2], [0, 7, 2, 1]])


def kind_of(head):
    return getattr(family, f"Roberta{HEADS[head].class_suffix}")


def first(model, ids=IDS):
    """The first output of a call on real tokens."""
    if model.head == "multiple-choice":
        ids = ids[:, None]
    return model.eval()(ids, attention_mask=ids.ne(1).long())[0]


# Vocabulary ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
@pytest.mark.parametrize("size", [57, 41])
def test_another_vocabulary_keeps_what_the_old_words_mean(tiny, tmp_path, head, size):
    model = kind_of(head)(tiny())
    before, table = first(model), model.get_input_embeddings().weight
    rows = table.detach().clone()
    embeddings = model.resize_token_embeddings(size)
    assert embeddings is model.get_input_embeddings()
    assert embeddings.weight is table  # an optimizer goes on training it
    assert embeddings.num_embeddings == len(table) == model.config.vocab_size == size
    assert torch.equal(table[:41], rows[:41])
    assert embeddings.padding_idx == 1
    after = first(model)
    if head.endswith("lm"):
        assert after.shape[-1] == size
        assert model.lm_head.decoder.weight is table
        assert model.lm_head.decoder.out_features == len(model.lm_head.bias) == size
        assert model.lm_head.decoder.bias is model.lm_head.bias
        torch.testing.assert_close(after[..., :41], before[..., :41], rtol=0, atol=1e-6)
    else:
        torch.testing.assert_close(after, before, rtol=0, atol=1e-6)
    model.save_pretrained(tmp_path)
    again = kind_of(head).from_pretrained(tmp_path)
    assert torch.equal(first(again), after)


def test_new_words_are_near_the_mean_or_new(tiny):
    torch.manual_seed(0)
    model = RobertaForMaskedLM(tiny())
    with torch.no_grad():
        model.lm_head.bias.copy_(torch.linspace(-1, 3, 50))
        model.get_input_embeddings().weight.add_(1)
    mean = model.get_input_embeddings().weight.mean(0)
    model.resize_token_embeddings(60)
    torch.testing.assert_close(
        model.get_input_embeddings().weight[50:], mean.expand(10, -1), rtol=0, atol=1e-3
    )
    torch.testing.assert_close(model.lm_head.bias[50:], torch.ones(10), rtol=0, atol=1e-3)
    model.resize_token_embeddings(400, mean_resizing=False)
    new = model.get_input_embeddings().weight[60:]
    assert abs(new.mean()) < 0.05
    assert 0.28 < new.std() < 0.32
    assert not model.lm_head.bias[60:].any()


def test_a_decoder_of_its_own_is_resized_too(tiny):
    model = RobertaForCausalLM(tiny(tie_word_embeddings=False, is_decoder=True))
    decoder = model.lm_head.decoder
    rows = decoder.weight.detach().clone()
    model.resize_token_embeddings(64)
    assert model.lm_head.decoder is decoder
    assert decoder.weight is not model.get_input_embeddings().weight
    assert torch.equal(decoder.weight[:50], rows)
    assert decoder.weight.shape == (64, 16)
    assert not torch.equal(decoder.weight[50:], model.get_input_embeddings().weight[50:])


def test_the_seed_says_what_new_words_begin_with(tiny):
    drawn = []
    for _ in range(2):
        torch.manual_seed(1)
        model = RobertaModel(tiny())
        model.resize_token_embeddings(55, mean_resizing=False)
        drawn.append((model.get_input_embeddings().weight[50:].detach(), torch.rand(())))
    assert torch.equal(drawn[0][0], drawn[1][0])
    assert drawn[0][1] == drawn[1][1]
    state = torch.get_rng_state()
    RobertaModel.resize_token_embeddings(model, 20)
    assert torch.equal(torch.get_rng_state(), state)  # fewer words draw nothing


def test_nothing_asked_changes_nothing(tiny):
    model = RobertaForMaskedLM(tiny())
    assert model.resize_token_embeddings() is model.get_input_embeddings()
    assert model.resize_token_embeddings(50).num_embeddings == 50
    assert model.resize_token_embeddings(pad_to_multiple_of=16).num_embeddings == 64
    assert model.resize_token_embeddings(65, pad_to_multiple_of=16).num_embeddings == 80


def test_training_goes_on_with_another_vocabulary(tiny):
    model = RobertaForMaskedLM(tiny())
    model(IDS, labels=IDS).loss.backward()
    model.resize_token_embeddings(70)
    assert model.get_input_embeddings().weight.grad is None
    frozen = RobertaForMaskedLM(tiny())
    frozen.get_input_embeddings().requires_grad_(False)
    frozen.resize_token_embeddings(70)
    assert not frozen.get_input_embeddings().weight.requires_grad
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    before = model.get_input_embeddings().weight[66].detach().clone()
    labels = torch.full_like(IDS, 66)
    model(IDS, labels=labels).loss.backward()
    optimizer.step()
    assert not torch.equal(model.get_input_embeddings().weight[66], before)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_the_dtype_and_the_meta_device_are_kept(tiny, dtype):
    model = RobertaForMaskedLM(tiny()).to(dtype)
    model.resize_token_embeddings(60)
    assert {tensor.dtype for tensor in model.parameters()} == {dtype}
    with torch.device("meta"):
        empty = RobertaForMaskedLM(tiny())
    empty.resize_token_embeddings(60)
    assert empty.lm_head.decoder.weight.shape == (60, 16)
    assert empty.lm_head.decoder.weight.is_meta


def test_a_vocabulary_that_cannot_be_is_refused(tiny):
    model = RobertaForMaskedLM(tiny())
    with pytest.raises(ArgumentError, match="eos_token_id=2"):
        model.resize_token_embeddings(2)
    assert model.config.vocab_size == len(model.lm_head.bias) == 50
    model.roberta.embeddings.word_embeddings = nn.EmbeddingBag(50, 16)
    with pytest.raises(ArgumentError, match="a vocabulary in a EmbeddingBag"):
        model.resize_token_embeddings(60)


# Embeddings, ties --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("head", HEADS)
def test_embeddings_are_found_and_replaced(tiny, head):
    model = kind_of(head)(tiny())
    assert model.base_model is (model if head == "model" else model.roberta)
    assert model.get_input_embeddings() is model.base_model.embeddings.word_embeddings
    new = nn.Embedding(50, 16, padding_idx=1)
    model.set_input_embeddings(new)
    assert model.base_model.embeddings.word_embeddings is new
    model.tie_weights()
    if head.endswith("lm"):
        assert model.get_output_embeddings() is model.lm_head.decoder
        assert model.lm_head.decoder.weight is new.weight
    else:
        assert model.get_output_embeddings() is None
        with pytest.raises(NotImplementedError):
            model.set_output_embeddings(nn.Linear(16, 50))


def test_a_table_of_another_size_takes_the_decoder_along(tiny):
    model = RobertaForMaskedLM(tiny())
    with torch.no_grad():
        model.lm_head.bias.add_(1)
    model.set_input_embeddings(nn.Embedding(53, 16))
    model.tie_weights()
    assert model.lm_head.bias.tolist() == [1.0] * 50 + [0.0] * 3
    assert first(model).shape == (2, 4, 53)
    model.set_input_embeddings(nn.Embedding(44, 16))
    model.tie_weights()
    assert model.lm_head.decoder.out_features == len(model.lm_head.bias) == 44


def test_what_is_saved_says_what_is_tied(tiny, tmp_path, caplog):
    model = RobertaForMaskedLM(tiny())
    new = nn.Linear(16, 50)
    model.set_output_embeddings(new)
    logits = first(model)
    model.save_pretrained(tmp_path)
    assert "tie_word_embeddings=false" in caplog.text
    assert model.config.tie_word_embeddings
    again = RobertaForMaskedLM.from_pretrained(tmp_path)
    assert not again.config.tie_word_embeddings
    assert torch.equal(first(again), logits)
    model.tie_weights()
    caplog.clear()
    model.save_pretrained(tmp_path)
    tied = RobertaForMaskedLM.from_pretrained(tmp_path)
    assert not caplog.records
    assert tied.lm_head.decoder.weight is tied.get_input_embeddings().weight
    assert torch.equal(first(tied), first(model))


def test_a_decoder_that_was_put_in_by_hand_is_saved_with_its_bias(tiny, tmp_path):
    model = RobertaForMaskedLM(tiny())
    model.lm_head.decoder = nn.Linear(16, 50)
    nn.init.normal_(model.lm_head.decoder.bias)
    logits = first(model)
    model.save_pretrained(tmp_path)
    assert torch.equal(first(RobertaForMaskedLM.from_pretrained(tmp_path)), logits)


def test_layers_that_are_taken_away_are_told_when_saving(tiny, tmp_path, caplog):
    model = RobertaModel(tiny())
    model.encoder.layer = model.encoder.layer[:1]
    model.save_pretrained(tmp_path)
    assert "encoder.layer.1.attention.output.LayerNorm.bias" in caplog.text
    model.config.num_hidden_layers = 1
    caplog.clear()
    model.save_pretrained(tmp_path)
    assert not caplog.records
    assert torch.equal(first(RobertaModel.from_pretrained(tmp_path)), first(model))


def test_a_model_without_words_says_so(tiny):
    class Wordless(RobertaPreTrainedModel):
        def __init__(self, config):
            super().__init__(config)
            self.dense = nn.Linear(2, 2)
            self.post_init()

    model = Wordless(tiny())
    for call in (model.get_input_embeddings, model.resize_token_embeddings):
        with pytest.raises(NotImplementedError, match="Wordless has no word embeddings"):
            call()
    with pytest.raises(NotImplementedError, match="Wordless has no word embeddings"):
        model.set_input_embeddings(nn.Embedding(2, 2))
    with pytest.raises(ArgumentError, match="no layers of the family"):
        model.prune_heads({0: [1]})
    with pytest.raises(ArgumentError, match="no layers that can"):
        model.gradient_checkpointing_enable()


# Heads -----------------------------------------------------------------------------------------------------------


def without(model, layer, heads):
    """The same model with the output of some heads taken out by hand."""
    width = model.config.hidden_size // model.config.num_attention_heads
    dense = model.base_model.encoder.layer[layer].attention.output.dense
    with torch.no_grad():
        for head in heads:
            dense.weight[:, head * width : (head + 1) * width] = 0
    return model


@pytest.mark.parametrize("head", HEADS)
def test_pruned_heads_are_as_if_they_gave_nothing(tiny, tmp_path, head):
    torch.manual_seed(1)
    model = kind_of(head)(tiny())
    torch.manual_seed(1)
    expected = first(without(without(kind_of(head)(tiny()), 0, [1, 3]), 1, [0]))
    model.prune_heads({0: [1], 1: {0}})
    model.prune_heads({0: [1, 3]})  # by the first numbers; what is gone is passed over
    assert model.config.pruned_heads == {0: [1, 3], 1: [0]}
    assert model.base_model.config.pruned_heads == {0: [1, 3], 1: [0]}
    assert model.base_model.encoder.layer[0].attention.self.query.weight.shape == (8, 16)
    torch.testing.assert_close(first(model), expected, rtol=0, atol=1e-5)
    model.save_pretrained(tmp_path)
    again, report = kind_of(head).from_pretrained(tmp_path, output_loading_info=True)
    assert not any(report.values())
    assert torch.equal(first(again), first(model))
    again.prune_heads({0: [0], 1: []})
    assert again.config.pruned_heads == {0: [0, 1, 3], 1: [0]}
    torch.testing.assert_close(first(again), first(without_first(model)), rtol=0, atol=1e-5)


def without_first(model):
    """The pruned model, whose first head of layer 0 is still number 0."""
    return without(model, 0, [0])


def test_a_layer_may_lose_all_its_heads(tiny, tmp_path):
    model = RobertaModel(tiny())
    model.prune_heads({1: range(4)})
    model.save_pretrained(tmp_path)
    assert torch.equal(first(RobertaModel.from_pretrained(tmp_path)), first(model))


def test_pruning_goes_on_training(tiny):
    model = RobertaForSequenceClassification(tiny())
    model.prune_heads({0: [2]})
    model(IDS, labels=torch.tensor([0, 1])).loss.backward()
    assert model.roberta.encoder.layer[0].attention.self.query.weight.grad.shape == (12, 16)
    with pytest.raises(ArgumentError, match="heads from 0 to 3"):
        model.prune_heads({0: [4]})


# The rest ----------------------------------------------------------------------------------------------------------


def test_the_way_of_attention_may_be_chosen_later(tiny):
    model = RobertaForMaskedLM(tiny())
    model.set_attn_implementation("eager")
    assert model.config.attn_implementation == model.roberta.config.attn_implementation == "eager"
    with pytest.raises(ConfigError, match="magic"):
        model.set_attn_implementation("magic")
    assert model.config.attn_implementation == "eager"


def test_tags_are_kept_once(tiny):
    model = RobertaModel(tiny())
    assert model.model_tags is None
    model.add_model_tags("a")
    model.add_model_tags(["b", "a"])
    assert model.model_tags == ["a", "b"]
    assert RobertaModel(tiny()).model_tags is None


def test_tensors_are_found_by_name(tiny):
    model = RobertaForMaskedLM(tiny())
    assert model.get_parameter_or_buffer("lm_head.decoder.bias") is model.lm_head.bias
    with pytest.raises(AttributeError, match="no parameter or buffer 'x'"):
        model.get_parameter_or_buffer("x")
