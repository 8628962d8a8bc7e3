"""Conversation: what do customers wait, message after message, when each of them writes several?

Sessions of turns, with time to read and think between them; a turn waits for the answer to the one before
(docs/reference/sessions.md).
"""

from chatload.locust_adapter import Stream


class Conversation(Stream):
    sessions = "turns=3.2,turns_cv=0.8,think=24s,think_cv=1.5"
    corpus = "corpus/support.tsv"
    warmup = "5s"
    objective = "p99<250ms,errors<1%"
