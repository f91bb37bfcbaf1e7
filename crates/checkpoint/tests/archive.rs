//! Zip archives: each way in which one can lie, and what honest writers produce.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use std::io::Write as _;

use amphora_error::ErrorKind;
use support::archive::{Entry, write};
use support::pickle::{dict, dump, vector};
use support::{read, refused};

const ONE: &[u8] = &[0, 0, 128, 63];
const DESCRIBED: u16 = 1 << 3;

fn pickle() -> Vec<u8> {
    dump(&dict(&[("w", vector("0", 1))]))
}

fn healthy() -> Vec<Entry> {
    vec![
        Entry::stored("m/data.pkl", &pickle()),
        Entry::stored("m/data/0", ONE),
    ]
}

/// The healthy archive with its last entry changed.
fn last(change: impl FnOnce(&mut Entry)) -> Vec<u8> {
    let mut entries = healthy();
    entries[1] = entries[1].clone().with(change);
    write(&entries)
}

/// The healthy archive with `change` made in both headers of its last entry.
fn both(change: impl Fn(&mut support::archive::Header)) -> Vec<u8> {
    last(|entry| {
        change(&mut entry.local);
        change(&mut entry.central);
    })
}

fn descriptor(signature: bool, wide: bool, crc: u32, size: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    if signature {
        bytes.extend(b"PK\x07\x08");
    }
    bytes.extend(crc.to_le_bytes());
    for _ in 0..2 {
        bytes.extend(size.to_le_bytes());
        if wide {
            bytes.extend([0; 4]);
        }
    }
    bytes
}

fn described(entry: &mut Entry, after: Vec<u8>) {
    entry.local.flags |= DESCRIBED;
    entry.central.flags |= DESCRIBED;
    (entry.local.crc, entry.local.size, entry.local.compressed) = (0, 0, 0);
    entry.after = after;
}

#[test]
fn every_lie_is_refused() {
    let plain = write(&healthy());
    let crc = healthy()[1].central.crc;
    let tail = [&plain[..], b"x"].concat();
    let comment = {
        let mut file = tail.clone();
        let length = file.len() - 3;
        file[length] = 1;
        file
    };
    let front = [b"x", &plain[..]].concat();
    let two_directories = [&plain[..], &plain[..]].concat();
    let twice = write(&[healthy(), vec![Entry::stored("m/data/0", &[0; 4])]].concat());
    let rows: Vec<(&str, Vec<u8>, &str)> = vec![
        ("a byte after the archive", tail, "zip-end"),
        ("a comment", comment, "zip-end"),
        ("a byte before the archive", front, "not-a-checkpoint"),
        ("two archives in a row", two_directories, "zip-directory"),
        ("a name twice", twice, "zip-duplicate"),
        (
            "another name in the local header",
            last(|e| e.local.name = "m/data/1".into()),
            "zip-local",
        ),
        (
            "another size in the local header",
            last(|e| e.local.size = 5),
            "zip-local",
        ),
        (
            "another checksum in the local header",
            last(|e| e.local.crc ^= 1),
            "zip-local",
        ),
        (
            "another method in the local header",
            last(|e| e.local.method = 8),
            "zip-local",
        ),
        (
            "other flags in the local header",
            last(|e| e.local.flags = DESCRIBED),
            "zip-local",
        ),
        ("a wrong checksum", both(|h| h.crc ^= 1), "zip-crc"),
        ("a changed byte", last(|e| e.data[0] ^= 1), "zip-crc"),
        ("encrypted", both(|h| h.flags = 1), "zip-flags"),
        (
            "strongly encrypted",
            both(|h| h.flags = 1 << 6),
            "zip-flags",
        ),
        ("masked headers", both(|h| h.flags = 1 << 13), "zip-flags"),
        ("bzip2", both(|h| h.method = 12), "zip-method"),
        (
            "two sizes of a stored entry",
            both(|h| h.size = 8),
            "zip-size",
        ),
        (
            "longer than it is",
            both(|h| {
                h.size = 5;
                h.compressed = 5;
            }),
            "zip-coverage",
        ),
        (
            "shorter than it is",
            both(|h| {
                h.size = 3;
                h.compressed = 3;
            }),
            "zip-coverage",
        ),
        (
            "a hole after the data",
            last(|e| e.after = vec![0; 4]),
            "zip-coverage",
        ),
        (
            "a wrong descriptor",
            last(|e| described(e, descriptor(true, false, crc ^ 1, 4))),
            "zip-coverage",
        ),
        (
            "no descriptor",
            last(|e| described(e, vec![])),
            "zip-coverage",
        ),
        (
            "an offset into another entry",
            last(|e| e.shift = u32::MAX - 3),
            "zip-coverage",
        ),
        (
            "an offset beyond the directory",
            last(|e| e.shift = 1 << 30),
            "zip-coverage",
        ),
        (
            "an extra field cut off",
            last(|e| e.local.extra = vec![1, 0, 16]),
            "zip-truncated",
        ),
        (
            "a second disk",
            {
                let mut file = write(&healthy());
                let disk = file.len() - 18;
                file[disk] = 1;
                file
            },
            "zip-disks",
        ),
        (
            "a zip64 size of 8 EiB",
            both(|h| {
                (h.size, h.compressed) = (u32::MAX, u32::MAX);
                h.extra = [&[1, 0, 16, 0][..], &[0xff; 7], &[0x7f], &[0xff; 7], &[0x7f]].concat();
            }),
            "zip-coverage",
        ),
        (
            "a zip64 field that is not asked for",
            last(|e| e.central.extra = [&[1, 0, 8, 0][..], &[0; 8]].concat()),
            "zip-zip64",
        ),
        (
            "two zip64 fields",
            both(|h| {
                (h.size, h.compressed) = (u32::MAX, u32::MAX);
                let field = [
                    &[1, 0, 16, 0][..],
                    &4_u64.to_le_bytes(),
                    &4_u64.to_le_bytes(),
                ]
                .concat();
                h.extra = field.repeat(2);
            }),
            "zip-zip64",
        ),
        (
            "a path that climbs",
            both(|h| h.name = "m/../../0".into()),
            "zip-name",
        ),
        (
            "an absolute path",
            both(|h| h.name = "/m/data/0".into()),
            "zip-name",
        ),
        (
            "a backslash",
            both(|h| h.name = "m\\data\\0".into()),
            "zip-name",
        ),
        (
            "a directory with content",
            both(|h| h.name = "m/data/0/".into()),
            "zip-name",
        ),
        (
            "two roots",
            write(&[healthy(), vec![Entry::stored("n/data.pkl", b"")]].concat()),
            "torch-zip",
        ),
        ("no data.pkl", write(&healthy()[1..]), "torch-zip"),
        (
            "a storage that is missing",
            write(&healthy()[..1]),
            "storage-missing",
        ),
        (
            "deflated data that is longer",
            {
                let mut entries = healthy();
                entries[1] = Entry::deflated("m/data/0", &[0; 1000]).with(|e| {
                    (e.local.size, e.central.size) = (4, 4);
                });
                write(&entries)
            },
            "zip-deflate",
        ),
        (
            "deflated data that is shorter",
            {
                let mut entries = healthy();
                entries[1] = Entry::deflated("m/data/0", &[0; 2]).with(|e| {
                    (e.local.size, e.central.size) = (4, 4);
                });
                write(&entries)
            },
            "zip-deflate",
        ),
        (
            "bytes after the deflated data",
            {
                let mut entries = healthy();
                entries[1] = Entry::deflated("m/data/0", ONE).with(|e| {
                    e.data.push(0);
                    e.local.compressed += 1;
                    e.central.compressed += 1;
                });
                write(&entries)
            },
            "zip-deflate",
        ),
    ];
    amphora_testing::each(&rows, |(_, file, rule)| {
        refused(file, ErrorKind::Malformed, rule, "")
    });
}

