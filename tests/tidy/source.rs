//! Source files prepared for the checks: without comments and literals, and without tests.

/// A source file below the root.
pub struct Source {
    /// Its path from the root.
    pub name: String,
    /// The whole file.
    pub text: String,
    /// The text with comments and literals blanked; line numbers stay.
    pub code: String,
    /// `code` without tests; empty for a file of tests.
    pub shipped: String,
}

impl Source {
    /// A file whose code ships, except for its unit tests.
    pub fn new(name: &str, text: &str) -> Self {
        let code = blanked(text);
        Self {
            name: name.to_owned(),
            text: text.to_owned(),
            shipped: without_tests(&code),
            code,
        }
    }
}

/// Blanks comments, strings and characters; keeps line ends.
fn blanked(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut at = 0;
    while at < chars.len() {
        match hidden_end(&chars, at) {
            Some(end) => {
                let hidden = chars[at..end].iter();
                out.extend(hidden.map(|&c| if c == '\n' { '\n' } else { ' ' }));
                at = end;
            }
            None => {
                out.push(chars[at]);
                at += 1;
            }
        }
    }
    out
}

/// The end of the comment or literal that starts at `at`; `None` if none starts there.
fn hidden_end(chars: &[char], at: usize) -> Option<usize> {
    let next = chars.get(at + 1).copied().unwrap_or(' ');
    let in_word = at > 0 && is_word(chars[at - 1]);
    match (chars[at], next) {
        ('/', '/') => Some(find(chars, at, |rest| rest[0] == '\n')),
        ('/', '*') => Some(block_comment_end(chars, at)),
        ('"', _) => Some(quoted_end(chars, at)),
        ('r', '"' | '#') if !in_word || matches!(chars[at - 1], 'b' | 'c') => raw_end(chars, at),
        ('\'', '\\') => Some(quoted_end(chars, at)),
        ('\'', _) if chars.get(at + 2) == Some(&'\'') => Some(at + 3),
        _ => None,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The first place from `at` on whose rest satisfies `is`, or the end.
fn find(chars: &[char], at: usize, is: impl Fn(&[char]) -> bool) -> usize {
    (at..chars.len())
        .find(|&place| is(&chars[place..]))
        .unwrap_or(chars.len())
}

fn block_comment_end(chars: &[char], mut at: usize) -> usize {
    let mut depth = 0;
    while at < chars.len() {
        match chars[at..] {
            ['/', '*', ..] => depth += 1,
            ['*', '/', ..] => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            break;
        }
    }
    at.min(chars.len())
}

/// The end of a string or character with escapes, whose quote is at `at`.
fn quoted_end(chars: &[char], at: usize) -> usize {
    let mut end = at + 1;
    while end < chars.len() && chars[end] != chars[at] {
        end += if chars[end] == '\\' { 2 } else { 1 };
    }
    (end + 1).min(chars.len())
}

/// The end of `r"…"` or `r#"…"#`; `None` for a raw name such as `r#type`.
fn raw_end(chars: &[char], at: usize) -> Option<usize> {
    let hashes = chars[at + 1..].iter().take_while(|&&c| c == '#').count();
    let quote = at + 1 + hashes;
    if chars.get(quote) != Some(&'"') {
        return None;
    }
    let close: Vec<char> = std::iter::once('"')
        .chain(std::iter::repeat_n('#', hashes))
        .collect();
    let end = find(chars, quote + 1, |rest| rest.starts_with(&close));
    Some((end + close.len()).min(chars.len()))
}

/// Blanks the item behind each `#[cfg(test)]`, up to its block's end or a semicolon.
fn without_tests(code: &str) -> String {
    const TEST: &str = "#[cfg(test)]";
    let mut out = String::new();
    let mut rest = code;
    while let Some(start) = rest.find(TEST) {
        let (before, item) = rest.split_at(start);
        let end = item_end(&item[TEST.len()..]) + TEST.len();
        out.push_str(before);
        out.extend(item[..end].chars().filter(|&c| c == '\n'));
        rest = &item[end..];
    }
    out + rest
}

/// Bytes up to the end of the item that `code` starts with.
pub fn item_end(code: &str) -> usize {
    let (mut round, mut curly) = (0_i32, 0_i32);
    for (at, c) in code.char_indices() {
        match c {
            '(' | '[' => round += 1,
            ')' | ']' => round -= 1,
            '{' => curly += 1,
            '}' => curly -= 1,
            _ => {}
        }
        if round == 0 && curly == 0 && matches!(c, ';' | '}') {
            return at + 1;
        }
        if curly < 0 {
            return at; // The end of the enclosing block.
        }
    }
    code.len()
}

/// Words and marks of `code` with their line numbers from 1; `::` is one mark.
pub fn tokens(code: &str) -> Vec<(usize, &str)> {
    let mut out = Vec::new();
    let mut line = 1;
    let mut rest = code;
    while let Some(first) = rest.chars().next() {
        let len = if is_word(first) {
            rest.find(|c| !is_word(c)).unwrap_or(rest.len())
        } else if rest.starts_with("::") {
            2
        } else {
            first.len_utf8()
        };
        if first == '\n' {
            line += 1;
        }
        if !first.is_whitespace() {
            out.push((line, &rest[..len]));
        }
        rest = &rest[len..];
    }
    out
}

/// Functions with a body: line of the head, name, lines from there to the closing brace.
pub fn functions(code: &str) -> Vec<(usize, String, usize)> {
    let mut out = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let head = &code[at + 3..];
        let name: String = head.chars().take_while(|&c| is_word(c)).collect();
        let starts_word = code[..at].ends_with(is_word);
        let end = item_end(head);
        if starts_word || name.is_empty() || !head[..end].ends_with('}') {
            continue;
        }
        let line = code[..at].matches('\n').count() + 1;
        out.push((line, name, head[..end].lines().count()));
    }
    out
}

/// A path to an item of the same crate.
pub struct Named {
    /// Line of the path's last name.
    pub line: usize,
    /// The path from the crate's root; a last `*` stands for everything there.
    pub path: Vec<String>,
    /// If a `use` imports it: the name that it has in this file.
    pub import: Option<String>,
    /// The `use` is public.
    pub reexported: bool,
}

/// Paths that start with `crate` or `super`, as paths from the crate's root; each name of a `use` is a path
/// of its own, and `*` stands for everything there.
pub fn paths(name: &str, code: &str) -> Vec<(usize, Vec<String>)> {
    let found = named(code, |word| root(name, word));
    found.into_iter().map(|it| (it.line, it.path)).collect()
}

/// The module that `crate` or `super` means in a file.
pub fn root(name: &str, word: &str) -> Option<Vec<String>> {
    let mut path = module(name);
    match word {
        "crate" => path.clear(),
        "super" => drop(path.pop()),
        _ => return None,
    }
    Some(path)
}

/// Paths whose first word `starts` resolves to a path from the crate's root. Each name of a `use` is a path of its
/// own.
pub fn named(code: &str, starts: impl Fn(&str) -> Option<Vec<String>>) -> Vec<Named> {
    let tokens = tokens(code);
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let before = |back: usize| at.checked_sub(back).map_or("", |place| tokens[place].1);
        let imported = before(1) == "use";
        let first =
            before(1) != "::" && (imported || matches!(tokens.get(at + 1), Some((_, "::" | "as"))));
        let Some(base) = starts(tokens[at].1).filter(|_| first) else {
            at += 1;
            continue;
        };
        let reexported = imported && matches!(before(2), "pub" | ")");
        let from = found.len();
        at = behind(&tokens, at + 1, base, &mut found);
        for one in &mut found[from..] {
            one.reexported = reexported;
            one.import = one.import.take().filter(|_| imported);
        }
    }
    found
}

