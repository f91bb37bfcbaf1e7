//! Rows 33 to 41: archives that write elsewhere, grow, or can be read in two ways.

use std::io::Write as _;
use std::path::Path;

use amphora_error::ErrorKind::{Limit, Malformed};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::sample;
use super::tar::{self, Member};
use super::zip::{self, Entry};
use crate::case::{Answer, Case, Form, Outcome};

const MALFORMED: Answer = Answer::Refused(&[Malformed]);
const LIMIT: Answer = Answer::Refused(&[Limit]);
/// The member that is changed.
const CONFIG: &str = "bundle/config.json";
/// Bytes of zeros in a bomb.
const BOMB: usize = 100 << 20;

/// The members of the healthy tar.
fn members(root: &Path) -> Outcome<Vec<Member>> {
    let bundle = sample::make(root)?;
    let files = sample::files(&bundle)?;
    fs_err::remove_dir_all(bundle)?;
    let mut members = vec![Member::of_kind(b'5', "bundle/docs/", b"")];
    members.extend(
        files
            .iter()
            .map(|(name, content)| Member::file(&format!("bundle/{name}"), content)),
    );
    Ok(members)
}

/// The entries of the healthy zip.
fn entries(root: &Path) -> Outcome<Vec<Entry>> {
    let bundle = sample::make(root)?;
    let files = sample::files(&bundle)?;
    fs_err::remove_dir_all(bundle)?;
    let entries = files
        .iter()
        .map(|(name, content)| Entry::stored(&format!("bundle/{name}"), content));
    Ok(entries.collect())
}

fn case(
    row: u8,
    name: &'static str,
    writes: &'static str,
    answer: Answer,
    place: &'static str,
    command: &'static str,
    write: impl Fn(&Path, Form) -> Outcome + Send + Sync + 'static,
) -> Case {
    Case {
        row,
        name,
        writes,
        command,
        answer,
        place,
        unopened: None,
        write: Box::new(write),
    }
}

/// A tar, in which `change` changes the members.
fn in_tar(
    row: u8,
    name: &'static str,
    writes: &'static str,
    answer: Answer,
    place: &'static str,
    change: fn(&mut Vec<Member>, Form),
) -> Case {
    case(
        row,
        name,
        writes,
        answer,
        place,
        "import bundle.tar",
        move |root, form| {
            let mut members = members(root)?;
            change(&mut members, form);
            Ok(fs_err::write(
                root.join("bundle.tar"),
                tar::write(&members),
            )?)
        },
    )
}

/// A zip, in which `change` changes the entries.
fn in_zip(
    row: u8,
    name: &'static str,
    writes: &'static str,
    answer: Answer,
    place: &'static str,
    change: fn(&mut Vec<Entry>, Form) -> Outcome,
) -> Case {
    case(
        row,
        name,
        writes,
        answer,
        place,
        "import bundle.zip",
        move |root, form| {
            let mut entries = entries(root)?;
            change(&mut entries, form)?;
            Ok(fs_err::write(
                root.join("bundle.zip"),
                zip::write(&entries),
            )?)
        },
    )
}

/// The bytes of an archive, changed as a whole.
fn in_bytes(
    row: u8,
    name: &'static str,
    writes: &'static str,
    place: &'static str,
    command: &'static str,
    change: fn(Vec<u8>, Form) -> Vec<u8>,
) -> Case {
    case(
        row,
        name,
        writes,
        MALFORMED,
        place,
        command,
        move |root, form| {
            let zip = command.ends_with("zip");
            let bytes = match zip {
                true => zip::write(&entries(root)?),
                false => tar::write(&members(root)?),
            };
            let path = root.join(if zip { "bundle.zip" } else { "bundle.tar" });
            Ok(fs_err::write(path, change(bytes, form))?)
        },
    )
}

fn find<'a>(members: &'a mut [Member], name: &str) -> &'a mut Member {
    let found = members.iter().position(|member| member.name == name);
    &mut members[found.unwrap_or(0)]
}

