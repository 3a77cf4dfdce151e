//! What the flow stage counts.

/// Plain counters with one writer. Identities ([`FlowCounts::check`]):
///
/// - `packets = accounted + other_interface + (other_interface_syns - joined_elsewhere) + after_end
///   + icmp_errors + fragments` (a SYN joined from fragments is in `fragments` and in `syn_packets`)
/// - `syn_packets = attempts + retransmitted + other_interface_syns`
/// - `opened = Σ closed + merged + open`
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowCounts {
    /// Packets given to the stage.
    pub packets: u64,
    /// Packets accounted to a flow.
    pub accounted: u64,
    /// SYNs without ACK, joined ones included.
    pub syn_packets: u64,
    /// New attempts.
    pub attempts: u64,
    /// SYNs of an attempt already known.
    pub retransmitted: u64,
    /// SYNs of an attempt known from another interface.
    pub other_interface_syns: u64,
    /// SYNs whose header was joined from fragments (already in `syn_packets`).
    pub joined_syns: u64,
    /// Of these, those counted in `other_interface_syns`.
    pub joined_elsewhere: u64,
    /// Other packets of a flow known from another interface.
    pub other_interface: u64,
    /// Resets and answers of an attempt that has already ended.
    pub after_end: u64,
    /// ICMP errors.
    pub icmp_errors: u64,
    /// ICMP errors that refused an attempt.
    pub icmp_refused: u64,
    /// Later fragments and those too short for a transport header.
    pub fragments: u64,
    /// Frame bytes of later fragments, never attributed to a flow.
    pub fragment_bytes: u64,
    /// Headers joined from two fragments.
    pub joined: u64,
    /// Attempts with SYN+ACK.
    pub answered: u64,
    /// Attempts with RST or ICMP unreachable.
    pub refused: u64,
    /// Attempts whose client proved the handshake.
    pub established: u64,
    /// TCP flows first seen without their SYN.
    pub midstream: u64,
    /// Of these, those listed as open at the start.
    pub preexisting: u64,
    /// Connections listed as open at the start that found no room in the list.
    pub preexisting_dropped: u64,
    /// Flows opened.
    pub opened: u64,
    /// Of these, attempts opened again after their end.
    pub reopened: u64,
    /// Flows ended, by `EndReason as usize`.
    pub closed: [u64; 7],
    /// Of these, those whose records nobody asked for: they were never made.
    pub untold: u64,
    /// Second attempts of a simultaneous open, merged into the first.
    pub merged: u64,
    /// Flows open now.
    pub open: u64,
    /// Attempts pushed out of a full table: after this, a retransmission may count as an attempt.
    pub evicted_attempts: u64,
    /// Proven connections pushed out of a full table.
    pub evicted_established: u64,
    /// Other flows pushed out of a full table.
    pub evicted_others: u64,
    /// Halves of headers pushed out of the join cache.
    pub evicted_fragments: u64,
    /// Attempts whose further packets found no room to be accounted; their records say `saturated`.
    pub without_tally: u64,
}

/// Words of `closed`, in the order of [`super::record::EndReason`].
const REASONS: [&str; 7] = [
    "fin",
    "rst",
    "refused",
    "unanswered",
    "timeout",
    "evicted",
    "eof",
];

impl FlowCounts {
    /// Every flow that ended with a record.
    pub fn closed_all(&self) -> u64 {
        self.closed.iter().sum()
    }

    /// Flows ended, with the word of their end.
    pub fn closed_by_reason(&self) -> impl Iterator<Item = (&'static str, u64)> {
        REASONS.into_iter().zip(self.closed)
    }

    /// Attempts and flows pushed out of full tables.
    pub fn evicted(&self) -> u64 {
        self.evicted_attempts
            + self.evicted_established
            + self.evicted_others
            + self.evicted_fragments
    }

    /// Attempts that nothing answered in time.
    pub fn unanswered(&self) -> u64 {
        self.closed[super::record::EndReason::Unanswered as usize]
    }

    /// Attempts without an outcome: still open at the end, or pushed out of full tables.
    pub fn undecided(&self) -> u64 {
        let decided = self.answered + self.refused + self.unanswered();
        self.attempts.saturating_sub(decided)
    }

    /// Name, left side and right side of each identity.
    pub fn identities(&self) -> [(&'static str, u64, u64); 3] {
        let elsewhere = self.other_interface_syns - self.joined_elsewhere;
        let said = self.accounted
            + self.other_interface
            + elsewhere
            + self.after_end
            + self.icmp_errors
            + self.fragments;
        let syns = self.attempts + self.retransmitted + self.other_interface_syns;
        [
            (
                "packets = accounted + other_interface + after_end + icmp_errors + fragments",
                self.packets,
                said,
            ),
            (
                "syn_packets = attempts + retransmitted + other_interface",
                self.syn_packets,
                syns,
            ),
            (
                "flows opened = closed + merged + open",
                self.opened,
                self.closed_all() + self.merged + self.open,
            ),
        ]
    }

    /// Says which identity does not hold.
    ///
    /// # Errors
    ///
    /// The identity with its two sides.
    pub fn check(&self) -> Result<(), String> {
        for (name, left, right) in self.identities() {
            if left != right {
                return Err(format!("{name}: {left} != {right}"));
            }
        }
        Ok(())
    }

    /// Lends every counter with its name, in the same order each time.
    pub fn each(&mut self, lend: &mut dyn FnMut(&'static str, &mut u64)) {
        let Self {
            packets,
            accounted,
            syn_packets,
            attempts,
            retransmitted,
            other_interface_syns,
            joined_syns,
            joined_elsewhere,
            other_interface,
            after_end,
            icmp_errors,
            icmp_refused,
            fragments,
            fragment_bytes,
            joined,
            answered,
            refused,
            established,
            midstream,
            preexisting,
            preexisting_dropped,
            opened,
            reopened,
            closed,
            untold,
            merged,
            open,
            evicted_attempts,
            evicted_established,
            evicted_others,
            evicted_fragments,
            without_tally,
        } = self;
        lend("packets", packets);
        lend("accounted", accounted);
        lend("syn_packets", syn_packets);
        lend("attempts", attempts);
        lend("retransmitted", retransmitted);
        lend("other_interface_syns", other_interface_syns);
        lend("joined_syns", joined_syns);
        lend("joined_elsewhere", joined_elsewhere);
        lend("other_interface", other_interface);
        lend("after_end", after_end);
        lend("icmp_errors", icmp_errors);
        lend("icmp_refused", icmp_refused);
        lend("fragments", fragments);
        lend("fragment_bytes", fragment_bytes);
        lend("joined", joined);
        lend("answered", answered);
        lend("refused", refused);
        lend("established", established);
        lend("midstream", midstream);
        lend("preexisting", preexisting);
        lend("preexisting_dropped", preexisting_dropped);
        lend("opened", opened);
        lend("reopened", reopened);
        closed.iter_mut().for_each(|count| lend("closed", count));
        lend("untold", untold);
        lend("merged", merged);
        lend("open", open);
        lend("evicted_attempts", evicted_attempts);
        lend("evicted_established", evicted_established);
        lend("evicted_others", evicted_others);
        lend("evicted_fragments", evicted_fragments);
        lend("without_tally", without_tally);
    }
}
