"""The embeddings: what is summed, and the row of padding, which no lookup changes."""

import jax.numpy as jnp
import numpy as np


def test_rows_are_summed_and_normalised(models):
    model = models.build("model")
    table = {name: np.asarray(value) for name, value in model.contents.named(model.params).items()}
    ids, types, positions = np.array([[5, 1]]), np.array([[1, 0]]), np.array([[2, 1]])
    embeddings = model.module.bind({"params": model.params}).embeddings
    summed = sum(
        table[f"embeddings.{name}_embeddings.weight"][rows]
        for name, rows in (("word", ids), ("token_type", types), ("position", positions))
    )
    want = (summed - summed.mean(-1, keepdims=True)) / np.sqrt(summed.var(-1, keepdims=True) + 1e-12)
    want = want * table["embeddings.LayerNorm.weight"] + table["embeddings.LayerNorm.bias"]
    found = embeddings(jnp.array(ids), jnp.array(types), jnp.array(positions))
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-5)


def test_looking_padding_up_gives_its_row_no_gradient(models):
    model, call = models.build("token-classification"), models.call("token-classification")
    del call["attention_mask"]  # padding is attended to

    def of_all_rows(params):
        return jnp.square(model(**call, params=params).logits).sum()

    gradient = models.gradients(of_all_rows, model.params)["roberta"]["embeddings"]
    for name in ("word_embeddings", "position_embeddings"):
        rows = np.abs(np.asarray(gradient[name]["embedding"])).sum(1)
        assert rows[1] == 0
        assert rows[3:].any()
    assert np.asarray(gradient["token_type_embeddings"]["embedding"]).all()


def test_a_tied_decoder_still_moves_the_row_of_padding(models):
    model, call = models.build("masked-lm"), models.call("masked-lm", labels=True)
    gradient = models.gradients(lambda params: model(**call, params=params).loss, model.params)
    assert np.asarray(gradient["roberta"]["embeddings"]["word_embeddings"]["embedding"])[1].any()