fn entry<'a>(entries: &'a mut [Entry], name: &str) -> &'a mut Entry {
    let found = entries.iter().position(|entry| entry.local.name == name);
    &mut entries[found.unwrap_or(0)]
}

/// A name that a member must not have.
fn named(row: u8, name: &'static str, hostile: &'static str) -> [Case; 2] {
    let rename_tar = move |root: &Path, form: Form| -> Outcome {
        let mut members = members(root)?;
        find(&mut members, CONFIG).name = form.pick(hostile, CONFIG).to_owned();
        Ok(fs_err::write(
            root.join("bundle.tar"),
            tar::write(&members),
        )?)
    };
    let rename_zip = move |root: &Path, form: Form| -> Outcome {
        let mut entries = entries(root)?;
        let name = form.pick(hostile, CONFIG);
        entry(&mut entries, CONFIG).both(|header| header.name = name.to_owned());
        Ok(fs_err::write(
            root.join("bundle.zip"),
            zip::write(&entries),
        )?)
    };
    let names: (&'static str, &'static str) = match name {
        "parent" => ("tar-parent", "zip-parent"),
        "absolute" => ("tar-absolute", "zip-absolute"),
        "case-twin" => ("tar-case-twin", "zip-case-twin"),
        "twice" => ("tar-name-twice", "zip-name-twice"),
        "device" => ("tar-device-name", "zip-device-name"),
        "dot" => ("tar-dot", "zip-dot"),
        "backslash" => ("tar-backslash", "zip-backslash"),
        "unicode" => ("tar-decomposed", "zip-decomposed"),
        _ => ("tar-file-and-folder", "zip-file-and-folder"),
    };
    let zip_row = if row == 33 { 40 } else { 41 };
    [
        case(
            row,
            names.0,
            hostile,
            MALFORMED,
            "member",
            "import bundle.tar",
            rename_tar,
        ),
        case(
            zip_row,
            names.1,
            hostile,
            MALFORMED,
            "member",
            "import bundle.zip",
            rename_zip,
        ),
    ]
}

pub(crate) fn cases() -> Vec<Case> {
    let names = [
        named(33, "parent", "bundle/../../config.json"),
        named(33, "absolute", "/bundle/config.json"),
        named(37, "twice", "bundle/metrics.json"),
        named(37, "case-twin", "bundle/METRICS.JSON"),
        named(37, "device", "bundle/NUL"),
        named(37, "dot", "bundle/./config.json"),
        named(37, "backslash", "bundle\\config.json"),
        named(37, "unicode", "bundle/cafe\u{301}.json"),
        named(37, "file-and-folder", "bundle/docs"),
    ];
    let mut cases: Vec<Case> = names.into_iter().flatten().collect();
    cases.extend(links());
    cases.extend(bombs());
    cases.extend(headers());
    cases.extend(zips());
    cases
}

fn kind(members: &mut [Member], name: &str, kind: u8, form: Form) {
    let member = find(members, name);
    member.kind = form.pick(kind, member.kind);
    if form == Form::Hostile {
        member.content.clear();
        if matches!(kind, b'1' | b'2') {
            member.link = "../../outside".to_owned();
        }
    }
}

fn links() -> [Case; 8] {
    [
        in_tar(
            34,
            "tar-symlink-then-write-through",
            "a symbolic link in the place of a folder that files lie in",
            MALFORMED,
            "a symbolic link",
            |members, form| kind(members, "bundle/docs/", b'2', form),
        ),
        in_tar(
            34,
            "tar-symlink",
            "a symbolic link in the place of a file",
            MALFORMED,
            CONFIG,
            |members, form| {
                kind(members, CONFIG, b'2', form);
            },
        ),
        in_tar(
            35,
            "tar-hard-link",
            "a hard link",
            MALFORMED,
            "a hard link",
            |members, form| {
                kind(members, CONFIG, b'1', form);
            },
        ),
        in_tar(
            35,
            "tar-fifo",
            "a FIFO",
            MALFORMED,
            "a FIFO",
            |members, form| {
                kind(members, CONFIG, b'6', form);
            },
        ),
        in_tar(
            35,
            "tar-device",
            "a device",
            MALFORMED,
            "a device",
            |members, form| {
                kind(members, CONFIG, b'3', form);
            },
        ),
        in_tar(
            35,
            "tar-setuid",
            "mode 6777",
            Answer::Accepted,
            "",
            |members, form| {
                find(members, CONFIG).mode = form.pick(0o6777, 0o644);
            },
        ),
        in_zip(
            40,
            "zip-symlink",
            "a symbolic link",
            MALFORMED,
            "a symbolic link",
            |entries, form| {
                entry(entries, CONFIG).mode = form.pick(0o120_777, 0o100_644);
                Ok(())
            },
        ),
        in_zip(
            40,
            "zip-fifo",
            "a FIFO",
            MALFORMED,
            CONFIG,
            |entries, form| {
                entry(entries, CONFIG).mode = form.pick(0o010_644, 0o100_644);
                Ok(())
            },
        ),
    ]
}

