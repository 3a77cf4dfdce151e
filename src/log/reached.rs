//! The time that the log has reached, so that the times of text lines never go back.

/// A time of the log. In `read` both are packet time; live, run time and the wall clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct LogTime {
    /// The log is ordered by it.
    pub run_ns: i64,
    /// It is written, nanoseconds since the Unix epoch.
    pub wall_ns: i64,
}

impl LogTime {
    /// A packet time.
    pub fn packet(ts_ns: i64) -> Self {
        Self {
            run_ns: ts_ns,
            wall_ns: ts_ns,
        }
    }
}

/// The time that the log has reached: no later event is due before it.
///
/// Records of the sensor are written at once, while events wait for each other. So the line of such a record has this
/// time, not its own, which is a little later.
#[derive(Clone, Copy, Debug, Default)]
#[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
pub struct Reached {
    at: Option<LogTime>,
    ended: bool,
}

impl Reached {
    /// Everything before this time is written.
    pub fn advance(&mut self, to: LogTime) {
        if self.at.is_none_or(|at| at.run_ns < to.run_ns) {
            self.at = Some(to);
        }
    }

    /// An event of this time is written; a late one sets the log back.
    pub fn set(&mut self, to: LogTime) {
        self.at = Some(to);
    }

    /// No event follows.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// `moment`, or the time that the log has reached if that is later.
    pub fn not_before(&self, moment: LogTime) -> LogTime {
        self.at
            .filter(|at| at.run_ns > moment.run_ns)
            .unwrap_or(moment)
    }

    /// Wall clock of the log; `None` before its first event.
    pub fn wall_ns(&self) -> Option<i64> {
        self.at.map(|at| at.wall_ns)
    }

    /// The time on the line of a sensor record that was made at `ts_ns` by the wall clock.
    pub fn stamp_ns(&self, ts_ns: i64) -> i64 {
        match self.at {
            None => ts_ns,
            Some(at) if self.ended => at.wall_ns.max(ts_ns),
            Some(at) => at.wall_ns,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sensors_own_lines_stand_where_the_log_is() {
        let mut reached = Reached::default();
        assert_eq!(reached.stamp_ns(70), 70, "nothing is known");
        // The clock was set forward by 1000 before.
        let at = |run_ns| LogTime {
            run_ns,
            wall_ns: run_ns + 1000,
        };
        reached.advance(at(50));
        reached.advance(at(40));
        assert_eq!(reached.stamp_ns(1070), 1050);
        assert_eq!(reached.not_before(at(45)), at(50));
        assert_eq!(reached.not_before(at(55)), at(55));
        reached.set(at(30));
        assert_eq!(reached.stamp_ns(1070), 1030, "a late event takes it back");
        reached.end();
        assert_eq!(reached.stamp_ns(1070), 1070);
        assert_eq!(reached.stamp_ns(7), 1030);
    }
}