#[test]
fn a_bomb_and_too_many_entries_are_refused_by_limit() {
    // 32 MiB of zeros in a file a thousandth of that size.
    let mut entries = healthy();
    entries[1] = Entry::deflated("m/data/0", &vec![0; 32 << 20]);
    let bomb = write(&entries);
    refused(&bomb, ErrorKind::Limit, "expansion", "m/data/0").unwrap();

    let limits = amphora_checkpoint::Limits {
        archive_entries: 1,
        ..Default::default()
    };
    let crowded = write(&healthy());
    let error = amphora_checkpoint::Checkpoint::from_bytes(crowded.into(), &limits).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Limit, "zip-entries")
    );
}

#[test]
fn every_honest_form_reads() {
    let crc = healthy()[1].central.crc;
    let with_descriptor =
        |signature, wide| last(|entry| described(entry, descriptor(signature, wide, crc, 4)));
    let zip64 = |large: bool, method| {
        let mut writer = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        let options = zip::write::SimpleFileOptions::default()
            .large_file(large)
            .compression_method(method);
        writer.add_directory("m/data", options).unwrap();
        for (name, data) in [("m/data.pkl", &pickle()[..]), ("m/data/0", ONE)] {
            writer.start_file(name, options).unwrap();
            writer.write_all(data).unwrap();
        }
        writer.finish().unwrap().into_inner()
    };
    use zip::CompressionMethod::{Deflated, Stored};
    let deflated = write(&[
        Entry::deflated("m/data.pkl", &pickle()),
        Entry::deflated("m/data/0", ONE),
    ]);
    let rows: Vec<(&str, Vec<u8>)> = vec![
        ("plain", write(&healthy())),
        ("deflated", deflated),
        ("descriptor", with_descriptor(false, false)),
        ("descriptor with signature", with_descriptor(true, false)),
        ("wide descriptor", with_descriptor(false, true)),
        (
            "wide descriptor with signature",
            with_descriptor(true, true),
        ),
        ("zip crate, stored", zip64(false, Stored)),
        ("zip crate, stored, zip64", zip64(true, Stored)),
        ("zip crate, deflated", zip64(false, Deflated)),
        ("zip crate, deflated, zip64", zip64(true, Deflated)),
    ];
    amphora_testing::each(&rows, |(_, file)| {
        let checkpoint = read(file).map_err(|error| format!("{error:?}"))?;
        match checkpoint.tensors()["w"].to_f32() {
            Ok(values) if values == [1.0] => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    });
}