/// The configuration, or so many zeros that the archive unpacks to far more than its size.
fn inflated(form: Form) -> Vec<u8> {
    form.pick(vec![0; BOMB], sample::CONFIG.to_vec())
}

fn bombs() -> [Case; 3] {
    let with = |root: &Path, form: Form| -> Outcome<Vec<u8>> {
        let mut members = members(root)?;
        find(&mut members, CONFIG).content = inflated(form);
        Ok(tar::write(&members))
    };
    [
        case(
            38,
            "gzip-bomb",
            "a member of 100 MiB of zeros",
            LIMIT,
            "bytes",
            "import bundle.tar.gz",
            move |root, form| {
                let file = fs_err::File::create(root.join("bundle.tar.gz"))?;
                let mut encoder = GzEncoder::new(file, Compression::best());
                encoder.write_all(&with(root, form)?)?;
                Ok(encoder.finish().map(drop)?)
            },
        ),
        case(
            38,
            "zstd-bomb",
            "a member of 100 MiB of zeros",
            LIMIT,
            "bytes",
            "import bundle.tar.zst",
            move |root, form| {
                let bytes = zstd::encode_all(with(root, form)?.as_slice(), 1)?;
                Ok(fs_err::write(root.join("bundle.tar.zst"), bytes)?)
            },
        ),
        in_zip(
            38,
            "deflate-bomb",
            "an entry of 100 MiB of zeros",
            LIMIT,
            "bytes",
            |entries, form| {
                *entry(entries, CONFIG) = Entry::deflated(CONFIG, &inflated(form))?;
                Ok(())
            },
        ),
    ]
}

/// An extension member with one record, which counts its own length.
fn record(key: &str, value: &str) -> Member {
    let rest = format!(" {key}={value}\n");
    let mut length = rest.len() + 1;
    while format!("{length}{rest}").len() != length {
        length += 1;
    }
    Member::of_kind(b'x', "pax", format!("{length}{rest}").as_bytes())
}

fn before_config(members: &mut Vec<Member>, extension: Member) {
    let at = members.iter().position(|member| member.name == CONFIG);
    members.insert(at.unwrap_or(0), extension);
}

