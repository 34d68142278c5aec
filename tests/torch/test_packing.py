"""Packed, padded and one by one: what DESIGN promises of each way, for every head, in training and inference."""

import pytest
import torch

from robertakit.architecture import HEADS
from robertakit.errors import InputError

WAYS = [None, "eager", "sdpa", "packed"]
TOKENWISE = {"logits": ("masked-lm", "causal-lm", "token-classification")}


def scores_of(head, out):
    names = {
        "model": ("last_hidden_state", "pooler_output"),
        "question-answering": ("start_logits", "end_logits"),
    }
    return {name: out[name] for name in names.get(head, ("logits",))}


def is_tokenwise(head, name):
    return name in ("last_hidden_state", "start_logits", "end_logits") or head in TOKENWISE.get(name, ())


def row_of(call, head, name, scores, row):
    """A row of a padded result, real tokens only."""
    if not is_tokenwise(head, name):
        return scores[row]
    return scores[row][call["attention_mask"][row].bool()]


@pytest.mark.parametrize(
    ("head", "way", "left"),
    [
        (head, way, left)
        for head in HEADS
        for way in ("sdpa", "packed")
        for left in (False, True)
        # Left-padded, the padded way reads the padding's hidden state, as the reference does.
        if not (left and way == "sdpa" and head in ("model", "sequence-classification", "multiple-choice"))
    ],
)
def test_every_row_gives_what_it_gives_alone(models, head, way, left):
    model = models.build(head, attn_implementation=way)
    call = models.ragged(head, left=left)
    found = scores_of(head, model(**call))
    for row, single in enumerate(models.one_by_one(call)):
        for name, want in scores_of(head, model(**single)).items():
            got = row_of(call, head, name, found[name], row)
            torch.testing.assert_close(
                got, want[0], rtol=0, atol=1e-5 * max(1, float(want.detach().abs().max()))
            )


@pytest.mark.parametrize("head", HEADS)
def test_padding_positions_are_zeros(models, head):
    model = models.build(head, attn_implementation="packed")
    call = models.ragged(head)
    out = model(**call, output_hidden_states=True)
    for name, value in scores_of(head, out).items():
        if is_tokenwise(head, name):
            assert not value[call["attention_mask"] == 0].any()
    mask = call["attention_mask"].reshape(-1, call["attention_mask"].shape[-1])
    for state in out.hidden_states:
        assert not state[mask == 0].any()
        assert state[mask == 1].any()


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize("head", HEADS)
def test_rows_that_enter_the_feed_forward_are_the_real_tokens(models, head, training):
    model = models.build(head).train(training)
    call = models.ragged(head, labels=True)
    counted = []
    for layer in model.get_submodule("encoder" if head == "model" else "roberta.encoder").layer:
        layer.intermediate.dense.register_forward_hook(
            lambda module, inputs, output: counted.append(inputs[0].shape[:-1].numel())
        )
    model(**call)
    assert counted == [int(call["attention_mask"].sum())] * 2


@pytest.mark.parametrize("head", [head for head in HEADS if head != "model"])
def test_loss_and_gradient_are_those_of_the_rows_alone(models, head):
    """Packed, a batch's loss is the mean over what its rows predict; its gradient the mean of theirs."""
    gradients, losses = [], []
    call = models.ragged(head, labels=True)
    rows = models.one_by_one(call)
    for singles in (False, True):
        model = models.build(head, dtype=torch.float64, attn_implementation="packed")
        if singles:
            weights = [labels_in(head, single) for single in rows]
            loss = sum(w * model(**one).loss for w, one in zip(weights, rows, strict=True)) / sum(weights)
        else:
            loss = model(**call).loss
        loss.backward()
        losses.append(loss.detach())
        gradients.append({name: p.grad for name, p in model.named_parameters() if p.grad is not None})
    torch.testing.assert_close(*losses, rtol=0, atol=1e-10)
    together, alone = gradients
    assert together.keys() == alone.keys()
    for name, grad in together.items():
        torch.testing.assert_close(grad, alone[name], rtol=0, atol=1e-10, msg=name)


def labels_in(head, single):
    """How many predictions a row makes."""
    if head == "causal-lm":
        return int(single["labels"][:, 1:].ne(-100).sum())
    if head in ("masked-lm", "token-classification"):
        return int(single["labels"].ne(-100).sum())
    return 1


@pytest.mark.parametrize("head", [head for head in HEADS if head not in ("model", "question-answering")])
def test_the_gradient_does_not_depend_on_the_way(models, head):
    """fp32, relative norm; question answering is left out: there the padded loss depends on the padding."""
    gradients = []
    for way in WAYS:
        model = models.build(head, attn_implementation=way).train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        model(**models.ragged(head, labels=True)).loss.backward()
        gradients.append(torch.cat([p.grad.flatten() for p in model.parameters() if p.grad is not None]))
    for other in gradients[1:]:
        assert (other - gradients[0]).norm() <= 1e-5 * gradients[0].norm()


