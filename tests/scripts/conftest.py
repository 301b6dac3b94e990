"""The results folder of the tests of the report."""

from tests.report.conftest import tree as tree