fn headers() -> [Case; 9] {
    [
        in_tar(
            36,
            "tar-sizes-disagree",
            "a size record of 0 before a member that has bytes",
            MALFORMED,
            CONFIG,
            |members, form| {
                let size = form.pick(0, sample::CONFIG.len()).to_string();
                before_config(members, record("size", &size));
            },
        ),
        in_tar(
            36,
            "tar-record-unknown",
            "a record of GNU's sparse files",
            MALFORMED,
            "GNU.sparse.size",
            |members, form| {
                before_config(
                    members,
                    record(form.pick("GNU.sparse.size", "comment"), "1"),
                );
            },
        ),
        in_tar(
            39,
            "tar-8-eib",
            "a size of 8 EiB",
            LIMIT,
            CONFIG,
            |members, form| {
                find(members, CONFIG).size = form.pick(Some(1 << 63), None);
            },
        ),
        in_tar(
            39,
            "tar-members",
            "100,000 members",
            LIMIT,
            "members",
            |members, form| {
                let folder = Member::of_kind(b'5', "bundle/docs/", b"");
                members.extend(vec![folder; form.pick(100_000, 1)]);
            },
        ),
        in_tar(
            39,
            "tar-path-6000",
            "a path of 6,000 bytes",
            Answer::Refused(&[Malformed, Limit]),
            "bytes",
            |members, form| {
                let long = format!("bundle/{}", "a".repeat(6000));
                before_config(
                    members,
                    Member::of_kind(
                        b'L',
                        "././@LongLink",
                        form.pick(long.as_str(), CONFIG).as_bytes(),
                    ),
                );
            },
        ),
        in_bytes(
            39,
            "tar-cut",
            "the first half",
            "bundle.tar",
            "import bundle.tar",
            |mut bytes, form| {
                bytes.truncate(form.pick(bytes.len() / 2, bytes.len()));
                bytes
            },
        ),
        in_bytes(
            39,
            "tar-tail",
            "bytes after the end",
            "bundle.tar",
            "import bundle.tar",
            |mut bytes, form| {
                bytes.extend(form.pick([1; 512], [0; 512]));
                bytes
            },
        ),
        in_bytes(
            39,
            "zip-cut",
            "the first half",
            "bundle.zip",
            "import bundle.zip",
            |mut bytes, form| {
                bytes.truncate(form.pick(bytes.len() / 2, bytes.len()));
                bytes
            },
        ),
        in_zip(
            39,
            "zip-8-eib",
            "a 64-bit size of 8 EiB",
            Answer::Refused(&[Malformed, Limit]),
            "bundle.zip",
            |entries, form| {
                let config = entry(entries, CONFIG);
                let size = form.pick(1 << 63, sample::CONFIG.len() as u64);
                let extra = [&[1, 0, 8, 0][..], &size.to_le_bytes()].concat();
                config.both(|header| {
                    header.size = u32::MAX;
                    header.extra.clone_from(&extra);
                });
                Ok(())
            },
        ),
    ]
}

fn zips() -> [Case; 7] {
    [
        in_zip(
            41,
            "zip-two-names",
            "another name in the local header",
            MALFORMED,
            CONFIG,
            |entries, form| {
                let config = entry(entries, CONFIG);
                config.local.name = form.pick("bundle/konfig.json", CONFIG).to_owned();
                Ok(())
            },
        ),
        in_zip(
            41,
            "zip-crc",
            "a wrong checksum",
            MALFORMED,
            CONFIG,
            |entries, form| {
                let wrong = form.pick(1, 0);
                entry(entries, CONFIG).both(|header| header.crc ^= wrong);
                Ok(())
            },
        ),
        in_zip(
            41,
            "zip-overlap",
            "two entries with one place",
            MALFORMED,
            "overlap",
            |entries, form| {
                entries[1].offset = form.pick(Some(0), None);
                Ok(())
            },
        ),
        in_zip(
            41,
            "zip-method",
            "an unknown compression method",
            Answer::Refused(&[amphora_error::ErrorKind::Unsupported]),
            CONFIG,
            |entries, form| {
                let method = form.pick(97, 0);
                entry(entries, CONFIG).both(|header| header.method = method);
                Ok(())
            },
        ),
        in_zip(
            41,
            "zip-sizes-lie",
            "a size one byte too small",
            MALFORMED,
            CONFIG,
            |entries, form| {
                let less = form.pick(1, 0);
                entry(entries, CONFIG).both(|header| header.size -= less);
                Ok(())
            },
        ),
        in_bytes(
            41,
            "zip-tail",
            "bytes after the end",
            "bundle.zip",
            "import bundle.zip",
            |mut bytes, form| {
                bytes.extend(form.pick(&b"tail"[..], b""));
                bytes
            },
        ),
        in_bytes(
            41,
            "zip-two-directories",
            "an archive after an archive",
            "bundle.zip",
            "import bundle.zip",
            |bytes, form| form.pick([bytes.clone(), bytes.clone()].concat(), bytes),
        ),
    ]
}
