//! From SYNs and outcomes of the flow stage to contacts.

use super::Shard;
use super::outbox::Outbox;
use crate::books::shard::ShardCounts;
use crate::decode::Headers;
use crate::decode::key::Key;
use crate::decode::packet::Reach;
use crate::decode::packet::tcp_flags::{FIN, RST};
use crate::flow::record::{FiveTuple, FlowEvent, Outcome, Technique, Waited, When};
use crate::inspect::contact::{Contact, ContactKind, Mark};
use crate::log::event::{Body, Event, Step};
use crate::time::timeline::Timeline;

/// An outcome of the flow stage.
#[derive(Clone, Copy, Debug)]
pub(super) struct MadeOutcome {
    pub tuple: FiveTuple,
    pub outcome: Outcome,
    pub when: When,
    /// The packet that made it, if that is not the one at hand.
    pub waited: Option<Waited>,
}

impl Shard {
    /// The contact of a SYN.
    pub(super) fn touch(&mut self, syn: &Headers, position: u64) -> Contact {
        if syn.reach != Reach::Plain {
            self.counts.syn_outside_class[syn.reach as usize] += 1;
        }
        let kind = match syn.flags & (FIN | RST) {
            0 => ContactKind::Touch,
            _ => ContactKind::OddTouch,
        };
        self.contact(&syn.key, kind, &Waited::from(syn), position)
    }

    /// A contact of these ends, originator first.
    #[inline]
    fn contact(&self, ends: &Key, kind: ContactKind, packet: &Waited, position: u64) -> Contact {
        Contact {
            position,
            ts_ns: packet.ts_ns,
            source: self.owners.source(ends.src(), ends.tags()),
            src: ends.src,
            dst: ends.dst,
            port: ends.dst_port(),
            interface: packet.interface,
            mark: Mark::new(ends.v6(), ends.tags(), kind),
        }
    }

    /// The contact of an outcome; `packet` and `position` are those at hand.
    pub(super) fn contact_of(
        &self,
        made: &MadeOutcome,
        packet: &Waited,
        position: u64,
        timeline: &Timeline<'_>,
    ) -> Contact {
        let packet = made.waited.as_ref().unwrap_or(packet);
        let (tuple, kind) = (&made.tuple, contact_kind(made.outcome));
        let ends =
            Key::new(tuple.src, tuple.dst, 0, tuple.dst_port, tuple.proto).with_tags(packet.tags);
        let contact = self.contact(&ends, kind, packet, position);
        match made.when {
            When::Packet => contact,
            When::Deadline(deadline) => Contact {
                position: timeline.position_of(deadline),
                mark: contact.mark.late(),
                ..contact
            },
            When::End => Contact {
                mark: contact.mark.late(),
                ..contact
            },
        }
    }

    /// Lets packets take effect that waited in vain for their SYN, before what comes behind the end of their wait.
    #[inline(never)]
    pub(super) fn release_waiting(
        &mut self,
        watermark_ns: i64,
        position: u64,
        timeline: &Timeline<'_>,
    ) {
        let mut made = std::mem::take(&mut self.outcomes);
        let Self {
            flows,
            outbox,
            counts,
            ..
        } = self;
        let place = (position, Step::Timer(watermark_ns));
        flows.release_waiting(watermark_ns, &mut |when, event| {
            take_of_waiting((when, event), place, &mut made, (outbox, counts));
        });
        self.hand_over_all(made, position, timeline);
    }

    /// Hands over outcomes of packets that are not at hand.
    fn hand_over_all(
        &mut self,
        mut made: Vec<MadeOutcome>,
        position: u64,
        timeline: &Timeline<'_>,
    ) {
        let mut late = std::mem::take(&mut self.late);
        for one in made.drain(..) {
            if let Some(packet) = &one.waited {
                late.push(self.contact_of(&one, packet, position, timeline));
            }
        }
        late.sort_unstable_by_key(Contact::order);
        late.drain(..)
            .for_each(|contact| self.hand_over(&contact, timeline));
        self.late = late;
        self.outcomes = made;
    }

    /// After the last frame: as [`Shard::publish_contacts`] up to `last`, and what waits takes effect at `position`.
    pub fn publish_rest(&mut self, position: u64, last: u64, timeline: &Timeline<'_>) {
        self.look_up(timeline);
        let mut made = std::mem::take(&mut self.outcomes);
        let Self {
            flows,
            outbox,
            counts,
            ..
        } = self;
        let place = (position, Step::End(timeline.watermark_at(last)));
        flows.release_rest(&mut |when, event| {
            take_of_waiting((when, event), place, &mut made, (outbox, counts));
        });
        self.hand_over_all(made, position, timeline);
        (self.outbox).publish_reported(timeline.watermark_at(last));
        self.owners.mesh.publish(last);
    }
}

/// The contact that an outcome makes.
fn contact_kind(outcome: Outcome) -> ContactKind {
    match outcome {
        Outcome::Answered => ContactKind::Answered,
        Outcome::Refused => ContactKind::Refused,
        Outcome::Established => ContactKind::Established,
        Outcome::HalfOpen => ContactKind::HalfOpen,
        Outcome::Probe(technique) => match technique {
            Technique::Null => ContactKind::NullProbe,
            Technique::Fin => ContactKind::FinProbe,
            Technique::Xmas => ContactKind::XmasProbe,
            Technique::Flags => ContactKind::FlagsProbe,
            Technique::SynFin => ContactKind::OddTouch,
            Technique::Ack => ContactKind::AckProbe,
            Technique::Maimon => ContactKind::MaimonProbe,
        },
        Outcome::UdpOpened => ContactKind::UdpTouch,
        Outcome::UdpAnswered => ContactKind::UdpAnswered,
        Outcome::UdpRefused => ContactKind::UdpRefused,
        Outcome::Datagrams => ContactKind::Datagrams,
        Outcome::StrayAnswer => ContactKind::StrayAnswer,
        Outcome::StrayRst => ContactKind::StrayReset,
        Outcome::Icmp => ContactKind::Icmp,
    }
}

/// Takes an event that a packet made which waited: an outcome is handed over later, and the record of a flow that a full
/// table evicted for it has its place in the log. No SYN waits.
fn take_of_waiting(
    (when, event): (When, FlowEvent),
    (position, step): (u64, Step),
    made: &mut Vec<MadeOutcome>,
    (outbox, counts): (&mut Outbox, &mut ShardCounts),
) {
    match event {
        FlowEvent::Outcome {
            tuple,
            outcome,
            waited,
        } => made.push(MadeOutcome {
            tuple,
            outcome,
            when,
            waited,
        }),
        FlowEvent::Ended(record) => {
            let body = Body::Flow(record);
            let event = Event {
                position,
                step,
                body,
            };
            outbox.hold(event, counts);
        }
        FlowEvent::Attempt(_) => unreachable!("no SYN waits for another"),
    }
}
