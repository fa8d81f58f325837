"""What the columns of data/reviews.csv mean to every stage."""

LABELS = ("negative", "positive")
"""The names of the labels, in the order of their numbers: 0 and 1."""

UNKNOWN_MOVIE = "unknown"
"""The movie of a review whose source names none."""
