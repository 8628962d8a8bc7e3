"""Chatbot: what do customers wait when they write at a steady average rate, each on their own?

Independent customers make a Poisson process. Latency counts from the moment at which the customer's message was due.
"""

from chatload.locust_adapter import Stream


class Chatbot(Stream):
    arrivals = "poisson"
    corpus = "corpus/support.tsv"
    warmup = "5s"
    objective = "p99<250ms,errors<1%"
