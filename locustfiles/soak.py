"""Soak: does latency stay what it was when the load goes on for hours?

Run it for as long as it has to hold, for example --run-time 8h. It ends early when most messages fail.
"""

from chatload.locust_adapter import Stream


class Soak(Stream):
    arrivals = "poisson"
    corpus = "corpus/support.tsv"
    warmup = "60s"
    objective = "p99<250ms,errors<0.1%"
    abort_when = "errors>50% for 60s"
