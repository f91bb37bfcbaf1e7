//! ZIP files that lie: refused by rule, nothing left behind.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::Write as _;

use support::scene::{Row, Scene};

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
