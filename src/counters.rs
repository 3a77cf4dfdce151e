//! Counters, each declared once: field, sum, difference, and the name that logs, metrics and manual share.
//!
//! A struct has one writer. Copies of it are added up over shards ([`Counters::add`]) and subtracted over time
//! ([`Counters::since`]).

use std::borrow::Cow;

/// How a counter behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// It only grows.
    Count,
    /// It only grows, and each one is a loss: `--strict` forbids it.
    Loss,
    /// What there is now: added up over shards, never subtracted over time.
    Gauge,
    /// Microseconds that only grow; shown in seconds.
    Micros,
}

/// The name of a label and its value.
pub type Label = (&'static str, Cow<'static, str>);

/// One counter, or one of several that share a name and differ in their labels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Counter {
    /// The struct's prefix: empty, or ends with an underscore.
    pub prefix: &'static str,
    /// The name of the field.
    pub field: &'static str,
    /// What it counts.
    pub help: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// Labels with their values.
    pub labels: Vec<Label>,
    /// The count itself.
    pub count: u64,
}

impl Counter {
    /// A count that stands in no struct, because it is not there in every run.
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

    /// Its name: in EVE's `synledger.books`, and with `synledger_` before it in the metrics.
    pub fn name(&self) -> String {
        format!("{}{}", self.prefix, self.short_name())
    }

    /// One of several, told apart by these labels before its own.
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

/// What `counters!` makes of a struct.
pub trait Counters: Clone {
    /// Lends every number, in the order of [`Counters::each`].
    fn numbers(&mut self, lend: &mut dyn FnMut(Kind, &mut u64));

    /// Shows every counter, in the order of the declaration.
    fn each(&self, show: &mut dyn FnMut(Counter));

    /// Joins what is no number with another one's.
    fn join(&mut self, other: &Self);

    /// Adds the counters of another shard.
    fn add(&mut self, other: &Self) {
        self.zip(other, |_, sum, one| *sum += one);
        self.join(other);
    }

    /// What was counted since `before`. What there is now stays as it is.
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

    /// Applies `each` to the numbers of both, pair by pair.
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

/// One identity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it says.
    pub name: String,
    /// Left side.
    pub left: u64,
    /// Right side.
    pub right: u64,
    /// How much larger the left side may be, while something is in flight.
    pub ahead: u64,
    /// How much larger the right side may be, while one side was read before the other.
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

