//! Declaration of counters: field, sum, difference, and one name for logs, metrics and manual.
//!
//! A struct has one writer. Its copies are summed over shards ([`Counters::add`]) and subtracted over time
//! ([`Counters::since`]).

use std::borrow::Cow;

/// How a counter behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Never decreases.
    Count,
    /// Never decreases; each one is a loss, which `--strict` forbids.
    Loss,
    /// A current value: summed over shards, not subtracted over time.
    Gauge,
    /// Microseconds, never decreasing; shown in seconds.
    Micros,
}

/// Name and value of a label.
pub type Label = (&'static str, Cow<'static, str>);

/// One counter. Several may share a name and differ in their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "fields are as declared")]
pub struct Counter {
    /// Prefix of its struct: empty, or ends with an underscore.
    pub prefix: &'static str,
    pub field: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    pub labels: Vec<Label>,
    pub count: u64,
}

impl Counter {
    /// A counter outside a struct, because not every run has it.
    pub fn single(field: &'static str, help: &'static str, kind: Kind, count: u64) -> Self {
        Self {
            prefix: "",
            field,
            help,
            kind,
            labels: Vec::new(),
            count,
        }
    }

    /// The name in EVE's `synledger.books` and, behind `synledger_`, in the metrics.
    pub fn name(&self) -> String {
        format!("{}{}", self.prefix, self.short_name())
    }

    /// Puts `labels` before its own.
    #[must_use]
    pub fn among(mut self, labels: &[Label]) -> Self {
        self.labels.splice(0..0, labels.iter().cloned());
        self
    }

    /// The name without the prefix of its struct.
    pub fn short_name(&self) -> Cow<'static, str> {
        match (self.kind, self.field.strip_suffix("_us")) {
            (Kind::Micros, Some(stem)) => format!("{stem}_seconds").into(),
            _ => self.field.into(),
        }
    }
}

/// A struct declared by `counters!`.
pub trait Counters: Clone {
    /// Visits every number, in the order of [`Counters::each`].
    fn numbers(&mut self, visit: &mut dyn FnMut(Kind, &mut u64));

    /// Visits every counter, in the order of the declaration.
    fn each(&self, visit: &mut dyn FnMut(Counter));

    /// Joins the [`State`]s with another one's.
    fn join(&mut self, other: &Self);

    /// Adds the counters of another shard.
    fn add(&mut self, other: &Self) {
        self.zip(other, |_, sum, one| *sum += one);
        self.join(other);
    }

    /// Subtracts `before`, except from gauges.
    #[must_use]
    fn since(&self, before: &Self) -> Self {
        let mut counts = self.clone();
        counts.zip(before, |kind, now, then| {
            if kind != Kind::Gauge {
                *now = now.saturating_sub(then);
            }
        });
        counts
    }

    /// Applies `each` to kind and number of this one and to the other's number, pair by pair.
    fn zip(&mut self, other: &Self, each: impl Fn(Kind, &mut u64, u64)) {
        let mut values = Vec::new();
        let mut other = other.clone();
        other.numbers(&mut |_, value| values.push(*value));
        let mut values = values.into_iter();
        self.numbers(&mut |kind, value| {
            each(kind, value, values.next().expect("as many in both"));
        });
    }
}

/// Two sums that must agree.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "name and both sides need none")]
pub struct Identity {
    pub name: String,
    pub left: u64,
    pub right: u64,
    /// Allowed excess of the left side, while something is in flight.
    pub ahead: u64,
    /// Allowed excess of the right side, while one side was read before the other.
    pub behind: u64,
}

impl Identity {
    pub(crate) fn exact(name: impl Into<String>, left: u64, right: u64) -> Self {
        Self::within(name, left, right, 0)
    }

    pub(crate) fn within(name: impl Into<String>, left: u64, right: u64, slack: u64) -> Self {
        Self {
            name: name.into(),
            left,
            right,
            ahead: slack,
            behind: slack,
        }
    }

    /// Whether both sides agree, within what is allowed.
    pub fn holds(&self) -> bool {
        self.left <= self.right.saturating_add(self.ahead)
            && self.right <= self.left.saturating_add(self.behind)
    }
}

/// A field beside counters that is no number.
pub trait State {
    /// Combines those of two shards.
    fn join(&mut self, other: &Self);
}

impl State for u64 {
    fn join(&mut self, other: &Self) {
        *self += other;
    }
}

impl<const N: usize> State for [u64; N] {
    fn join(&mut self, other: &Self) {
        self.iter_mut()
            .zip(other)
            .for_each(|(sum, one)| *sum += one);
    }
}

