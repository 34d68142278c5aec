"""Models of ours and of transformers: the same names, and each reads what the other saves, to the same outputs."""

import copy
import warnings
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import nn

from robertakit.architecture import HEADS

pytestmark = pytest.mark.peers

# Which heads, and how their configuration differs from an encoder's.
DECODER = {"is_decoder": True}
VARIANTS: dict[str, tuple[list[str], dict[str, object]]] = {
    "as it is": (list(HEADS), {}),
    "untied": (["masked-lm", "causal-lm"], {"tie_word_embeddings": False}),
    "decoder": (["model", "causal-lm"], DECODER),
    "cross-attention": (["model", "causal-lm"], DECODER | {"add_cross_attention": True}),
    "relative_key": (list(HEADS), {"position_embedding_type": "relative_key"}),
    "relative_key_query": (["model", "causal-lm"], DECODER | {"position_embedding_type": "relative_key_query"}),
    "relative cross-attention": (
        ["causal-lm"], DECODER | {"add_cross_attention": True, "position_embedding_type": "relative_key"},
    ),
    "pruned": (["model", "masked-lm"], {"pruned_heads": {0: [1], 1: [0, 3]}}),
    "one label": (["sequence-classification"], {"num_labels": 1}),
}  # fmt: skip
FIVE = bool(find_spec("transformers")) and version("transformers") >= "5"
CASES = [
    (head, variant)
    for variant, (heads, _) in VARIANTS.items()
    for head in heads
    if not (FIVE and (variant.startswith("relative") or variant == "pruned"))  # gone from 5
]


def peer(family: str, head: str) -> type[nn.Module]:
    """Their class for a head."""
    import transformers

    kind: type[nn.Module] = getattr(transformers, family + HEADS[head].class_suffix)
    return kind


def call_of(models: ModuleType, head: str, variant: str) -> dict[str, Any]:
    """Arguments of a padded call, with states for a cross-attention."""
    call: dict[str, Any] = models.ragged(head, (9, 4, 9, 2, 6))
    if variant.startswith("relative") and VARIANTS[variant][1].get("is_decoder"):
        call["use_cache"] = False  # with one, theirs takes every query for the last
    if "cross" in variant:
        generator = torch.Generator().manual_seed(3)
        call["encoder_hidden_states"] = torch.randn(5, 7, models.SIZES["hidden_size"], generator=generator)
        call["encoder_attention_mask"] = torch.ones(5, 7, dtype=torch.long).tril_(3)
    return call