@pytest.mark.parametrize("way", [None, "packed"])
@pytest.mark.parametrize("head", HEADS)
def test_a_row_without_a_real_token_gives_zeros_and_no_share_of_the_loss(models, head, way):
    model = models.build(head, attn_implementation=way)
    call = models.ragged(head, labels=True)
    whole = {name: value.clone() for name, value in call.items()}
    call["attention_mask"][1] = 0
    if head in ("masked-lm", "causal-lm", "token-classification"):
        call["labels"][1] = -100
    if head == "multiple-choice":  # a question without a choice has nothing to be right about
        call["labels"][1] = -100
    out = model(**call)
    for value in scores_of(head, out).values():
        assert not value[1].any()
        assert torch.isfinite(value).all()
    if head == "model":
        return
    out.loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)
    kept = [0, 2, 3, 4]
    others = model(**{name: value[kept] for name, value in whole.items()})
    torch.testing.assert_close(out.loss, others.loss, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("head", ["masked-lm", "causal-lm", "token-classification", "question-answering"])
def test_labels_on_hidden_tokens_raise_when_packed_and_warn_otherwise(models, head):
    call = models.ragged(head, labels=True)
    if head == "question-answering":
        call["start_positions"][1] = 8
    else:
        call["labels"][1, 5] = 3
    with pytest.raises(InputError, match="1 labels on positions that attention_mask hides"):
        models.build(head, attn_implementation="packed")(**call)
    with pytest.warns(UserWarning, match="this batch is padded"):
        automatic = models.build(head)(**call)
    padded = models.build(head, attn_implementation="sdpa")(**call)
    for name, value in padded.items():
        torch.testing.assert_close(automatic[name], value, rtol=0, atol=0)


def test_a_choice_without_tokens_competes_for_nothing_and_cannot_be_right(models):
    call = models.ragged("multiple-choice", labels=True)
    call["attention_mask"][0, 1] = 0
    call["labels"][0] = 0
    model = models.build("multiple-choice", attn_implementation="packed")
    out = model(**call)
    assert out.logits[0, 1] == 0
    rest = model(**{name: value[1:] for name, value in call.items()})
    torch.testing.assert_close(out.loss, rest.loss * 4 / 5)  # alone, the first choice is certain: loss 0
    call["labels"][0] = 1
    with pytest.raises(InputError, match="1 labels on positions"):
        model(**call)


@pytest.mark.parametrize(
    "asked",
    [{"output_attentions": True}, {"head_mask": torch.ones(2, 4)}, "decoder", "3-D"],
    ids=["maps", "head mask", "decoder", "3-D mask"],
)
@pytest.mark.parametrize("way", [None, "packed"])
def test_what_cannot_be_packed_is_computed_padded(models, asked, way):
    """DESIGN 3: packing applies where the mask is 2-D, the model no decoder, and nobody asks maps or head masks."""
    fields = {"is_decoder": asked == "decoder"}
    call = models.ragged("model")
    if asked == "3-D":
        call["attention_mask"] = call["attention_mask"][:, None].expand(-1, 9, -1)
    given = asked if isinstance(asked, dict) else {}
    out = models.build("model", attn_implementation=way, **fields)(**call, **given)
    padded = models.build("model", attn_implementation="sdpa", **fields)(**call, **given)
    assert torch.equal(out.last_hidden_state, padded.last_hidden_state)
    assert out.last_hidden_state[1, -1].any()


@pytest.mark.parametrize("kind", ["relative_key", "relative_key_query"])
def test_relative_positions_are_packed_too(models, kind):
    call = models.ragged("model")
    real = call["attention_mask"].bool()
    packed, padded = (
        models.build("model", position_embedding_type=kind, attn_implementation=way, dtype=torch.float64)(
            **call
        )
        for way in ("packed", "sdpa")
    )
    torch.testing.assert_close(
        packed.last_hidden_state[real], padded.last_hidden_state[real], rtol=0, atol=1e-12
    )
    assert not packed.last_hidden_state[~real].any()


def test_the_order_of_a_batch_does_not_matter(models):
    model = models.build("masked-lm")
    call = models.ragged("masked-lm")
    order = torch.tensor([3, 1, 4, 0, 2])
    shuffled = model(**{name: value[order] for name, value in call.items()}).logits
    torch.testing.assert_close(shuffled, model(**call).logits[order], rtol=0, atol=1e-5)


@pytest.mark.parametrize(("dtype", "bound"), [(torch.bfloat16, 2**-6), (torch.float16, 2**-9)])
def test_half_precision_stays_near_the_row_alone(models, dtype, bound):
    """What holds in half precision (docs/pytorch.md): a share of the row's largest entry; on a processor mostly 0."""
    model = models.build("model", dtype=dtype, attn_implementation="packed")
    call = models.ragged("model")
    found = model(**call).last_hidden_state
    for row, single in enumerate(models.one_by_one(call)):
        want = model(**single).last_hidden_state[0]
        got = found[row][call["attention_mask"][row].bool()]
        assert (got - want).abs().max() <= bound * want.abs().max()


@pytest.mark.parametrize("dtype", [torch.bool, torch.float32, torch.int8])
def test_masks_of_any_kind_of_number(models, dtype):
    model, call = models.build("model"), models.ragged("model")
    want = model(**call).last_hidden_state
    found = model(**call | {"attention_mask": call["attention_mask"].to(dtype)}).last_hidden_state
    assert torch.equal(found, want)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::torch.jit.TracerWarning")
def test_a_trace_made_without_padding_holds_for_padding(models):
    model = models.build("model", num_hidden_layers=1)
    call = models.ragged("model")
    given = (call["input_ids"], call["attention_mask"])
    traced = torch.jit.trace(
        model, (given[0].clamp(min=3), torch.ones_like(given[1])), strict=False, check_trace=False
    )
    real = call["attention_mask"].bool()
    found, want = traced(*given)["last_hidden_state"], model(*given).last_hidden_state
    torch.testing.assert_close(found[real], want[real], rtol=0, atol=1e-5)


def test_transforms_of_functions_work_on_a_padded_batch(models):
    model = models.build("masked-lm", num_hidden_layers=1)
    call = models.ragged("masked-lm", labels=True)
    weights = dict(model.named_parameters())
    found = torch.func.grad(lambda w: torch.func.functional_call(model, w, (), call).loss)(weights)
    model(**call).loss.backward()
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(found[name], parameter.grad, rtol=0, atol=1e-5, msg=name)


@pytest.mark.parametrize("way", ["eager", "sdpa", "packed"])
def test_attention_dropout_is_its_modules_own(models, way):
    """Drawn in `eval()` where the modules alone are in training (Gal and Ghahramani 2016), and not the other way."""
    model = models.build("model", attn_implementation=way, attention_probs_dropout_prob=0.5)
    call = models.ragged("model")
    plain = model(**call).last_hidden_state
    dropouts = [layer.attention.self.dropout for layer in model.encoder.layer]
    for module in dropouts:
        module.train()
    assert not torch.equal(model(**call).last_hidden_state, plain)
    model.train()
    for module in model.modules():
        if isinstance(module, torch.nn.Dropout):
            module.eval()
    torch.testing.assert_close(model(**call).last_hidden_state, plain)
    for layer in model.encoder.layer:
        layer.attention.self.dropout = torch.nn.Identity()
    torch.testing.assert_close(model(**call).last_hidden_state, plain)


@pytest.mark.parametrize("way", ["eager", "sdpa", "packed"])
def test_the_table_of_relative_positions_is_read_through_its_module(models, way):
    model = models.build("model", attn_implementation=way, position_embedding_type="relative_key")
    call = models.ragged("model")
    plain = model(**call).last_hidden_state
    hook = lambda module, inputs, output: output * 2  # noqa: E731
    model.encoder.layer[0].attention.self.distance_embedding.register_forward_hook(hook)
    assert (model(**call).last_hidden_state - plain).abs().max() > 1e-2


@pytest.mark.parametrize("left", [False, True])
@pytest.mark.parametrize("way", ["sdpa", "packed"])
def test_a_wrapped_head_and_a_wrapped_pooler_read_what_their_own_read(models, way, left):
    class Wrapper(torch.nn.Module):
        def __init__(self, inner):
            super().__init__()
            self.inner = inner

        def forward(self, states):
            assert states.shape[1] > 1
            return self.inner(states)

    call = models.ragged("sequence-classification", left=left)
    model = models.build("sequence-classification", attn_implementation=way)
    want = model(**call).logits
    model.classifier = Wrapper(model.classifier)
    torch.testing.assert_close(model(**call).logits, want)
    bare = models.build("model", attn_implementation=way)
    want = bare(**call).pooler_output
    bare.pooler = Wrapper(bare.pooler)
    torch.testing.assert_close(bare(**call).pooler_output, want)


def test_the_last_hidden_state_is_the_last_of_all(models):
    for way in ("packed", "sdpa"):
        out = models.build("model", attn_implementation=way)(
            **models.ragged("model"), output_hidden_states=True
        )
        assert out.hidden_states[-1] is out.last_hidden_state


def test_a_head_mask_of_another_precision(models):
    model = models.build("model", dtype=torch.bfloat16)
    assert model(**models.ragged("model"), head_mask=torch.ones(4)).last_hidden_state.dtype == torch.bfloat16


@pytest.mark.parametrize(
    "head", ["masked-lm", "causal-lm", "token-classification", "question-answering", "multiple-choice"]
)
@pytest.mark.parametrize("shape", [(5, 4), (2, 9)])
def test_a_mask_that_fits_no_input_is_told_with_labels_too(models, head, shape):
    call = models.ragged(head, labels=True)
    mask = torch.ones(shape, dtype=torch.long)
    call["attention_mask"] = mask[:, None].expand(-1, 2, -1) if head == "multiple-choice" else mask
    with pytest.raises(InputError, match=r"attention_mask of shape \(\d+, \d\); expected \(\d+, 9\)"):
        models.build(head)(**call)


@pytest.mark.parametrize("head", HEADS)
def test_an_empty_batch_is_no_trouble(models, head):
    call = {name: value[:0] for name, value in models.ragged(head, labels=True).items()}
    out = models.build(head)(**call)
    assert all(len(value) == 0 for value in scores_of(head, out).values())
    assert head == "model" or out.loss == 0