    /// Whether the two sides agree.
    pub fn holds(&self) -> bool {
        self.left <= self.right.saturating_add(self.ahead)
            && self.right <= self.left.saturating_add(self.behind)
    }
}

/// What stands beside counters and is no number.
pub trait State {
    /// Of two shards.
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

/// Declares a struct of counters with the prefix of their names, each field with what it counts, and implements
/// [`Counters`] and `Default`.
///
/// A field is a count (`frames: "…"`) or says in parentheses what it is: `(loss)`, `(gauge)`, `(micros)`; several of
/// a kind, told apart by a label whose values are the words of an enum, `(count by cause Unread)`; another such
/// struct, `(group FlowCounts)`, or with a prefix of its own, `(group DetectorCounts as "port_scan_")`; or a type that is no number, `(state Horizons)`.
macro_rules! counters {
    ($(#[$meta:meta])* $vis:vis struct $name:ident $prefix:literal {
        $( $field:ident $(($($is:tt)+))? : $help:literal ),+ $(,)?
    }) => {
        $(#[$meta])*
        $vis struct $name {
            $(
                #[doc = concat!($help, ".")]
                pub $field: $crate::counters::counters!(@type $($($is)+)?),
            )+
        }

        impl Default for $name {
            fn default() -> Self {
                Self { $( $field: $crate::counters::counters!(@zero $($($is)+)?), )+ }
            }
        }

        impl $crate::counters::Counters for $name {
            fn numbers(&mut self, lend: &mut dyn FnMut($crate::counters::Kind, &mut u64)) {
                $( $crate::counters::counters!(@numbers self.$field, lend, $($($is)+)?); )+
            }

            fn each(&self, show: &mut dyn FnMut($crate::counters::Counter)) {
                $({
                    let counter = |kind, labels, count| $crate::counters::Counter {
                        prefix: $prefix,
                        field: stringify!($field),
                        help: $help,
                        kind,
                        labels,
                        count,
                    };
                    $crate::counters::counters!(@each self.$field, show, counter, $($($is)+)?);
                })+
            }

            fn join(&mut self, other: &Self) {
                let _ = other;
                $( $crate::counters::counters!(@join self.$field, other.$field, $($($is)+)?); )+
            }
        }
    };

    (@type) => { u64 };
    (@type group $type:ty) => { $type };
    (@type group $type:ty as $prefix:expr) => { $type };
    (@type state $type:ty) => { $type };
    (@type $kind:ident) => { u64 };
    (@type $kind:ident by $label:ident $words:ty) => { [u64; <$words>::COUNT] };
    (@type $kind:ident by $label:ident $words:ty, by $inner:ident $inner_words:ty) => {
        [[u64; <$inner_words>::COUNT]; <$words>::COUNT]
    };

    (@zero) => { 0 };
    (@zero group $type:ty) => { <$type>::default() };
    (@zero group $type:ty as $prefix:expr) => { <$type>::default() };
    (@zero state $type:ty) => { <$type>::default() };
    (@zero $kind:ident) => { 0 };
    (@zero $kind:ident by $label:ident $words:ty) => { [0; <$words>::COUNT] };
    (@zero $kind:ident by $label:ident $words:ty, by $inner:ident $inner_words:ty) => {
        [[0; <$inner_words>::COUNT]; <$words>::COUNT]
    };

    (@kind count) => { $crate::counters::Kind::Count };
    (@kind loss) => { $crate::counters::Kind::Loss };
    (@kind gauge) => { $crate::counters::Kind::Gauge };
    (@kind micros) => { $crate::counters::Kind::Micros };

    (@numbers $place:expr, $lend:ident,) => { $lend($crate::counters::Kind::Count, &mut $place) };
    (@numbers $place:expr, $lend:ident, group $type:ty) => {
        $crate::counters::Counters::numbers(&mut $place, $lend)
    };
    (@numbers $place:expr, $lend:ident, group $type:ty as $prefix:expr) => {
        $crate::counters::Counters::numbers(&mut $place, $lend)
    };
    (@numbers $place:expr, $lend:ident, state $type:ty) => {};
    (@numbers $place:expr, $lend:ident, $kind:ident) => {
        $lend($crate::counters::counters!(@kind $kind), &mut $place)
    };
    (@numbers $place:expr, $lend:ident, $kind:ident by $label:ident $words:ty) => {
        for count in &mut $place {
            $lend($crate::counters::counters!(@kind $kind), count);
        }
    };
    (@numbers $place:expr, $lend:ident, $kind:ident by $label:ident $words:ty, by $($inner:tt)+) => {
        for count in $place.iter_mut().flatten() {
            $lend($crate::counters::counters!(@kind $kind), count);
        }
    };

    (@each $place:expr, $show:ident, $counter:ident,) => {
        $show($counter($crate::counters::Kind::Count, Vec::new(), $place))
    };
    (@each $place:expr, $show:ident, $counter:ident, group $type:ty) => {{
        let _ = $counter;
        $crate::counters::Counters::each(&$place, $show)
    }};
    (@each $place:expr, $show:ident, $counter:ident, group $type:ty as $prefix:expr) => {{
        let _ = $counter;
        $crate::counters::Counters::each(&$place, &mut |counter| {
            $show($crate::counters::Counter { prefix: $prefix, ..counter });
        })
    }};
    (@each $place:expr, $show:ident, $counter:ident, state $type:ty) => { let _ = $counter; };
    (@each $place:expr, $show:ident, $counter:ident, $kind:ident) => {
        $show($counter($crate::counters::counters!(@kind $kind), Vec::new(), $place))
    };
    (@each $place:expr, $show:ident, $counter:ident, $kind:ident by $label:ident $words:ty) => {
        for (value, count) in <$words>::ALL.into_iter().zip($place) {
            let labels = vec![(stringify!($label), value.word().into())];
            $show($counter($crate::counters::counters!(@kind $kind), labels, count));
        }
    };
    (@each $place:expr, $show:ident, $counter:ident, $kind:ident by $label:ident $words:ty, by $inner:ident $inner_words:ty) => {
        for (value, counts) in <$words>::ALL.into_iter().zip($place) {
            for (inner, count) in <$inner_words>::ALL.into_iter().zip(counts) {
                let labels = vec![
                    (stringify!($label), value.word().into()),
                    (stringify!($inner), inner.word().into()),
                ];
                $show($counter($crate::counters::counters!(@kind $kind), labels, count));
            }
        }
    };

    (@join $place:expr, $other:expr, group $type:ty) => {
        $crate::counters::Counters::join(&mut $place, &$other)
    };
    (@join $place:expr, $other:expr, group $type:ty as $prefix:expr) => {
        $crate::counters::Counters::join(&mut $place, &$other)
    };
    (@join $place:expr, $other:expr, state $type:ty) => {
        $crate::counters::State::join(&mut $place, &$other)
    };
    (@join $place:expr, $other:expr, $($number:tt)*) => {};
}
pub(crate) use counters;
