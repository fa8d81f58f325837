"""A real, tiny model in the layout that the pipeline's export writes, and its registration."""

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path

import openvino as ov
import torch
from mlflow import MlflowClient
from mlflow.entities import Metric, RunTag
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import DistilBertConfig, DistilBertForSequenceClassification

from pipelines.export.openvino_ir import convert

MAX_TOKENS = 64
WINDOWS = 2
LICENSE = Path(__file__).resolve().parents[2] / "LICENSE"
SIGNATURE = Path(__file__).with_name("MLmodel")
"""As `export` logs it; a test holds the two together."""
REVIEWS = [
    "A warm, funny and beautifully acted film that stays with you for days.",
    "The plot makes no sense and the jokes fall flat from the first scene.",
    "I laughed, I cried, and I want to see it again.",
    "Two hours of my life that I will never get back.",
    "The photography is gorgeous, but the story goes nowhere.",
    "Not bad at all.",
    "An instant classic, with a lead performance for the ages, a script that never wastes a word, and a score"
    " that lifts every scene it touches; go and see it on the largest screen that you can find.",
    "Dull.",
    "The sequel that nobody asked for, made by people who did not care.",
    "A clever thriller which keeps its best surprise for the very last minute.",
    "It tries hard to be moving and ends up merely long.",
    "Wonderful!",
]


def build_model(folder: Path, seed: int) -> Path:
    """Write serving/ with random weights: its answers mean nothing and are always the same."""
    folder.mkdir(parents=True)
    tokenizer = build_tokenizer()
    tokenizer.save(str(folder / "tokenizer.json"))
    with warnings.catch_warnings(action="ignore"):  # tracing warns of branches that depend on the shape
        converted = convert(build_classifier(tokenizer.get_vocab_size(), seed))
    ov.save_model(converted, folder / "model.xml", compress_to_fp16=False)
    serving = {"labels": ["negative", "positive"], "max_tokens": MAX_TOKENS, "windows": WINDOWS}
    (folder / "serving.json").write_text(json.dumps(serving))
    return folder


def build_trained(serving: Path, seed: int) -> Path:
    """Write model/ beside serving/: the same weights as transformers saves them."""
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
        initializer_range=0.5,  # else every text gets a score within 0.01 of every other
    )
    return DistilBertForSequenceClassification(config)


def build_tokenizer() -> Tokenizer:
    """WordPiece as in BERT, its vocabulary learnt from English text."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    trainer = trainers.WordPieceTrainer(vocab_size=1000, special_tokens=special, show_progress=False)
    tokenizer.train_from_iterator([*REVIEWS, *LICENSE.read_text().splitlines()], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def register(
    client: MlflowClient,
    serving: Path,
    accuracy: str | None = "0.8",
    *,
    metrics: Mapping[str, float] | None = None,
    run_tags: Mapping[str, str] | None = None,
    tags: Mapping[str, str] | None = None,
    signature: Path | None = SIGNATURE,
) -> str:
    """Register the folder, and model/ beside it, as the pipeline does. Returns the version."""
    experiment = client.get_experiment_by_name("sentiment")
    assert experiment is not None
    run_id = log_run(client, experiment.experiment_id, dict(metrics or {}), dict(run_tags or {}))
    model = client.create_logged_model(experiment.experiment_id, name="sentiment", source_run_id=run_id)
    client.log_model_artifacts(model.model_id, str(serving), "serving")
    all_tags = {"weights_sha256": hashlib.sha256((serving / "model.bin").read_bytes()).hexdigest()}
    if (trained := serving.parent / "model").is_dir():
        client.log_model_artifacts(model.model_id, str(trained), "model")
        weights = (trained / "model.safetensors").read_bytes()
        all_tags["trained_sha256"] = hashlib.sha256(weights).hexdigest()
    if signature:
        client.log_model_artifact(model.model_id, str(signature))
    client.finalize_logged_model(model.model_id, "READY")
    if accuracy is not None:
        all_tags["accuracy"] = accuracy
    all_tags |= {"data_md5": "data", "split_sha256": "split"} | dict(tags or {})
    # A server wants the id; without one MLflow would look for it in its global store and not in the client's.
    model_id = model.model_id if client.tracking_uri.startswith("http") else None
    version = client.create_model_version(
        "sentiment", model.artifact_location, run_id=run_id, tags=all_tags, model_id=model_id
    )
    return str(version.version)


def log_run(client: MlflowClient, experiment_id: str, metrics: dict[str, float], tags: dict[str, str]) -> str:
    """A run as `evaluate` leaves it: behaviour passed and nothing lost, unless told otherwise."""
    run_id: str = client.create_run(experiment_id).info.run_id
    figures = {"accuracy": 0.8, "reference_accuracy": 0.8, "accuracy_loss": 0.0} | metrics
    client.log_batch(
        run_id,
        metrics=[Metric(name, value, 0, 0) for name, value in figures.items()],
        tags=[RunTag(*tag) for tag in ({"behaviour": "passed"} | tags).items() if tag[1]],
    )
    client.set_terminated(run_id)
    return run_id
