"""AdamW by the architecture table, and by the paper."""

import pytest

pytest.importorskip("torch")

import torch
from torch import nn

from robertakit import RobertaConfig, RobertaForMaskedLM, XLMRobertaForMaskedLM
from robertakit.architecture import parameters
from robertakit.training.loop_settings import LoopSettings
from robertakit.training.optimisers import adamw, decaying

SIZES = {"vocab_size": 24, "hidden_size": 8, "num_hidden_layers": 2, "num_attention_heads": 2}


class Step(nn.Module):
    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.extra, self.scale = nn.Linear(2, 3), nn.Parameter(torch.ones(()))


@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("cls", [RobertaForMaskedLM, XLMRobertaForMaskedLM])
def test_groups_are_those_of_the_table(cls: type[RobertaForMaskedLM], wrapped: bool) -> None:
    model = cls(cls.config_class(**SIZES))
    step = nn.Sequential(Step(model)) if wrapped else model
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    decays, others = ([names.get(id(one), "own") for one in group] for group in decaying(step))
    table = parameters(model.config, "masked-lm")
    assert [name for name in decays if name != "own"] == [
        name for name in names.values() if table[name].decays
    ]
    assert len([*decays, *others]) == len({*names}) + 3 * wrapped
    assert (decays.count("own"), others.count("own")) == ((1, 2) if wrapped else (0, 0))
    assert not [name for name in decays if "LayerNorm" in name or name.endswith("bias")]
    assert "roberta.embeddings.word_embeddings.weight" in decays
    assert "lm_head.decoder.weight" not in [*decays, *others]  # tied: it counts once


def test_settings_of_the_paper() -> None:
    optimiser = adamw(RobertaForMaskedLM(RobertaConfig(**SIZES)), LoopSettings(steps=1))
    assert isinstance(optimiser, torch.optim.AdamW)
    for group in optimiser.param_groups:
        assert (group["betas"], group["eps"], group["lr"]) == ((0.9, 0.98), 1e-6, 6e-4)
    assert [group["weight_decay"] for group in optimiser.param_groups] == [0.01, 0.0]


def test_what_is_frozen_is_left_out() -> None:
    model = RobertaForMaskedLM(RobertaConfig(**SIZES))
    model.roberta.embeddings.requires_grad_(False)
    trained = {
        id(one) for group in adamw(model, LoopSettings(steps=1)).param_groups for one in group["params"]
    }
    assert trained == {id(one) for one in model.parameters() if one.requires_grad}


def test_an_update_is_adams_by_hand() -> None:
    """One value with decay, one without, two updates, against the formulas of Loshchilov and Hutter (2019)."""

    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.matrix = nn.Parameter(torch.tensor([[2.0]], dtype=torch.float64))
            self.bias = nn.Parameter(torch.tensor([2.0], dtype=torch.float64))

    module = Two()
    optimiser = adamw(module, LoopSettings(steps=9, learning_rate=0.1, weight_decay=0.5))
    wanted = {"matrix": 2.0, "bias": 2.0}
    first = dict.fromkeys(wanted, 0.0)
    second = dict.fromkeys(wanted, 0.0)
    for step, slope in enumerate((0.3, -0.7), 1):
        for name, parameter in module.named_parameters():
            parameter.grad = torch.full_like(parameter, slope)
            first[name] = 0.9 * first[name] + 0.1 * slope
            second[name] = 0.98 * second[name] + 0.02 * slope**2
            mean, square = first[name] / (1 - 0.9**step), second[name] / (1 - 0.98**step)
            wanted[name] *= 1 - 0.1 * (0.5 if name == "matrix" else 0.0)
            wanted[name] -= 0.1 * mean / (square**0.5 + 1e-6)
        optimiser.step()
        for name, parameter in module.named_parameters():
            assert float(parameter.detach()) == pytest.approx(wanted[name], rel=1e-12)
