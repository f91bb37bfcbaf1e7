//! Rows 45 to 48 and 57: manifests that can be read in two ways, grow, or point elsewhere.

use std::path::Path;

use amphora_error::ErrorKind::{Limit, Malformed};

use super::sample;
use crate::case::{Answer, Case, Form, Outcome};

const MALFORMED: Answer = Answer::Refused(&[Malformed]);
const EITHER: Answer = Answer::Refused(&[Malformed, Limit]);
/// The line of the manifest that most attacks replace.
const DESCRIPTION: &str = "  description: \"adds two numbers\"\n";

fn case(
    row: u8,
    name: &'static str,
    writes: &'static str,
    answer: Answer,
    place: &'static str,
    write: impl Fn(&Path, Form) -> Outcome + Send + Sync + 'static,
) -> Case {
    Case {
        row,
        name,
        writes,
        command: "inspect ./bundle",
        answer,
        place,
        unopened: None,
        write: Box::new(write),
    }
}

/// A text of the manifest that is replaced; the digest is that of the new manifest.
fn edit(
    row: u8,
    name: &'static str,
    writes: &'static str,
    place: &'static str,
    (from, to): (&'static str, &'static str),
) -> Case {
    case(row, name, writes, MALFORMED, place, move |root, form| {
        let bundle = sample::make(root)?;
        fs_err::create_dir(root.join("outside"))?;
        fs_err::write(root.join("outside/secret.json"), sample::CONFIG)?;
        sample::edit_manifest(&bundle, from, form.pick(to, from))
    })
    .unopened("secret.json")
}

/// The description, replaced by something that is made.
fn described(
    row: u8,
    name: &'static str,
    writes: &'static str,
    answer: Answer,
    place: &'static str,
    make: fn() -> String,
) -> Case {
    case(row, name, writes, answer, place, move |root, form| {
        let bundle = sample::make(root)?;
        let line = form.pick(make(), DESCRIPTION.to_owned());
        sample::edit_manifest(&bundle, DESCRIPTION, &line)
    })
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = Vec::from(strictness());
    cases.extend(growth());
    cases.extend(types());
    cases.extend(digests());
    cases.extend(paths());
    cases
}

fn strictness() -> [Case; 9] {
    const KIND: &str = "kind: Model\n";
    const TOLERANCE: &str = "absolute: 0.00001";
    [
        edit(
            45,
            "yaml-key-twice",
            "a key twice",
            "line 3",
            (KIND, "kind: Model\nkind: Model\n"),
        ),
        edit(
            45,
            "yaml-key-unknown",
            "an unknown key",
            "line 3",
            (KIND, "kind: Model\nknid: Model\n"),
        ),
        edit(
            45,
            "yaml-nan",
            "a tolerance of NaN",
            "line",
            (TOLERANCE, "absolute: .nan"),
        ),
        edit(
            45,
            "yaml-1e999",
            "a tolerance of 1e999",
            "line",
            (TOLERANCE, "absolute: 1e999"),
        ),
        edit(
            45,
            "yaml-2-64",
            "a size of 2^64",
            "line",
            ("size: 24\n", "size: 18446744073709551616\n"),
        ),
        edit(
            45,
            "yaml-bom",
            "a byte order mark",
            "line 1",
            ("apiVersion", "\u{feff}apiVersion"),
        ),
        edit(
            45,
            "yaml-surrogate",
            "half of a surrogate pair",
            "line",
            ("adds two", "adds \\ud800"),
        ),
        edit(
            45,
            "yaml-second-document",
            "a second document",
            "line",
            (
                "required_opset: 17\n",
                "required_opset: 17\n---\nkind: Model\n",
            ),
        ),
        described(
            45,
            "yaml-depth",
            "lists 10,000 deep",
            EITHER,
            "line",
            || format!("  tags: {}{}\n", "[".repeat(10_000), "]".repeat(10_000)),
        ),
    ]
}

