"""The sentiment of a text, and the bodies of /api/analyze."""

from typing import Literal

from sqlmodel import Field, SQLModel

from api.fields import TEXT_EXAMPLE, ReviewText

Label = Literal["positive", "negative"]


class Sentiment(SQLModel):
    """The model's classification of one text."""

    label: Label
    score: float = Field(ge=0, le=1, description="Probability of the label, from 0 to 1.")
    model_version: str = Field(description="Version of the registered model that answered.")


class Analysis(Sentiment):
    """The classification of a text that is not stored."""

    truncated: bool = Field(default=False, description="Whether the model ignored part of a long text.")
    known_share: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="Share of the text's words that occur in the training reviews, from 0 to 1; null if the"
        " version does not say. Below one half the label means little.",
    )


class SentimentError(SQLModel):
    """The reason why one text could not be classified."""

    error: str


class Analyze(SQLModel):
    model_config = {"extra": "forbid"}

    text: ReviewText = Field(schema_extra={"examples": [TEXT_EXAMPLE]})


class AnalyzeBatch(SQLModel):
    model_config = {"extra": "forbid"}

    # Plain strings: an invalid text is one error among the results, not a 422 for the whole batch.
    texts: list[str] = Field(
        min_length=1, max_length=64, schema_extra={"examples": [[TEXT_EXAMPLE, "Dull."]]}
    )


class AnalyzeBatchPublic(SQLModel):
    results: list[Analysis | SentimentError] = Field(description="One per text, in order.")
