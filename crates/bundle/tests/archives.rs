//! Archives: reproducible when written, strict when read, and nothing visible when refused.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::Write as _;
use std::path::{Path, PathBuf};

use amphora_bundle::{ArchiveFormat, Bundle, ImportLimits, Store, archive, check_integrity};
use amphora_error::{Error, ErrorKind};
use support::{files, overwrite, publish, store, visible};

/// A published bundle and an empty store to import it into.
struct Scene {
    scratch: tempfile::TempDir,
    bundle: PathBuf,
    hash: String,
    target: Store,
}

impl Scene {
    fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let source = store(scratch.path());
        let hash = publish(&source, "demo", "1.0.0", 0);
        Self {
            bundle: source.path().join(&hash),
            hash,
            target: Store::open(scratch.path().join("target")).unwrap(),
            scratch,
        }
    }

    fn archive(&self, format: ArchiveFormat) -> PathBuf {
        let path = self.scratch.path().join(format!("bundle.{format}"));
        archive(&Bundle::open(&self.bundle).unwrap(), format, &path).unwrap();
        path
    }

    /// Name inside the archive and content of every file of the bundle.
    fn members(&self) -> Vec<(String, Vec<u8>)> {
        files(&self.bundle)
            .into_iter()
            .map(|file| {
                let bytes = fs_err::read(self.bundle.join(&file)).unwrap();
                (format!("{}/{file}", self.hash), bytes)
            })
            .collect()
    }

    fn import(&self, bytes: &[u8]) -> Result<(), Error> {
        let path = self.scratch.path().join("hostile");
        overwrite(&path, bytes);
        self.target
            .import(&path, &ImportLimits::default())
            .map(drop)
    }

    /// The import is refused with this rule and leaves nothing visible anywhere.
    fn refused(&self, bytes: &[u8], rule: &str) -> Result<(), String> {
        let before = visible(self.scratch.path());
        let answer = self.import(bytes);
        let left = visible(self.target.path());
        let around = visible(self.scratch.path());
        let error = match answer {
            Err(error) if error.rule() == rule => error,
            answer => return Err(format!("{answer:?}")),
        };
        let allowed = matches!(
            error.kind(),
            ErrorKind::Malformed | ErrorKind::Limit | ErrorKind::Untrusted | ErrorKind::Unsupported
        );
        if !allowed || error.to_string().contains(".amphora-tmp") {
            return Err(format!("{error:?}"));
        }
        if !left.is_empty() {
            return Err(format!("left behind: {left:?}"));
        }
        let new = around.iter().filter(|name| !before.contains(name));
        let new: Vec<_> = new
            .filter(|name| *name != "target" && *name != "hostile")
            .collect();
        if new.is_empty() {
            Ok(())
        } else {
            Err(format!("written outside: {new:?}"))
        }
    }
}

#[test]
fn every_format_comes_back_as_the_same_bundle_and_is_always_the_same_bytes() {
    let scene = Scene::new();
    amphora_testing::each(&ArchiveFormat::ALL, |format| {
        let path = scene.archive(*format);
        let first = fs_err::read(&path).unwrap();
        let second = fs_err::read(scene.archive(*format)).unwrap();
        if first != second {
            return Err("the bytes differ".to_owned());
        }
        let imported = scene
            .target
            .import(&path, &ImportLimits::default())
            .map_err(|error| format!("{error:?}"))?;
        let bundle = Bundle::open(&imported.path).unwrap();
        assert!(check_integrity(&bundle).unwrap().passed());
        assert_eq!((&imported.exp_hash, imported.existed), (&scene.hash, false));
        let again = scene
            .target
            .import(&path, &ImportLimits::default())
            .unwrap();
        assert!(again.existed);
        drop(bundle);
        scene.target.remove(&scene.hash).unwrap();
        Ok(())
    });
    let source = store(scene.scratch.path());
    let bundle = source.resolve("demo").unwrap();
    let written = source.archive(&bundle, ArchiveFormat::TarGz, None).unwrap();
    assert!(written.ends_with(format!("{}.tar.gz", scene.hash)));
    assert!(source.list().unwrap().warnings.is_empty());
}