@torch.no_grad()
def assert_same_outputs(ours: nn.Module, theirs: nn.Module, call: dict[str, Any]) -> None:
    """All outputs but caches, at every position that is real, in the order in which they come."""
    found, expected = ours.eval()(**call), theirs.eval()(**call)
    names = [name for name in expected if name != "past_key_values"]
    assert [name for name in found if name != "past_key_values"] == names
    for name in names:
        torch.testing.assert_close(
            found[name], expected[name], rtol=1e-5, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("family", ["Roberta", "XLMRoberta"])
@pytest.mark.parametrize(("head", "variant"), CASES)
def test_each_reads_the_other(
    tmp_path: Path, models: ModuleType, head: str, variant: str, family: str
) -> None:
    kind = peer(family, head)
    wrong = ("missing_keys", "unexpected_keys", "mismatched_keys")
    ours = models.build(head, family, **({"attn_implementation": "sdpa"} | VARIANTS[variant][1]))
    call = call_of(models, head, variant)

    ours.save_pretrained(tmp_path / "ours")
    theirs, info = kind.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert {key: info[key] for key in wrong if info[key]} == {}
    mine, state = ours.state_dict(), theirs.state_dict()
    assert set(mine) == set(state)
    if not FIVE:  # where the order of the modules is ours too
        assert list(mine) == list(state)
        names = [[name for name, _ in model.named_parameters()] for model in (ours, theirs)]
        assert names[0] == names[1]
    assert all(torch.equal(mine[name], state[name]) for name in mine)
    assert_same_outputs(ours, theirs, call)

    with torch.no_grad():  # each by another step: in 5 an untied decoder has a bias of its own
        for step, parameter in enumerate(theirs.parameters()):
            parameter += 0.001 * step
    theirs.save_pretrained(tmp_path / "theirs")
    again, info = type(ours).from_pretrained(
        tmp_path / "theirs", attn_implementation="sdpa", output_loading_info=True
    )
    assert not any(info.values())
    state = theirs.state_dict()
    if variant == "untied":  # the decoder's bias computes; ours is one, under both names
        state["lm_head.bias"] = state["lm_head.decoder.bias"]
    assert all(torch.equal(tensor, state[name]) for name, tensor in again.state_dict().items())
    assert_same_outputs(again, theirs, call)


@pytest.mark.parametrize("head", HEADS)
def test_state_dicts_load_into_each_other(models: ModuleType, head: str) -> None:
    """`load_state_dict` is strict: no key is missing, none is too many."""
    import transformers

    ours = models.build(head)
    theirs = peer("Roberta", head)(transformers.RobertaConfig.from_dict(ours.config.to_dict()))
    theirs.load_state_dict(ours.state_dict())
    other = models.build(head, seed=9)
    other.load_state_dict(theirs.state_dict())
    assert all(
        torch.equal(a, b)
        for a, b in zip(other.state_dict().values(), ours.state_dict().values(), strict=True)
    )


def module_paths(model: nn.Module) -> dict[str, str]:
    """Every module with weights of its own, by its path, and what it is."""
    return {
        path: type(module).__name__
        for path, module in model.named_modules()
        if any(True for _ in module.parameters(recurse=False))
    }


@pytest.mark.parametrize("family", ["Roberta", "XLMRoberta"])
@pytest.mark.parametrize(("head", "variant"), CASES)
def test_modules_stand_where_theirs_do(models: ModuleType, head: str, variant: str, family: str) -> None:
    """What adapters, hooks and pruning look for by name, of the class that they look for."""
    import transformers

    kind = peer(family, head)
    ours = models.build(head, family, **VARIANTS[variant][1])
    config = getattr(transformers, f"{family}Config").from_dict(ours.config.to_dict())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        theirs = kind(config)
    found, expected = module_paths(ours), module_paths(theirs)
    for paths in (found, expected):  # the head itself owns `bias`, under a family's own class name
        paths.pop("lm_head", None)
    assert found == expected


@pytest.mark.parametrize("head", HEADS)
def test_losses_and_gradients_are_theirs(models: ModuleType, head: str) -> None:
    """As their `from_pretrained` model, dropout off, padded; the question-answering loss over all positions."""
    import transformers

    ours = models.build(head, attn_implementation="sdpa")
    theirs = peer("Roberta", head)(transformers.RobertaConfig.from_dict(ours.config.to_dict())).eval()
    theirs.load_state_dict(ours.state_dict())
    call = models.ragged(head, (9, 4, 9, 2, 6), labels=head != "model")
    for model in (ours, theirs):
        out = model(**copy.deepcopy(call))
        (out.loss if head != "model" else out.last_hidden_state.square().mean()).backward()
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        reference = expected[name].grad
        assert (parameter.grad is None) == (reference is None), name
        if reference is not None:
            error, norm = (torch.linalg.vector_norm(x) for x in (parameter.grad - reference, reference))
            assert error <= 1e-5 * norm + 1e-7, name


def test_their_decoders_cache_is_read(models: ModuleType) -> None:
    """A cache of theirs goes into our decoder, by `to_legacy_cache` or, where that is gone, as tuples."""
    import transformers

    ours = models.build("causal-lm", is_decoder=True, attn_implementation="sdpa")
    theirs = transformers.RobertaForCausalLM(
        transformers.RobertaConfig.from_dict(ours.config.to_dict())
    ).eval()
    theirs.load_state_dict(ours.state_dict())
    ids = torch.randint(3, 61, (2, 6), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        first = theirs(ids[:, :4], use_cache=True).past_key_values
        given = (
            first if hasattr(first, "to_legacy_cache") else tuple((x.keys, x.values) for x in first.layers)
        )
        rest = ours(ids[:, 4:], past_key_values=given, attention_mask=torch.ones(2, 6)).logits
        whole = theirs(ids).logits[:, 4:]
    torch.testing.assert_close(rest, whole, rtol=1e-5, atol=1e-5)
