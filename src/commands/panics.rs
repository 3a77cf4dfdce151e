//! The panic hook: how a broken invariant ends the program.

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use std::os::fd::AsFd;
use std::panic::{PanicHookInfo, set_hook};

/// From now on a panic in any thread ends the program with exit code 1 and one line on standard error: thread,
/// message, place. No other cleanup: the other threads' state may be what is broken.
///
/// Without the hook the release profile ends in SIGABRT, without the thread's name.
pub fn install_panic_hook() {
    set_hook(Box::new(|panic| {
        write_stderr(&sentence(panic));
        signal_hook::low_level::exit(1);
    }));
}

fn sentence(panic: &PanicHookInfo<'_>) -> String {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or("a thread without a name");
    let what = panic.payload_as_str().unwrap_or("it said nothing");
    let place = panic
        .location()
        .map_or(String::new(), |place| format!(" ({place})"));
    // The logger writes twice a second when it is busy, at once when it is not.
    format!(
        "synledger: {name} broke: {what}{place}. This is a fault of synledger {}: please report it. \
         Log lines of the last half second may be missing, and the books are.\n",
        env!("CARGO_PKG_VERSION")
    )
}

/// Writes to the descriptor without std's lock, which the panicking thread may hold. Waits at most a second for a
/// blocked terminal.
fn write_stderr(text: &str) {
    let stderr = std::io::stderr();
    let mut fds = [PollFd::new(stderr.as_fd(), PollFlags::POLLOUT)];
    if poll(&mut fds, PollTimeout::from(1000_u16)).is_ok_and(|ready| ready > 0) {
        let _ = nix::unistd::write(&stderr, text.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    const IN_CHILD: &str = "SYNLEDGER_TEST_PANICS";

    /// Runs itself in another process, which the panic ends.
    #[test]
    fn a_panic_names_thread_reason_and_place_and_exits_with_1() {
        if std::env::var_os(IN_CHILD).is_some() {
            install_panic_hook();
            let broken = std::thread::Builder::new()
                .name("worker-7".to_owned())
                .spawn(|| panic!("{} is not {}", 1, 2));
            let _ = broken.expect("a thread").join();
            unreachable!("the other thread has ended the process");
        }
        let name =
            "commands::panics::tests::a_panic_names_thread_reason_and_place_and_exits_with_1";
        let child = Command::new(std::env::current_exe().expect("this test"))
            .args(["--exact", name, "--nocapture"])
            .env(IN_CHILD, "1")
            .output()
            .expect("it runs");
        let says = String::from_utf8_lossy(&child.stderr);
        assert_eq!(child.status.code(), Some(1), "{says}");
        let begins = "synledger: worker-7 broke: 1 is not 2 (src/commands/panics.rs:";
        assert!(says.starts_with(begins), "{says}");
        assert!(says.contains("please report it"), "{says}");
        assert_eq!(says.lines().count(), 1, "{says}");
    }
}
