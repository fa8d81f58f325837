"""A served form in the layout of `export`, made in milliseconds and without PyTorch."""

import json
from pathlib import Path

import numpy as np
import openvino as ov
from openvino import opset13 as ops
from tokenizers import Tokenizer, models, pre_tokenizers, processors

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "excellent", "loved", "terrible", "hated"]
LOGITS = [[0, 0]] * 4 + [[-20, 20]] * 2 + [[20, -20]] * 2
"""The logits [negative, positive] of each word; a text has their mean."""


def write_served_form(folder: Path) -> None:
    """Write serving/ of a model that knows four words."""
    folder.mkdir(parents=True)
    ids, mask = (ops.parameter([-1, -1], np.int64, name=name) for name in ("input_ids", "attention_mask"))
    table = ops.constant(np.array(LOGITS, np.float32))
    logits = ops.reduce_mean(ops.gather(table, ids, ops.constant(0)), ops.constant(1))
    for parameter in (ids, mask):
        parameter.output(0).set_names({parameter.friendly_name})
    ov.save_model(ov.Model([logits], [ids, mask]), folder / "model.xml", compress_to_fp16=False)
    tokenizer = Tokenizer(models.WordLevel({word: row for row, word in enumerate(WORDS)}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    serving = {"labels": ["negative", "positive"], "max_tokens": 64, "windows": 2}
    (folder / "serving.json").write_text(json.dumps(serving))
