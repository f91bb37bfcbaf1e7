//! Text from outside, made safe to print.

use std::borrow::Cow;
use std::fmt;

/// Longest piece of foreign text that is shown, in characters; the rest is counted, not printed.
const SHOWN: usize = 200;

/// `text` with control, bidirectional and other invisible characters escaped, so that a name inside
/// a file can neither move the cursor nor forge a line of output.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.chars().any(needs_escape) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        if needs_escape(character) {
            escaped.extend(character.escape_unicode());
        } else {
            escaped.push(character);
        }
    }
    Cow::Owned(escaped)
}

fn needs_escape(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{00ad}' | '\u{061c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A foreign name in single quotes, escaped and cut to a readable length.
pub fn quoted(text: &str) -> Quoted<'_> {
    Quoted(text)
}

/// Foreign names one after the other, each [`quoted`]: the first of them, and how many more there are.
///
/// ```
/// assert_eq!(amphora_error::quoted_list(["ids", "mask"]), "'ids', 'mask'");
/// let many = amphora_error::quoted_list(["x"; 40]);
/// assert!(many.ends_with("'x' and 8 more"));
/// ```
pub fn quoted_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    const MOST: usize = 32;
    let mut names = names.into_iter();
    let shown: Vec<String> = names
        .by_ref()
        .take(MOST)
        .map(|name| quoted(name).to_string())
        .collect();
    let shown = shown.join(", ");
    match names.count() {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Displays a foreign name; made by [`quoted`].
pub struct Quoted<'a>(&'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut characters = self.0.char_indices();
        match characters.nth(SHOWN) {
            None => write!(f, "'{}'", printable(self.0)),
            Some((end, _)) => {
                write!(
                    f,
                    "'{}...' ({} bytes)",
                    printable(&self.0[..end]),
                    self.0.len()
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_bidirectional_characters_are_escaped() {
        let rows = [
            ("plain", "plain"),
            ("caf\u{e9}", "caf\u{e9}"),
            ("a\u{1b}[2Jb", "a\\u{1b}[2Jb"),
            ("a\nok: verified", "a\\u{a}ok: verified"),
            ("a\u{202e}b", "a\\u{202e}b"),
        ];
        let wrong: Vec<_> = rows
            .iter()
            .filter(|(input, expected)| printable(input) != *expected)
            .collect();
        assert!(wrong.is_empty(), "{wrong:?}");
    }

    #[test]
    fn a_long_name_is_cut_and_counted() {
        let name = "\u{e9}".repeat(300);
        let shown = quoted(&name).to_string();
        assert!(shown.ends_with("...' (600 bytes)"), "{shown}");
        assert_eq!(shown.chars().filter(|c| *c == '\u{e9}').count(), SHOWN);
    }
}
