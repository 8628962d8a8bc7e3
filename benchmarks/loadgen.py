"""The peer: MLPerf LoadGen's Server scenario (Poisson, latency from the scheduled time), posting through a pool of threads.

Run by benchmarks/generators.py with the Python of $LOADGEN_PYTHON, which has mlcommons-loadgen installed. Prints one JSON
line: p50 and p99 in ms. LoadGen only schedules; the threads and their HTTP client are Python's own, as in its published
demos.
"""

import http.client
import json
import queue
import re
import sys
import tempfile
import threading
from pathlib import Path
from urllib.parse import urlsplit

import mlperf_loadgen as lg

BODY = json.dumps({"text": "change company address"}).encode()
THREADS = 16


def main(url: str, rate: float, seconds: int) -> None:
    """Runs LoadGen at ``rate`` for ``seconds`` against a server that answers the contract."""
    address = urlsplit(url)
    work: queue.SimpleQueue = queue.SimpleQueue()

    def post_for_ever() -> None:
        connection = http.client.HTTPConnection(address.hostname or "", address.port)
        while True:
            sample = work.get()
            connection.request("POST", "/predictions/intent", BODY, {"Content-Type": "application/json"})
            connection.getresponse().read()
            lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, 0, 0)])

    for _ in range(THREADS):
        threading.Thread(target=post_for_ever, daemon=True).start()

    def issue(samples: list) -> None:
        for sample in samples:
            work.put(sample)

    settings = lg.TestSettings()
    settings.scenario, settings.mode = lg.TestScenario.Server, lg.TestMode.PerformanceOnly
    settings.server_target_qps, settings.server_target_latency_ns = rate, 100_000_000
    settings.min_duration_ms, settings.min_query_count = seconds * 1000, 100
    system = lg.ConstructSUT(issue, lambda: None)
    library = lg.ConstructQSL(1, 1, lambda _: None, lambda _: None)
    with tempfile.TemporaryDirectory() as folder:
        logs = lg.LogSettings()
        logs.log_output.outdir = folder
        lg.StartTestWithLogSettings(system, library, settings, logs)
        text = (Path(folder) / "mlperf_log_summary.txt").read_text()
    found = dict(re.findall(r"^(\d+)\.00 percentile latency \(ns\)\s*:\s*(\d+)", text, re.M))
    print(json.dumps({f"p{share}_ms": int(found[share]) / 1e6 for share in ("50", "99")}), flush=True)


main(sys.argv[1], float(sys.argv[2]), int(sys.argv[3]))
