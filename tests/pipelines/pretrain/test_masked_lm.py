from pathlib import Path

import pytest
import torch
from transformers import DistilBertForMaskedLM, PreTrainedTokenizerFast

from pipelines.core.checkpoints import Checkpoints
from pipelines.core.params import load_params
from pipelines.modeling.encoders import load_base
from pipelines.modeling.trainer import train
from pipelines.pretrain.masked_lm.model import MaskedTokenModel, load_masked_lm
from pipelines.pretrain.masked_lm.trainer import chunk, make_trainer, mask_tokens
from tests.project import ROOT

TEXTS = ["A three-hour cinema master class.", "Dull.", "It's rare to find a film that is this gentle."]


@pytest.fixture(scope="module")
def packaged() -> tuple[MaskedTokenModel, PreTrainedTokenizerFast]:
    return load_masked_lm("minilm", seed=1)


def test_eight_in_ten_of_the_predicted_tokens_are_masked(
    packaged: tuple[MaskedTokenModel, PreTrainedTokenizerFast],
) -> None:
    tokenizer = packaged[1]
    torch.manual_seed(1)
    ids = torch.randint(1000, 20_000, (100, 102))
    ids[:, 0], ids[:, 90], ids[:, 91:] = (
        tokenizer.cls_token_id,
        tokenizer.sep_token_id,
        tokenizer.pad_token_id,
    )
    masked, predicted = mask_tokens(ids, tokenizer, probability=0.2)
    assert not predicted[:, [0, *range(90, 102)]].any()
    assert predicted[:, 1:90].float().mean() == pytest.approx(0.2, abs=0.02)
    assert torch.equal(masked[~predicted], ids[~predicted])
    hidden, same = masked[predicted] == tokenizer.mask_token_id, masked[predicted] == ids[predicted]
    assert hidden.float().mean() == pytest.approx(0.8, abs=0.03)
    assert same.float().mean() == pytest.approx(0.1, abs=0.03)


def test_the_packaged_encoder_is_unchanged_and_its_head_shares_the_word_embeddings(
    packaged: tuple[MaskedTokenModel, PreTrainedTokenizerFast],
) -> None:
    model = packaged[0]
    whole = load_base("minilm", dropout=0.0)[0].distilbert.state_dict()
    own = model.distilbert.state_dict()
    assert set(whole) - set(own) == {name for name in whole if name.startswith("transformer.layer.6.")}
    assert all(torch.equal(weight, whole[name]) for name, weight in own.items())
    assert model.vocab_projector.weight is model.distilbert.embeddings.word_embeddings.weight


def test_a_model_from_a_folder_keeps_its_head_and_gives_the_same_logits(
    tiny_encoder: Path,
) -> None:
    reference = DistilBertForMaskedLM.from_pretrained(tiny_encoder)
    model, tokenizer = load_masked_lm(str(tiny_encoder), seed=1)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    predicted = ids == tokenizer.sep_token_id
    with torch.no_grad():
        expected = reference.train(False)(input_ids=ids, attention_mask=mask).logits[predicted]
        assert torch.allclose(model.train(False)(ids, mask, predicted), expected, atol=1e-5)


def test_chunks_contain_every_token(packaged: tuple[MaskedTokenModel, PreTrainedTokenizerFast]) -> None:
    tokenizer = packaged[1]
    long = "A very long and winding film. " * 40
    found = chunk([long, "", "Dull."], tokenizer, max_tokens=32)["input_ids"]
    assert all(row[0] == tokenizer.cls_token_id and row[-1] == tokenizer.sep_token_id for row in found)
    lengths = [len(row) for row in found]
    assert max(lengths) <= 32
    assert max(lengths[:-1]) - min(lengths[:-1]) <= 1
    inside = [token for row in found for token in row[1:-1]]
    assert inside == [
        token for text in (long, "Dull.") for token in tokenizer(text, add_special_tokens=False)["input_ids"]
    ]


def pretrained(base: Path, folder: Path, **changes: float) -> tuple[MaskedTokenModel, list[float]]:
    """Train on TEXTS; return the model and its losses."""
    params = load_params(ROOT / "params.yaml")
    chosen = params.pretrain.model_copy(update=changes)
    model, tokenizer = load_masked_lm(str(base), seed=1)
    trainer = make_trainer(
        params.model_copy(update={"pretrain": chosen}), model, tokenizer, TEXTS * 3, folder
    )
    state = train(trainer, model, Checkpoints(folder), seconds=60)
    return model, [entry["loss"] for entry in state.log_history if "loss" in entry]


def test_the_loss_decreases(tiny_encoder: Path, tmp_path: Path) -> None:
    _, losses = pretrained(tiny_encoder, tmp_path, epochs=100.0, learning_rate=0.03)
    assert losses[-1] < losses[0] / 2


def test_a_batch_without_predicted_tokens_has_a_loss_of_zero(tiny_encoder: Path, tmp_path: Path) -> None:
    model, losses = pretrained(tiny_encoder, tmp_path, epochs=1.0, hidden=1e-9)
    assert losses == [0.0]
    assert all(weight.isfinite().all() for weight in model.parameters())
