//! The section about metrics and health.

use super::sections::Block::{self, Lines, Text};

pub const METRICS: &[Block] = &[
    Text(
        "`--metrics ADDRESS:PORT` serves Prometheus metrics at `/metrics` (text 0.0.4, or OpenMetrics for those who ask for it), `--metrics unix:PATH` the same at a socket. `--metrics textfile:DIR` writes `DIR/synledger.prom` every 5 s, as a whole, for the textfile collector of node_exporter, which then exposes it with its own. The flag may be given several times. A scrape has at most 300 series with 16 workers, all detectors and four outputs; each further worker adds two. So it sums what EVE has in detail: `synledger-run`(1) lists the counters of both.",
    ),
    Text(
        "`/healthz` answers `ok`; `degraded` with a line for each reason while something is lost or a watched interface is down or gone (`link`), with status 200, or 503 at `/healthz?strict`; or `failing` with a line for each reason and status 503. It fails while a thread has made no progress for 10 s (`stalled`), the books do not close, an interface takes in or sends packets of which no capture sees any (`no_frames`), or for the reasons `output`, `log_gone`, `list_write` and `blocking`: what is found then reaches nobody. `/healthz?live` has status 503 for a thread that stands still alone: it is for what starts the sensor again, which helps in no other case. The metric `synledger_healthy` is 1 while `/healthz` has status 200; `synledger_degraded{reason=\"...\"}` is 1 while something is lost for that reason, whether it fails or not.",
    ),
    Text(
        "`synledger_build_info` has the version and `config_sha256`, a hash of the settings in force: two sensors with the same hash have the same settings, and a reload that changes one changes it. It is the SHA-256 of the lines `KEY = VALUE` that `--dry-run` prints, without what stands before and the comment behind, in the order of their keys (of bytes), each with a newline. Flags that were not given have their defaults, and are not among them; the version says which. `synledger_clock_synchronized` is 0 while nothing keeps the clock right, as the kernel knows it (adjtimex(2), STA_UNSYNC): then times in the log may be wrong. It is missing where a sandbox around the sensor refuses that question.",
    ),
    Text(
        "At most 32 clients are served at a time, each for at most 5 s. Whoever asks too slowly, or is one too many and has not asked, is closed without an answer. That is counted (`synledger_metrics_clients_unanswered_total`) and said at most once a minute (`metrics_unanswered`).",
    ),
    Text(
        "The socket belongs to the user of `--user` and its group, which may connect (mode 0660). It is removed at the end, if that user may write to its folder; one that a dead sensor left is replaced at a start, any other file is left alone. The file of `textfile:` is removed at the end, too: if it stayed, it would say for ever that all is well. After kill -9 it stays; `node_textfile_mtime_seconds` then says since when. That it cannot be written is the lifecycle event `metrics_failed`, later `metrics_back`. One sensor has a folder for itself.",
    ),
    Text(
        "With `--state`, `synledger_not_watched_before_start_seconds` is the time between the last moment that an earlier run watched, and the start of this one; it is missing where that is unknown. The log has it as `not_watched`, with the cause. That moment is the one up to which the log was written: what came later and was not written when the run was killed counts as not watched. After a power cut the file can be half a minute old; the gap is then called longer than it was, never shorter.",
    ),
    Text(
        "`synledger_seconds_since_progress` is below 3 while a worker or the logger (label `thread`) works or waits for work, and grows while it stands still. `synledger_worker_frames_total` shows how frames are spread over workers.",
    ),
    Text(
        "`synledger_seconds_since_last_frame` grows by interface while no frame comes. An idle network is no fault: the log says `no_frames` only where no frame came since the start, after a busy minute, or where the interface's own counters go on: then something takes packets before any capture.",
    ),
    Text(
        "`synledger_log_retention_seconds` says how far back an output with `rotate=` and a limit (`keep=`, `--log-budget`) reaches: the age of its oldest record once limits remove files, and before that the age that they will allow at the present rate (of about the last ten minutes; right after a start that of the files which are there), at most ten years. Until a first file is compressed, bytes count as they are: the metric says too little then, not too much. Of several names (Zeek's) it is the one that reaches least. An output without a limit has none. The start says the same of the files that are there.",
    ),
    Text("To have Prometheus read a sensor that runs with `--metrics :9477`:"),
    Lines(&[
        "scrape_configs:",
        "  - job_name: synledger",
        "    static_configs:",
        "      - targets: ['edge1.example:9477']",
    ]),
    Text(
        "The packages have rules with alerts, and a dashboard for Grafana, in /usr/share/doc/synledger/examples. The least:",
    ),
    Lines(&[
        "up{job=\"synledger\"} == 0",
        "synledger_healthy == 0",
        "increase(synledger_missed_total[5m]) > 0",
        "increase(synledger_scans_total[5m]) > 0",
    ]),
    Text(
        "EVE has the books as `stats` records, every `--stats-interval` seconds (60: below 5 MB a day on an idle host). Readers made for Suricata's records expect one every 8 s.",
    ),
];