/// The module of a file, from the crate's root.
pub fn module(name: &str) -> Vec<String> {
    let inside = name.rsplit_once("src/").map_or(name, |(_, inside)| inside);
    let inside = inside.trim_end_matches(".rs");
    let mut parts: Vec<String> = inside.split('/').map(str::to_owned).collect();
    if matches!(
        parts.last().map(String::as_str),
        Some("mod" | "lib" | "main")
    ) {
        parts.pop();
    }
    parts
}

/// Follows a path from its next word on, or each path of a group; returns the place behind it.
fn word(
    tokens: &[(usize, &str)],
    mut at: usize,
    mut base: Vec<String>,
    found: &mut Vec<Named>,
) -> usize {
    match tokens.get(at).map_or("", |token| token.1) {
        "" => return at,
        "super" => drop(base.pop()),
        "self" => {}
        "{" => {
            at += 1;
            while tokens.get(at).is_some_and(|(_, token)| *token != "}") {
                at = word(tokens, at, base.clone(), found);
                if tokens.get(at).is_some_and(|(_, token)| *token == ",") {
                    at += 1;
                }
            }
            return at + 1;
        }
        "crate" => base.clear(),
        token => base.push(token.to_owned()),
    }
    behind(tokens, at + 1, base, found)
}

/// Follows a path from behind a word on; `base` ends with that word.
fn behind(tokens: &[(usize, &str)], at: usize, base: Vec<String>, found: &mut Vec<Named>) -> usize {
    let token = |at: usize| tokens.get(at).map_or("", |token| token.1);
    if token(at) == "::" {
        return word(tokens, at + 1, base, found);
    }
    let renamed = token(at) == "as";
    found.push(Named {
        line: tokens[at - 1].0,
        import: match renamed {
            true => Some(token(at + 1).to_owned()),
            false => base.last().cloned(),
        },
        path: base,
        reexported: false,
    });
    if renamed { at + 2 } else { at }
}
