"""Builds a tiny real model, in the layout that the pipeline exports. Imports torch, which takes seconds."""

import json
import warnings
from pathlib import Path

import openvino as ov
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from pipelines.export.openvino_ir import convert
from pipelines.served_form.known_words import write_known_words
from tests.bentos.reviews import MAX_TOKENS, WINDOWS
from tests.bentos.reviews import REVIEWS as REVIEWS

LICENSE = Path(__file__).resolve().parents[2] / "LICENSE"


def build_model(folder: Path, seed: int) -> Path:
    """Write serving/ with random weights: its predictions are meaningless, but reproducible.

    The model with seed 0 is like those of earlier releases, which do not say what words they know.
    """
    folder.mkdir(parents=True)
    tokenizer = build_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    with warnings.catch_warnings(action="ignore"):  # tracing warns about branches that depend on the shape
        converted = convert(build_classifier(tokenizer.get_vocab_size(), seed))
    ov.save_model(converted, folder / "model.xml", compress_to_fp16=False)
    serving = {"labels": ["negative", "positive"], "max_tokens": MAX_TOKENS, "windows": WINDOWS}
    (folder / "serving.json").write_text(json.dumps(serving))
    if seed:
        write_known_words(folder, REVIEWS)
    return folder


def build_trained(serving: Path, seed: int) -> Path:
    """Write model/ beside serving/: the same weights, as saved by transformers."""
    vocabulary = Tokenizer.from_file(str(serving / "tokenizer.json")).get_vocab_size()
    trained = serving.parent / "model"
    build_classifier(vocabulary, seed).save_pretrained(trained)
    return trained


def build_classifier(vocabulary: int, seed: int) -> DistilBertForSequenceClassification:
    torch.manual_seed(seed)
    config = DistilBertConfig(
        vocab_size=vocabulary,
        dim=32,
        n_heads=2,
        n_layers=2,
        hidden_dim=64,
        initializer_range=0.5,  # otherwise all scores lie within 0.01 of each other
    )
    return DistilBertForSequenceClassification(config)


def build_tokenizer() -> Tokenizer:
    """Build a WordPiece tokenizer like BERT's, of the words and characters of English text.

    Not trained: a trainer breaks ties at random, and other ids mean other predictions.
    """
    normalizer, words = normalizers.BertNormalizer(lowercase=True), pre_tokenizers.BertPreTokenizer()
    text = normalizer.normalize_str("\n".join([*REVIEWS, LICENSE.read_text()]))
    found = {word for word, _ in words.pre_tokenize_str(text)}
    characters = {character for word in found for character in word}
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    pieces = [*special, *sorted(found | characters), *sorted(f"##{one}" for one in characters)]
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normalizer, words
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer
