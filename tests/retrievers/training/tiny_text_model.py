"""A random BERT of a few kilobytes that embeds texts of a small vocabulary, and a toy set that it can learn."""

from __future__ import annotations

from pathlib import Path

from ragkit.retrievers.training.examples import (
    TrainingList,
    TrainingPassage,
    TrainingQuestion,
    TrainingSet,
)

# Of letters alone: digits do not count where near duplicates are looked for.
WORDS = [f"w{chr(97 + i // 8)}{chr(97 + i % 8)}" for i in range(40)]


def make_tiny_model(folder: Path, seed: int = 0) -> Path:
    import torch
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    torch.manual_seed(seed)
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    core = Tokenizer(models.WordLevel({token: i for i, token in enumerate([*special, *WORDS])}, "[UNK]"))
    core.pre_tokenizer = pre_tokenizers.Whitespace()
    core.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=core,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        model_max_length=32,
    )
    config = BertConfig(
        vocab_size=len(core.get_vocab()),
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=32,
    )
    BertModel(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    model = SentenceTransformer(modules=[Transformer(str(folder)), Pooling(16)], device="cpu")
    model.save_pretrained(str(folder), create_model_card=False)
    return folder


def toy_set(num_questions: int = 40) -> TrainingSet:
    """Question i asks for word i; passage i has it as word (i + 1), which only training can know."""
    passages = {
        f"p{i}": TrainingPassage(f"p{i}", f"{WORDS[(i + 1) % 40]} {WORDS[(7 * i) % 40]}")
        for i in range(num_questions)
    }
    questions = {f"q{i}": TrainingQuestion(f"q{i}", WORDS[i]) for i in range(num_questions)}
    lists = []
    for i in range(num_questions):
        others = [(i + step) % num_questions for step in (3, 11, 17)]
        lists.append(
            TrainingList(f"q{i}", tuple(f"p{j}" for j in (i, *others)), (1.0, 0.65, 0.2, 0.1)[: len(others) + 1])
        )
    return TrainingSet(passages, questions, tuple(lists))
