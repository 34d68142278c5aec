"""Make ``tests/golden/fill_mask``: two tiny trained models, and what transformers 4.57 answers with them.

Run in an environment with torch, sentencepiece and transformers 4.57. The answers were taken as they are; where they
are wrong, the tests say so.
"""

import json
import random
import sys
from pathlib import Path

import sentencepiece
import torch
import transformers
from tokenizers import ByteLevelBPETokenizer

HOME = Path(__file__).resolve().parent.parent / "tests" / "golden" / "fill_mask"
SENTENCES = [
    "The capital of France is Paris.",
    "The capital of Italy is Rome.",
    "Plants create oxygen through a process known as photosynthesis.",
    "I love pizza and I like pasta.",
    "The cat sat on the mat, and the dog ran away.",
    "Elle a déjà vu la façade du café.",
    "今日はとても良い天気です。",
]
CALLS = [
    ["The capital of France is <mask>.", {}],
    ["The capital of <mask> is Paris.", {"top_k": 2}],
    ["The <mask> of <mask> is Paris.", {"top_k": 2}],
    ["I love <mask> and I like pasta.", {"targets": [" pizza", " cat"]}],
    ["I love <mask> and I like pasta.", {"targets": " pizza"}],
    ["I love <mask> and I like <mask>.", {"targets": [" pizza", " cat", " pizza"], "top_k": 1}],
    ["  The  cat <mask>  on the mat", {"top_k": 3}],
    ["photo<mask>sis.", {"top_k": 3}],
    ["<mask> cat sat on the mat", {"top_k": 3}],
    ["Elle a déjà vu la façade du <mask>.", {"top_k": None}],
    [
        "Plants create <mask> through " + "a process known as " * 40,
        {"tokenizer_kwargs": {"truncation": True}},
    ],
    ["今日はとても<mask>天気です。", {"top_k": 2}],
]


def shuffled(lines: int) -> list[str]:
    """Return lines of our words in random order, from which whole words come out as pieces."""
    words = " ".join(SENTENCES).split()
    draw = random.Random(1)
    return [" ".join(draw.sample(words, 12)) for _ in range(lines)]


def tokenizer_of(family: str, folder: Path) -> transformers.PreTrainedTokenizerFast:
    """Train a vocabulary on the sentences."""
    folder.mkdir(parents=True, exist_ok=True)
    if family == "roberta":
        bpe = ByteLevelBPETokenizer()
        special = ["<s>", "<pad>", "</s>", "<unk>"]
        bpe.train_from_iterator(
            SENTENCES * 4, vocab_size=500, min_frequency=2, special_tokens=special, show_progress=False
        )
        bpe.add_special_tokens(["<mask>"])
        bpe.save_model(str(folder))
        vocabulary = json.loads((folder / "vocab.json").read_text())
        vocabulary["<mask>"] = len(vocabulary)
        (folder / "vocab.json").write_text(json.dumps(vocabulary, ensure_ascii=False))
        return transformers.RobertaTokenizerFast.from_pretrained(str(folder), model_max_length=62)
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(shuffled(200)), model_prefix=str(folder / "sentencepiece.bpe"), vocab_size=180,
        character_coverage=1.0, hard_vocab_limit=False, minloglevel=2,
    )  # fmt: skip
    (folder / "sentencepiece.bpe.vocab").unlink()
    return transformers.XLMRobertaTokenizerFast.from_pretrained(str(folder), model_max_length=62)


def train(family: str, tokenizer: transformers.PreTrainedTokenizerFast) -> transformers.PreTrainedModel:
    """Fit the sentences, so that the answers are words."""
    torch.manual_seed(20260101)
    kind = "Roberta" if family == "roberta" else "XLMRoberta"
    config = getattr(transformers, kind + "Config")(
        vocab_size=len(tokenizer), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=64, type_vocab_size=1, layer_norm_eps=1e-5, initializer_range=0.1,
        hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
    )  # fmt: skip
    model = getattr(transformers, kind + "ForMaskedLM")(config)
    batch = tokenizer(SENTENCES, padding=True, return_tensors="pt")
    special = torch.isin(batch["input_ids"], torch.tensor([0, 1, 2]))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(300):
        masked = (torch.rand(special.shape) < 0.3) & ~special
        labels = batch["input_ids"].masked_fill(~masked, -100)
        ids = batch["input_ids"].masked_fill(masked, tokenizer.mask_token_id)
        loss = model(ids, attention_mask=batch["attention_mask"], labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    print(family, f"loss {loss.item():.3f}, {len(tokenizer)} ids", file=sys.stderr)
    return model.eval()


def main() -> None:
    """Write models and answers."""
    for family in ("roberta", "xlm-roberta"):
        folder = HOME / family
        tokenizer = tokenizer_of(family, folder)
        model = train(family, tokenizer)
        model.save_pretrained(folder)
        (folder / "generation_config.json").unlink(missing_ok=True)
        (folder / "tokenizer_config.json").write_text(
            json.dumps(
                {"tokenizer_class": type(tokenizer).__name__.removesuffix("Fast"), "model_max_length": 62}
            )
            + "\n"
        )
        fill = transformers.pipeline("fill-mask", model=model, tokenizer=tokenizer, device=-1)
        answers = [
            {"text": text, "arguments": options, "answer": fill(text, **options)} for text, options in CALLS
        ]
        lines = ",\n".join(json.dumps(answer, ensure_ascii=False) for answer in answers)
        (folder / "answers.json").write_text(f"[\n{lines}\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
