"""chatload's load side: replays utterance streams at open-loop arrival rates and says what the answers waited.

Three rings, imports point inward only (tests/test_layers.py holds this): pure modules know values and arithmetic, rim
modules touch clocks, sockets and files, edge modules face people (Locust, the command line).
"""

__version__ = "0.1.0"