#[test]
fn a_directory_is_imported_only_when_it_is_whole() {
    let scene = Scene::new();
    let limits = ImportLimits::default();
    let imported = scene.target.import(&scene.bundle, &limits).unwrap();
    assert_eq!(files(&imported.path), files(&scene.bundle));
    scene.target.remove(&scene.hash).unwrap();
    overwrite(&scene.bundle.join("extra"), b"x");
    let error = scene.target.import(&scene.bundle, &limits).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Untrusted);
    assert!(visible(scene.target.path()).is_empty());
    let absent = scene
        .target
        .import(scene.scratch.path().join("absent"), &limits);
    assert_eq!(absent.unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn a_changed_bundle_is_not_archived_and_the_old_archive_stays() {
    let scene = Scene::new();
    amphora_testing::each(&ArchiveFormat::ALL, |format| {
        let path = scene.scratch.path().join("old");
        overwrite(&path, b"the old archive");
        let healthy = fs_err::read(scene.bundle.join("config.json")).unwrap();
        let bundle = Bundle::open(&scene.bundle).unwrap();
        let mut changed = healthy.clone();
        changed[3] ^= 1;
        overwrite(&scene.bundle.join("config.json"), &changed);
        let answer = archive(&bundle, *format, &path);
        overwrite(&scene.bundle.join("config.json"), &healthy);
        let kept = fs_err::read(&path).unwrap() == b"the old archive";
        match answer {
            Err(error) if error.rule() == "file-changed" && kept => Ok(()),
            answer => Err(format!("kept {kept}: {answer:?}")),
        }
    });
}

#[test]
fn archives_that_others_made_are_read() {
    let scene = Scene::new();
    let folder = scene.bundle.parent().unwrap();
    let tools: [(&str, &[&str]); 4] = [
        ("tar", &["czf", "OUT", "HASH"]),
        ("tar", &["--format=pax", "-cf", "OUT", "HASH"]),
        ("tar", &["--format=ustar", "-cf", "OUT", "HASH"]),
        ("zip", &["-qr", "OUT", "HASH"]),
    ];
    amphora_testing::each(&tools, |(program, arguments)| {
        let out = scene.scratch.path().join("made.zip");
        let _ = fs_err::remove_file(&out);
        let arguments: Vec<&str> = arguments
            .iter()
            .map(|argument| match *argument {
                "OUT" => out.to_str().unwrap(),
                "HASH" => &scene.hash,
                other => other,
            })
            .collect();
        let run = std::process::Command::new(program)
            .args(&arguments)
            .current_dir(folder)
            .status();
        if !run.is_ok_and(|status| status.success()) {
            amphora_testing::skip(&format!("the program {program} is absent"));
            return Ok(());
        }
        let imported = scene.target.import(&out, &ImportLimits::default());
        imported.map_err(|error| format!("{error:?}"))?;
        scene
            .target
            .remove(&scene.hash)
            .map_err(|error| format!("{error:?}"))?;
        Ok::<(), String>(())
    });
}

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

/// A hostile archive; prints as its name alone.
struct Row {
    name: &'static str,
    bytes: Vec<u8>,
    rule: &'static str,
}

impl Row {
    fn new((name, bytes, rule): (&'static str, Vec<u8>, &'static str)) -> Self {
        Self { name, bytes, rule }
    }
}

impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} [{}]", self.name, self.rule)
    }
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

/// Builds ZIP files whose two headers can be made to disagree.
#[derive(Default)]
struct ZipMaker {
    bytes: Vec<u8>,
    directory: Vec<u8>,
    count: u16,
}

#[derive(Clone)]
struct ZipMember {
    local_name: String,
    name: String,
    content: Vec<u8>,
    crc: u32,
    mode: u32,
    flags: u16,
    method: u16,
    size: u32,
    extra: Vec<u8>,
    offset: Option<u32>,
}

impl ZipMember {
    fn stored(name: &str, content: &[u8]) -> Self {
        let mut crc = flate2::Crc::new();
        crc.update(content);
        Self {
            local_name: name.to_owned(),
            name: name.to_owned(),
            content: content.to_vec(),
            crc: crc.sum(),
            mode: 0o100_644,
            flags: 0,
            method: 0,
            size: content.len() as u32,
            extra: Vec::new(),
            offset: None,
        }
    }
}

impl ZipMaker {
    fn of(members: &[(String, Vec<u8>)]) -> Self {
        let mut maker = Self::default();
        for (name, bytes) in members {
            maker.add(&ZipMember::stored(name, bytes));
        }
        maker
    }

