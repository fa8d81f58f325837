"""The service with an engine that hangs while the file HANG_WHILE exists; a real one cannot be made to."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from bentos.sentiment.champion.loaded import LoadedModel
from bentos.sentiment.engine import Prediction
from bentos.sentiment.service import Sentiment as Sentiment

hanging = Path(os.environ["HANG_WHILE"])
classify = LoadedModel.classify


def hang_and_classify(self: LoadedModel, texts: Sequence[str]) -> list[Prediction]:
    while hanging.exists():
        time.sleep(0.05)
    return classify(self, texts)


LoadedModel.classify = hang_and_classify  # type: ignore[method-assign]
