//! Events through a queue, the merge and the logger, as in `read`.

use super::loads::traffic::event;
use synledger::books::record_kind::EventKind;
use synledger::log::logger::Logger;
use synledger::log::merge::{Merge, queue};
use synledger::log::outputs::Outputs;

/// Pushes the first `count` events, then writes them all.
pub fn run(outputs: Outputs, count: usize) {
    let (mut producer, consumer) = queue(count);
    for number in 0..u32::try_from(count).expect("small") {
        assert!(producer.push(event(number)).is_ok());
    }
    drop(producer);
    let merge = Merge::new(vec![consumer], None);
    let mut logger = Logger::new(merge, outputs, Box::new(|| 0));
    logger.run();
    let written = logger.finish().outputs[0].counts.written;
    assert_eq!(written[EventKind::Connection as usize], count as u64);
}
