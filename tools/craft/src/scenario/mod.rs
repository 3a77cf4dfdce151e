//! The captures that real collections lack.

mod connection;
mod crowds;
mod odd;
mod probes;
mod scene;
mod soup;
mod sweep;
mod window;

use crate::capture::Capture;
use crate::rng::Rng;
pub use crowds::crowds;
pub use probes::probes;

/// Number of captures.
const COUNT: u64 = 220;

/// 220 captures, the same for the same seed.
///
/// The seed chooses addresses, ports, sequence numbers and, where it is free, the order. Names and
/// the times at borders do not depend on it. The last ones, `soup-…`, draw random segments from so
/// few addresses, ports and sequence numbers that flows collide.
#[must_use]
pub fn scenarios(seed: u64) -> Vec<Capture> {
    let mut rng = Rng::new(seed);
    let mut out = window::all(&mut rng);
    out.extend(connection::all(&mut rng));
    out.extend(odd::all(&mut rng));
    out.extend(sweep::all(&mut rng));
    let fixed = u64::try_from(out.len()).expect("few");
    out.extend((fixed..COUNT).map(|n| soup::soup(n - fixed, &mut rng)));
    out
}
