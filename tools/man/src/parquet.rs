//! The section about the output to Parquet files.

use super::sections::Block::{self, Item, Lines, Text};

pub const PARQUET: &[Block] = &[
    Text(
        "`parquet:` is one table of connections, folds, flows, alerts and the books, as Parquet files in a folder or a bucket behind the protocol of S3. The sensor itself writes segments into a spool, files of rows that end at `size=` or `age=`; the program `synledger-parquet` turns each into files and removes it only when all of them are there. `run` and `read` start it where it lies beside their own program, as the user that the sensor goes on as; where it is missing, standard error says so and segments wait for it. It ends after the sensor, with an empty spool; `read` waits for it. If it dies, segments wait for the next start, or for one that is started by hand: two never work on one spool at a time. An output that a reload adds has its program from the next start on.",
    ),
    Lines(&[
        "parquet:DIR[,sensor=NAME][,size=SIZE][,age=TIME][,spool=SIZE]",
        "parquet:s3://BUCKET/PREFIX[,spool-dir=DIR]...",
        "synledger-parquet --spool DIR --to DIR|s3://BUCKET/PREFIX [--once] [--dry-run]",
    ]),
    Text(
        "A file is `date=YYYY-MM-DD/hour=HH/sensor=NAME/TIME-HASH.parquet`, UTC of `ts_ns`. Its rows are sorted by `kind`, `src_ip`, `dst_ip`, `dst_port` and `ts_ns`, in row groups of 65536, compressed with zstd, with dictionaries where values repeat. Name and bytes follow from the rows, so that a retry overwrites itself: no row is lost and none is there twice, whenever the sensor or the program is killed. In a folder a file is written beside its name, synced and renamed; to a bucket it goes by one request, or, above 8 MiB, in parts that the server joins at their end.",
    ),
    Item(
        "sensor=NAME, size=SIZE, age=TIME",
        "NAME, 1 to 64 of `[A-Za-z0-9._-]`, is in the path of each file; default: `--sensor`, with `-` for other letters. SIZE, 1MiB to 1GiB, default 64MiB. TIME, 1s to 1d, default 1m: in `run`, a segment is closed so long after its first record; and the program uploads once in so long, at a moment of the period that is derived from the machine's number (machine-id(5)) and NAME, so that the sensors of a fleet do not upload at once. After a failure it tries again in 0.5 s, then twice as long each time up to 5 minutes, each wait spread by the same number over half to one and a half.",
    ),
    Item(
        "spool=SIZE, spool-dir=DIR",
        "SIZE, 4MiB to 1024TiB and at least four times `size=`, default 1GiB: so much waits while the store is away. A full spool takes no new record: they are dropped and counted (`disk_full`), and the next row of the books has their number. What waits is never dropped for what comes later. The spool is DIR/.spool of a folder; of a bucket spool-dir=, default /var/lib/synledger/spool. The folder above it must exist. The spool is locked (flock(2)): a second sensor is refused.",
    ),
    Item(
        "Columns",
        "`ts_ns` and `kind` (`connection`, `fold`, `flow`, `alert`, `books`) are in every row; a column without a meaning for a kind is null. Of flows `first_ns` and `duration_ns` are those of the record: since the one before it with `--active-timeout`; `orig_bytes` and `resp_bytes` are payload, `orig_ip_bytes` and `resp_ip_bytes` count from the IP header on; `retransmitted_pkts`, `retransmitted_bytes` and `missed_bytes` are of both ways together. `dst_ip` is null in folds and alerts of many destinations, `src_ip` in those of many sources. `distinct` is the number of ports, hosts, places or packets of an alert, and the estimated sources of a fold; `evidence` is EVE's `synledger` of an alert. `service` is always null. `flow_id` and `community_id` are EVE's.",
    ),
    Item(
        "Rows of the books",
        "With each record of statistics (`--stats-interval`, and at the end): `first_ns` to `last_ns` is the time since the row before, `lost` what was lost in it before the outputs, and what this output dropped; `not_watched_ns` for how long interfaces were gone, summed over them.",
    ),
    Item(
        "Credentials",
        "The program takes AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION, AWS_ENDPOINT_URL and AWS_ALLOW_HTTP from the environment that the sensor was started with, or from a file (`--credentials FILE`, not for everybody to read). They are in no line that it prints.",
    ),
    Item(
        "What it says",
        "A JSON line on standard error for each segment (`delivered`), failure (`failed`, with the next try), segment that ends within a row (`torn`: its good rows are delivered), and segment with damage (`damaged`, with the offset: its good rows are delivered, and it stays as NUMBER.bad); each with the counts since its start.",
    ),
];
