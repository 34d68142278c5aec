"""What PEFT, accelerate and Trainer do to our models holds on packed tokens as on padded ones."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robertakit.torch import RobertaForMaskedLM

pytestmark = [
    pytest.mark.peers,
    pytest.mark.filterwarnings("default"),  # what others deprecate among themselves is not our business
]
QUERY = "roberta.encoder.layer.0.attention.self.query.weight"


def lora(model: nn.Module, **fields: object) -> Any:
    """The model with adapters of rank 4, on queries and values unless told otherwise."""
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(**{"r": 4, "lora_alpha": 16, "target_modules": ["query", "value"], **fields})
    return get_peft_model(model, config)


def widen(model: nn.Module) -> None:
    """Adapters begin as zeros; give them values that show."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if "lora_" in name:
                parameter.copy_(torch.randn(parameter.shape, generator=generator) * 0.3)


@contextmanager
def rows_counted(model: nn.Module, suffix: str) -> Iterator[dict[str, int]]:
    """How many rows enter each module whose path ends so."""
    counts: dict[str, int] = {}

    def count(path: str, given: tuple[Tensor, ...]) -> None:
        counts[path] = counts.get(path, 0) + given[0].numel() // given[0].shape[-1]

    hooks = [
        module.register_forward_pre_hook(lambda _, given, path=path: count(path, given))
        for path, module in model.named_modules()
        if path.endswith(suffix)
    ]
    try:
        yield counts
    finally:
        for hook in hooks:
            hook.remove()


def moved(model: nn.Module, before: dict[str, Tensor]) -> set[str]:
    return {name for name, tensor in model.state_dict().items() if not torch.equal(tensor, before[name])}


@pytest.mark.parametrize("way", ["packed", "sdpa", "eager"])
@pytest.mark.parametrize("head", ["masked-lm", "sequence-classification", "token-classification"])
def test_the_loss_of_lora_falls_and_nothing_but_adapters_moves(
    models: ModuleType, head: str, way: str
) -> None:
    torch.manual_seed(0)
    adapted = lora(models.build(head, attn_implementation=way)).train()
    call = models.ragged(head, labels=True)
    before = {name: tensor.clone() for name, tensor in adapted.state_dict().items()}
    trained = [parameter for parameter in adapted.parameters() if parameter.requires_grad]
    assert len(trained) == 2 * 2 * 2, "two layers, two modules, two factors"
    optimizer = torch.optim.AdamW(trained, lr=0.02)
    losses = []
    for _ in range(30):
        loss = adapted(**call).loss
        loss.backward()
        assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in trained)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(float(loss.detach()))
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    assert moved(adapted, before) == {name for name in before if "lora_" in name}


@pytest.mark.parametrize("head", ["model", "masked-lm", "question-answering"])
def test_packed_tokens_go_through_the_adapters(models: ModuleType, head: str) -> None:
    """Real tokens only, to the values that the padded path gives."""
    adapted = lora(models.build(head)).eval()
    call = models.ragged(head)
    with torch.no_grad():
        plain = adapted(**call)[0]
        widen(adapted)
        with rows_counted(adapted, "lora_A.default") as rows:
            packed = adapted(**call)[0]
        assert len(rows) == 4
        assert set(rows.values()) == {int(call["attention_mask"].sum())}
        adapted.config.attn_implementation = "sdpa"
        with rows_counted(adapted, "lora_A.default") as rows:
            padded = adapted(**call)[0]
        assert set(rows.values()) == {call["input_ids"].numel()}
    real = call["attention_mask"].bool()
    torch.testing.assert_close(packed[real], padded[real], rtol=1e-5, atol=1e-5)
    assert (packed[real] - plain[real]).abs().max() > 0.1


def test_gradients_of_adapters_are_those_of_the_padded_path(models: ModuleType) -> None:
    gradients = []
    for way in ("packed", "sdpa"):
        adapted = lora(models.build("masked-lm", attn_implementation=way)).eval()
        widen(adapted)
        adapted(**models.ragged("masked-lm", labels=True)).loss.backward()
        gradients.append({n: p.grad for n, p in adapted.named_parameters() if p.requires_grad})
    for name, ours in gradients[0].items():
        error, norm = (torch.linalg.vector_norm(x) for x in (ours - gradients[1][name], gradients[1][name]))
        assert error <= 1e-5 * norm, name
        assert norm > 0, name


