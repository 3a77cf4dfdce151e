"""A second witness: truth.csv of the collection against tshark. See README.md."""

import collections
import csv
import dataclasses

import extract
import known
import rules

# At most so many files may differ in the columns of attempts.
ATTEMPT_FILES_MAX = 6
PORTS_COLUMN = "max_dports_pair_60s"


def read(table):
    """Path in the collection → row of truth.csv."""
    with open(table, newline="", encoding="utf-8") as lines:
        return {row["path"]: row for row in csv.DictReader(lines)}


def notation(differing):
    """{column: (truth, tshark)} as known_differences.md writes it."""
    return ", ".join(f"{column} {ours}/{theirs}" for column, (ours, theirs) in differing.items())


@dataclasses.dataclass
class Report:
    """What differs between truth.csv and tshark over the files added."""

    known: dict
    files: int = 0
    in_attempts: int = 0
    in_tunnels: int = 0
    by_column: collections.Counter = dataclasses.field(default_factory=collections.Counter)
    lines: list = dataclasses.field(default_factory=list)
    wrong: list = dataclasses.field(default_factory=list)

    def add(self, name, row, extracted, inner):
        """Compares one file; `inner()` gives the SYNs inside tunnels, asked for only where needed."""
        self.files += 1
        if row is None:
            self.wrong.append(f"{name}: not in truth.csv")
            return
        counts = rules.truth_counts(extracted)
        differing = {
            column: (int(row[column]), value)
            for column, value in counts.items()
            if row[column] not in ("", str(value))
        }
        self.by_column.update(differing.keys())
        wanted, cause = self.known.get(name, ("", ""))
        if notation(differing) != wanted:
            self.wrong.append(f"{name}: differs by [{notation(differing)}] (truth.csv/tshark), "
                              f"known_differences.md says [{wanted}]")
        if list(differing) == [PORTS_COLUMN]:
            self.in_tunnels += 1
            self.check_tunnels(name, row, extracted, inner())
        elif differing:
            self.in_attempts += 1
        if differing and wanted:
            self.lines.append(f"{name}: {wanted} ({cause})")
        self.horizon(name, extracted, counts)

    def check_tunnels(self, name, row, extracted, inner):
        """tshark's counts with SYNs inside tunnels must equal those of truth.csv."""
        outer = [syn for syn in extracted["rows"] if syn["kind"] == "syn"]
        most = rules.most_ports_in_window(outer + inner)
        if (str(len(inner)), str(most)) != (row["syn_in_tunnel"], row[PORTS_COLUMN]):
            self.wrong.append(f"{name}: with {len(inner)} SYNs inside tunnels {PORTS_COLUMN} is {most}, "
                              f"truth.csv has {row['syn_in_tunnel']} and {row[PORTS_COLUMN]}")

    def horizon(self, name, extracted, counts):
        """Notes a file that has more attempts than distinct SYNs because of the horizon of 130 s."""
        whole = [syn for syn in rules.joined(extracted["rows"]) if not syn["joined"]]
        attempts = len(rules.attempts(whole))
        if attempts != counts["tuples4_plus_isn"]:
            self.lines.append(f"{name}: {attempts} attempts, {counts['tuples4_plus_isn']} distinct "
                              "(the horizon of 130 s)")

    def finish(self, missing=()):
        """All lines that fail the run."""
        self.wrong += [f"{name}: named, but not among the files" for name in missing]
        if self.in_attempts > ATTEMPT_FILES_MAX:
            self.wrong.append(f"{self.in_attempts} files differ in attempts, at most {ATTEMPT_FILES_MAX} may")
        return self.wrong

    def summary(self):
        """One line for a reader."""
        columns = ("tcp_syn_noack", "tuples4_plus_isn", PORTS_COLUMN)
        by_column = ", ".join(f"{column} {self.by_column[column]}" for column in columns)
        return (
            f"truth.csv: files={self.files} differing_files={self.in_attempts + self.in_tunnels}: "
            f"{self.in_attempts} in attempts (at most {ATTEMPT_FILES_MAX} may: tshark reads link types that "
            f"truth.csv's reader does not), {self.in_tunnels} only in {PORTS_COLUMN} (truth.csv counts SYNs "
            f"inside tunnels there, against its README; with them tshark counts the same); "
            f"by column: {by_column}; not as known_differences.md says: {len(self.wrong)}"
        )


def report(extracted, table, whole):
    """Compares (path, extract) pairs with the table; `whole`: every file of the table must be there."""
    root, rows = table.parent, read(table)
    out, seen = Report(known.table("truth.csv")), set()
    for path, found in extracted:
        name = str(path.relative_to(root)) if path.is_relative_to(root) else str(path)
        seen.add(name)
        out.add(name, rows.get(name), found, lambda path=path: extract.inner_syns(path))
    out.finish(sorted((set(rows) | set(out.known)) - seen) if whole else ())
    return out
