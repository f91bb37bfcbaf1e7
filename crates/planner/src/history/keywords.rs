//! Keywords out of an issue's own words.

use std::collections::HashMap;

/// Most keywords kept for an issue.
pub const MAX_KEYWORDS: usize = 16;
/// Shortest word that counts, in characters.
const SHORTEST: usize = 3;
/// Words that say nothing about an issue.
const STOP_WORDS: [&str; 36] = [
    "the", "and", "for", "with", "from", "into", "over", "under", "then", "than", "this", "that",
    "these", "those", "your", "you", "our", "are", "was", "were", "has", "have", "had", "not",
    "but", "can", "may", "must", "should", "will", "would", "fix", "add", "update", "create",
    "make",
];

/// The most frequent words of `text`, at most [`MAX_KEYWORDS`]: by count, then alphabetically.
///
/// A word is a run of at least three ASCII letters, digits or underscores, in lower case; stop words
/// are left out.
///
/// ```
/// let keywords = amphora_planner::history::keywords("Fix the cache: cache KEY drift");
/// assert_eq!(keywords, ["cache", "drift", "key"]);
/// ```
pub fn keywords(text: &str) -> Vec<String> {
    let mut counts: HashMap<String, u64> = HashMap::new();
    for word in text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
        if word.len() < SHORTEST {
            continue;
        }
        let word = word.to_ascii_lowercase();
        if !STOP_WORDS.contains(&word.as_str()) {
            *counts.entry(word).or_default() += 1;
        }
    }
    let mut ranked: Vec<(String, u64)> = counts.into_iter().collect();
    ranked.sort_unstable_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
    ranked.truncate(MAX_KEYWORDS);
    ranked.into_iter().map(|(word, _)| word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_counted_ranked_and_cut() {
        let many: String = (0..20).map(|n| format!("word_{n:02} ")).collect();
        let first: Vec<String> = (0..16).map(|n| format!("word_{n:02}")).collect();
        let rows: [(&str, Vec<&str>); 6] = [
            ("", vec![]),
            ("a an it to", vec![]),
            ("Make the update, then fix THIS", vec![]),
            (
                "beta alpha beta gamma_1 ALPHA zeta",
                vec!["alpha", "beta", "gamma_1", "zeta"],
            ),
            ("caf\u{e9}s na\u{ef}ve dr\u{ed}ft", vec!["caf"]),
            (&many, first.iter().map(String::as_str).collect()),
        ];
        amphora_testing::each(&rows, |(text, expected)| match keywords(text) {
            found if found == *expected => Ok(()),
            found => Err(format!("found {found:?}")),
        });
    }
}
