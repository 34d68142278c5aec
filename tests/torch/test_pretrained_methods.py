"""What every model tells and does beside its forward pass, and what other libraries read of it."""

import pytest
import torch
from torch import nn

from robertakit import torch as family
from robertakit.architecture import HEADS, count_parameters
from robertakit.errors import ArgumentError, BadShape
from robertakit.torch import (
    PreTrainedModel,
    RobertaForCausalLM,
    RobertaForMaskedLM,
    RobertaForSequenceClassification,
    RobertaModel,
)


def kind_of(head):
    return getattr(family, f"Roberta{HEADS[head].class_suffix}")


@pytest.mark.parametrize("head", HEADS)
def test_sizes(tiny, head):
    config = tiny()
    model = kind_of(head)(config)
    count = count_parameters(config, head)
    tables = (50 + 20 + 1) * 16
    assert model.num_parameters() == count
    assert model.num_parameters(exclude_embeddings=True) == count - tables
    model.requires_grad_(False)
    model.get_input_embeddings().requires_grad_(True)
    assert model.num_parameters(only_trainable=True) == 50 * 16
    assert model.num_parameters(only_trainable=True, exclude_embeddings=True) == 0
    assert model.get_memory_footprint() == 4 * count
    assert model.to(torch.float64).get_memory_footprint() == 8 * count
    model.register_buffer("more", torch.zeros(3, dtype=torch.uint8))
    assert model.get_memory_footprint() == 8 * count + 3
    assert model.get_memory_footprint(return_buffers=False) == 8 * count
    ids = torch.ones(2, 5, dtype=torch.long)
    assert model.estimate_tokens({"input_ids": ids}) == 10
    assert model.estimate_tokens({"inputs_embeds": ids}) == 0
    assert model.floating_point_ops({"input_ids": ids}) == 60 * (count - tables)
    assert model.floating_point_ops({"input_ids": ids}, exclude_embeddings=False) == 60 * count


@pytest.mark.parametrize("head", HEADS)
def test_what_other_libraries_read(tiny, head):
    kind = kind_of(head)
    model = kind(tiny())
    assert isinstance(model, PreTrainedModel)
    assert (model.framework, model.main_input_name, model.base_model_prefix) == ("pt", "input_ids", "roberta")
    assert (model.device, model.dtype) == (torch.device("cpu"), torch.float32)
    assert model.half().dtype == torch.float16
    assert vars(model)["name_or_path"] == ""  # PEFT looks there
    assert model.warnings_issued == {}
    assert kind.can_generate() == (head == "causal-lm")
    assert (model.generation_config is None) == (head != "causal-lm")
    assert not model.is_parallelizable
    assert not model.accepts_loss_kwargs
    assert model.supports_gradient_checkpointing
    assert not model.is_gradient_checkpointing
    tied = ["lm_head.decoder.weight", "lm_head.decoder.bias"] if head.endswith("lm") else None
    assert model._tied_weights_keys == tied
    names = {type(module).__name__ for module in model.modules()}
    assert set(model._no_split_modules) <= names
    assert not hasattr(model, "hf_device_map")
    assert model.dummy_inputs["input_ids"].shape == (3, 5)


def test_a_model_without_weights_tells_the_defaults(tiny):
    model = PreTrainedModel(tiny())
    assert (model.device, model.dtype, model.num_parameters()) == (torch.device("cpu"), torch.float32, 0)


def test_a_masks_two_forms_for_layers_of_ones_own(tiny):
    smallest = torch.finfo(torch.float32).min
    mask = torch.tensor([[1, 1, 0]])
    encoder, decoder = RobertaModel(tiny()), RobertaModel(tiny(is_decoder=True))
    added = encoder.get_extended_attention_mask(mask, (1, 3))
    assert added.tolist() == [[[[0.0, 0.0, smallest]]]]
    assert encoder.invert_attention_mask(mask).tolist() == added.tolist()
    assert encoder.get_extended_attention_mask(mask, (1, 3), dtype=torch.float16).dtype == torch.float16
    assert encoder.get_extended_attention_mask(mask, (1, 3), device=torch.device("meta")).is_meta
    three = torch.tensor([[[1, 0, 0], [1, 1, 0], [1, 1, 1]]])
    assert encoder.get_extended_attention_mask(three, (1, 3)).shape == (1, 1, 3, 3)
    assert encoder.invert_attention_mask(three)[0, 0, 0].tolist() == [0.0, smallest, smallest]
    causal = decoder.get_extended_attention_mask(mask, (1, 3))[0, 0]
    assert causal.eq(0).tolist() == [[True, False, False], [True, True, False], [True, True, False]]
    later = decoder.create_extended_attention_mask_for_decoder((1, 1), mask, torch.device("cpu"))
    assert later.tolist() == [[[[1, 1, 0]]]]
    for wrong in (lambda: encoder.get_extended_attention_mask(mask[0], (1, 3)),
                  lambda: encoder.invert_attention_mask(mask[0])):  # fmt: skip
        with pytest.raises(BadShape, match=r"\(3,\)"):
            wrong()


