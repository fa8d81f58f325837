"""The page of Prometheus metrics, read from the objects that the processes expose."""

from collections.abc import Iterator
from types import ModuleType

from prometheus_client import Counter
from prometheus_client.metrics import MetricWrapperBase

from api import metrics as api_metrics
from bentos.sentiment import metrics as bento_metrics
from docs.generate.markdown import WIDE, code, table
from docs.generate.markdown import page as markdown_page

HEAD = ("Metric", "Type", "Labels", "Meaning")


def metrics(module: ModuleType) -> Iterator[MetricWrapperBase]:
    return (value for value in vars(module).values() if isinstance(value, MetricWrapperBase))


def row(metric: MetricWrapperBase) -> tuple[str, str, str, str]:
    (family,) = metric.describe()
    name = f"{family.name}_total" if isinstance(metric, Counter) else family.name
    labels = ", ".join(map(code, metric._labelnames))
    return code(name), family.type, labels, family.documentation


def page() -> str:
    api = [row(metric) for metric in metrics(api_metrics)]
    worker = [line for line in api if line[0].startswith("`worker_")]
    return WIDE + markdown_page(
        "Metrics",
        "the metric objects of `api` and `bentos`",
        "Every process answers `GET /metrics` in the Prometheus text format. A histogram `NAME` consists of "
        "the series `NAME_bucket`, `NAME_sum` and `NAME_count`.",
        "## The API",
        table(HEAD, [line for line in api if line not in worker]),
        "## The worker",
        "The worker listens on `WORKER_METRICS_PORT` unless that is 0. It also exposes the API's metrics of "
        "the database and of the Bento.",
        table(HEAD, worker),
        "## The Bento",
        "Next to [BentoML's own metrics](https://docs.bentoml.com/en/latest/build-with-bentoml/observability/metrics.html):",
        table(HEAD, [row(metric) for metric in metrics(bento_metrics)]),
    )
