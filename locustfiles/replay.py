"""Replay: what would customers have waited on the day that was recorded?

Plays the moments in traffic.csv, or in the file that --arrivals trace:file=... names (docs/reference/arrivals.md).
"""

from chatload.locust_adapter import Stream


class Replay(Stream):
    arrivals = "trace:file=traffic.csv"
    corpus = "corpus/support.tsv"
    warmup = "5s"
    objective = "p99<250ms,errors<1%"
