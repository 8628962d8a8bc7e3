"""Assistant: what do customers wait when a message goes through six models, and which of them makes them wait?

A message is a turn: its language and whether it is in scope come first, then intent, product, urgency and dialogue act at
once. Needs a server with all six: make serve-assistant. docs/how-to/assistant.md
"""

from chatload.locust_adapter import Stream


class Assistant(Stream):
    calls = {
        "language": [],
        "scope": ["language"],
        "intent": ["scope"],
        "product": ["scope"],
        "urgency": ["scope"],
        "act": ["scope"],
    }
    arrivals = "poisson"
    corpus = "corpus/support.tsv"
    warmup = "5s"
    objective = "p99<500ms,errors<1%"
