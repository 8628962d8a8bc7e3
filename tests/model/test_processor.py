"""The processor as Linux tells it."""

from __future__ import annotations

from model.processor import processor

TWO_CORES = """processor\t: 0
model name\t: Some Xeon @ 2.0GHz
flags\t\t: fpu avx2 avx512f avx512_vnni sse

processor\t: 1
model name\t: Some Xeon @ 2.0GHz
flags\t\t: fpu avx2 avx512f avx512_vnni sse
"""


def test_name_and_instructions_that_matter():
    assert processor(TWO_CORES) == {
        "processor": "Some Xeon @ 2.0GHz",
        "instructions": ["avx2", "avx512f", "avx512_vnni"],
    }


def test_arm_calls_them_features():
    assert processor("processor : 0\nFeatures : fp asimd asimddp i8mm bf16\n") == {
        "processor": "unknown",
        "instructions": ["asimddp", "i8mm", "bf16"],
    }


def test_nothing_known_is_said_so():
    assert processor("") == {"processor": "unknown", "instructions": []}
