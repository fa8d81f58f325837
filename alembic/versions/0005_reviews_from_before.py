"""Counts into `movie` and `movie_month` the reviews that were there before the triggers of 0003.

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
AT_A_TIME = 10_000
"""Reviews: for so many the rows of their movies are locked until all are added."""


def add_what_is_missing(table: str, keys: dict[str, str]) -> str:
    """To the movies after `done` and up to `upto`, what their reviews come to less what is kept.

    One statement sees reviews and figures of one moment. Since the triggers, a transaction changes both or
    neither; so the difference is what came before them, at any moment, and can be added to whatever the
    figures are by then. Where nothing is missing nothing is written: it can be done again. The order is that
    of the triggers, so that none waits for another in a circle.
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
    """  # noqa: S608 - our own words


def upgrade() -> None:
    """In parts, each its own transaction. What comes above `last` meanwhile is counted by the triggers."""
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
                        ORDER BY movie_id OFFSET {AT_A_TIME - 1} LIMIT 1
                    ), last);
                    {add_what_is_missing("movie", {"movie_id": "movie_id"})}
                    {add_what_is_missing("movie_month", {"movie_id": "movie_id", "month": MONTH})}
                    done := upto;
                END LOOP;
            END $$
        """)  # noqa: S608 - our own words


def downgrade() -> None:
    """Nothing: the figures belong to 0003, and are right."""
