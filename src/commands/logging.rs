//! provisional
use super::Failure;
use crate::config::Common;
use crate::log::eve::{Context, Eve};
use crate::log::event::Event;
use crate::log::merge::Merge;
use crate::log::notice::EventKind;
use crate::log::outputs::OutputCounts;
use crate::log::queue::Consumer;
use crate::log::sink::Sink;
use crate::log::spec::{Format, OutputSpec};
use crate::log::text::Text;
use std::sync::atomic::AtomicBool;
/// x
pub struct Outputs {
    all: Vec<(OutputSpec, Sink, OutputCounts)>,
    text: Text,
    eve: Eve,
}
impl Outputs {
    /// c
    pub fn counts(&self) -> Vec<OutputCounts> {
        self.all.iter().map(|o| o.2.clone()).collect()
    }
    fn write(&mut self, event: &Event) {
        let kind = EventKind::of(&event.body);
        for (spec, sink, counts) in &mut self.all {
            let c = match kind {
                EventKind::Connection => &mut counts.connection,
                EventKind::Alert => &mut counts.alert,
                _ => &mut counts.flow,
            };
            if !spec.events.has(kind) {
                c.not_asked += 1;
                continue;
            }
            match sink.admit(kind, 0) {
                None => c.dropped += 1,
                Some(out) => {
                    match spec.format {
                        Format::Text => self.text.event(out, event),
                        Format::Eve => self.eve.event(out, event),
                    }
                    sink.commit(kind, 0);
                    c.written += 1;
                }
            }
        }
    }
}
/// o
/// # Errors
/// e
pub fn open(common: &Common, context: Context) -> Result<Outputs, Failure> {
    let all = common
        .outputs
        .iter()
        .map(|spec| {
            Ok((
                spec.clone(),
                Sink::open(&spec.target).map_err(Failure::run)?,
                OutputCounts {
                    name: format!("{spec:?}"),
                    ..Default::default()
                },
            ))
        })
        .collect::<Result<_, Failure>>()?;
    Ok(Outputs {
        all,
        text: Text::new(),
        eve: Eve::new(context),
    })
}
/// l
pub fn replay(
    mut outputs: Outputs,
    consumers: Vec<Consumer>,
    _common: &Common,
    _stop: &AtomicBool,
) -> Outputs {
    let mut merge = Merge::new(consumers, None);
    while !merge.finished() {
        if merge.step(1 << 16, |_| {}, |event| outputs.write(event)) == 0 {
            std::thread::yield_now();
        }
    }
    for o in &mut outputs.all {
        o.1.finish(0);
    }
    outputs
}
