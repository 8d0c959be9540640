"""Reports in tests: written, read again as a page, and as tables."""

import csv
import gettext
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

from pyarrow import parquet

from audits.reports import Language, write
from commands.wording import DOMAIN, LOCALE

VOID = {"meta", "br", "rect", "path", "circle"}


def english():
    return Language("en", lambda text: text)


def vietnamese():
    return Language("vi", gettext.translation(DOMAIN, LOCALE, languages=["vi"]).gettext)


class Page(HTMLParser):
    """A page as a strict reader takes it: every element closed in order, every identifier once."""

    def __init__(self, text):
        super().__init__(convert_charrefs=True)
        self.text, self.tags, self.attributes, self.ids, self.words = text, [], [], [], []
        self.open = []
        self.feed(text)
        self.close()
        assert self.open == []
        assert len(self.ids) == len(set(self.ids))

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]
        self.ids += [value for name, value in attributes if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attributes]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in {"style", "title", "desc"}:
            self.words.append(data)

    @property
    def said(self):
        return " ".join(" ".join(self.words).split())


@dataclass
class Made:
    """A report that was written, its page and its tables."""

    written: object

    @property
    def report(self):
        return self.written.report

    @property
    def page(self):
        return Page(Path(self.written.path).read_text(encoding="utf-8"))

    def table(self, name):
        with open(Path(self.written.folder) / f"{name}.csv", encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))

    def parquet(self, name):
        return parquet.read_table(Path(self.written.folder) / f"{name}.parquet").to_pylist()


def made(place, path=None, *, language=None, **more):
    """Write a report on the repository at ``place``."""
    path = path or place.folder / "report.html"
    return Made(write(place.open(read_only=True), str(path), language or english(), **{"remember": False, **more}))
