"""A drill's report as JUnit XML, for CI: one test case for each fault."""

from __future__ import annotations

import re
from xml.etree import ElementTree as Xml

from holdfast.drill.report import DrillReport, Outcome

# What XML 1.0 has no place for, escaped or not.
_NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_SUITE = "holdfast drill"
_SHOWN = 20


def junit(report: DrillReport) -> str:
    """Return the report as XML.

    A fault that was not made is a skipped case; one after which an older checkpoint has to be put
    in place by hand passes, with words.
    """
    command = " ".join(report.command)
    suite = Xml.Element(
        "testsuite",
        name=_SUITE,
        tests=str(len(report.outcomes) + 1),
        failures=str(
            sum(o.status == "failed" for o in report.outcomes) + (not report.undisturbed.repeatable)
        ),
        errors="0",
        skipped=str(sum(o.status == "skipped" for o in report.outcomes)),
        time=f"{report.seconds:.3f}",
    )
    _repeatable(suite, report, command)
    for outcome in report.outcomes:
        _case(suite, outcome, command)
    suites = Xml.Element("testsuites", name=_SUITE)
    suites.append(suite)
    Xml.indent(suites)
    return Xml.tostring(suites, encoding="unicode", xml_declaration=True) + "\n"


def _repeatable(suite: Xml.Element, report: DrillReport, command: str) -> None:
    seconds = f"{report.undisturbed.seconds:.3f}"
    case = Xml.SubElement(
        suite, "testcase", classname=_text(command), name="undisturbed", time=seconds
    )
    if not report.undisturbed.repeatable:
        words = "two undisturbed runs do not end the same"
        causes = [cause.words for cause in report.undisturbed.causes]
        failure = Xml.SubElement(case, "failure", message=_text(words), type="not-repeatable")
        leaves = report.undisturbed.difference.leaves[:_SHOWN]
        differing = [f"{d.saved}: {d.path}: {d.words}" for d in leaves]
        failure.text = _text("\n".join([*causes, *differing]))


def _case(suite: Xml.Element, outcome: Outcome, command: str) -> None:
    case = Xml.SubElement(
        suite,
        "testcase",
        classname=_text(command),
        name=outcome.fault,
        time=f"{outcome.seconds:.3f}",
    )
    if outcome.status == "skipped":
        Xml.SubElement(case, "skipped", message=_text(outcome.words))
    elif outcome.status == "failed":
        kind = outcome.causes[0].rule if outcome.causes else "differs"
        message = outcome.causes[0].words if outcome.causes else outcome.words
        failure = Xml.SubElement(case, "failure", message=_text(message), type=kind)
        causes = [cause.words for cause in outcome.causes]
        failure.text = _text("\n".join([outcome.what, outcome.words, *causes, *outcome.output]))
    else:
        Xml.SubElement(case, "system-out").text = _text(f"{outcome.what}\n{outcome.words}")


def _text(text: str) -> str:
    return _NO_XML.sub("?", text)