def test_adapters_fit_their_model_and_a_merged_model_is_read_there(
    tmp_path: Path, models: ModuleType
) -> None:
    import transformers
    from peft import PeftModel

    base = models.build("masked-lm")
    base.save_pretrained(tmp_path / "base")
    adapted = lora(copy.deepcopy(base)).eval()
    widen(adapted)
    adapted.save_pretrained(tmp_path / "adapter")
    call = models.ragged("masked-lm")
    real = call["attention_mask"].bool()
    theirs = transformers.RobertaForMaskedLM.from_pretrained(tmp_path / "base")
    with torch.no_grad():
        expected = adapted(**call).logits[real]
        foreign = PeftModel.from_pretrained(theirs, tmp_path / "adapter").eval()
        torch.testing.assert_close(foreign(**call).logits[real], expected, rtol=1e-5, atol=1e-4)
        merged = adapted.merge_and_unload()
        assert list(merged.state_dict()) == list(base.state_dict())
        assert not torch.equal(merged.state_dict()[QUERY], base.state_dict()[QUERY])
        merged.save_pretrained(tmp_path / "merged")
        again = transformers.RobertaForMaskedLM.from_pretrained(tmp_path / "merged").eval()
        torch.testing.assert_close(again(**call).logits[real], expected, rtol=1e-5, atol=1e-4)


def test_adapters_on_every_linear_layer_beside_a_head_that_is_trained_whole(models: ModuleType) -> None:
    head = "sequence-classification"
    adapted = lora(models.build(head), target_modules="all-linear", task_type="SEQ_CLS").train()
    names = {name for name, parameter in adapted.named_parameters() if parameter.requires_grad}
    assert {path.split(".lora_")[0].rsplit(".", 1)[-1] for path in names if ".lora_" in path} == {
        "query",
        "key",
        "value",
        "dense",
    }
    assert any("classifier.modules_to_save" in name for name in names)
    adapted(**models.ragged(head, labels=True)).loss.backward()
    assert all(parameter.grad is not None for parameter in adapted.parameters() if parameter.requires_grad)


def test_an_adapted_decoder_generates(models: ModuleType) -> None:
    decoder = lora(models.build("causal-lm", is_decoder=True), task_type="CAUSAL_LM").eval()
    ids = models.ragged("causal-lm", (4, 4))["input_ids"]
    plain = decoder.generate(input_ids=ids, max_new_tokens=5, do_sample=False)
    widen(decoder)
    adapted = decoder.generate(input_ids=ids, max_new_tokens=5, do_sample=False)
    assert plain.shape == adapted.shape == (2, 9)
    assert torch.equal(adapted[:, :4], ids)
    assert not torch.equal(adapted, plain)


def test_the_state_that_accelerate_saves_comes_back(tmp_path: Path, models: ModuleType) -> None:
    """Tied weights are stored once; the optimizer and the order of the data go on where they were."""
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    call = models.ragged("masked-lm", labels=True)
    rows = [{name: value[i] for name, value in call.items()} for i in range(5)]
    model, optimizer, loader = accelerator.prepare(
        *(mine := models.build("masked-lm"), torch.optim.AdamW(mine.parameters(), lr=1e-3)),
        torch.utils.data.DataLoader(rows, batch_size=2),
    )

    def epoch() -> list[float]:
        losses = []
        for batch in loader:
            loss = model(**batch).loss
            accelerator.backward(loss)
            accelerator.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            losses.append(float(loss.detach()))
        return losses

    first = epoch()
    accelerator.save_state(tmp_path)
    second = epoch()
    assert sum(second) < sum(first)
    assert accelerator.unwrap_model(model) is mine
    accelerator.load_state(tmp_path)
    assert epoch() == second


# transformers' Trainer ----------------------------------------------------------------------------------------


def collate(rows: list[dict[str, Any]]) -> dict[str, Tensor]:
    """Pad to the longest."""
    fillers = {"input_ids": 1, "attention_mask": 0, "labels": -100}
    longest = max(len(row["input_ids"]) for row in rows)

    def pad(name: str, value: Any) -> Any:
        return value if isinstance(value, int) else value + [fillers[name]] * (longest - len(value))

    return {name: torch.tensor([pad(name, row[name]) for row in rows]) for name in rows[0]}


