"""The undisturbed run that a fault's outcome is compared with, and the ledger of all faults: the table of docs/reliability.md."""

import os
import shutil
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from injection import Ended, Job, differing, written

from brainldm.core.files import read_json, write_json


class Reference(NamedTuple):
    """The undisturbed run: its folder, its jobs in order, what each has written, seconds that each takes, and the release."""

    folder: Path
    jobs: list[Job]
    written: dict[str, dict[str, str]]
    seconds: dict[str, float]
    release: dict[str, str]

    def copy(self, folder: Path) -> Path:
        """A copy to damage; file times are kept."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, symlinks=True)
        return folder

    def of(self, stage: str) -> list[Job]:
        """The jobs of a stage."""
        return [job for job in self.jobs if job.stage == stage]

    def check(self, folder: Path, job: Job) -> None:
        """What the job's stage has written is what it was, byte for byte."""
        others = differing(written(folder, job), self.written[job.stage])
        assert not others, f"{job.name}: not the same bytes: {others[:5]}"


class Ledger:
    """All faults brought in: kind, where, and what came of it; by test, so that a suite that is run in parts can be told as one."""

    def __init__(self, kept: Path | None) -> None:
        self.kept, self.fresh = kept, set[str]()
        self.tests: dict[str, list[tuple[str, str, str]]] = read_json(kept) if kept and kept.exists() else {}

    @property
    def entries(self) -> list[tuple[str, str, str]]:
        """Of all tests."""
        return [entry for entries in self.tests.values() for entry in entries]

    def _add(self, kind: str, where: str, outcome: str) -> None:
        test = os.environ["PYTEST_CURRENT_TEST"].rpartition(" ")[0]
        told = self.tests[test] if test in self.fresh else []
        self.fresh.add(test)
        if self.kept and self.kept.exists():  # another part may run beside this one
            self.tests = read_json(self.kept)
        self.tests[test] = [*told, (kind, where, outcome)]
        if self.kept:
            write_json(self.kept, self.tests)

    @contextmanager
    def injection(self, kind: str, where: str) -> Iterator[list[str]]:
        """One fault; the test appends what came of it. A test that fails is an entry too."""
        told: list[str] = []
        try:
            yield told
        except Exception as error:
            self._add(kind, where, f"**not met**: {str(error)[:80]!r}")
            raise
        self._add(kind, where, "; ".join(told))

    def table(self) -> str:
        """A line for each kind and place."""
        groups: dict[tuple[str, str], Counter[str]] = {}
        for kind, where, outcome in self.entries:
            groups.setdefault((kind, where), Counter())[outcome] += 1
        lines = ["| fault | where | times | outcome |", "|---|---|---|---|"]
        for (kind, where), outcomes in sorted(groups.items()):
            told = "; ".join(f"{outcome} ({count})" if len(outcomes) > 1 else outcome for outcome, count in outcomes.most_common())
            lines.append(f"| {kind} | {where} | {outcomes.total()} | {told} |")
        return "\n".join(lines)


def refused(ended: Ended, name: str) -> str:
    """The one line of our own error, which must name the file or folder."""
    assert ended.status == 1, (ended.status, ended.text[-2000:])
    assert "Traceback" not in ended.text, ended.text[-3000:]
    said = ended.text[ended.text.index("brainldm: error: ") :]
    assert name in said, said
    return said
