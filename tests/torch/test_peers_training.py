"""What people train our models with: PEFT, accelerate, and transformers' Trainer, as they are."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from robertakit import torch as family
from robertakit.architecture import HEADS
from robertakit.torch import RobertaForMaskedLM, RobertaForSequenceClassification

pytestmark = pytest.mark.peers

TASKS = {
    "model": "FEATURE_EXTRACTION",
    "causal-lm": "CAUSAL_LM",
    "masked-lm": None,
    "sequence-classification": "SEQ_CLS",
    "multiple-choice": None,
    "token-classification": "TOKEN_CLS",
    "question-answering": "QUESTION_ANS",
}


@pytest.fixture(params=HEADS)
def head(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def kind_of(head: str) -> Any:
    return getattr(family, f"Roberta{HEADS[head].class_suffix}")


def stored(tiny: Any, head: str, folder: Path) -> Path:
    """A checkpoint of a head."""
    torch.manual_seed(0)
    kind_of(head)(tiny(is_decoder=head == "causal-lm")).save_pretrained(folder)
    return folder


def example(head: str, row: int) -> dict[str, Any]:
    """One example of a task: padded by two, so that packing has something to do."""
    ids = torch.tensor([0, 3 + row, 4 + row, 5, 2, 1, 1])
    mask = ids.ne(1).long()
    if head == "multiple-choice":
        return {"input_ids": ids.expand(2, -1), "attention_mask": mask.expand(2, -1), "labels": row % 2}
    labels = torch.where(mask.bool(), ids, -100)
    tasks: dict[str, dict[str, Any]] = {
        "model": {},
        "sequence-classification": {"labels": row % 2},
        "token-classification": {"labels": labels.clamp(max=1)},
        "question-answering": {"start_positions": 1, "end_positions": 2},
    }
    return {"input_ids": ids, "attention_mask": mask, **tasks.get(head, {"labels": labels})}


def batch_of(head: str, rows: int = 4) -> dict[str, Tensor]:
    examples = [example(head, row) for row in range(rows)]
    return {name: torch.stack([torch.as_tensor(one[name]) for one in examples]) for name in examples[0]}


def answer(model: nn.Module, head: str) -> Tensor:
    """What an example gets without its labels, at real tokens."""
    batch = batch_of(head)
    given = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        out: Tensor = model.eval()(**given)[0]
    return out[batch["attention_mask"].bool()] if out.shape[:2] == (4, 7) else out


def loss_of(out: Any) -> Tensor:
    loss: Tensor = (
        out.loss if "loss" in out and out.loss is not None else out.last_hidden_state.square().mean()
    )
    return loss


class Examples(torch.utils.data.Dataset[dict[str, Any]]):
    def __init__(self, head: str) -> None:
        self.head = head

    def __len__(self) -> int:
        return 16

    def __getitem__(self, row: int) -> dict[str, Any]:
        return example(self.head, row)


@pytest.mark.parametrize("implementation", ["sdpa", "packed"])
def test_lora_trains_saves_loads_and_merges(
    tiny: Any, tmp_path: Path, head: str, implementation: str
) -> None:
    from peft import LoraConfig, PeftModel, get_peft_model

    folder = stored(tiny, head, tmp_path / "model")
    kind = kind_of(head)

    def base() -> nn.Module:
        model: nn.Module = kind.from_pretrained(folder, attn_implementation=implementation)
        return model

    before = answer(base(), head)
    task, targets = TASKS[head], ["query", "value"]
    model: Any = get_peft_model(base(), LoraConfig(task_type=task, r=4, target_modules=targets))
    assert "lora_A" in "".join(name for name, tensor in model.named_parameters() if tensor.requires_grad)
    frozen = {name: tensor.clone() for name, tensor in model.named_parameters() if not tensor.requires_grad}
    optimizer = torch.optim.AdamW([tensor for tensor in model.parameters() if tensor.requires_grad], 0.05)
    for _ in range(3):
        loss_of(model.train()(**batch_of(head))).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert all(torch.equal(tensor, dict(model.named_parameters())[name]) for name, tensor in frozen.items())
    after = answer(model, head)
    assert (after - before).abs().max() > 0.01
    model.save_pretrained(tmp_path / "adapter")
    again: Any = PeftModel.from_pretrained(base(), tmp_path / "adapter")
    torch.testing.assert_close(answer(again, head), after, rtol=0, atol=1e-6)
    merged: Any = again.merge_and_unload()
    assert type(merged) is kind
    torch.testing.assert_close(answer(merged, head), after, rtol=0, atol=1e-4)
    merged.save_pretrained(tmp_path / "merged")
    alone, report = kind.from_pretrained(tmp_path / "merged", output_loading_info=True)
    assert not any(report.values())
    torch.testing.assert_close(answer(alone, head), after, rtol=0, atol=1e-4)


def test_lora_and_layers_computed_again(tiny: Any, tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model

    model: Any = RobertaForMaskedLM.from_pretrained(stored(tiny, "masked-lm", tmp_path))
    adapted: Any = get_peft_model(model, LoraConfig(r=4, target_modules=["query", "value"]))
    gradients = []
    for again in (False, True):
        if again:
            model.gradient_checkpointing_enable()
            model.enable_input_require_grads()
        torch.manual_seed(1)
        adapted.zero_grad()
        adapted.train()(**batch_of("masked-lm")).loss.backward()
        gradients.append([t.grad.clone() for t in adapted.parameters() if t.grad is not None])
    assert len(gradients[0]) == 8
    for ours, theirs in zip(*gradients, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_accelerate_prepares_and_saves(tiny: Any, tmp_path: Path, head: str) -> None:
    from accelerate import Accelerator

    accelerator = Accelerator(cpu=True)
    model: Any = kind_of(head).from_pretrained(stored(tiny, head, tmp_path / "model"))
    optimizer = torch.optim.AdamW(model.parameters(), 0.01)
    prepared, steps = accelerator.prepare(model, optimizer)
    before = answer(prepared, head)
    accelerator.backward(loss_of(prepared.train()(**batch_of(head))))
    steps.step()
    after = answer(prepared, head)
    assert (after - before).abs().max() > 1e-4
    accelerator.save_model(prepared, tmp_path / "weights")
    loaded = kind_of(head).from_pretrained(tmp_path / "weights", config=model.config)
    assert torch.equal(answer(loaded, head), after)
    accelerator.unwrap_model(prepared).save_pretrained(
        tmp_path / "own", is_main_process=accelerator.is_main_process, save_function=accelerator.save,
        state_dict=accelerator.get_state_dict(prepared),
    )  # fmt: skip
    assert torch.equal(answer(kind_of(head).from_pretrained(tmp_path / "own"), head), after)


@pytest.mark.parametrize(
    "device_map",
    [
        {"roberta.embeddings": "cpu", "roberta.encoder": "disk", "lm_head": "cpu"},
        {"": "cpu", "roberta.encoder.layer.1": "disk", "lm_head": "disk"},
        {"": "disk"},
        "auto",
        "balanced",
        "sequential",
    ],
    ids=str,
)
def test_a_model_may_be_spread(tiny: Any, tmp_path: Path, device_map: Any) -> None:
    folder = stored(tiny, "masked-lm", tmp_path / "model")
    whole = RobertaForMaskedLM.from_pretrained(folder)
    small = {"max_memory": {"cpu": "16KB"}} if isinstance(device_map, str) else {}
    spread: Any = RobertaForMaskedLM.from_pretrained(
        folder, device_map=device_map, offload_folder=tmp_path / "off", **small
    )
    assert "disk" in spread.hf_device_map.values()
    assert any(tensor.is_meta for tensor in spread.parameters())
    assert torch.equal(answer(spread, "masked-lm"), answer(whole, "masked-lm"))
    spread.save_pretrained(tmp_path / "again")
    again = RobertaForMaskedLM.from_pretrained(tmp_path / "again")
    assert torch.equal(answer(again, "masked-lm"), answer(whole, "masked-lm"))


def test_accelerates_own_way_of_loading(tiny: Any, tmp_path: Path) -> None:
    from accelerate import init_empty_weights, load_checkpoint_and_dispatch

    folder = stored(tiny, "masked-lm", tmp_path)
    with init_empty_weights():
        empty = RobertaForMaskedLM(tiny())
    assert all(tensor.is_meta for tensor in empty.parameters())
    empty.tie_weights()
    loaded = load_checkpoint_and_dispatch(empty, folder, device_map={"": "cpu"})
    assert torch.equal(
        answer(loaded, "masked-lm"), answer(RobertaForMaskedLM.from_pretrained(folder), "masked-lm")
    )


def trainer_of(model: nn.Module, head: str, folder: Path, saving: bool, **arguments: Any) -> Any:
    """Their trainer; saving goes through our `save_pretrained`, as the documentation of this library says."""
    from transformers import Trainer, TrainingArguments

    class SavingTrainer(Trainer):  # type: ignore[misc]
        def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
            self.model.save_pretrained(output_dir or self.args.output_dir, state_dict=state_dict)

    defaults = {
        "max_steps": 3, "per_device_train_batch_size": 4, "gradient_accumulation_steps": 2, "learning_rate": 0.01,
        "report_to": [], "use_cpu": True, "save_strategy": "no", "logging_steps": 1, "disable_tqdm": True,
    }  # fmt: skip
    chosen = TrainingArguments(str(folder), **(defaults | arguments))
    kind: Any = SavingTrainer if saving else Trainer
    return kind(model=model, args=chosen, train_dataset=Examples(head), eval_dataset=Examples(head))


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
@pytest.mark.parametrize("again", [False, True])
@pytest.mark.parametrize("head", [name for name, head in HEADS.items() if head.labels])
def test_the_trainer_takes_three_steps(tiny: Any, tmp_path: Path, head: str, again: bool) -> None:
    model = kind_of(head).from_pretrained(stored(tiny, head, tmp_path / "model"))
    before = answer(model, head)
    trainer = trainer_of(model, head, tmp_path / "run", False, gradient_checkpointing=again)
    result = trainer.train()
    assert result.global_step == 3
    assert math.isfinite(result.training_loss)
    assert model.is_gradient_checkpointing == again
    assert (answer(model, head) - before).abs().max() > 1e-3
    assert trainer.evaluate()["eval_loss"] < result.training_loss * 1.5
    predictions = trainer.predict(Examples(head)).predictions
    assert len(predictions[0] if isinstance(predictions, tuple) else predictions) == 16
    assert trainer.state.total_flos > 0


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_run_that_is_taken_up_again_ends_the_same(tiny: Any, tmp_path: Path) -> None:
    folder = stored(tiny, "masked-lm", tmp_path / "model")
    arguments = {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    whole = trainer_of(
        RobertaForMaskedLM.from_pretrained(folder), "masked-lm", tmp_path / "run", True, **arguments
    )
    whole.train()
    half = tmp_path / "run" / "checkpoint-2"
    assert {"config.json", "model.safetensors", "optimizer.pt"} <= {path.name for path in half.iterdir()}
    rest = trainer_of(
        RobertaForMaskedLM.from_pretrained(half), "masked-lm", tmp_path / "rest", True, **arguments
    )
    rest.train(resume_from_checkpoint=str(half))
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, rest.model.state_dict()[name]), name


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_a_classifiers_checkpoint_of_the_plain_trainer_loads(tiny: Any, tmp_path: Path) -> None:
    head = "sequence-classification"
    model = RobertaForSequenceClassification.from_pretrained(stored(tiny, head, tmp_path / "model"))
    trainer_of(model, head, tmp_path / "run", False, save_strategy="steps", save_steps=3).train()
    loaded = RobertaForSequenceClassification.from_pretrained(
        tmp_path / "run" / "checkpoint-3", config=model.config
    )
    assert torch.equal(answer(loaded, head), answer(model, head))
