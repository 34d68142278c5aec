"""The start of the embedded model: the first layer's heads look at the neighbours that they are given."""

import pretrain
import start
import torch

from robertakit.torch import RobertaForMaskedLM


def test_each_head_of_the_first_layer_begins_with_its_neighbour():
    settings = pretrain.Settings("", steps=1, layers=2, initializer_range=0.04)
    torch.manual_seed(0)
    model = RobertaForMaskedLM(settings.config(320)).eval()
    before = {name: value.clone() for name, value in model.named_parameters()}
    start.look_at_neighbours(model, 1.7)
    ids = torch.randint(4, 319, (4, 100), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        maps = model(ids, output_attentions=True).attentions[0]  # (B, H, L, L)
    middle = torch.arange(10, 90)
    for head, step in enumerate(start.NEIGHBOURS):
        # its own position apart, which equal words draw to themselves
        looks = {by: float(maps[:, head, middle, middle + by].mean()) for by in range(-9, 10) if by}
        assert max(looks, key=lambda by: looks[by]) == step
        assert looks[step] > 5 * looks[-step]
    changed = {name for name, value in model.named_parameters() if not torch.equal(value, before[name])}
    first = "roberta.encoder.layer.0.attention.self."
    assert changed == {
        "roberta.embeddings.position_embeddings.weight", f"{first}query.weight", f"{first}key.weight"
    }  # fmt: skip
    table = model.roberta.embeddings.position_embeddings.weight.detach()
    assert not table[model.config.pad_token_id].any()
    assert abs(float(table[2:].std()) - 0.04) < 0.005  # as the words