def dataset(head: str, count: int) -> list[dict[str, Any]]:
    generator = torch.Generator().manual_seed(0)
    rows = []
    for index in range(count):
        ids = torch.randint(4, 61, (3 + 5 * index % 17,), generator=generator).tolist()
        labels = index % 3 if head == "sequence-classification" else ids
        rows.append({"input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels})
    return rows


def trainer_of(model: nn.Module, folder: Path, head: str, **fields: object) -> Any:
    import transformers

    arguments = {
        "max_steps": 3, "per_device_train_batch_size": 4, "per_device_eval_batch_size": 4, "use_cpu": True,
        "report_to": [], "logging_steps": 1, "disable_tqdm": True, "save_strategy": "no",
    }  # fmt: skip
    return transformers.Trainer(
        model=model,
        args=transformers.TrainingArguments(str(folder), **(arguments | fields)),
        train_dataset=dataset(head, 24),
        eval_dataset=dataset(head, 6),
        data_collator=collate,
    )


@pytest.mark.parametrize("head", ["masked-lm", "sequence-classification"])
def test_trainer_comes_to_their_weights(tmp_path: Path, models: ModuleType, head: str) -> None:
    """Three steps without dropout, packed here and padded there; losses, evaluation and weights are the same.

    By plain gradient descent: Adam divides by a gradient's own size, also where that is rounding alone (keys' biases).
    """
    import transformers

    ours = models.build(head, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    ours.save_pretrained(tmp_path / "start")
    kind = getattr(transformers, type(ours).__name__)
    theirs = kind.from_pretrained(tmp_path / "start")
    logged, evaluated = [], []
    for model in (ours, theirs):
        trainer = trainer_of(model, tmp_path, head, optim="sgd", learning_rate=0.1, seed=7)
        with rows_counted(model, "layer.0.intermediate.dense") as rows:
            trainer.train()
        computed = sum(rows.values())
        if model is ours:
            real = computed
        logged.append([entry["loss"] for entry in trainer.state.log_history if "loss" in entry])
        evaluated.append(trainer.evaluate()["eval_loss"])
    assert 0 < real < computed, "no padding here"
    assert len(logged[0]) == 3
    assert logged[0] == pytest.approx(logged[1], rel=1e-3)  # rounded to four places
    assert evaluated[0] == pytest.approx(evaluated[1], rel=1e-4)
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter, expected[name], rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}"
        )
    ours.save_pretrained(tmp_path / "end")
    again = trainer_of(kind.from_pretrained(tmp_path / "end"), tmp_path, head).evaluate()["eval_loss"]
    assert again == pytest.approx(evaluated[0], rel=1e-5)


def test_trainer_goes_on_from_a_checkpoint_of_its_own(tmp_path: Path, models: ModuleType) -> None:
    """A head that ties nothing; with what is tied, its own way of saving foreign models is at its end."""
    import safetensors.torch

    head = "sequence-classification"
    first = trainer_of(models.build(head), tmp_path, head, save_strategy="steps", save_steps=2)
    first.train()
    stored = safetensors.torch.load_file(tmp_path / "checkpoint-2" / "model.safetensors")
    assert sorted(stored) == sorted(first.model.state_dict())
    second = trainer_of(models.build(head, seed=9), tmp_path, head)
    second.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert second.state.global_step == 3
    for (name, ours), theirs in zip(first.model.named_parameters(), second.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_trainer_takes_and_saves_an_adapted_model(tmp_path: Path, models: ModuleType) -> None:
    from peft import PeftModel

    base = models.build("masked-lm")
    trainer = trainer_of(
        lora(copy.deepcopy(base)),
        tmp_path,
        "masked-lm",
        save_strategy="steps",
        save_steps=3,
        learning_rate=0.05,
    )
    trainer.train()
    loaded = PeftModel.from_pretrained(base, tmp_path / "checkpoint-3")
    call = models.ragged("masked-lm")
    with torch.no_grad():
        assert torch.equal(loaded.eval()(**call).logits, trainer.model.eval()(**call).logits)
    assert type(loaded.base_model.model) is RobertaForMaskedLM
