"""Ray Serve with @serve.batch and one replica, in a cluster of one machine."""

import os
from typing import Any

import ray
from ray import serve
from starlette.requests import Request

from benchmarks.serving.peers.classifier import BATCH, BATCH_WAIT_SECONDS, HOST, Classifier

MEBIBYTE = 2**20


# Ray limits PyTorch to the number of CPUs that a replica requests. The other peers may use all cores.
@serve.deployment(
    num_replicas=1,
    max_ongoing_requests=16 * BATCH,  # with the default of 5, batches never fill
    ray_actor_options={"num_cpus": 0, "runtime_env": {"env_vars": {"OMP_NUM_THREADS": str(os.cpu_count())}}},
)
class Sentiment:
    def __init__(self) -> None:
        self.classify = Classifier()

    @serve.batch(max_batch_size=BATCH, batch_wait_timeout_s=BATCH_WAIT_SECONDS)  # type: ignore[untyped-decorator]
    async def batch(self, texts: list[str]) -> list[dict[str, Any]]:
        return self.classify(texts)

    async def __call__(self, request: Request) -> dict[str, Any]:
        result: dict[str, Any] = await self.batch((await request.json())["text"])
        return result


if __name__ == "__main__":
    ray.init(
        _node_ip_address=HOST,
        include_dashboard=False,
        object_store_memory=100 * MEBIBYTE,
        _temp_dir=os.environ["BENCHMARK_SCRATCH"],
    )
    serve.start(http_options={"host": HOST, "port": int(os.environ["BENCHMARK_PORT"])})
    serve.run(Sentiment.bind(), blocking=True)  # type: ignore[attr-defined]
