"""What the reviews of a movie come to, kept up by the database with every write.

Revision ID: 0003
Revises: 0002
Create Date: 2026-11-23 06:25:00+00:00
"""

import sqlalchemy as sa
from alembic import op

revision: str = "0003"
down_revision: str = "0002"
branch_labels: None = None
depends_on: None = None

COUNTS = ("reviews", "positive", "negative", "ratings", "rating_sum")
SHARE_POSITIVE = "positive::float8 / nullif(positive + negative, 0)"
MEAN_RATING = "rating_sum::float8 / nullif(ratings, 0)"
MONTH = "date_trunc('month', created_at AT TIME ZONE 'UTC')::date"

# `sign` is 1 for a row that came and -1 for one that went; an edit is both.
EVENTS = {
    "insert": ("REFERENCING NEW TABLE AS came", "SELECT 1 AS sign, * FROM came"),
    "delete": ("REFERENCING OLD TABLE AS went", "SELECT -1 AS sign, * FROM went"),
    "update": (
        "REFERENCING OLD TABLE AS went NEW TABLE AS came",
        "SELECT 1 AS sign, * FROM came UNION ALL SELECT -1, * FROM went",
    ),
}
SUMS = """
    sum(sign) AS reviews,
    sum(sign * (sentiment_label IS NOT DISTINCT FROM 'positive')::int) AS positive,
    sum(sign * (sentiment_label IS NOT DISTINCT FROM 'negative')::int) AS negative,
    sum(sign * (rating IS NOT NULL)::int) AS ratings,
    sum(sign * coalesce(rating, 0)) AS rating_sum
"""


def count_into(table: str, keys: dict[str, str], rows: str) -> str:
    """Add what `rows` come to, in the order of the keys: so two writers never wait for each other."""
    names, grouped = ", ".join(keys), ", ".join(keys.values())
    named = ", ".join(f"{of} AS {key}" for key, of in keys.items())
    added = ", ".join(f"{count} = kept.{count} + EXCLUDED.{count}" for count in COUNTS)
    return f"""
        INSERT INTO {table} AS kept ({names}, {", ".join(COUNTS)})
        SELECT * FROM (SELECT {named}, {SUMS} FROM ({rows}) AS rows GROUP BY {grouped}) AS change
        WHERE ({", ".join(COUNTS)}) <> (0, 0, 0, 0, 0)
        ORDER BY {names}
        ON CONFLICT ({names}) DO UPDATE SET {added}
    """  # noqa: S608 - our own words


def counts(rows: str) -> list[str]:
    return [
        count_into("movie", {"movie_id": "movie_id"}, rows),
        count_into("movie_month", {"movie_id": "movie_id", "month": MONTH}, rows),
    ]


def computed(name: str, value: str) -> sa.Column[float]:
    # STORED explicitly: from version 18 on PostgreSQL defaults to VIRTUAL, which cannot be indexed.
    expression = sa.Computed(f"coalesce({value}, -1)", persisted=True)
    return sa.Column(name, sa.Float(), expression, nullable=False)


def upgrade() -> None:
    op.create_table(
        "movie",
        sa.Column("movie_id", sa.String(64), primary_key=True),
        *[sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS],
        # The keys of the sort orders: -1 stands for "unknown", so it comes last and can be a cursor.
        computed("positive_key", SHARE_POSITIVE),
        computed("rating_key", MEAN_RATING),
    )
    op.create_table(
        "movie_month",
        sa.Column("movie_id", sa.String(64), primary_key=True),
        sa.Column("month", sa.Date(), primary_key=True),
        *[sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS],
    )
    for key in ("reviews", "positive_key", "rating_key"):
        order = [sa.literal_column(f"{key} DESC"), sa.literal_column("movie_id DESC")]
        op.create_index(f"movie_by_{key}", "movie", order)
    op.create_index("movie_prefix", "movie", ["movie_id"], postgresql_ops={"movie_id": "text_pattern_ops"})
    # What was there before the triggers is counted by 0005, while others write.
    for event, (references, rows) in EVENTS.items():
        op.execute(f"""
            CREATE FUNCTION movie_count_{event}() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN {"; ".join(counts(rows))}; RETURN NULL; END $$
        """)
        op.execute(f"""
            CREATE TRIGGER movie_count_{event} AFTER {event.upper()} ON review {references}
            FOR EACH STATEMENT EXECUTE FUNCTION movie_count_{event}()
        """)
    op.execute("""
        CREATE FUNCTION movie_count_truncate() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN TRUNCATE movie, movie_month; RETURN NULL; END $$
    """)
    op.execute("""
        CREATE TRIGGER movie_count_truncate AFTER TRUNCATE ON review
        FOR EACH STATEMENT EXECUTE FUNCTION movie_count_truncate()
    """)


def downgrade() -> None:
    for event in (*EVENTS, "truncate"):
        op.execute(f"DROP TRIGGER movie_count_{event} ON review")
        op.execute(f"DROP FUNCTION movie_count_{event}()")
    op.drop_table("movie_month")
    op.drop_table("movie")
