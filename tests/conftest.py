"""In CI no judge may be missing, and all is tried of which a sample is tried elsewhere; a run says which it was.

A test that is skipped in CI since a program or a right is not there has failed.
"""

import os

import pytest
import sizes


def pytest_configure(config):
    config.addinivalue_line("markers", "sampled(count): so many of its cases are tried but for CI; see tests/sizes.py")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config, items):
    if without := set(sizes.left_out(items)):
        config.hook.pytest_deselected(items=sorted(without, key=lambda item: item.nodeid))
        items[:] = [item for item in items if item not in without]


def pytest_terminal_summary(terminalreporter):
    if not sizes.ALL:
        terminalreporter.write_line(
            "The long tests tried a sample (tests/sizes.py); MOCBAN_TESTS=all tries all, as CI does."
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and os.environ.get("CI") == "true":
        reason = report.longrepr[2]
        if "not installed" in reason or "needs root" in reason:
            report.outcome = "failed"
            report.longrepr = f"in CI this may not be skipped: {reason}"
    return report
