"""Every documented argument of every class changes what comes out, or raises: two calls that differ in it alone.

The classes and arguments are those of ``tests/golden/signatures.json``; an argument without a row here fails.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import robertakit.torch
from robertakit.configuration import RobertaConfig
from robertakit.errors import ArgumentError, InputError, RobertakitError
from robertakit.outputs import ModelOutput

GOLDEN = Path(__file__).resolve().parent.parent / "golden" / "signatures.json"
CLASSES: dict[str, dict[str, list[str]]] = {
    name: {method: [argument for argument, _ in spec["parameters"]] for method, spec in methods.items()}
    for name, methods in json.loads(GOLDEN.read_text(encoding="utf-8")).items()
    if "forward" in methods and hasattr(robertakit.torch, name)
}
OUTPUTS = {
    name: spec["forward"]["returns"]
    for name, spec in json.loads(GOLDEN.read_text(encoding="utf-8")).items()
    if name in CLASSES
}
Call = dict[str, Any]
BATCH, LENGTH, CHOICES, KEYS = 2, 6, 3, 4


@cache
def model_of(name: str, fields: tuple[tuple[str, object], ...]) -> nn.Module:
    """A small model; the same seed draws the same weights for all fields."""
    kind = getattr(robertakit.torch, name)
    sizes = {
        "vocab_size": 40,
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "intermediate_size": 24,
        "max_position_embeddings": 20,
        "type_vocab_size": 2,
        "initializer_range": 0.4,
        "num_labels": 2 if "QuestionAnswering" in name else 3,
    }
    torch.manual_seed(0)
    model: nn.Module = kind(kind.config_class(**(sizes | dict(fields)))).eval()
    return model


@dataclass(frozen=True)
class Setting:
    """A class, how its model is configured, and a call that it takes."""

    name: str
    fields: Mapping[str, object]
    call: Call

    def model(self) -> nn.Module:
        return model_of(self.name, tuple(self.fields.items()))

    def results(self, **changes: object) -> dict[str, object]:
        """What a call gives, flattened: its type, and each tensor by its name and place."""
        given = {name: value for name, value in (self.call | changes).items() if value is not ...}
        return flattened(self.model()(**given))


def flattened(found: object) -> dict[str, object]:
    flat: dict[str, object] = {"": type(found)}
    items = found.items() if isinstance(found, ModelOutput) else enumerate(found)  # type: ignore[arg-type]
    for name, value in items:
        if isinstance(value, Tensor):
            flat[str(name)] = value.detach()
        elif value is not None:
            flat |= {f"{name}.{place}": part for place, part in flattened(value).items()}
    return flat


def differ(one: dict[str, object], other: dict[str, object]) -> bool:
    """Whether names, types, shapes or values differ; a value by more than rounding."""
    if one.keys() != other.keys():
        return True
    for name, value in one.items():
        against = other[name]
        if not isinstance(value, Tensor) or not isinstance(against, Tensor):
            if value != against:
                return True
        elif value.shape != against.shape or float((value - against).abs().max()) > 1e-3:
            return True
    return False


def ids(seed: int) -> Tensor:
    return torch.randint(3, 40, (BATCH, LENGTH), generator=torch.Generator().manual_seed(seed))


def states(seed: int, length: int = LENGTH) -> Tensor:
    return torch.randn(BATCH, length, 16, generator=torch.Generator().manual_seed(seed))


def setting_of(name: str, attention: str | None, argument: str) -> Setting:
    """A setting in which the argument means something: caches and encoder states belong to decoders."""
    fields: dict[str, object] = {"attn_implementation": attention}
    call: Call = {"input_ids": ids(0)}
    if "ForCausalLM" in name or argument in ("past_key_values", "use_cache"):
        fields["is_decoder"] = True
    if argument.startswith("encoder_"):
        fields |= {"is_decoder": True, "add_cross_attention": True}
        call |= {"encoder_hidden_states": states(1, KEYS)}
    if "MultipleChoice" in name:
        call = {"input_ids": torch.stack([ids(choice) for choice in range(CHOICES)], dim=1)}
    return Setting(name, fields, call)


def by_choice(setting: Setting, value: Tensor) -> Tensor:
    """A value of each row as one of each choice, where the class takes choices."""
    if "MultipleChoice" not in setting.name:
        return value
    return value[:, None].expand(BATCH, CHOICES, *value.shape[1:]).clone()


def labels_of(setting: Setting, seed: int) -> Tensor:
    """Labels as the class takes them."""
    draw = torch.Generator().manual_seed(seed)
    if "Sequence" in setting.name or "MultipleChoice" in setting.name:
        return torch.randint(0, 3, (BATCH,), generator=draw)
    highest = 3 if "Token" in setting.name else 40
    return torch.randint(0, highest, (BATCH, LENGTH), generator=draw)


def cache_of(setting: Setting) -> object:
    """What an earlier call returned, in half of its forms a tuple."""
    return setting.model()(input_ids=ids(3), use_cache=True).past_key_values


SHORTER = torch.tensor([[1] * LENGTH, [1] * 4 + [0] * 2])
#: Argument -> the changes of two calls that differ in it; an argument that is ``...`` is left out.
CALLS: dict[str, Callable[[Setting], tuple[Call, Call]]] = {
    "input_ids": lambda s: ({}, {"input_ids": s.call["input_ids"].flip(-1)}),
    "attention_mask": lambda s: ({}, {"attention_mask": by_choice(s, SHORTER)}),
    "token_type_ids": lambda s: ({}, {"token_type_ids": torch.ones_like(s.call["input_ids"])}),
    "position_ids": lambda s: (
        {},
        {"position_ids": by_choice(s, torch.arange(LENGTH).flip(0).expand(BATCH, LENGTH) + 2)},
    ),
    "head_mask": lambda s: ({}, {"head_mask": torch.tensor([1.0, 0.0, 1.0, 0.5])}),
    "inputs_embeds": lambda s: (
        {"input_ids": ..., "inputs_embeds": by_choice(s, states(1))},
        {"input_ids": ..., "inputs_embeds": by_choice(s, states(2))},
    ),
    "encoder_hidden_states": lambda s: ({}, {"encoder_hidden_states": states(2, KEYS)}),
    "encoder_attention_mask": lambda s: (
        {},
        {"encoder_attention_mask": torch.tensor([[1, 1, 1, 0]] * BATCH)},
    ),
    "past_key_values": lambda s: ({}, {"past_key_values": cache_of(s)}),
    "use_cache": lambda s: ({"use_cache": True}, {"use_cache": False}),
    "output_attentions": lambda s: ({"output_attentions": False}, {"output_attentions": True}),
    "output_hidden_states": lambda s: ({"output_hidden_states": False}, {"output_hidden_states": True}),
    "return_dict": lambda s: ({"return_dict": True}, {"return_dict": False}),
    "labels": lambda s: ({"labels": labels_of(s, 1)}, {"labels": labels_of(s, 2)}),
    "start_positions": lambda s: (
        {"start_positions": torch.tensor([1, 2]), "end_positions": torch.tensor([3, 3])},
        {"start_positions": torch.tensor([2, 1]), "end_positions": torch.tensor([3, 3])},
    ),
    "end_positions": lambda s: (
        {"start_positions": torch.tensor([1, 2]), "end_positions": torch.tensor([3, 3])},
        {"start_positions": torch.tensor([1, 2]), "end_positions": torch.tensor([4, 5])},
    ),
}
#: Arguments that the configuration can set for all calls: the argument's own value goes before it.
SET_BY_CONFIG = {
    "use_cache": True,
    "output_attentions": False,
    "output_hidden_states": False,
    "return_dict": True,
}


@pytest.mark.parametrize("attention", [None, "eager", "sdpa", "packed"])
@pytest.mark.parametrize(
    ("name", "argument"),
    [(name, argument) for name, methods in CLASSES.items() for argument in methods["forward"]],
)
def test_the_argument_changes_what_comes_out(name: str, argument: str, attention: str | None) -> None:
    setting = setting_of(name, attention, argument)
    one, other = CALLS[argument](setting)
    assert one.get(argument) is not other[argument]
    assert differ(setting.results(**one), setting.results(**other))
    assert not differ(setting.results(**one), setting.results(**one))


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        (name, argument)
        for name, methods in CLASSES.items()
        for argument in SET_BY_CONFIG
        if argument in methods["forward"]
    ],
)
def test_none_means_the_setting_of_the_configuration(name: str, argument: str) -> None:
    setting = setting_of(name, None, argument)
    default = SET_BY_CONFIG[argument]
    otherwise = replace(setting, fields={**setting.fields, argument: not default})
    assert not differ(setting.results(), setting.results(**{argument: default}))
    assert not differ(otherwise.results(), setting.results(**{argument: not default}))
    assert differ(setting.results(), otherwise.results())
    assert not differ(otherwise.results(**{argument: default}), setting.results())


@pytest.mark.parametrize("name", CLASSES)
def test_the_output_is_the_documented_class(name: str) -> None:
    setting = setting_of(name, None, "")
    assert type(setting.model()(**setting.call)).__name__ == OUTPUTS[name]


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        (name, argument)
        for name, methods in CLASSES.items()
        for argument in ("labels", "start_positions")
        if argument in methods["forward"]
    ],
)
def test_a_loss_comes_with_labels_and_first(name: str, argument: str) -> None:
    setting = setting_of(name, None, argument)
    changes, _ = CALLS[argument](setting)
    as_tuple = setting.model()(**(setting.call | changes), return_dict=False)
    assert as_tuple[0].shape == ()
    assert "loss" not in setting.results()
    assert torch.equal(setting.results(**changes)["loss"], as_tuple[0])


@pytest.mark.parametrize("name", CLASSES)
def test_the_constructor_reads_its_arguments(name: str) -> None:
    kind = getattr(robertakit.torch, name)
    setting = setting_of(name, None, "")
    wider = replace(setting, fields={**setting.fields, "intermediate_size": 48})
    assert {k: v.shape for k, v in setting.model().state_dict().items()} != {
        k: v.shape for k, v in wider.model().state_dict().items()
    }
    assert setting.model().config.intermediate_size == 24
    if "add_pooling_layer" in CLASSES[name]["__init__"]:
        config = setting.model().config
        assert kind(config).pooler is not None
        assert kind(config, add_pooling_layer=False).pooler is None
        assert kind(config, False).pooler is None
    else:
        assert CLASSES[name]["__init__"] == ["config"]


@pytest.mark.parametrize("name", CLASSES)
@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"input_ids": ...}, InputError),
        ({"inputs_embeds": states(1)}, InputError),
        ({"attention_mask": torch.ones(BATCH, LENGTH + 1)}, InputError),
        ({"attention_mask": torch.full((BATCH, LENGTH), 2)}, InputError),
        ({"token_type_ids": torch.full((BATCH, LENGTH), 2)}, InputError),
        ({"position_ids": torch.full((BATCH, LENGTH), 20)}, InputError),
        ({"input_ids": torch.full((BATCH, LENGTH), 40)}, InputError),
        ({"input_ids": torch.full((BATCH, LENGTH), -1)}, InputError),
        ({"input_ids": torch.full((BATCH, 19), 5)}, InputError),
        ({"head_mask": torch.ones(5)}, InputError),
        ({"labels": torch.full((BATCH, LENGTH + 1), 0)}, InputError),
        ({"no_such_argument": 1}, TypeError),
    ],
)
def test_what_cannot_be_right_raises(name: str, changes: Call, error: type[Exception]) -> None:
    """One sentence, before anything is computed; that of an unknown argument is Python's."""
    setting = setting_of(name, None, "")
    if "labels" in changes and "labels" not in CLASSES[name]["forward"]:
        error = TypeError
    shaped = {
        key: by_choice(setting, value)
        if isinstance(value, Tensor) and key not in ("head_mask", "labels")
        else value
        for key, value in changes.items()
    }
    with pytest.raises(error) as caught:
        setting.results(**shaped)
    if issubclass(error, RobertakitError):
        assert str(caught.value).endswith(".")


@pytest.mark.parametrize(
    "name", [name for name, methods in CLASSES.items() if "past_key_values" in methods["forward"]]
)
def test_a_cache_is_a_decoders(name: str) -> None:
    decoder = setting_of(name, None, "past_key_values")
    encoder = replace(decoder, fields={})
    with pytest.raises(ArgumentError, match="is_decoder"):
        encoder.results(past_key_values=cache_of(decoder))


def test_all_documented_classes_are_here() -> None:
    assert len(CLASSES) == 14
    assert {argument for methods in CLASSES.values() for argument in methods["forward"]} == set(CALLS)
    assert RobertaConfig in {getattr(robertakit.torch, name).config_class for name in CLASSES}