/// Declares a struct of counters: the prefix of their names, and for each field what it counts. Implements
/// [`Counters`] and `Default`.
///
/// A field is a count (`frames: "…"`), or its type is in parentheses: `(loss)`, `(gauge)`, `(micros)`; an array with
/// a label, whose values are the words of an enum, `(count by cause Unread)`; another such struct,
/// `(group FlowCounts)`, also with a prefix, `(group DetectorCounts as "port_scan_")`; or a [`State`],
/// `(state Horizons)`.
macro_rules! counters {
    ($(#[$meta:meta])* $vis:vis struct $name:ident $prefix:literal {
        $( $field:ident $(($($is:tt)+))? : $help:literal ),+ $(,)?
    }) => {
        $(#[$meta])*
        #[derive(Default)]
        $vis struct $name {
            $(
                #[doc = concat!($help, ".")]
                pub $field: $crate::counters::counters!(@type $($($is)+)?),
            )+
        }

        impl $crate::counters::Counters for $name {
            fn numbers(&mut self, visit: &mut dyn FnMut($crate::counters::Kind, &mut u64)) {
                $( $crate::counters::counters!(@numbers self.$field, visit, $($($is)+)?); )+
            }

            fn each(&self, visit: &mut dyn FnMut($crate::counters::Counter)) {
                $({
                    let counter = |kind, labels, count| $crate::counters::Counter {
                        prefix: $prefix,
                        field: stringify!($field),
                        help: $help,
                        kind,
                        labels,
                        count,
                    };
                    $crate::counters::counters!(@each self.$field, visit, counter, $($($is)+)?);
                })+
            }

            fn join(&mut self, other: &Self) {
                let _ = other;
                $( $crate::counters::counters!(@join self.$field, other.$field, $($($is)+)?); )+
            }
        }
    };

    (@type) => { u64 };
    (@type group $type:ty $(as $prefix:expr)?) => { $type };
    (@type state $type:ty) => { $type };
    (@type $kind:ident) => { u64 };
    (@type $kind:ident by $label:ident $words:ty) => { [u64; <$words>::COUNT] };
    (@type $kind:ident by $label:ident $words:ty, by $inner:ident $inner_words:ty) => {
        [[u64; <$inner_words>::COUNT]; <$words>::COUNT]
    };

    (@kind count) => { $crate::counters::Kind::Count };
    (@kind loss) => { $crate::counters::Kind::Loss };
    (@kind gauge) => { $crate::counters::Kind::Gauge };
    (@kind micros) => { $crate::counters::Kind::Micros };

    (@numbers $place:expr, $visit:ident,) => { $visit($crate::counters::Kind::Count, &mut $place) };
    (@numbers $place:expr, $visit:ident, group $type:ty $(as $prefix:expr)?) => {
        $crate::counters::Counters::numbers(&mut $place, $visit)
    };
    (@numbers $place:expr, $visit:ident, state $type:ty) => {};
    (@numbers $place:expr, $visit:ident, $kind:ident) => {
        $visit($crate::counters::counters!(@kind $kind), &mut $place)
    };
    (@numbers $place:expr, $visit:ident, $kind:ident by $label:ident $words:ty) => {
        for count in &mut $place {
            $visit($crate::counters::counters!(@kind $kind), count);
        }
    };
    (@numbers $place:expr, $visit:ident, $kind:ident by $label:ident $words:ty, by $($inner:tt)+) => {
        for count in $place.iter_mut().flatten() {
            $visit($crate::counters::counters!(@kind $kind), count);
        }
    };

    (@each $place:expr, $visit:ident, $counter:ident,) => {
        $visit($counter($crate::counters::Kind::Count, Vec::new(), $place))
    };
    (@each $place:expr, $visit:ident, $counter:ident, group $type:ty $(as $prefix:expr)?) => {{
        let _ = $counter;
        $crate::counters::Counters::each(&$place, &mut |counter| {
            $visit($crate::counters::Counter { $(prefix: $prefix,)? ..counter });
        })
    }};
    (@each $place:expr, $visit:ident, $counter:ident, state $type:ty) => { let _ = $counter; };
    (@each $place:expr, $visit:ident, $counter:ident, $kind:ident) => {
        $visit($counter($crate::counters::counters!(@kind $kind), Vec::new(), $place))
    };
    (@each $place:expr, $visit:ident, $counter:ident, $kind:ident by $label:ident $words:ty) => {
        for (value, count) in <$words>::ALL.into_iter().zip($place) {
            let labels = vec![(stringify!($label), value.word().into())];
            $visit($counter($crate::counters::counters!(@kind $kind), labels, count));
        }
    };
    (@each $place:expr, $visit:ident, $counter:ident, $kind:ident by $label:ident $words:ty, by $inner:ident $inner_words:ty) => {
        for (value, counts) in <$words>::ALL.into_iter().zip($place) {
            for (inner, count) in <$inner_words>::ALL.into_iter().zip(counts) {
                let labels = vec![
                    (stringify!($label), value.word().into()),
                    (stringify!($inner), inner.word().into()),
                ];
                $visit($counter($crate::counters::counters!(@kind $kind), labels, count));
            }
        }
    };

    (@join $place:expr, $other:expr, group $type:ty $(as $prefix:expr)?) => {
        $crate::counters::Counters::join(&mut $place, &$other)
    };
    (@join $place:expr, $other:expr, state $type:ty) => {
        $crate::counters::State::join(&mut $place, &$other)
    };
    (@join $place:expr, $other:expr, $($number:tt)*) => {};
}
pub(crate) use counters;
