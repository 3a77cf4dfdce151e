"""Where the files are: a folder, or a prefix in S3."""

import dataclasses
import os
import pathlib
import re

from .errors import BadInput, FleetError
from .schema import LAYOUT


@dataclasses.dataclass(frozen=True)
class Place:
    """A folder, or `s3://BUCKET/PREFIX`."""

    text: str

    @property
    def is_s3(self) -> bool:
        """In S3, or what speaks as it does."""
        return self.text.startswith("s3://")

    @property
    def bucket(self) -> str:
        """Of S3."""
        return self.text.removeprefix("s3://").split("/", 1)[0]

    @property
    def prefix(self) -> str:
        """Of S3, without slashes around it."""
        return self.text.removeprefix("s3://").partition("/")[2].strip("/")


@dataclasses.dataclass(frozen=True)
class Store:
    """How S3 is reached."""

    endpoint: str | None
    region: str
    key: str | None
    secret: str | None
    token: str | None

    @classmethod
    def read(cls) -> "Store":
        """From boto3 where it is installed (profiles, roles), else from the environment."""
        env = os.environ
        key, secret, token = (env.get(f"AWS_{name}") for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"))
        region = env.get("AWS_REGION") or env.get("AWS_DEFAULT_REGION")
        if not key:
            try:
                import boto3
            except ImportError:
                pass
            else:
                session = boto3.Session()
                region = region or session.region_name
                if found := session.get_credentials():
                    key, secret, token = found.get_frozen_credentials()
        if not key:
            raise FleetError("s3: no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or install "
                             "synledger-fleet[s3] to use profiles and roles")
        return cls(env.get("AWS_ENDPOINT_URL_S3") or env.get("AWS_ENDPOINT_URL"), region or "us-east-1", key, secret, token)


def read_place(text: str) -> Place:
    """A place that exists and has files in the layout; S3 is asked by the engine."""
    if "://" in text:
        if not re.fullmatch(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](/[A-Za-z0-9._=/-]*)?", text):
            raise BadInput("the place", text, "a folder, or s3://BUCKET/PREFIX (letters, digits and ._=-/)")
        return Place(text.rstrip("/"))
    folder = pathlib.Path(text)
    if not folder.is_dir():
        raise BadInput("the place", text, f"a folder with files {LAYOUT}; there is no such folder")
    if any(char in text for char in "*?[]{}'\\") or not text.isprintable():
        # Engines read them as patterns.
        raise BadInput("the place", text, "a folder whose name has none of *?[]{}'\\: rename it, or go there and name it .")
    if next(folder.glob("date=*/hour=*/sensor=*/*.parquet"), None) is None:
        other = next(folder.rglob("*.parquet"), None)
        hint = f"; {other} is not in this layout" if other else ""
        raise BadInput("the place", text, f"a folder with files {LAYOUT}{hint}")
    return Place(str(folder.resolve()))


def describe(place: Place, since: tuple[str, str], until: tuple[str, str]) -> str:
    """The number of files that a question is about; S3 is not listed for that."""
    if place.is_s3:
        return place.text
    files = 0
    for date in os.scandir(place.text):
        day = date.name.removeprefix("date=")
        if date.name == day or not since[0] <= day <= until[0]:
            continue
        for hour in os.scandir(date.path):
            if since <= (day, hour.name.removeprefix("hour=")) <= until:
                files += sum(len(os.listdir(sensor.path)) for sensor in os.scandir(hour.path) if sensor.is_dir())
    return f"{files:,} files"


def check_s3(place: Place) -> None:
    """Says if nothing lies there: an engine would answer with no rows."""
    from pyarrow import fs
    store = Store.read()
    scheme, _, host = (store.endpoint or "").rpartition("://")
    there = fs.S3FileSystem(access_key=store.key, secret_key=store.secret, session_token=store.token, region=store.region,
                            endpoint_override=host or None, scheme=scheme or "https", connect_timeout=10, request_timeout=60)
    try:
        found = there.get_file_info(fs.FileSelector(f"{place.bucket}/{place.prefix}".rstrip("/")))
    except OSError as error:
        raise FleetError(f"{place.text}: cannot be listed: {error}") from None
    if not any(entry.base_name.startswith("date=") for entry in found):
        raise BadInput("the place", place.text, f"a prefix with files {LAYOUT}; nothing there begins with date=")
