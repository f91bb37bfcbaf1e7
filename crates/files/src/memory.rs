//! How much memory there is for what a file asks for.

/// Bytes that this process can still allocate without others being killed for it, as far as the
/// system tells: what is available in all, and within the limit of its control group.
pub(crate) fn available() -> Option<u64> {
    let group = "/sys/fs/cgroup";
    let within = number(&format!("{group}/memory.max"))
        .and_then(|most| Some(most.saturating_sub(number(&format!("{group}/memory.current"))?)));
    let whole = fs_err::read_to_string("/proc/meminfo")
        .ok()
        .and_then(|text| meminfo(&text));
    whole.into_iter().chain(within).min()
}

fn number(path: &str) -> Option<u64> {
    fs_err::read_to_string(path).ok()?.trim().parse().ok()
}

/// The line `MemAvailable: N kB`, in bytes.
fn meminfo(text: &str) -> Option<u64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_the_system_is_understood() {
        let text = "MemTotal:       24564480 kB\nMemAvailable:   23000000 kB\n";
        assert_eq!(meminfo(text), Some(23_000_000 * 1024));
        assert_eq!(meminfo("MemTotal: 1 kB"), None);
    }

    #[test]
    fn a_file_that_is_one_hole_is_no_reason_to_fill_the_memory() {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("hole");
        let file = fs_err::File::create(&path).unwrap();
        // Terabytes where the file system holds such files, else as much as it does.
        let sized = [1_u64 << 43, 1 << 41].map(|len| file.set_len(len).is_ok());
        if available().is_none() || sized == [false, false] {
            return;
        }
        let opened = crate::OpenedFile::open(&path).unwrap();
        let error = opened.contents(u64::MAX).unwrap_err();
        assert_eq!(
            (error.kind(), error.rule()),
            (amphora_error::ErrorKind::Limit, "memory")
        );
    }
}