def test_an_own_head_can_use_the_masks_as_the_layers_do(tiny):
    """The encoder's layers under the made mask give what the model gives."""
    torch.manual_seed(0)
    model = RobertaModel(tiny(attn_implementation="eager")).eval()
    ids = torch.tensor([[0, 5, 9, 2], [0, 7, 2, 1]])
    mask = ids.ne(1).long()
    added = model.get_extended_attention_mask(mask, ids.shape)
    attention = model(ids, mask, output_attentions=True).attentions[0]
    hidden = model.embeddings(ids, position_ids=torch.tensor([[2, 3, 4, 5], [2, 3, 4, 1]]))
    inner = model.encoder.layer[0].attention.self
    query, key = (layer(hidden).view(2, 4, 4, 4).transpose(1, 2) for layer in (inner.query, inner.key))
    scores = query @ key.transpose(-1, -2) / 2 + added
    torch.testing.assert_close(scores.softmax(-1), attention, rtol=0, atol=1e-5)


def test_factors_of_heads(tiny):
    model = RobertaModel(tiny())
    assert model.get_head_mask(None, 3) == [None] * 3
    one = model.get_head_mask(torch.tensor([1, 0, 1, 1]), 2)
    assert one.shape == (2, 1, 4, 1, 1)
    assert one.dtype == torch.float32
    assert one[1, 0, :, 0, 0].tolist() == [1, 0, 1, 1]
    each = model.get_head_mask(torch.tensor([[1, 0, 1, 1], [0, 1, 1, 1]]), 2, is_attention_chunked=True)
    assert each.shape == (2, 1, 4, 1, 1, 1)
    with pytest.raises(BadShape, match="head_mask"):
        model.get_head_mask(torch.ones(1, 2, 3), 2)


# Training -----------------------------------------------------------------------------------------------------------


class Counted(nn.Module):
    """Counts how often a layer is computed."""

    def __init__(self, layer):
        super().__init__()
        self.layer, self.calls = layer, 0

    def forward(self, *args, **kwargs):
        self.calls += 1
        return self.layer(*args, **kwargs)


@pytest.mark.parametrize("newer", [False, True])
def test_layers_are_computed_again_for_the_gradient(tiny, newer):
    torch.manual_seed(0)
    model = RobertaForMaskedLM(tiny(hidden_dropout_prob=0.2)).train()
    ids = torch.tensor([[0, 5, 9, 2]])

    def gradients():
        torch.manual_seed(3)
        model.zero_grad()
        model(ids, labels=ids).loss.backward()
        return [parameter.grad.clone() for parameter in model.parameters()]

    expected = gradients()
    counted = Counted(model.roberta.encoder.layer[0])
    model.roberta.encoder.layer[0] = counted
    (model.activation_checkpointing_enable if newer else model.gradient_checkpointing_enable)()
    assert model.is_gradient_checkpointing
    for ours, theirs in zip(gradients(), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    assert counted.calls == 2
    model.eval()(ids)
    assert counted.calls == 3
    (model.activation_checkpointing_disable if newer else model.gradient_checkpointing_disable)()
    assert not model.is_gradient_checkpointing
    model.train()
    gradients()
    assert counted.calls == 4


def test_arguments_of_checkpointing_reach_pytorch(tiny):
    model = RobertaForMaskedLM(tiny())
    model.gradient_checkpointing_enable({"use_reentrant": True, "preserve_rng_state": False})
    assert model.roberta.encoder.checkpointing_arguments == {
        "use_reentrant": True,
        "preserve_rng_state": False,
    }
    model.gradient_checkpointing_enable()
    assert model.roberta.encoder.checkpointing_arguments == {"use_reentrant": False}
    with pytest.raises(ArgumentError, match="reentrent"):
        model.gradient_checkpointing_enable({"reentrent": True})
    for arguments in ({"every_n_layers": 2}, {"offload": True}):
        with pytest.raises(ArgumentError, match="every_n_layers"):
            model.activation_checkpointing_enable(**arguments)


def test_configurations_of_2020_ask_for_checkpointing(tiny):
    assert RobertaModel(tiny(gradient_checkpointing=True)).is_gradient_checkpointing
    assert not RobertaModel(tiny(gradient_checkpointing=False)).is_gradient_checkpointing


def test_a_gradient_reaches_the_first_layer_of_frozen_embeddings(tiny):
    model = RobertaForSequenceClassification(tiny())
    model.roberta.embeddings.requires_grad_(False)
    seen = []
    model.roberta.embeddings.word_embeddings.register_forward_hook(
        lambda *given: seen.append(given[2].requires_grad)
    )
    ids = torch.tensor([[0, 5, 2]])
    model(ids)
    model.enable_input_require_grads()
    model.enable_input_require_grads()
    outputs = []
    handle = model.roberta.embeddings.register_forward_hook(
        lambda *given: outputs.append(given[2].requires_grad)
    )
    model(ids)
    model.disable_input_require_grads()
    model.disable_input_require_grads()
    model(ids)
    handle.remove()
    assert outputs == [True, False]
    assert seen[0] is False


def test_a_causal_model_keeps_what_generation_is_asked_for(tiny, tmp_path):
    model = RobertaForCausalLM(tiny(is_decoder=True))
    model.generation_config.max_new_tokens = 7
    files = model.save_pretrained(tmp_path)
    assert "generation_config.json" in files
    assert RobertaForCausalLM.from_pretrained(tmp_path).generation_config.max_new_tokens == 7
    assert "generation_config.json" not in RobertaModel(tiny()).save_pretrained(tmp_path / "encoder")
