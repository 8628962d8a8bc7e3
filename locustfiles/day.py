"""Day: does a day's peak fit on this machine, when its night and its morning come before?

The day in corpus/day.txt is played 24 times as fast: an hour with --run-time 1h.
--rate is its mean, its peak is 1.9 times that.
"""

from chatload.locust_adapter import Stream


class Day(Stream):
    arrivals = "profile:file=corpus/day.txt,speed=24"
    corpus = "corpus/support.tsv"
    warmup = "5s"
    objective = "p99<250ms,errors<1%"
