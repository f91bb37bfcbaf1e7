//! Tar files that lie, plain and compressed: refused by rule, nothing left behind.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::Write as _;

use support::scene::{Row, Scene};

/// One tar member with every field of its header open to change.
fn tar_member(name: &str, kind: u8, size: u64, content: &[u8]) -> Vec<u8> {
    let mut header = [0_u8; 512];
    header[..name.len()].copy_from_slice(name.as_bytes());
    header[100..108].copy_from_slice(b"0004755\0");
    header[124..136].copy_from_slice(format!("{size:011o}\0").as_bytes());
    header[136..148].copy_from_slice(b"00000000000\0");
    header[156] = kind;
    if kind == b'1' || kind == b'2' {
        header[157..168].copy_from_slice(b"/etc/passwd");
    }
    header[257..265].copy_from_slice(b"ustar\x0000");
    seal_header(&mut header);
    let mut bytes = header.to_vec();
    bytes.extend(content);
    bytes.resize(bytes.len().div_ceil(512) * 512, 0);
    bytes
}

fn seal_header(header: &mut [u8]) {
    header[148..156].fill(b' ');
    let sum: u64 = header[..512].iter().map(|byte| u64::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}

fn tar_of(members: &[(String, Vec<u8>)]) -> Vec<u8> {
    members
        .iter()
        .flat_map(|(name, bytes)| tar_member(name, b'0', bytes.len() as u64, bytes))
        .collect()
}

fn pax(record: &str) -> Vec<u8> {
    let mut length = record.len() + 3;
    while format!("{length} {record}\n").len() != length {
        length += 1;
    }
    let record = format!("{length} {record}\n");
    tar_member("pax", b'x', record.len() as u64, record.as_bytes())
}

#[test]
fn hostile_tar_files_are_refused_by_rule_and_leave_nothing() {
    let scene = Scene::new();
    let hash = &scene.hash;
    let end = [0_u8; 1024];
    let healthy = tar_of(&scene.members());
    let with = |extra: Vec<u8>| [healthy.clone(), extra, end.to_vec()].concat();
    let extra = |name: &str, kind| with(tar_member(&format!("{hash}/{name}"), kind, 0, b""));
    let outside = |name: &str| with(tar_member(name, b'0', 1, b"x"));
    let mut checksum = with(tar_member(&format!("{hash}/x"), b'0', 0, b""));
    let last = checksum.len() - 1024 - 512;
    checksum[last] ^= 1;
    let mut padded = with(Vec::new());
    padded[513] ^= 1;
    let padding_at = {
        let size = scene.members()[0].1.len();
        512 + size
    };
    let mut padding = with(Vec::new());
    padding[padding_at] = b'x';
    let lying = pax("size=5");
    let smuggling = [lying, tar_member(&format!("{hash}/x"), b'0', 1, b"x")].concat();
    let mut twice = pax("path=a");
    twice.extend(pax("path=b"));
    let many: Vec<u8> = (0..10_001)
        .flat_map(|i| tar_member(&format!("{hash}/f{i}"), b'0', 0, b""))
        .collect();
    let long = format!("path={hash}/{}", "d/".repeat(3000));
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        ("parent", outside("../evil"), "path-not-canonical"),
        (
            "parent inside",
            outside(&format!("{hash}/../../evil")),
            "path-not-canonical",
        ),
        ("absolute", outside("/evil"), "path-not-canonical"),
        (
            "dot",
            outside(&format!("{hash}/a/./b")),
            "path-not-canonical",
        ),
        (
            "device name",
            outside(&format!("{hash}/NUL")),
            "path-not-canonical",
        ),
        (
            "backslash",
            outside(&format!("{hash}/a\\b")),
            "path-not-canonical",
        ),
        ("second folder", outside("other/evil"), "archive-top"),
        ("no folder", outside("evil"), "archive-top"),
        ("hard link", extra("x", b'1'), "archive-member-kind"),
        ("symbolic link", extra("x", b'2'), "archive-member-kind"),
        ("device", extra("x", b'3'), "archive-member-kind"),
        ("FIFO", extra("x", b'6'), "archive-member-kind"),
        ("global records", extra("x", b'g'), "archive-member-kind"),
        ("sparse", extra("x", b'S'), "archive-member-kind"),
        ("same name", extra("config.json", b'0'), "archive-twins"),
        ("case twin", extra("Config.json", b'0'), "archive-twins"),
        ("case twin folder", extra("Models/x", b'0'), "archive-twins"),
        (
            "file and folder",
            extra("config.json/x", b'0'),
            "archive-twins",
        ),
        ("folder and file", extra("models", b'0'), "archive-twins"),
        (
            "folder over a file",
            extra("config.json", b'5'),
            "archive-twins",
        ),
        ("unlisted", extra("x", b'0'), "integrity"),
        (
            "size disagreement",
            with(smuggling),
            "archive-size-disagreement",
        ),
        ("two extension headers", with(twice), "tar"),
        ("extension for nothing", with(pax("path=a")), "tar"),
        (
            "link by record",
            with(pax("linkpath=/etc/passwd")),
            "archive-extension-record",
        ),
        (
            "sparse by record",
            with(pax("GNU.sparse.size=9")),
            "archive-extension-record",
        ),
        (
            "bad record",
            with(tar_member("p", b'x', 5, b"99 ab")),
            "tar",
        ),
        (
            "large extension",
            with(tar_member("p", b'L', 1 << 30, b"")),
            "archive-extension",
        ),
        (
            "6,000 byte path",
            with([pax(&long), tar_member("x", b'0', 0, b"")].concat()),
            "path-not-canonical",
        ),
        (
            "8 GiB claimed",
            with(tar_member(&format!("{hash}/x"), b'0', (1 << 33) - 1, b"")),
            "archive-bytes",
        ),
        (
            "folder with content",
            with(tar_member(&format!("{hash}/x"), b'5', 3, b"abc")),
            "tar",
        ),
        ("10,001 members", with(many), "archive-members"),
        ("checksum", checksum, "tar"),
        ("padding", padding, "tar"),
        ("changed content", padded, "integrity"),
        (
            "tail",
            [with(Vec::new()), b"x".to_vec()].concat(),
            "archive-tail",
        ),
        ("no end", healthy.clone(), "archive-truncated"),
        (
            "half an end",
            [healthy.clone(), vec![0; 512]].concat(),
            "archive-truncated",
        ),
        (
            "cut",
            healthy[..healthy.len() - 700].to_vec(),
            "archive-truncated",
        ),
        (
            "missing file",
            [tar_of(&scene.members()[1..]), end.to_vec()].concat(),
            "integrity",
        ),
        ("only the end", end.to_vec(), "archive-format"),
        ("empty", Vec::new(), "archive-format"),
        ("a pickle", b"\x80\x04\x95\x00".to_vec(), "archive-format"),
    ];
    scene.import(&with(Vec::new())).unwrap();
    scene.target.remove(hash).unwrap();
    let rows: Vec<Row> = rows.into_iter().map(Row::new).collect();
    amphora_testing::each(&rows, |row| scene.refused(&row.bytes, row.rule));
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[test]
fn compressed_archives_are_bounded_whole_and_alone() {
    let scene = Scene::new();
    let mut healthy = tar_of(&scene.members());
    healthy.extend([0; 1024]);
    let zstd = |bytes: &[u8]| zstd::encode_all(bytes, 3).unwrap();
    let bomb = {
        let zeros = vec![0_u8; 40 << 20];
        let mut member = tar_member(&format!("{}/x", scene.hash), b'0', zeros.len() as u64, b"");
        member.extend(zeros);
        member.extend([0; 1024]);
        member
    };
    let silent_bomb = [healthy.clone(), vec![0; 40 << 20]].concat();
    let cut = |bytes: Vec<u8>| bytes[..bytes.len() - 9].to_vec();
    let more = |bytes: Vec<u8>| [bytes, b"x".to_vec()].concat();
    let mut flipped = gzip(&healthy);
    let crc = flipped.len() - 8;
    flipped[crc] ^= 1;
    let rows = vec![
        ("gzip bomb", gzip(&bomb), "archive-bytes"),
        ("zstd bomb", zstd(&bomb), "archive-bytes"),
        ("gzip bomb of nothing", gzip(&silent_bomb), "archive-ratio"),
        ("zstd bomb of nothing", zstd(&silent_bomb), "archive-ratio"),
        ("gzip cut", cut(gzip(&healthy)), "archive-truncated"),
        ("zstd cut", cut(zstd(&healthy)), "archive-truncated"),
        ("gzip tail", more(gzip(&healthy)), "archive-tail"),
        ("zstd tail", more(zstd(&healthy)), "archive-tail"),
        (
            "two gzip members",
            [gzip(&healthy), gzip(b"x")].concat(),
            "archive-tail",
        ),
        (
            "two zstd frames",
            [zstd(&healthy), zstd(b"x")].concat(),
            "archive-tail",
        ),
        ("gzip checksum", flipped, "archive-damaged"),
        ("gzip of text", gzip(b"hello"), "archive-truncated"),
        ("zstd of text", zstd(b"hello"), "archive-truncated"),
    ];
    for healthy in [gzip(&healthy), zstd(&healthy)] {
        scene.import(&healthy).unwrap();
        scene.target.remove(&scene.hash).unwrap();
    }
    let rows: Vec<Row> = rows.into_iter().map(Row::new).collect();
    amphora_testing::each(&rows, |row| scene.refused(&row.bytes, row.rule));
}
