"""Values of the columns of data/reviews.csv that several stages use."""

LABELS = ("negative", "positive")
"""Names of the labels 0 and 1, in this order."""

TEST = "test"
"""The `split` of a review that belongs to its source's official test half."""

UNKNOWN_MOVIE = "unknown"
"""The movie_id of a review whose source does not name a movie."""
