from pathlib import Path

import pytest
import torch
from transformers import DistilBertForMaskedLM, PreTrainedTokenizerFast

from pipelines.core.checkpoints import Checkpoints
from pipelines.core.params import load_params
from pipelines.modeling.encoders import load_base
from pipelines.pretrain.masked_lm.model import MaskedTokenModel, load_masked_lm
from pipelines.pretrain.masked_lm.trainer import chunk, make_trainer, mask_tokens
from tests.project import ROOT

TEXTS = ["A three-hour cinema master class.", "Dull.", "It's rare to find a film that is this gentle."]


@pytest.fixture(scope="module")
def packaged() -> tuple[MaskedTokenModel, PreTrainedTokenizerFast]:
    return load_masked_lm("minilm", seed=1)


def test_of_what_is_asked_for_eight_in_ten_are_hidden(
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
    gaps, asked = mask_tokens(ids, tokenizer, probability=0.2)
    assert not asked[:, [0, *range(90, 102)]].any()
    assert asked[:, 1:90].float().mean() == pytest.approx(0.2, abs=0.02)
    assert torch.equal(gaps[~asked], ids[~asked])
    hidden, same = gaps[asked] == tokenizer.mask_token_id, gaps[asked] == ids[asked]
    assert hidden.float().mean() == pytest.approx(0.8, abs=0.03)
    assert same.float().mean() == pytest.approx(0.1, abs=0.03)


def test_the_packaged_encoder_is_as_it_came_and_its_head_has_its_words(
    packaged: tuple[MaskedTokenModel, PreTrainedTokenizerFast],
) -> None:
    model = packaged[0]
    whole = load_base("minilm", dropout=0.0)[0].distilbert.state_dict()
    own = model.distilbert.state_dict()
    assert set(whole) - set(own) == {name for name in whole if name.startswith("transformer.layer.6.")}
    assert all(torch.equal(weight, whole[name]) for name, weight in own.items())
    assert model.vocab_projector.weight is model.distilbert.embeddings.word_embeddings.weight


def test_a_folder_keeps_its_own_head_and_answers_what_the_whole_model_does(
    tiny_encoder: Path,
) -> None:
    theirs = DistilBertForMaskedLM.from_pretrained(tiny_encoder)
    ours, tokenizer = load_masked_lm(str(tiny_encoder), seed=1)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    asked = ids == tokenizer.sep_token_id
    with torch.no_grad():
        expected = theirs.train(False)(input_ids=ids, attention_mask=mask).logits[asked]
        assert torch.allclose(ours.train(False)(ids, mask, asked), expected, atol=1e-5)


def test_pieces_leave_nothing_out(packaged: tuple[MaskedTokenModel, PreTrainedTokenizerFast]) -> None:
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
    """The model, and its losses."""
    params = load_params(ROOT / "params.yaml")
    chosen = params.pretrain.model_copy(update=changes)
    model, tokenizer = load_masked_lm(str(base), seed=1)
    trainer = make_trainer(
        params.model_copy(update={"pretrain": chosen}), model, tokenizer, TEXTS * 3, Checkpoints(folder)
    )
    trainer.train()
    return model, [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]


def test_it_learns_to_fill_the_gaps(tiny_encoder: Path, tmp_path: Path) -> None:
    _, losses = pretrained(tiny_encoder, tmp_path, epochs=100.0, learning_rate=0.03)
    assert losses[-1] < losses[0] / 2


def test_a_batch_of_which_nothing_is_asked_teaches_nothing(tiny_encoder: Path, tmp_path: Path) -> None:
    model, losses = pretrained(tiny_encoder, tmp_path, epochs=1.0, hidden=1e-9)
    assert losses == [0.0]
    assert all(weight.isfinite().all() for weight in model.parameters())
