import math
from pathlib import Path

import pytest

from benchmarks.serving import plot, table
from benchmarks.serving.table import Row
from tests.benchmarks.measurements import ROUNDS, measurement


def row(name: str) -> Row:
    return next(found for found in table.make_rows(ROUNDS) if found.contender == name)


def test_values_are_medians_over_the_rounds() -> None:
    ours = row("ours-api")
    assert (ours.rounds, ours.throughput, ours.errors) == (3, 40, 3)
    assert (ours.cpu_seconds, ours.cpu_milliseconds) == (2, 200)


def test_ratios_are_medians_of_ratios_within_a_round() -> None:
    """They are 60/20, 28/10 and 40/10: in round 3, another peer is the best."""
    assert row("ours-api").to_best_peer == pytest.approx(3)
    assert row("ours-api").to_engine == pytest.approx(0.7)
    assert row("fastapi").to_best_peer == 1
    assert row("engine").to_engine == 1


def test_without_peers_or_engine_there_is_no_ratio() -> None:
    (only,) = table.make_rows([measurement("ours-api", 60)])
    assert math.isnan(only.to_best_peer)
    assert math.isnan(only.to_engine)


def test_a_peer_without_a_successful_request_gives_no_ratio() -> None:
    ours, _ = table.make_rows([measurement("ours-api", 60), measurement("fastapi", 0, successful=0)])
    assert math.isnan(ours.to_best_peer)


def test_rows_are_ordered_by_clients() -> None:
    found = table.make_rows([measurement("ours-api", 60, clients=32), measurement("ours-api", 20)])
    assert [one.clients for one in found] == [1, 32]


def test_markdown_columns_are_aligned() -> None:
    lines = table.markdown(table.make_rows(ROUNDS)).splitlines()
    assert lines[0] == "### imdb, 1 client"
    assert len({len(line) for line in lines[2:]}) == 1
    ours = [cell.strip() for cell in lines[4].strip("|").split("|")]
    assert ours[:5] == ["ours, through the API", "40.0", "10.0", "20.0", "30.0"]
    assert ours[-2:] == ["3.00", "0.70"]


def test_the_plot_is_a_png(tmp_path: Path) -> None:
    plot.draw(table.make_rows([*ROUNDS, measurement("ours-api", 80, clients=32)]), tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
