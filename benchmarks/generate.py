"""Sampling from a server: ours, the ideal sliding window, distilabel's own client, side by side in one run.

    python benchmarks/generate.py [--requests 1024] [--in-flight 64 256] [--mean 1] [--rounds 3] [--json OUT]

Part 1: log-normal latencies (sigma 0.8), drawn once and served by prompt, so that all clients meet the same.
The ideal is what a sliding window takes by arithmetic: every place is filled the moment it is free, and
nothing costs anything. Ours is `ServerSampler` with its ledger, from the first request to the last line on
disk; of a few rounds the fastest counts, for noise only adds. distilabel is its OpenAILLM in a pipeline of
TextGeneration, 64 per batch, a replica per 64 in flight, once; what it takes with a server that answers at
once (the start of the pipeline and its processes) is measured and taken off. The server is a process of its
own; its lateness is the machine's, and hits all.

Part 2: a server that answers at once. Requests per second and the peak memory of our client's process.
"""

from __future__ import annotations

import argparse
import asyncio
import heapq
import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

SIGMA, REPLY, BATCH = 0.8, "x" * 400, 64
TARGET_IDEAL = 1.05


def latencies(count: int, mean: float) -> list[float]:
    """Seconds of each answer: log-normal, with this mean."""
    rng = random.Random(0)
    found = [rng.lognormvariate(0.0, SIGMA) for _ in range(count)]
    scale = mean * count / sum(found)
    return [scale * seconds for seconds in found]


def ideal(seconds: list[float], in_flight: int) -> float:
    """Wall seconds of a sliding window that costs nothing, requests in their order."""
    places = [0.0] * min(in_flight, len(seconds))
    for each in seconds:
        heapq.heapreplace(places, places[0] + each)
    return max(places)