    fn add(&mut self, member: &ZipMember) {
        let offset = member.offset.unwrap_or(self.bytes.len() as u32);
        let common = |name: &str| {
            let mut fields = Vec::new();
            fields.extend(member.flags.to_le_bytes());
            fields.extend(member.method.to_le_bytes());
            fields.extend([0, 0, 0x21, 0]);
            fields.extend(member.crc.to_le_bytes());
            fields.extend((member.content.len() as u32).to_le_bytes());
            fields.extend(member.size.to_le_bytes());
            fields.extend((name.len() as u16).to_le_bytes());
            fields.extend((member.extra.len() as u16).to_le_bytes());
            fields
        };
        self.bytes.extend(b"PK\x03\x04\x14\x00");
        self.bytes.extend(common(&member.local_name));
        self.bytes.extend(member.local_name.as_bytes());
        self.bytes.extend(&member.extra);
        self.bytes.extend(&member.content);
        self.directory.extend(b"PK\x01\x02\x14\x03\x14\x00");
        self.directory.extend(common(&member.name));
        self.directory.extend([0; 6]);
        self.directory.extend((member.mode << 16).to_le_bytes());
        self.directory.extend(offset.to_le_bytes());
        self.directory.extend(member.name.as_bytes());
        self.directory.extend(&member.extra);
        self.count += 1;
    }

    fn with(mut self, member: &ZipMember) -> Vec<u8> {
        self.add(member);
        self.finish()
    }

    fn finish(self) -> Vec<u8> {
        let Self {
            mut bytes,
            directory,
            count,
        } = self;
        let offset = bytes.len() as u32;
        bytes.extend(&directory);
        bytes.extend(b"PK\x05\x06\x00\x00\x00\x00");
        bytes.extend(count.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        bytes.extend((directory.len() as u32).to_le_bytes());
        bytes.extend(offset.to_le_bytes());
        bytes.extend([0, 0]);
        bytes
    }
}

#[test]
fn hostile_zip_files_are_refused_by_rule_and_leave_nothing() {
    let scene = Scene::new();
    let hash = scene.hash.clone();
    let members = scene.members();
    let healthy = || ZipMaker::of(&members);
    let extra = |name: &str| ZipMember::stored(&format!("{hash}/{name}"), b"x");
    let changed = |change: fn(&mut ZipMember)| {
        let mut member = extra("x");
        change(&mut member);
        healthy().with(&member)
    };
    let mut twice = healthy();
    twice
        .directory
        .extend(ZipMaker::of(&members[..1]).directory);
    twice.count += 1;
    let mut hole = healthy();
    hole.bytes.extend(b"hole");
    let mut prefixed = healthy().finish();
    prefixed.splice(0..0, b"#!/bin/sh\n".iter().copied());
    let deflated = |content: &[u8], size: u32| {
        let mut encoder =
            flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(content).unwrap();
        let mut member = ZipMember::stored(&format!("{hash}/x"), content);
        member.content = encoder.finish().unwrap();
        member.method = 8;
        member.size = size;
        member
    };
    let zeros = vec![0_u8; 40 << 20];
    let mut trailing = deflated(b"hello", 5);
    trailing.content.extend(b"more");
    let comment = {
        let mut bytes = healthy().finish();
        let end = bytes.len();
        bytes[end - 2] = 4;
        bytes.extend(b"note");
        bytes
    };
    let two_directories = [healthy().finish(), healthy().finish()].concat();
    let cut = {
        let bytes = healthy().finish();
        bytes[..bytes.len() - 30].to_vec()
    };
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        (
            "slip",
            healthy().with(&ZipMember::stored("../evil", b"x")),
            "path-not-canonical",
        ),
        (
            "absolute",
            healthy().with(&ZipMember::stored("/evil", b"x")),
            "path-not-canonical",
        ),
        (
            "backslash",
            healthy().with(&extra("a\\b")),
            "path-not-canonical",
        ),
        (
            "second folder",
            healthy().with(&ZipMember::stored("b/x", b"x")),
            "archive-top",
        ),
        (
            "symbolic link",
            changed(|m| m.mode = 0o120_777),
            "archive-member-kind",
        ),
        (
            "device",
            changed(|m| m.mode = 0o020_644),
            "archive-member-kind",
        ),
        (
            "FIFO",
            changed(|m| m.mode = 0o010_644),
            "archive-member-kind",
        ),
        (
            "two names",
            changed(|m| m.local_name = m.name.replace("/x", "/y")),
            "zip-headers-disagree",
        ),
        (
            "same name",
            healthy().with(&extra("config.json")),
            "archive-twins",
        ),
        (
            "case twin",
            healthy().with(&extra("Config.json")),
            "archive-twins",
        ),
        ("unlisted", healthy().with(&extra("x")), "integrity"),
        ("checksum", changed(|m| m.crc ^= 1), "zip"),
        ("encrypted", changed(|m| m.flags = 1), "zip-flags"),
        ("streamed", changed(|m| m.flags = 8), "zip-flags"),
        ("method", changed(|m| m.method = 12), "zip-method"),
        ("stored with two sizes", changed(|m| m.size = 2), "zip"),
        (
            "second name",
            changed(|m| m.extra = b"\x75\x70\x01\x00x".to_vec()),
            "zip-extra",
        ),
        (
            "64-bit value for nothing",
            changed(|m| m.extra = [&b"\x01\x00\x08\x00"[..], &[9; 8]].concat()),
            "zip",
        ),
        ("64-bit size missing", changed(|m| m.size = u32::MAX), "zip"),
        (
            "name without encoding",
            changed(|m| {
                m.name = m.name.replace('x', "\u{e9}");
                m.local_name = m.name.clone();
            }),
            "zip",
        ),
        ("overlap", twice.finish(), "zip"),
        ("hole", hole.finish(), "zip"),
        ("prefix", prefixed, "archive-format"),
        (
            "offset into another",
            changed(|m| m.offset = Some(0)),
            "zip",
        ),
        ("tail", [healthy().finish(), b"x".to_vec()].concat(), "zip"),
        ("comment", comment, "zip"),
        ("two directories", two_directories, "zip"),
        ("cut", cut, "zip"),
        (
            "deflate bomb",
            healthy().with(&deflated(&zeros, zeros.len() as u32)),
            "archive-bytes",
        ),
        (
            "deflates to more",
            healthy().with(&deflated(b"hello world", 5)),
            "zip",
        ),
        (
            "deflates to less",
            healthy().with(&deflated(b"hello", 6)),
            "archive-truncated",
        ),
        ("bytes after deflate", healthy().with(&trailing), "zip"),
        (
            "missing file",
            ZipMaker::of(&members[1..]).finish(),
            "integrity",
        ),
        (
            "only a signature",
            b"PK\x03\x04".to_vec(),
            "archive-truncated",
        ),
        ("no member", ZipMaker::default().finish(), "archive-format"),
    ];
    scene.import(&healthy().finish()).unwrap();
    scene.target.remove(&hash).unwrap();
    let rows: Vec<Row> = rows.into_iter().map(Row::new).collect();
    amphora_testing::each(&rows, |row| scene.refused(&row.bytes, row.rule));
}

