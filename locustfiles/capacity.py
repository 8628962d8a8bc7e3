"""Capacity: how many questions a second does this server answer within the objective?

Tries one rate after the other, each in a run of its own, from --rate on (docs/reference/capacity.md).
"""

from chatload.locust_adapter import CapacitySearch, Stream


class Capacity(Stream):
    rate = 20.0
    arrivals = "poisson"
    corpus = "corpus/support.tsv"
    warmup = "5s"
    objective = "p99<100ms,errors<0.1%"


class Search(CapacitySearch):
    pass
