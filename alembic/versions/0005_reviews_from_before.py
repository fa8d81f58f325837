"""Adds the reviews written before the triggers of 0003 to `movie` and `movie_month`.

Revision ID: 0005
Revises: 0004
Create Date: 2026-11-23 09:00:00+00:00
"""

from alembic import op

revision: str = "0005"
down_revision: str = "0004"
branch_labels: None = None
depends_on: None = None

COUNTS = {
    "reviews": "count(*)",
    "positive": "count(*) FILTER (WHERE sentiment_label = 'positive')",
    "negative": "count(*) FILTER (WHERE sentiment_label = 'negative')",
    "ratings": "count(rating)",
    "rating_sum": "coalesce(sum(rating), 0)",
}
MONTH = "date_trunc('month', created_at AT TIME ZONE 'UTC')::date"
BATCH_SIZE = 10_000
"""Reviews per transaction, which locks the rows of their movies."""


def add_missing_counts(table: str, keys: dict[str, str]) -> str:
    """Return SQL that adds the difference between reviews and counts, for movies in (`done`, `upto`].

    A statement sees reviews and counts in one snapshot. The triggers change both in one transaction, so their
    difference is always the contribution of the reviews older than the triggers, and can be added to the
    current counts whatever they are. Rows without a difference are not written, so the statement can be
    repeated. It locks rows in the same order as the triggers, which prevents deadlocks.
    """
    names, sums = ", ".join(keys), ", ".join(f"sum({count}) AS {count}" for count in COUNTS)
    named = ", ".join(f"{of} AS {key}" for key, of in keys.items())
    counted = ", ".join(f"{of} AS {count}" for count, of in COUNTS.items())
    kept = ", ".join(f"-{count}" for count in COUNTS)
    added = ", ".join(f"{count} = kept.{count} + EXCLUDED.{count}" for count in COUNTS)
    here = "movie_id > done AND movie_id <= upto"
    return f"""
        INSERT INTO {table} AS kept ({names}, {", ".join(COUNTS)})
        SELECT * FROM (
            SELECT {names}, {sums} FROM (
                SELECT {named}, {counted} FROM review WHERE {here} GROUP BY {", ".join(keys.values())}
                UNION ALL
                SELECT {names}, {kept} FROM {table} WHERE {here}
            ) AS either GROUP BY {names}
        ) AS missing
        WHERE ({", ".join(COUNTS)}) <> (0, 0, 0, 0, 0)
        ORDER BY {names}
        ON CONFLICT ({names}) DO UPDATE SET {added};
        COMMIT;
    """  # noqa: S608 - constants only


def upgrade() -> None:
    """Count in batches, each a transaction. The triggers count movies above `last` written meanwhile."""
    with op.get_context().autocommit_block():
        op.execute(f"""
            DO $$
            DECLARE
                done text := '';
                upto text;
                last text := greatest((SELECT max(movie_id) FROM review), (SELECT max(movie_id) FROM movie));
            BEGIN
                WHILE done < last LOOP
                    upto := coalesce((
                        SELECT movie_id FROM review WHERE movie_id > done
                        ORDER BY movie_id OFFSET {BATCH_SIZE - 1} LIMIT 1
                    ), last);
                    {add_missing_counts("movie", {"movie_id": "movie_id"})}
                    {add_missing_counts("movie_month", {"movie_id": "movie_id", "month": MONTH})}
                    done := upto;
                END LOOP;
            END $$
        """)  # noqa: S608 - constants only


def downgrade() -> None:
    """Nothing to do: the counts are correct for 0003 too."""
