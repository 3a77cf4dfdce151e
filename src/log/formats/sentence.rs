//! Records as a sentence for people and members for programs: what syslog, CEF and the journal have in common.

use super::context::Context;
use super::interfaces::Rendered;
use super::members::{self, Surroundings};
use super::text::{self, TextFormat};
use super::{Format, OutputTraits};
use crate::log::event::Event;
use crate::log::notice::Notice;

/// Bytes of the stamp and the colon before the sentence of [`TextFormat::Short`].
const LEAD: usize = "2021-04-28 15:28:05: ".len();

/// Renders the sentence of one record at a time, without its time.
pub struct Sentences {
    context: Context,
    interfaces: Rendered,
    text: Box<dyn Format>,
    line: Vec<u8>,
}

impl Sentences {
    /// For one output.
    pub fn new(context: &Context, traits: &OutputTraits) -> Self {
        let traits = OutputTraits {
            text_format: Some(TextFormat::Short),
            ..*traits
        };
        Self {
            interfaces: Rendered::words(context.interfaces.clone()),
            text: (text::TEXT.open)(context, &traits),
            line: Vec::new(),
            context: context.clone(),
        }
    }

    /// The sentence of an event, and what its members need.
    pub fn of_event(&mut self, event: &Event, due_ns: i64) -> (&[u8], Surroundings<'_>) {
        self.line.clear();
        self.text.event(&mut self.line, event, due_ns);
        let place = members::place(event);
        let direction = place.map_or("-", |(_, src, dst)| (self.context.direction)(src, dst));
        let name = match place {
            Some((index, ..)) => self.interfaces.name(index).text(),
            None => &[],
        };
        let around = Surroundings {
            interface: str::from_utf8(name).unwrap_or(""),
            direction,
        };
        (sentence(&self.line), around)
    }

    /// The sentence of a notice.
    pub fn of_notice(&mut self, notice: &Notice, stamp_ns: i64) -> &[u8] {
        self.line.clear();
        self.text.notice(&mut self.line, notice, stamp_ns);
        sentence(&self.line)
    }
}

fn sentence(line: &[u8]) -> &[u8] {
    let sentence = line.get(LEAD..).unwrap_or_default();
    sentence.strip_suffix(b"\n").unwrap_or(sentence)
}
