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
        #[derive(borsh::BorshDeserialize, borsh::BorshSchema, borsh::BorshSerialize)]
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

/// A name of the kernel's in a field that a zero byte ends, or its last byte.
pub fn until_zero(field: &[u8]) -> String {
    let end = field.iter().position(|&byte| byte == 0);
    String::from_utf8_lossy(&field[..end.unwrap_or(field.len())]).into_owned()
}

/// The first characters of a text, with `…` where there are more.
pub fn cut(text: &str, letters: usize) -> Cow<'_, str> {
    match text.char_indices().nth(letters) {
        Some((end, _)) => format!("{}…", &text[..end]).into(),
        None => text.into(),
    }
}

/// Characters that nobody sees, or that change what is seen around them: Unicode's format characters (Cf), line and
/// paragraph separators, fillers and variation selectors.
const UNSEEN: [(RangeInclusive<char>, &str); 24] = [
    ('\u{061c}'..='\u{061c}', TURNS),
    ('\u{200e}'..='\u{200f}', TURNS),
    ('\u{202a}'..='\u{202e}', TURNS),
    ('\u{2066}'..='\u{2069}', TURNS),
    ('\u{206a}'..='\u{206f}', TURNS),
    ('\u{2028}'..='\u{2029}', "it ends a line"),
    ('\u{00ad}'..='\u{00ad}', UNSEEN_BY_ALL),
    ('\u{034f}'..='\u{034f}', UNSEEN_BY_ALL),
    ('\u{0600}'..='\u{0605}', UNSEEN_BY_ALL),
    ('\u{06dd}'..='\u{06dd}', UNSEEN_BY_ALL),
    ('\u{070f}'..='\u{070f}', UNSEEN_BY_ALL),
    ('\u{115f}'..='\u{1160}', UNSEEN_BY_ALL),
    ('\u{17b4}'..='\u{17b5}', UNSEEN_BY_ALL),
    ('\u{180b}'..='\u{180f}', UNSEEN_BY_ALL),
    ('\u{200b}'..='\u{200d}', UNSEEN_BY_ALL),
    ('\u{2060}'..='\u{2065}', UNSEEN_BY_ALL),
    ('\u{3164}'..='\u{3164}', UNSEEN_BY_ALL),
    ('\u{fe00}'..='\u{fe0f}', UNSEEN_BY_ALL),
    ('\u{feff}'..='\u{feff}', UNSEEN_BY_ALL),
    ('\u{ffa0}'..='\u{ffa0}', UNSEEN_BY_ALL),
    ('\u{fff0}'..='\u{fffb}', UNSEEN_BY_ALL),
    ('\u{1bca0}'..='\u{1bca3}', UNSEEN_BY_ALL),
    ('\u{1d173}'..='\u{1d17a}', UNSEEN_BY_ALL),
    ('\u{e0000}'..='\u{e0fff}', UNSEEN_BY_ALL),
];
const TURNS: &str = "it changes the direction of text";
const UNSEEN_BY_ALL: &str = "nobody sees it";

/// Why `text` is not plain words on one line, if so: its first character that is not, with its place from 1.
pub fn not_plain(text: &str) -> Option<String> {
    let about = |letter: char| match letter.is_control() {
        true => Some("it is a control character"),
        false => {
            let unseen = UNSEEN.iter().find(|(range, _)| range.contains(&letter));
            unseen.map(|(_, why)| *why)
        }
    };
    let mut letters = text.chars().enumerate();
    letters.find_map(|(at, letter)| {
        let why = about(letter)?;
        let number = u32::from(letter);
        Some(format!("character {} is U+{number:04X}: {why}", at + 1))
    })
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
        // A number such as 064 may be meant as an octal one.
        let is_plain = text == "0" || !text.starts_with(['0', '+']);
        let number = text.parse().ok();
        let number = number.filter(|number| is_plain && range.contains(number));
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
    fn a_long_text_is_cut_between_characters() {
        use super::cut;
        assert_eq!(cut("größer", 6), "größer");
        assert_eq!(cut("größer", 3), "grö…");
        assert_eq!(cut("", 0), "");
    }

    #[test]
    fn a_character_that_nobody_sees_is_named_with_its_place() {
        use super::not_plain;
        for plain in ["", "noisy: größer, 日本語 \"x\"", "e\u{301}"] {
            assert_eq!(not_plain(plain), None, "{plain}");
        }
        let turns = ('\u{202a}'..='\u{202e}').chain('\u{2066}'..='\u{2069}');
        for turn in turns.chain(['\u{200e}', '\u{200f}', '\u{61c}']) {
            let number = u32::from(turn);
            let expected =
                format!("character 3 is U+{number:04X}: it changes the direction of text");
            assert_eq!(not_plain(&format!("äb{turn}c")), Some(expected));
        }
        for (unseen, says) in [
            ("a\nb", "character 2 is U+000A: it is a control character"),
            ("\u{9b}", "character 1 is U+009B: it is a control character"),
            ("\u{200b}", "character 1 is U+200B: nobody sees it"),
            ("x\u{feff}", "character 2 is U+FEFF: nobody sees it"),
            ("\u{2028}", "character 1 is U+2028: it ends a line"),
            ("\u{e0041}", "character 1 is U+E0041: nobody sees it"),
        ] {
            assert_eq!(not_plain(unseen).as_deref(), Some(says));
        }
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
