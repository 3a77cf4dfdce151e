"""The command `synledger-fleet`: arguments, a question, its answer."""

import ipaddress
import re
import sys
import time

from . import output, queries
from .arguments import parser
from .asking import Answer, Fleet, answer_of, prepared
from .errors import BadInput, Exit, FleetError
from .period import FOREVER_NS, Period, length_ns
from .progress import Progress

_LIMIT_MAX = FOREVER_NS - 1


def whole(thing: str, text: str, least: int, most: int) -> int:
    """A whole number in a range."""
    if not re.fullmatch(r"\d{1,19}", text) or not least <= int(text) <= most:
        raise BadInput(thing, text, f"a whole number from {least} to {most}")
    return int(text)


def address(thing: str, text: str) -> str:
    """An address in its one spelling."""
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise BadInput(thing, text, "an IPv4 or IPv6 address such as 192.0.2.7 or 2001:db8::7") from None


def _scan_parameters(arguments) -> dict:
    given = {"window_ns": length_ns("--window", arguments.window),
             "per_sensor": int(arguments.per_sensor)}
    count = {"port-scans": "--ports", "distributed": "--ports", "sweeps": "--hosts", "slow-scans": "--places"}
    given["at_least"] = whole(count[arguments.command], arguments.at_least, 2, 1_000_000)
    if arguments.command == "slow-scans":
        given["span_ns"] = length_ns("--span", arguments.span)
        given["failed_percent"] = whole("--failed-percent", arguments.failed_percent, 1, 100)
    if arguments.command == "distributed":
        given["sources"] = whole("--sources", arguments.sources, 1, 1_000_000)
    return given


def _parameters(arguments) -> tuple[str, dict]:
    """Name and parameters of the query that is asked for."""
    command = arguments.command
    if command in ("port-scans", "sweeps", "slow-scans", "distributed"):
        return command.replace("-", "_"), _scan_parameters(arguments)
    if command == "connections":
        return "connections", {"host": address("--host", arguments.host)}
    if command == "first-seen":
        if arguments.of not in ("source", "destination", "service"):
            raise BadInput("--of", arguments.of, "source, destination or service")
        given = {"of": arguments.of}
        if arguments.history:
            given["history_ns"] = length_ns("--history", arguments.history)
        return "first_seen", given
    if command == "coverage":
        name = "coverage_gaps" if arguments.gaps else "coverage"
        return name, {"gap_ns": length_ns("--least-gap", arguments.least_gap)}
    return "top_syn", {}


def _with_shares(answer: Answer) -> Answer:
    """The shares that a person reads: they are not computed in SQL, where engines divide in different ways."""
    if "failed" in answer.columns:
        answer.columns.insert(answer.columns.index("failed") + 1, "failed_share")
        answer.rows = [row | {"failed_share": f"{row['failed'] / row['ended']:.2f}" if row["ended"] else None}
                       for row in answer.rows]
    return answer


def _print(arguments, answer: Answer) -> None:
    if arguments.json:
        output.write(output.as_json(answer.rows))
    elif arguments.csv:
        output.write(output.as_csv(answer.columns, answer.rows))
    else:
        output.write(output.table(answer.columns, answer.rows))
    if answer.cut:
        sys.stderr.write(f"synledger-fleet: there are more than these {len(answer.rows)} rows: --limit N asks for more\n")
    elif not answer.rows and not (arguments.json or arguments.csv):
        sys.stderr.write("synledger-fleet: nothing was found\n")


def _ask(arguments) -> Exit:
    period = Period.read(arguments.since, arguments.until, time.time_ns())
    limit = whole("--limit", arguments.limit, 1, _LIMIT_MAX)
    name, given = _parameters(arguments)
    if arguments.show_sql is not None:
        if arguments.show_sql not in queries.DIALECTS:
            raise BadInput("--show-sql", arguments.show_sql, ", ".join(queries.DIALECTS))
        sql = queries.dialect_source(name, arguments.show_sql)
        output.write(queries.filled(sql, prepared(name, period, limit, given)))
        return Exit.DONE
    with Fleet(arguments.place, arguments.engine, arguments.master) as fleet:
        _print(arguments, _with_shares(fleet.ask(name, period, limit, given)))
    return Exit.DONE


def _sql(arguments) -> Exit:
    statement = sys.stdin.read() if arguments.statement == "-" else arguments.statement
    # Comments before the first word are for a person.
    bare = re.sub(r"--[^\n]*|/\*.*?\*/", " ", statement, flags=re.DOTALL).strip().rstrip(";")
    if not re.match(r"(?i)(select|with)\b", bare):
        raise BadInput("the statement", statement[:60], "one SELECT, which may begin with WITH: files are only read")
    if ";" in re.sub(r"'[^']*'", "", bare):
        raise BadInput("the statement", statement[:60], "one SELECT alone, without a semicolon inside")
    with Fleet(arguments.place, arguments.engine, arguments.master) as fleet:
        with Progress(f"sql: {arguments.engine}"):
            answer = answer_of(fleet.engine.query(statement.strip().rstrip(";")), None)
        _print(arguments, answer)
    return Exit.DONE


def _run(arguments) -> Exit:
    if arguments.command == "sql":
        return _sql(arguments)
    if arguments.command == "blocklist":
        from .blocklist import command
        return command.run(arguments)
    if arguments.command == "report":
        from .report import command
        return command.run(arguments)
    return _ask(arguments)


def main(argv: list[str] | None = None) -> int:
    """Runs it; gives the exit code."""
    arguments = parser().parse_args(argv)
    try:
        return int(_run(arguments))
    except FleetError as error:
        sys.stderr.write(f"synledger-fleet: {output.printable(str(error).strip())}\n")
        return int(error.code)
    except KeyboardInterrupt:
        return int(Exit.INTERRUPTED)
    except OSError as error:
        sys.stderr.write(f"synledger-fleet: {output.printable(str(error))}\n")
        return int(Exit.FAILED)
