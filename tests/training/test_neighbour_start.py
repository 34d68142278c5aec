"""The start for small models: heads find their neighbours, and nothing else of the model is touched."""

import pytest

torch = pytest.importorskip("torch")

from robertakit import RobertaConfig, RobertaForMaskedLM  # noqa: E402
from robertakit.errors import ArgumentError  # noqa: E402
from robertakit.training.neighbour_start import NEIGHBOURS, look_at_neighbours  # noqa: E402


def small(**changes: int) -> RobertaForMaskedLM:
    sizes = {
        "vocab_size": 30, "hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 6,
        "intermediate_size": 16, "max_position_embeddings": 40,
    }  # fmt: skip
    torch.manual_seed(3)
    return RobertaForMaskedLM(RobertaConfig(**{**sizes, **changes}))


def test_each_head_finds_a_neighbour_of_its_own() -> None:
    model = small()
    look_at_neighbours(model)
    looks = model.roberta.encoder.layer[0].attention.self
    places = model.roberta.embeddings.position_embeddings.weight[2:].detach()
    with torch.no_grad():
        queries, keys = looks.query(places), looks.key(places)
    middle = range(5, 30)
    found = set()
    for head in range(6):
        own = slice(head * 16, (head + 1) * 16)
        best = (queries[:, own] @ keys[:, own].T).argmax(-1)
        steps = {int(best[at]) - at for at in middle}
        assert len(steps) == 1
        found |= steps
    assert found == set(NEIGHBOURS)


def test_the_rest_is_as_it_was() -> None:
    before, model = small().state_dict(), small()
    look_at_neighbours(model)
    changed = {name for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {
        "roberta.embeddings.position_embeddings.weight",
        "roberta.encoder.layer.0.attention.self.query.weight",
        "roberta.encoder.layer.0.attention.self.key.weight",
    }
    padding = model.roberta.embeddings.position_embeddings.weight[:2]
    assert torch.equal(padding, before["roberta.embeddings.position_embeddings.weight"][:2])


def test_odd_sizes_are_refused() -> None:
    with pytest.raises(ArgumentError, match="even"):
        look_at_neighbours(small(hidden_size=90))
