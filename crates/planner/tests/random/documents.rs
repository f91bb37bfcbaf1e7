//! Inputs as bytes, with something changed in them.

use amphora_planner::contracts::PlannerInput;

use crate::support::Random;

/// What takes the place of a value.
const VALUES: [&str; 18] = [
    "0",
    "-1",
    "1e999",
    "-1e308",
    "1e-400",
    "0.1",
    "18446744073709551615",
    "18446744073709551616",
    "4294967296",
    "null",
    "true",
    "\"\"",
    "\"NaN\"",
    "\"3\"",
    "\"NA\"",
    "[]",
    "{}",
    "[[[[{}]]]]",
];

/// The document of `input` with up to four changes, of which most leave it JSON.
pub(crate) fn mutated(random: &mut Random, input: &PlannerInput) -> Vec<u8> {
    let mut bytes = input.to_json().unwrap().into_bytes();
    for _ in 0..random.below(5) {
        if bytes.is_empty() {
            bytes.push(b'{');
        }
        let place = random.below(bytes.len());
        match random.below(16) {
            0 => bytes[place] = random.next() as u8,
            1 => bytes[place] = *random.pick(b"0123456789\"{}[],:-.eE"),
            2 => drop(bytes.drain(place..(place + 20).min(bytes.len()))),
            3 => bytes.insert(place, *random.pick(b"0123456789\"{}[]")),
            4 => bytes.truncate(place),
            _ => another_value(random, &mut bytes, place),
        }
    }
    bytes
}

/// Puts another value behind the first colon from `place` on.
fn another_value(random: &mut Random, bytes: &mut Vec<u8>, place: usize) {
    let Some(colon) = bytes[place..].iter().position(|byte| *byte == b':') else {
        return;
    };
    let start = place + colon + 1;
    let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b'[' | b'{');
    let length = bytes[start..].iter().position(ends).unwrap_or(0);
    let value = random.pick(&VALUES).bytes();
    drop(bytes.splice(start..start + length, value));
}