def serve(count: int, mean: float) -> None:
    """The server: prints its port, answers prompt N after the Nth latency (mean 0: at once)."""
    from aiohttp import web

    waits = latencies(count, mean) if mean else [0.0] * count
    choice = {"index": 0, "message": {"role": "assistant", "content": REPLY}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 5, "completion_tokens": 100, "total_tokens": 105}
    answer = {"id": "x", "object": "chat.completion", "created": 0, "model": "m"}
    data = json.dumps({**answer, "choices": [choice], "usage": usage}).encode()

    async def models(request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": "m", "object": "model"}]})

    async def complete(request: web.Request) -> web.Response:
        if mean:
            number = int(str((await request.json())["messages"][-1]["content"]).split()[-1])
            await asyncio.sleep(waits[number])
        else:
            await request.read()
        return web.Response(body=data, content_type="application/json")

    async def start() -> None:
        app = web.Application()
        app.router.add_get("/v1/models", models)
        app.router.add_post("/v1/chat/completions", complete)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
        print(runner.addresses[0][1], flush=True)
        await asyncio.Event().wait()

    asyncio.run(start())


def ours(url: str, count: int, in_flight: int) -> dict[str, float]:
    """Our client, in this process: seconds from the first request to the last line, and its peak memory."""
    import resource

    from openr1.sampling.draw import Tally, stream
    from openr1.sampling.ledger import Ledger
    from openr1.sampling.requests import Request, SamplingParams
    from openr1.sampling.server_backend import ServerSampler

    sampler = ServerSampler([url], None, per_server=in_flight)
    requests = (Request(n, 0, ({"role": "user", "content": f"problem {n}"},)) for n in range(count))
    with tempfile.TemporaryDirectory() as folder:
        ledger, tally = Ledger(Path(folder) / "ledger.jsonl"), Tally()
        cpu = time.process_time()
        for _ in stream(sampler, requests, SamplingParams(0.6, 0.95, None, 100, 0), ledger, tally):
            pass
        assert (tally.drawn, len(ledger)) == (count, count)
    sampler.close()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": tally.seconds, "peak_mb": peak, "cpu": time.process_time() - cpu}


def distilabels(url: str, count: int, in_flight: int) -> dict[str, float]:
    """distilabel's OpenAILLM in a pipeline of its own, in this process and its children."""
    import os

    os.environ["DISTILABEL_LOG_LEVEL"] = "ERROR"
    from datasets import Dataset
    from distilabel.models.llms import OpenAILLM
    from distilabel.pipeline import Pipeline
    from distilabel.steps import StepResources
    from distilabel.steps.tasks import TextGeneration

    rows = Dataset.from_list([{"instruction": f"problem {n}"} for n in range(count)])
    with tempfile.TemporaryDirectory() as folder:
        with Pipeline(name="benchmark", cache_dir=folder) as pipeline:
            llm = OpenAILLM(model="m", base_url=f"{url}/v1", api_key="none", timeout=3600, max_retries=0)
            TextGeneration(
                llm=llm,
                input_batch_size=BATCH,
                resources=StepResources(replicas=max(1, in_flight // BATCH)),
            )
        begun = time.perf_counter()
        # As open-r1 runs it, but for the batch: large enough that the queue never runs dry.
        found = pipeline.run(dataset=rows, dataset_batch_size=BATCH * 1000, use_cache=False)
        seconds = time.perf_counter() - begun
        assert len(found["default"]["train"]) == count
        assert None not in found["default"]["train"]["generation"]
    return {"seconds": seconds}


def measured(client: str, mean: float, count: int, in_flight: int) -> dict[str, float]:
    """One client in a process of its own against a server in a process of its own."""
    here = [sys.executable, __file__]
    with subprocess.Popen(
        [*here, "serve", str(count), str(mean)], stdout=subprocess.PIPE, text=True
    ) as server:
        try:
            assert server.stdout
            url = f"http://127.0.0.1:{server.stdout.readline().strip()}"
            done = subprocess.run(
                [*here, client, url, str(count), str(in_flight)],
                stdout=subprocess.PIPE,
                text=True,
                check=True,
            )
        finally:
            server.terminate()
    found: dict[str, float] = json.loads(done.stdout.strip().splitlines()[-1])
    return found


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--requests", type=int, default=1024)
    parser.add_argument("--in-flight", type=int, nargs="+", default=[64, 256])
    parser.add_argument("--mean", type=float, default=1.0, help="seconds of an answer, on average")
    parser.add_argument("--rounds", type=int, default=3, help="of ours; the fastest counts")
    parser.add_argument("--fast-requests", type=int, default=20_000, help="of part 2")
    parser.add_argument("--no-distilabel", action="store_true")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    report: dict[str, Any] = {"requests": asked.requests, "mean_s": asked.mean, "windows": {}, "fast": {}}
    worst = 0.0
    print(f"log-normal latencies, mean {asked.mean:g} s, sigma {SIGMA}, {asked.requests:,} requests; seconds")
    for in_flight in asked.in_flight:
        best = ideal(latencies(asked.requests, asked.mean), in_flight)
        rounds = [
            measured("ours", asked.mean, asked.requests, in_flight)["seconds"] for _ in range(asked.rounds)
        ]
        mine = min(rounds)
        row = {"ideal": best, "ours": mine, "ours/ideal": mine / best, "rounds": rounds}
        line = f"  {in_flight:4} in flight: ideal {best:7.2f}   ours {mine:7.2f} ({mine / best:.3f} x ideal)"
        if not asked.no_distilabel:
            begin = measured("distilabels", 0.0, asked.requests, in_flight)["seconds"]
            whole = measured("distilabels", asked.mean, asked.requests, in_flight)["seconds"]
            row |= {"distilabel": whole, "distilabel_start": begin, "ratio": (whole - begin) / mine}
            line += f"   distilabel {whole:7.2f}, {whole - begin:7.2f} net ({row['ratio']:.2f} x ours)"
        print(line, flush=True)
        report["windows"][in_flight] = row
        worst = max(worst, row["ours/ideal"])
    print(f"a server that answers at once, {asked.fast_requests:,} requests")
    for in_flight in asked.in_flight:
        fast = measured("ours", 0.0, asked.fast_requests, in_flight)
        rate = asked.fast_requests / fast["seconds"]
        report["fast"][in_flight] = {
            "requests_per_second": rate,
            "peak_mb": fast["peak_mb"],
            "cpu": fast["cpu"],
        }
        per_cpu = asked.fast_requests / fast["cpu"]
        print(
            f"  {in_flight:4} in flight: {rate:6,.0f} requests/s, {per_cpu:,.0f} per CPU second of ours, "
            f"peak memory {fast['peak_mb']:.0f} MB",
            flush=True,
        )
    if asked.json:
        asked.json.write_text(json.dumps(report, indent=1) + "\n")
    print(f"within 5 % of the ideal: {'yes' if worst <= TARGET_IDEAL else 'NO'} (worst {worst:.3f})")
    return 0 if worst <= TARGET_IDEAL else 1


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1] == "serve":
        serve(int(sys.argv[2]), float(sys.argv[3]))
    elif len(sys.argv) > 1 and sys.argv[1] in ("ours", "distilabels"):
        work = ours if sys.argv[1] == "ours" else distilabels
        print(json.dumps(work(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
    else:
        raise SystemExit(main())