#[test]
fn a_healthy_zip_with_64_bit_sizes_is_read() {
    let scene = Scene::new();
    let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    for (name, bytes) in scene.members() {
        let options = zip::write::SimpleFileOptions::default().large_file(true);
        writer.start_file(name, options).unwrap();
        writer.write_all(&bytes).unwrap();
    }
    scene
        .import(&writer.finish().unwrap().into_inner())
        .unwrap();
}

#[test]
fn every_cut_and_every_changed_byte_of_an_archive_is_refused_or_harmless() {
    let scene = Scene::new();
    let limits = ImportLimits::default();
    let faults: Vec<String> = ArchiveFormat::ALL
        .iter()
        .flat_map(|format| {
            let bytes = fs_err::read(scene.archive(*format)).unwrap();
            let step = (bytes.len() / 25).max(1);
            let cuts = (0..bytes.len())
                .step_by(step)
                .map(|at| bytes[..at].to_vec());
            let edits = (0..bytes.len()).step_by(step).map(|at| {
                let mut edited = bytes.clone();
                edited[at] ^= 0x55;
                edited
            });
            let cut = cuts.clone().count();
            let path = scene.scratch.path().join("edited");
            let faults: Vec<String> = cuts
                .chain(edits)
                .enumerate()
                .filter_map(|(index, bytes)| {
                    overwrite(&path, &bytes);
                    let answer = scene.target.import(&path, &limits);
                    let fault = match &answer {
                        Ok(_) if index < cut => Some(format!("{format} cut {index}: accepted")),
                        Ok(imported) => (!whole(&imported.path))
                            .then(|| format!("{format} edit {index}: damaged")),
                        Err(error) if error.kind() == ErrorKind::Internal => {
                            Some(format!("{format} {index}: {error:?}"))
                        }
                        Err(_) => None,
                    };
                    if answer.is_ok() {
                        scene.target.remove(&scene.hash).unwrap();
                    }
                    let left = visible(scene.target.path());
                    fault.or_else(|| (!left.is_empty()).then(|| format!("left {left:?}")))
                })
                .collect();
            faults
        })
        .collect();
    assert!(faults.is_empty(), "{faults:#?}");
}

fn whole(path: &Path) -> bool {
    let bundle = Bundle::open(path).unwrap();
    check_integrity(&bundle).unwrap().passed()
}
