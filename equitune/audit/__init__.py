"""One call, one page: is a model equivariant, and which method makes it better at which cost."""

from __future__ import annotations

from equitune.audit.page import Audit, Row
from equitune.audit.run import audit
from equitune.audit.statistics import Gain

__all__ = ["Audit", "Gain", "Row", "audit"]
