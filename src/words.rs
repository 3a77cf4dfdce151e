//! Enums whose variants have a stable word for logs, metrics, records and flags.

use std::borrow::Cow;
use std::fmt::Display;
use std::ops::RangeInclusive;
use std::path::Path;
use std::str::FromStr;

/// Declares such an enum with `ALL`, `COUNT`, `index`, `word`, `Display` and `FromStr`. Equal words do not compile.
///
/// A `flag enum` is also a `clap::ValueEnum`: the words are its values, the variants' comments their help.
macro_rules! words {
    ($(#[$about:meta])* $vis:vis flag enum $name:ident {
        $($(#[$what:meta])* $variant:ident = $word:literal,)+
    }) => {
        words! {
            $(#[$about])*
            #[derive(clap::ValueEnum)]
            $vis enum $name { $($(#[$what])* #[value(name = $word)] $variant = $word,)+ }
        }
    };
    ($(#[$about:meta])* $vis:vis enum $name:ident {
        $($(#[$what:meta])* $variant:ident = $word:literal,)+
    }) => {
        $(#[$about])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        #[repr(u8)]
        $vis enum $name { $($(#[$what])* $variant,)+ }

        #[allow(dead_code, reason = "not every enum needs all of them")]
        impl $name {
            /// Every variant, in the order of [`Self::index`].
            pub const ALL: [Self; Self::COUNT] = [$(Self::$variant),+];
            /// Number of variants.
            pub const COUNT: usize = [$($word),+].len();

            /// Index into an array of [`Self::COUNT`] counters.
            pub const fn index(self) -> usize {
                self as usize
            }

            /// The variant's word.
            pub const fn word(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.pad(self.word())
            }
        }

        impl std::str::FromStr for $name {
            /// The words allowed are those of `ALL`.
            type Err = ();

            #[deny(unreachable_patterns)]
            fn from_str(word: &str) -> Result<Self, ()> {
                match word { $($word => Ok(Self::$variant),)+ _ => Err(()) }
            }
        }
    };
}

/// Joins alternatives: `a, b or c`.
pub fn either(words: &[&str]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        _ => words.concat(),
    }
}

/// A count with its noun: `1 frame`, `2 frames`.
pub fn many(count: impl std::fmt::Display, word: &str) -> String {
    match count.to_string().as_str() {
        "1" => format!("1 {word}"),
        count => format!("{count} {word}s"),
    }
}

/// Lines for a person: each control character but the newline becomes `_`, as in the interfaces' names of log lines.
/// Names of interfaces, hosts and files may hold any, also those that command a terminal.
pub fn printable(lines: &str) -> Cow<'_, str> {
    let commands = |letter: char| letter.is_control() && letter != '\n';
    match lines.contains(commands) {
        true => lines.replace(commands, "_").into(),
        false => lines.into(),
    }
}

/// A path for a person, on one line: each control character becomes `_`.
pub fn shown(path: &Path) -> String {
    path.display().to_string().replace(char::is_control, "_")
}

/// A parser of whole numbers in a range, which the error names.
pub fn whole<T>(range: RangeInclusive<T>) -> impl Fn(&str) -> Result<T, String> + Clone
where
    T: FromStr + PartialOrd + Display + Clone,
{
    move |text| {
        let number = text.parse().ok().filter(|number| range.contains(number));
        number.ok_or_else(|| {
            let (least, most) = (range.start(), range.end());
            format!("must be a whole number from {least} to {most}")
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum;

    words! {
        /// Of two colours.
        #[derive(Default, Hash)]
        flag enum Colour {
            /// As blood.
            Red = "red",
            /// As the sky.
            #[default]
            PaleBlue = "pale_blue",
        }
    }

    #[test]
    fn control_characters_come_to_no_terminal() {
        use super::{printable, shown};
        let lines = "a\u{1b}[31m\u{9b}31m\u{7f}\r\u{7}\0b\nc";
        assert_eq!(printable(lines), "a_[31m_31m____b\nc");
        assert_eq!(printable("plain: größer\n"), "plain: größer\n");
        assert_eq!(shown("a\nb\u{1b}c".as_ref()), "a_b_c");
    }

    #[test]
    fn a_variant_has_its_place_and_word_and_is_found_by_it() {
        const WORDS: [&str; Colour::COUNT] = [Colour::ALL[0].word(), Colour::ALL[1].word()];
        assert_eq!(WORDS, ["red", "pale_blue"]);
        for (index, colour) in Colour::ALL.into_iter().enumerate() {
            assert_eq!(colour.index(), index);
            assert_eq!(colour.word().parse(), Ok(colour));
        }
        assert_eq!("Red".parse::<Colour>(), Err(()));
        assert_eq!(format!("{:>4}", Colour::Red), " red");
        assert_eq!(Colour::default(), Colour::PaleBlue);
    }

    #[test]
    fn a_flags_values_are_the_words_and_their_help_the_comments() {
        let value = Colour::PaleBlue.to_possible_value().expect("not skipped");
        assert_eq!(value.get_name(), "pale_blue");
        assert_eq!(
            value.get_help().map(ToString::to_string).as_deref(),
            Some("As the sky")
        );
    }
}
