"""--since and --until."""

import dataclasses
import datetime
import re

from .errors import BadInput

SECOND_NS = 1_000_000_000
_UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
FOREVER_NS = 2**63 - 1
FORMS = "a day (2026-11-30), a time (2026-11-30T10:00:00Z), or how long ago (90m, 12h, 7d)"


def length_ns(thing: str, text: str) -> int:
    """'60s' as nanoseconds."""
    match = re.fullmatch(r"(\d{1,9})(ns|ms|s|m|h|d|w)", text)
    if not match or int(match[1]) == 0:
        raise BadInput(thing, text, "a length such as 60s, 500ms, 8h, 3d")
    unit = {"ns": 1, "ms": 1_000_000}.get(match[2]) or _UNITS_S[match[2]] * SECOND_NS
    return int(match[1]) * unit


def moment_ns(thing: str, text: str, now_ns: int) -> int:
    """A moment as nanoseconds since the Unix epoch."""
    if re.fullmatch(r"\d+(s|m|h|d|w)", text):
        return now_ns - length_ns(thing, text)
    try:
        moment = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(thing, text, FORMS) from None
    # Partitions are by UTC; a time without a zone means that.
    moment = moment if moment.tzinfo else moment.replace(tzinfo=datetime.UTC)
    ns = (moment - _EPOCH) // datetime.timedelta(microseconds=1) * 1000
    if not 0 <= ns < FOREVER_NS:
        raise BadInput(thing, text, "a time from 1970 to 2262")
    return ns


def shown_ns(ns: int) -> str:
    """Nanoseconds since the Unix epoch as a person reads them, to the millisecond."""
    try:
        moment = _EPOCH + datetime.timedelta(microseconds=ns // 1000)
    except OverflowError:
        return str(ns)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.") + f"{ns // 1_000_000 % 1000:03d}Z"


def shown_length(ns: int) -> str:
    """A length as a person reads it."""
    seconds = ns / SECOND_NS
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f}{unit}"
    return f"{seconds:.1f}s"


@dataclasses.dataclass(frozen=True)
class Period:
    """From `since_ns` on, before `until_ns`."""

    since_ns: int = 0
    until_ns: int = FOREVER_NS

    @classmethod
    def read(cls, since: str | None, until: str | None, now_ns: int) -> "Period":
        """The period of these arguments."""
        period = cls(moment_ns("--since", since, now_ns) if since else 0,
                     moment_ns("--until", until, now_ns) if until else FOREVER_NS)
        if period.since_ns >= period.until_ns:
            raise BadInput("--since", since, f"before --until ({until or 'the end'})")
        return period

    def parameters(self, later_ns: int = 0) -> dict[str, int | str]:
        """For SQL. `later_ns`: how much later than the period's end a row may be stored that is still of it."""
        until_ns = min(self.until_ns + later_ns, FOREVER_NS)
        since_date, since_hour = _partition(self.since_ns)
        # The last nanosecond inside. Nothing is stored beyond the year 2262.
        until_date, until_hour = _partition(until_ns - 1)
        return {"since_ns": self.since_ns, "until_ns": until_ns,
                "since_date": since_date, "since_hour": since_hour,
                "until_date": until_date, "until_hour": until_hour}


def _partition(ns: int) -> tuple[str, str]:
    moment = _EPOCH + datetime.timedelta(microseconds=ns // 1000)
    return moment.strftime("%Y-%m-%d"), moment.strftime("%H")
