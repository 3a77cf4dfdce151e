//! `synledger-parquet`: delivers the segments of a sensor as Parquet files.

use clap::Parser as _;
use signal_hook::consts::{SIGINT, SIGTERM};
use std::io::{self, Read as _, Write as _};
use std::process::ExitCode;
use std::sync::atomic::Ordering;
use synledger_parquet::credentials::Credentials;
use synledger_parquet::encode::Encoder;
use synledger_parquet::flags::Flags;
use synledger_parquet::report::Report;
use synledger_parquet::schedule::Host;
use synledger_parquet::spool::Spool;
use synledger_parquet::store::{Reach, Store};
use synledger_parquet::work::{Ends, Plan, Work, describe};

fn main() -> ExitCode {
    let flags = Flags::parse();
    match run(&flags) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nobody is left to tell if standard error fails.
            let _ = writeln!(io::stderr(), "synledger-parquet: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> Result<(), String> {
    let mut credentials = Credentials::of_environment(std::env::vars());
    if let Some(file) = &flags.credentials {
        credentials.add_file(file)?;
    }
    let secret = credentials.secret();
    let reach = Reach {
        endpoint: flags.endpoint.clone(),
        allow_http: flags.allow_http,
    };
    let store = Store::open(&flags.to, &reach, &credentials);
    let store = store.map_err(|error| format!("{}: {}", flags.to, secret.hide(&error)))?;
    if flags.dry_run {
        return dry_run(flags);
    }
    let ends = Ends::default();
    for signal in [SIGTERM, SIGINT] {
        signal_hook::flag::register(signal, ends.stop.clone())
            .map_err(|error| format!("signals: {error}"))?;
    }
    ends.when_empty.store(flags.once, Ordering::Relaxed);
    if flags.until_eof {
        let ended = ends.when_empty.clone();
        std::thread::spawn(move || {
            let mut input = io::stdin().lock();
            while input.read(&mut [0; 64]).is_ok_and(|len| len > 0) {}
            ended.store(true, Ordering::Relaxed);
        });
    }
    let name = flags.spool.display();
    let spool = Spool::open(&flags.spool).map_err(|error| format!("--spool {name}: {error}"))?;
    let plan = Plan {
        host: Host::of(&Host::machine(), &flags.sensor),
        period: flags.period(),
        rate: flags.rate(),
    };
    let report = Report::new(secret.clone());
    report.say("started", &flags.to.to_string(), &format!("spool {name}"));
    let mut work = Work {
        spool,
        store,
        secret,
        plan,
        ends,
        report,
        encoder: Encoder::new(),
    };
    work.run();
    Ok(())
}

fn dry_run(flags: &Flags) -> Result<(), String> {
    let lines = describe(&Spool::look(&flags.spool))
        .map_err(|error| format!("--spool {}: {error}", flags.spool.display()))?;
    let mut out = io::stdout().lock();
    let written = lines
        .iter()
        .try_for_each(|line| writeln!(out, "{line}, in {}", flags.to));
    written.map_err(|error| format!("standard output: {error}"))
}
