//! Points in time: RFC 3339 in documents, milliseconds since 1970 in computations.

use amphora_error::{Error, Result, quoted};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

/// The milliseconds since 1970 of an RFC 3339 time; parts of a millisecond are dropped.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Malformed`] for another text, and for a time before 1970.
pub fn parse(text: &str) -> Result<u64> {
    let refused = || {
        Error::malformed("time", "this is no RFC 3339 time from 1970 on")
            .expected("such as 2026-02-03T09:00:00Z")
            .found(quoted(text).to_string())
    };
    let time = OffsetDateTime::parse(text, &Rfc3339).map_err(|_| refused())?;
    u64::try_from(time.unix_timestamp_nanos().div_euclid(1_000_000)).map_err(|_| refused())
}

/// `milliseconds` since 1970 as RFC 3339 in UTC with `Z`; microseconds only when they are not zero.
///
/// # Errors
///
/// [`amphora_error::ErrorKind::Malformed`] after the year 9999.
pub fn format(milliseconds: u64) -> Result<String> {
    let time = i64::try_from(milliseconds / 1000)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .ok_or_else(|| {
            Error::malformed("time", "the time lies after the year 9999")
                .found(format!("{milliseconds} ms since 1970"))
        })?;
    let (date, clock) = (time.date(), time.time());
    let (hour, minute, second) = clock.as_hms();
    let seconds = format!(
        "{:04}-{:02}-{:02}T{hour:02}:{minute:02}:{second:02}",
        date.year(),
        u8::from(date.month()),
        date.day(),
    );
    Ok(match milliseconds % 1000 {
        0 => format!("{seconds}Z"),
        rest => format!("{seconds}.{rest:03}000Z"),
    })
}
