//! Numbers into bins. Every bin contains its lower edge and not its upper one.

/// The toolchains that both encodings know.
pub(super) const TOOLCHAINS: [&str; 4] = ["codex", "claude", "opencode", "crush"];
/// The bins of running workcells and waiting issues, as orchestrators record them.
pub(super) const COUNTS: [&str; 4] = ["0", "1_2", "3_5", "6_plus"];
/// The bins of attempts.
pub(super) const ATTEMPTS: [&str; 4] = ["0", "1", "2", "3_PLUS"];
/// The bins of [`duration_token`].
pub(super) const DURATIONS: [&str; 7] = [
    "LT_1S", "1_10S", "10_30S", "30_60S", "1_5M", "5_30M", "GE_30M",
];

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

/// How many of `edges` lie at or below `value`.
fn bin<T: PartialOrd>(value: T, edges: &[T]) -> usize {
    edges.iter().take_while(|edge| value >= **edge).count()
}

/// 0, 1, 2, 3 and more.
pub(super) fn attempts(attempts: u32) -> usize {
    bin(attempts, &[1, 2, 3])
}

/// Below 1, 5, 15, 30, 60 minutes, and from there on.
pub(super) fn duration_feature(duration_ms: u64) -> usize {
    bin(
        duration_ms,
        &[1, 5, 15, 30, 60].map(|minutes| minutes * MINUTE_MS),
    )
}

/// Below 1, 10, 30, 60, 300, 1800 seconds, and from there on.
pub(super) fn duration_token(duration_ms: u64) -> &'static str {
    DURATIONS[bin(
        duration_ms,
        &[1_000, 10_000, 30_000, 60_000, 300_000, 1_800_000],
    )]
}

/// Below 0.01, 0.1, 1, 10 US dollars, and from there on.
pub(super) fn cost(cost_usd: f64) -> usize {
    bin(cost_usd, &[0.01, 0.1, 1.0, 10.0])
}

/// An age below a day, a week, thirty days, and from there on.
pub(super) fn recency(age_ms: u64) -> usize {
    bin(age_ms, &[1, 7, 30].map(|days| days * DAY_MS))
}

/// Night (0 to 5), morning (6 to 11), afternoon (12 to 17), evening (18 to 23), from `00` to `23`.
pub(super) fn part_of_day(hour: &str) -> Option<usize> {
    let digits = hour.len() == 2 && hour.bytes().all(|byte| byte.is_ascii_digit());
    let hour: usize = hour.parse().ok().filter(|_| digits)?;
    (hour < 24).then_some(hour / 6)
}

/// 0, 1 to 5, 6 to 20, more than 20.
pub(super) fn queue_count(waiting: u64) -> usize {
    bin(waiting, &[1, 6, 21])
}

/// The same from the recorded bin, which cannot tell 6 to 20 from more.
pub(super) fn queue_bin(recorded: &str) -> Option<usize> {
    let place = COUNTS.iter().position(|bin| *bin == recorded)?;
    Some([0, 1, 1, 2][place])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_edge_belongs_to_the_bin_above_it() {
        let minute = MINUTE_MS;
        let rows: [(&str, Vec<usize>, Vec<usize>); 6] = [
            (
                "attempts",
                [0, 1, 2, 3, 4, u32::MAX].map(attempts).to_vec(),
                vec![0, 1, 2, 3, 3, 3],
            ),
            (
                "durations below the edges",
                [1, 5, 15, 30, 60]
                    .map(|edge| duration_feature(edge * minute - 1))
                    .to_vec(),
                vec![0, 1, 2, 3, 4],
            ),
            (
                "durations at the edges",
                [0, 1, 5, 15, 30, 60]
                    .map(|edge| duration_feature(edge * minute))
                    .to_vec(),
                vec![0, 1, 2, 3, 4, 5],
            ),
            (
                "costs",
                [
                    0.0,
                    0.009_99,
                    0.01,
                    0.099,
                    0.1,
                    0.99,
                    1.0,
                    9.99,
                    10.0,
                    f64::MAX,
                ]
                .map(cost)
                .to_vec(),
                vec![0, 0, 1, 1, 2, 2, 3, 3, 4, 4],
            ),
            (
                "recency",
                [
                    0,
                    DAY_MS - 1,
                    DAY_MS,
                    7 * DAY_MS - 1,
                    7 * DAY_MS,
                    30 * DAY_MS - 1,
                    30 * DAY_MS,
                    u64::MAX,
                ]
                .map(recency)
                .to_vec(),
                vec![0, 0, 1, 1, 2, 2, 3, 3],
            ),
            (
                "queue",
                [0, 1, 5, 6, 20, 21, u64::MAX].map(queue_count).to_vec(),
                vec![0, 1, 1, 2, 2, 3, 3],
            ),
        ];
        amphora_testing::each(&rows, |(_, found, expected)| match found == expected {
            true => Ok(()),
            false => Err("the bins differ"),
        });
    }

    #[test]
    fn durations_as_tokens() {
        let rows = [
            (0, "LT_1S"),
            (999, "LT_1S"),
            (1_000, "1_10S"),
            (9_999, "1_10S"),
            (10_000, "10_30S"),
            (29_999, "10_30S"),
            (30_000, "30_60S"),
            (59_999, "30_60S"),
            (60_000, "1_5M"),
            (299_999, "1_5M"),
            (300_000, "5_30M"),
            (1_799_999, "5_30M"),
            (1_800_000, "GE_30M"),
            (u64::MAX, "GE_30M"),
        ];
        amphora_testing::each(&rows, |(duration, bin)| match duration_token(*duration) {
            found if found == *bin => Ok(()),
            found => Err(found),
        });
    }

    #[test]
    fn words_outside_a_set_have_no_bin() {
        let hours = [
            ("00", Some(0)),
            ("05", Some(0)),
            ("06", Some(1)),
            ("11", Some(1)),
            ("12", Some(2)),
            ("17", Some(2)),
            ("18", Some(3)),
            ("23", Some(3)),
            ("24", None),
            ("9", None),
            ("", None),
            ("+9", None),
            ("noon", None),
        ];
        amphora_testing::each(&hours, |(hour, part)| match part_of_day(hour) {
            found if found == *part => Ok(()),
            found => Err(format!("found {found:?}")),
        });
        let bins = [
            ("0", Some(0)),
            ("1_2", Some(1)),
            ("3_5", Some(1)),
            ("6_plus", Some(2)),
            ("7", None),
        ];
        amphora_testing::each(&bins, |(recorded, bin)| match queue_bin(recorded) {
            found if found == *bin => Ok(()),
            found => Err(format!("found {found:?}")),
        });
    }
}
