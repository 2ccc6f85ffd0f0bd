"""Small generators with random weights, one for each way to condition, and a small text encoder on disk."""

from pathlib import Path

import pytest
import torch

from openflextok.conditioning.labels import LabelSum
from openflextok.config import (
    ConditionerConfig,
    GeneratorConfig,
    GPTConfig,
    LabelPrefixConfig,
    LabelSumConfig,
    TextCrossConfig,
    TextPrefixConfig,
)
from openflextok.generators.generator import Generator

CLASSES = ("apple", "banana", "cherry")
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "green", "bus", "apple", "photo", "of"]
KINDS = ("label_prefix", "label_sum", "text_prefix", "text_cross")


@pytest.fixture(scope="session")
def encoder_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A BERT of width 16 over eleven words, with random weights, as transformers saves it."""
    from tokenizers import Tokenizer as Words
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace
    from tokenizers.processors import TemplateProcessing
    from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

    folder = tmp_path_factory.mktemp("encoder") / "bert"
    words = Words(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.post_processor = TemplateProcessing("[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    torch.manual_seed(0)
    BertModel(
        BertConfig(
            vocab_size=len(WORDS),
            hidden_size=16,
            num_hidden_layers=1,
            num_attention_heads=2,
            intermediate_size=32,
            initializer_range=0.5,
        )
    ).save_pretrained(folder)
    return folder


def conditioner(kind: str, encoder: Path) -> ConditionerConfig:
    return {
        "label_prefix": LabelPrefixConfig(CLASSES),
        "label_sum": LabelSumConfig(CLASSES),
        "text_prefix": TextPrefixConfig(str(encoder), 16, 6),
        "text_cross": TextCrossConfig(str(encoder), 16, 6),
    }[kind]


def small(kind: ConditionerConfig | None = None, digits: tuple[int, ...] = (), std: float = 0.3) -> Generator:
    """2 blocks of width 32, 60 ids, 8 tokens; weights large enough that everything counts."""
    torch.manual_seed(0)
    gpt = GPTConfig(32, 2, 60, 8, digits, head_dim=16)
    generator = Generator(GeneratorConfig(gpt, kind or LabelPrefixConfig(CLASSES), "somewhere", "0123456789abcdef"))
    for name, parameter in generator.named_parameters():
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=std)
        elif "norm" in name:
            torch.nn.init.normal_(parameter, mean=1.0, std=0.2)
    if isinstance(generator.conditioner, LabelSum):
        generator.conditioner.embedding.weight.data[-1] = 0  # as training leaves it
    return generator.eval().requires_grad_(False)


def wanted(generator: Generator, count: int = 3) -> dict[str, list[str | None]]:
    """`count` different conditions, the last of them none."""
    words = {"labels": ["banana", "apple"], "captions": ["a red bus", "green apple"]}[generator.conditioner.kind]
    return {generator.conditioner.kind: [*words, None][-count:]}