fn growth() -> [Case; 6] {
    [
        described(
            46,
            "yaml-billion-laughs",
            "aliases that stand for 10^9 values",
            EITHER,
            "line",
            || {
                let mut text = "  tags:\n  - &a0 \"ha\"\n".to_owned();
                for level in 1..10 {
                    let again = format!("*a{}, ", level - 1).repeat(10);
                    text += &format!("  - &a{level} [{again}]\n");
                }
                text
            },
        ),
        described(
            46,
            "yaml-self-alias",
            "a list that holds itself",
            EITHER,
            "line",
            || "  tags: &a [*a]\n".to_owned(),
        ),
        described(46, "yaml-merge-key", "a merge key", EITHER, "line", || {
            "  <<: {description: adds}\n".to_owned()
        }),
        described(46, "yaml-tag", "a tag", EITHER, "line", || {
            "  description: !!python/object:os.system \"adds\"\n".to_owned()
        }),
        described(46, "yaml-binary", "text in Base64", EITHER, "line", || {
            "  description: !!binary YWRkcw==\n".to_owned()
        }),
        described(
            46,
            "yaml-1000000-values",
            "a million tags",
            EITHER,
            "line",
            || format!("  tags: [{}]\n", "a, ".repeat(1_000_000)),
        ),
    ]
}

fn types() -> [Case; 4] {
    let drift = |name, writes, place, make| Case {
        command: "inspect ./bundle --json",
        ..described(47, name, writes, Answer::AcceptedOr(Malformed), place, make)
    };
    [
        drift("yaml-no", "the description `no`", "no", || {
            "  description: no\n".to_owned()
        }),
        drift("yaml-010", "the description `010`", "010", || {
            "  description: 010\n".to_owned()
        }),
        drift("yaml-1-10", "the description `1.10`", "1.10", || {
            "  description: 1.10\n".to_owned()
        }),
        edit(
            47,
            "yaml-version-1-10",
            "the version `1.10`",
            "1.10",
            ("version: \"1.0.0\"", "version: 1.10"),
        ),
    ]
}

fn digests() -> [Case; 6] {
    const DIGEST: &str = "a9b55d99bad8aabcb566509f07e75d391225e1e632d90d7ab6aeb6993377575d";
    [
        edit(
            48,
            "digest-path",
            "a path",
            "line",
            (DIGEST, "../outside/secret.json"),
        ),
        edit(
            48,
            "digest-short",
            "63 digits",
            "line",
            (
                DIGEST,
                "a9b55d99bad8aabcb566509f07e75d391225e1e632d90d7ab6aeb6993377575",
            ),
        ),
        edit(
            48,
            "digest-upper-case",
            "upper-case digits",
            "line",
            (
                DIGEST,
                "A9B55D99BAD8AABCB566509F07E75D391225E1E632D90D7AB6AEB6993377575D",
            ),
        ),
        edit(
            48,
            "digest-md5",
            "an MD5 digest",
            "line",
            (DIGEST, "d41d8cd98f00b204e9800998ecf8427e"),
        ),
        edit(
            48,
            "digest-prefix",
            "`sha256:` before the digits",
            "line",
            (
                DIGEST,
                "sha256:a9b55d99bad8aabcb566509f07e75d391225e1e632d90d7ab6aeb6993377575d",
            ),
        ),
        edit(
            48,
            "id-path",
            "a path as the id",
            "line",
            ("identity:\n", "identity:\n  id: ../outside/secret.json\n#"),
        ),
    ]
}

fn paths() -> [Case; 7] {
    const LISTED: &str = "  - path: config.json\n";
    let verified = |case: Case| Case {
        command: "verify ./bundle",
        ..case
    };
    [
        verified(edit(
            57,
            "path-parent",
            "a listed path `../outside/secret.json`",
            "line",
            (LISTED, "  - path: ../outside/secret.json\n"),
        )),
        verified(edit(
            57,
            "path-inner-parent",
            "a listed path `docs/../../outside/secret.json`",
            "line",
            (LISTED, "  - path: docs/../../outside/secret.json\n"),
        )),
        verified(edit(
            57,
            "path-absolute",
            "a listed path `/etc/passwd`",
            "line",
            (LISTED, "  - path: /etc/passwd\n"),
        ))
        .unopened("passwd"),
        verified(edit(
            57,
            "path-backslash",
            "a listed path `..\\outside\\secret.json`",
            "line",
            (LISTED, "  - path: ..\\outside\\secret.json\n"),
        )),
        verified(edit(
            57,
            "path-drive",
            "a listed path `C:secret.json`",
            "line",
            (LISTED, "  - path: \"C:secret.json\"\n"),
        )),
        verified(edit(
            57,
            "asset-parent",
            "the configuration at `../outside/secret.json`",
            "line",
            ("config: config.json", "config: ../outside/secret.json"),
        )),
        verified(edit(
            57,
            "graph-parent",
            "the graph at `../outside/secret.json`",
            "line",
            (
                "      file: models/model.onnx\n      role",
                "      file: ../outside/secret.json\n      role",
            ),
        )),
    ]
}
