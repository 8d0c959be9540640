"""Reports: what people read of a repository, as a page, a PDF and tables."""

from audits.reports.language import Language
from audits.reports.writing import Written, write

__all__ = ["Language", "Written", "write"]
