//! Open-set strings (tags, keywords, codes) into a fixed number of buckets.
//!
//! The two encoders have rules of their own, so that each stays comparable with what others trained.

use amphora_files::sha256;

/// The bucket of `value` in the feature vector: the first 8 hexadecimal digits of SHA-256 over its
/// UTF-8 bytes, modulo `buckets`; unsalted.
pub(crate) fn feature_bucket(value: &str, buckets: u32) -> u32 {
    let digest = sha256(value.as_bytes());
    let [a, b, c, d, ..] = *digest.bytes();
    u32::from_be_bytes([a, b, c, d]) % buckets.max(1)
}

/// The bucket of `value` in a token: the first 8 bytes of SHA-256 over `<salt>:<value>`, big-endian,
/// modulo `buckets`.
pub(crate) fn token_bucket(salt: &str, value: &str, buckets: u64) -> u64 {
    let digest = sha256(format!("{salt}:{value}").as_bytes());
    let [a, b, c, d, e, f, g, h, ..] = *digest.bytes();
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) % buckets.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_check_values() {
        let features = [
            ("kernel", 1024, 283),
            ("codex", 10, 4),
            ("pytest_failed", 256, 205),
            ("realism", 10, 5),
        ];
        amphora_testing::each(&features, |(value, buckets, bucket)| {
            match feature_bucket(value, *buckets) {
                found if found == *bucket => Ok(()),
                found => Err(format!("found {found}")),
            }
        });
        let tokens = [
            ("tag", "kernel", 680),
            ("kw", "timeout", 270),
            ("fail", "pytest_failed", 76),
            ("gate", "test", 92),
        ];
        amphora_testing::each(&tokens, |(salt, value, bucket)| {
            match token_bucket(salt, value, 1024) {
                found if found == *bucket => Ok(()),
                found => Err(format!("found {found}")),
            }
        });
    }
}
