"""Burst: what do customers wait when messages come in bursts, as after an outage or a newsletter?

Bursts of five times the mean rate last ten seconds on average, with fifty calmer ones between (docs/reference/arrivals.md).
"""

from chatload.locust_adapter import Stream


class Burst(Stream):
    arrivals = "onoff:peak=5,on=10s,off=50s"
    corpus = "corpus/support.tsv"
    warmup = "5s"
    objective = "p99<500ms,errors<1%"
