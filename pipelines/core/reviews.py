"""Values of the columns of data/reviews.csv that several stages use."""

LABELS = ("negative", "positive")
"""Names of the labels 0 and 1, in this order."""

UNKNOWN_MOVIE = "unknown"
"""The movie_id of a review whose source does not name a movie."""
