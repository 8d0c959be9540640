"""In CI no judge may be missing: a test that is skipped since a program or a right is not there has failed."""

import os

import pytest


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport():
    report = yield
    if report.skipped and isinstance(report.longrepr, tuple) and os.environ.get("CI") == "true":
        reason = report.longrepr[2]
        if "not installed" in reason or "needs root" in reason:
            report.outcome = "failed"
            report.longrepr = f"in CI this may not be skipped: {reason}"
    return report
