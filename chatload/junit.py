"""JUnit: a verdict as the XML that CI systems read: one case for the run's validity, one for each clause of the objective.

A clause that was missed is a failure. What the run cannot say is an error, never a pass: a clause that is not decided, and
every clause of an invalid run.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, section 2.2
_KINDS = {"met": "", "missed": "failure", "undecided": "error"}


def xml(content: dict) -> str:
    """The content of junit.xml for the content of run.json."""
    run, verdict = content["run"], content["verdict"]
    cases = [("the run is valid", "error" if verdict["faults"] else "", "; ".join(verdict["faults"]))]
    cases += [_case(clause, verdict["faults"]) for clause in verdict["objective"]]
    counts = {kind: str(sum(found == kind for _, found, _ in cases)) for kind in ("failure", "error")}
    totals = {"tests": str(len(cases)), "failures": counts["failure"], "errors": counts["error"]}
    time_s = f"{run['duration_s']:.3f}"
    suites = ElementTree.Element("testsuites", totals)
    suite = ElementTree.SubElement(
        suites, "testsuite", {"name": _clean(f"chatload {run['scenario']}"), **totals, "time": time_s}
    )
    for name, kind, message in cases:
        case = ElementTree.SubElement(
            suite, "testcase", {"classname": _clean(f"chatload.{run['scenario']}"), "name": _clean(name)}
        )
        if kind:
            ElementTree.SubElement(case, kind, {"type": verdict["outcome"], "message": _clean(message)})
    ElementTree.indent(suites)
    return ElementTree.tostring(suites, encoding="utf-8", xml_declaration=True).decode() + "\n"


def _case(clause: dict, faults: list[str]) -> tuple[str, str, str]:
    """(name, failure, error or nothing, message) of a clause."""
    if faults:
        return clause["clause"], "error", "not judged: the run is invalid"
    return clause["clause"], _KINDS[clause["answer"]], clause["reason"]


def _clean(text: str) -> str:
    """``text`` without the characters that XML cannot hold, not even escaped."""
    return _NOT_XML.sub("\ufffd", text)
