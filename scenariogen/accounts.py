"""What a file was found to be: rows, span, units assumed, what was dropped and why, what is wrong with it.

``scenariogen inspect`` shows an account; whatever converts a file saves it beside the result.
"""

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

from scenariogen.errors import DataError, Problems

ACCOUNT_SUFFIX = ".account.json"
EXAMPLES_SHOWN = 3
READ_AS = "read as"
"""The fact that names the format of a file whose rows went through more than one step."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something noticed in a file.

    ``text``       what, in words
    ``rows``       how many rows it concerns; 0 where it concerns the file
    ``examples``   where it is first seen, a few
    ``is_problem`` the file cannot be used for what it lacks, as opposed to a remark
    """

    text: str
    rows: int = 0
    examples: tuple[str, ...] = ()
    is_problem: bool = False

    def line(self) -> str:
        count = f"{self.rows:,} rows " if self.rows else ""
        where = f" (for example {', '.join(self.examples)})" if self.examples else ""
        return f"{count}{self.text}{where}"


@dataclass(frozen=True, kw_only=True)
class FileAccount:
    """The account of one file.

    ``file``       its name, without the folder
    ``format``     the short name that ``--format`` takes, and ``title`` what that is
    ``rows``       rows read; ``kept`` of them stand in the result, ``dropped`` says why the others do not
    ``subjects``   vehicles or incidents, named by ``subject``
    ``span``       first and last time in the file's own clock, as text
    ``facts``      anything else worth a line: sampling period, coordinates, projection
    ``units``      result column to where it came from and in which unit, and whether that was said or assumed
    ``derived``    result column to how it was computed
    ``findings``   what is wrong or odd
    """

    file: str
    format: str
    title: str
    subject: str
    rows: int = 0
    kept: int = 0
    dropped: Mapping[str, int] = field(default_factory=dict)
    subjects: int = 0
    span: tuple[str, str] | None = None
    facts: Mapping[str, str] = field(default_factory=dict)
    units: Mapping[str, str] = field(default_factory=dict)
    derived: Mapping[str, str] = field(default_factory=dict)
    findings: tuple[Finding, ...] = ()

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What stands in the way of using the file."""
        return tuple(finding for finding in self.findings if finding.is_problem)

    def lines(self) -> list[str]:
        """The account for people."""
        head = [
            f"{self.file}: {self.title} ({self.format})",
            f"rows         {self.rows:,} read, {self.kept:,} kept",
            *(f"             {count:,} dropped: {why}" for why, count in self.dropped.items()),
            f"{self.subject:<12} {self.subjects:,}",
        ]
        if self.span is not None:
            head.append(f"span         {self.span[0]} to {self.span[1]}")
        head += [f"{name:<12} {text}" for name, text in self.facts.items()]
        head += [f"column       {name}: {text}" for name, text in self.units.items()]
        head += [f"derived      {name}: {text}" for name, text in self.derived.items()]
        return head + [f"{'problem' if each.is_problem else 'note':<12} {each.line()}" for each in self.findings]

    def then(self, later: "FileAccount") -> "FileAccount":
        """The account of two steps, this one first: the file and the rows that were read, what is kept in the end, and
        what was left out, derived and noticed on the way."""
        findings = sorted((*self.findings, *later.findings), key=lambda each: not each.is_problem)
        units = {name: text for name, text in self.units.items() if name not in later.derived}
        return replace(
            later,
            file=self.file,
            rows=self.rows,
            dropped=dict(Counter(self.dropped) + Counter(later.dropped)),
            facts={READ_AS: f"{self.title} ({self.format})", **self.facts, **later.facts},
            units={**units, **later.units},
            derived={**self.derived, **later.derived},
            findings=tuple(findings),
        )

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "FileAccount":
        """The account that :meth:`to_json` wrote. Raises ``DataError`` for anything else."""
        names = {each.name for each in fields(cls)}
        if not isinstance(value, Mapping) or not set(value) <= names or not {"file", "format"} <= set(value):
            raise DataError(f"not an account: expected an object with {', '.join(sorted(names))}")
        entries = dict(value)
        entries["findings"] = tuple(
            Finding(**{**each, "examples": tuple(each["examples"])}) for each in value.get("findings", ())
        )
        entries["span"] = tuple(value["span"]) if value.get("span") else None
        return cls(**entries)

    def save_beside(self, result: Path) -> Path:
        """Write the account as JSON beside the file that the converted rows stand in."""
        path = account_path(result)
        path.write_text(json.dumps(self.to_json(), indent=2) + "\n", encoding="utf-8")
        return path


def account_path(result: Path) -> Path:
    """Where the account of a converted file stands: ``x.parquet`` has ``x.parquet.account.json`` beside it."""
    return result.with_name(result.name + ACCOUNT_SUFFIX)


def account_beside(result: Path) -> FileAccount | None:
    """The account that was saved beside a converted file, None where there is none. Raises ``DataError`` where it is
    damaged."""
    path = account_path(result)
    if not path.is_file():
        return None
    try:
        return FileAccount.from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(f"{path} cannot be read as an account ({error}); remove it, or convert again") from error


class AccountBook:
    """What a reader writes down while it reads; :meth:`close` makes the account of it.

    >>> book = AccountBook(file="x.csv", format="csv", title="a table", subject="vehicles")
    >>> book.drop("negative duration", 3, example="line 7")
    >>> book.note("speed is zero everywhere", rows=10)
    >>> book.close(kept=7).dropped
    {'negative duration': 3}
    """

    def __init__(self, *, file: str, format: str, title: str, subject: str) -> None:
        self.file, self.format, self.title, self.subject = file, format, title, subject
        self.rows = 0
        self.facts: dict[str, str] = {}
        self.units: dict[str, str] = {}
        self.derived: dict[str, str] = {}
        self._dropped: Counter[str] = Counter()
        self._findings: dict[str, Finding] = {}

    def drop(self, why: str, rows: int = 1, *, example: str = "") -> None:
        """Count rows that are left out. The reason also becomes a finding where an example is given."""
        if rows:
            self._dropped[why] += rows
            if example:
                self.note(f"dropped: {why}", rows=rows, example=example)

    def note(self, text: str, *, rows: int = 0, example: str = "") -> None:
        """A remark; the same words again add up."""
        self._add(text, rows, example, is_problem=False)

    def problem(self, text: str, *, rows: int = 0, example: str = "") -> None:
        """Something that stands in the way; the same words again add up."""
        self._add(text, rows, example, is_problem=True)

    def _add(self, text: str, rows: int, example: str, *, is_problem: bool) -> None:
        before = self._findings.get(text, Finding(text=text, is_problem=is_problem))
        examples = before.examples
        if example and len(examples) < EXAMPLES_SHOWN and example not in examples:
            examples = (*examples, example)
        self._findings[text] = Finding(text=text, rows=before.rows + rows, examples=examples, is_problem=is_problem)

    @property
    def dropped(self) -> dict[str, int]:
        return dict(self._dropped)

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Problems first, then remarks, each in the order in which they were met."""
        return tuple(sorted(self._findings.values(), key=lambda each: not each.is_problem))

    def raise_problems(self, title: str) -> None:
        """A ``DataError`` with every problem written down so far, or nothing."""
        problems = Problems(title)
        problems.extend(each.line() for each in self.findings if each.is_problem)
        problems.raise_as(DataError)

    def close(
        self, *, kept: int, subjects: int = 0, span: Iterable[str] | None = None, rows: int | None = None
    ) -> FileAccount:
        """The account. ``rows`` defaults to what was counted in :attr:`rows`, or else kept plus dropped."""
        counted = rows if rows is not None else self.rows or kept + sum(self._dropped.values())
        first_last = tuple(span) if span is not None else None
        return FileAccount(
            file=self.file,
            format=self.format,
            title=self.title,
            subject=self.subject,
            rows=counted,
            kept=kept,
            dropped=self.dropped,
            subjects=subjects,
            span=None if first_last is None else (first_last[0], first_last[1]),
            facts=dict(self.facts),
            units=dict(self.units),
            derived=dict(self.derived),
            findings=self.findings,
        )
