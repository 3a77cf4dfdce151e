//! What a panic says that a test is after.

use std::panic::{set_hook, take_hook};
use std::sync::Once;
use std::thread;

/// Runs `test` in a thread of its own, and returns what its panic says. It is not printed: in a log, a panic is an alarm.
///
/// # Panics
///
/// When `test` does not panic with text.
pub fn panic_of(test: impl FnOnce() + Send + 'static) -> String {
    const EXPECTED: &str = "expected to panic";
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let print = take_hook();
        set_hook(Box::new(move |panic| {
            if thread::current().name() != Some(EXPECTED) {
                print(panic);
            }
        }));
    });
    let thread = thread::Builder::new().name(EXPECTED.to_owned()).spawn(test);
    let panic = thread.expect("a thread").join().expect_err("a panic");
    *panic.downcast::<String>().expect("words")
}
