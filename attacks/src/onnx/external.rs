//! Rows 1 to 14: external data that leads somewhere else.

use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;
use std::path::Path;

use amphora_error::ErrorKind::Malformed;
use amphora_onnx::proto::{
    AttributeType, FunctionProto, GraphProto, SparseTensorProto, TensorProto,
};
use rustix::fs::{CWD, FileType, Mode};

use super::sample::{self, PAYLOAD, attribute, entry, node, opset, value};
use crate::case::{Answer, Case, Form, Outcome};

const INSPECT: &str = "inspect model/model.onnx";
const REFUSED: Answer = Answer::Refused(&[Malformed]);
const PLACE: &str = "initializer 'w'";
/// The file outside of the model's directory; nothing is wrong with its content.
const SECRET: &str = "outside/secret.bin";
/// SHA-1 of the payload.
const SHA1: &str = "7f6e1d7de3ab2d47658382fc453ea1e6b73e05b1";

/// A tensor whose payload is the second half of a file of 16 bytes.
fn external(location: &str) -> TensorProto {
    TensorProto {
        raw_data: None,
        data_location: Some(TensorProto::LOCATION_EXTERNAL),
        external_data: vec![
            entry("location", location),
            entry("offset", "8"),
            entry("length", "8"),
        ],
        ..sample::tensor("w")
    }
}

fn contents() -> Vec<u8> {
    [PAYLOAD, PAYLOAD].concat()
}

/// Writes the secret, the sound weights, and the model with `tensor` as its weight.
fn save(root: &Path, tensor: TensorProto) -> Outcome {
    prepare(root)?;
    let model = sample::edited(|graph| graph.initializer = vec![tensor]);
    sample::save(&root.join("model/model.onnx"), &model)
}

fn prepare(root: &Path) -> Outcome {
    fs_err::create_dir(root.join("outside"))?;
    fs_err::write(root.join(SECRET), contents())?;
    fs_err::create_dir(root.join("model"))?;
    fs_err::write(root.join("model/weights.bin"), contents())?;
    Ok(())
}

fn case(
    row: u8,
    name: &'static str,
    writes: &'static str,
    place: &'static str,
    write: impl Fn(&Path, Form) -> Outcome + Send + Sync + 'static,
) -> Case {
    Case {
        row,
        name,
        writes,
        command: INSPECT,
        answer: REFUSED,
        place,
        unopened: None,
        write: Box::new(write),
    }
}

/// A location that is refused as it stands.
fn location(row: u8, name: &'static str, location: &'static str) -> Case {
    case(row, name, location, PLACE, move |root, form| {
        save(root, external(form.pick(location, "weights.bin")))
    })
    .unopened("secret.bin")
}

/// One entry besides the location.
fn key(
    row: u8,
    name: &'static str,
    writes: &'static str,
    place: &'static str,
    (key, hostile, healthy): (&'static str, &'static str, &'static str),
) -> Case {
    case(row, name, writes, place, move |root, form| {
        let mut tensor = external("weights.bin");
        tensor.external_data.retain(|entry| entry.key() != key);
        let value = form.pick(hostile, healthy);
        tensor.external_data.push(entry(key, value));
        save(root, tensor)
    })
}

/// A fourth entry, a sound checksum but for its key.
fn fourth(row: u8, name: &'static str, writes: &'static str, key: &'static str) -> Case {
    case(row, name, writes, key, move |root, form| {
        let mut tensor = external("weights.bin");
        let key = form.pick(key, "checksum");
        tensor.external_data.push(entry(key, SHA1));
        save(root, tensor)
    })
}

/// A file that is not a file of its own beneath the directory.
fn file(
    row: u8,
    name: &'static str,
    writes: &'static str,
    make: fn(&Path, &Path) -> Outcome,
) -> Case {
    case(row, name, writes, PLACE, move |root, form| {
        save(root, external("data.bin"))?;
        let path = root.join("model/data.bin");
        match form {
            Form::Hostile => make(root, &path),
            Form::Healthy => Ok(fs_err::write(path, contents())?),
        }
    })
}

/// The path in a tensor that is no initializer.
fn hidden(
    name: &'static str,
    writes: &'static str,
    place: &'static str,
    hide: fn(&mut GraphProto, &mut Vec<FunctionProto>, TensorProto),
) -> Case {
    case(13, name, writes, place, move |root, form| {
        prepare(root)?;
        let tensor = external(form.pick("../outside/secret.bin", "weights.bin"));
        let mut model = sample::model();
        model.opset_import.push(opset("own", 1));
        hide(
            model.graph.get_or_insert_default(),
            &mut model.functions,
            tensor,
        );
        sample::save(&root.join("model/model.onnx"), &model)
    })
    .unopened("secret.bin")
}

fn constant(tensor: TensorProto) -> amphora_onnx::proto::NodeProto {
    let mut value = attribute("value", AttributeType::Tensor);
    value.t = Some(Box::new(tensor));
    let mut constant = node("Constant", &[], "c");
    constant.attribute.push(value);
    constant
}

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = vec![
        location(1, "external-parent", "../outside/secret.bin"),
        location(1, "external-etc-passwd", "../../../../../../etc/passwd"),
        location(2, "external-inner-parent", "sub/../../outside/secret.bin"),
        location(3, "external-proc", "/proc/self/environ").unopened("environ"),
        location(3, "external-url", "file:///etc/passwd").unopened("passwd"),
        location(4, "external-backslash", "..\\outside\\secret.bin"),
        location(4, "external-drive", "C:weights.bin"),
        location(4, "external-unc", "\\\\host\\share\\weights.bin"),
        location(14, "external-memory-address", "*/_ORT_MEM_ADDR_/*"),
    ];
    cases.push(
        case(
            3,
            "external-absolute",
            "the absolute path of a sound file",
            PLACE,
            |root, form| {
                let absolute = root.join(SECRET).to_string_lossy().into_owned();
                save(root, external(form.pick(&absolute, "weights.bin")))
            },
        )
        .unopened("secret.bin"),
    );
    cases.push(
        file(
            5,
            "external-symlink",
            "a symbolic link to a sound file",
            |_, path| Ok(symlink("../outside/secret.bin", path)?),
        )
        .unopened("data.bin"),
    );
    cases.push(
        case(
            6,
            "external-parent-symlink",
            "a symbolic link as the folder of a sound file",
            PLACE,
            |root, form| {
                save(root, external("sub/secret.bin"))?;
                let sub = root.join("model/sub");
                match form {
                    Form::Hostile => Ok(symlink("../outside", sub)?),
                    Form::Healthy => {
                        fs_err::create_dir(&sub)?;
                        Ok(fs_err::write(sub.join("secret.bin"), contents())?)
                    }
                }
            },
        )
        .unopened("secret.bin"),
    );
    cases.extend([
        file(
            7,
            "external-hard-link",
            "a hard link to a sound file",
            |root, path| Ok(fs_err::hard_link(root.join(SECRET), path)?),
        )
        .unopened("data.bin"),
        file(8, "external-fifo", "a FIFO", |_, path| {
            let mode = Mode::RUSR | Mode::WUSR;
            Ok(rustix::fs::mknodat(CWD, path, FileType::Fifo, mode, 0)?)
        }),
        file(8, "external-directory", "a directory", |_, path| {
            Ok(fs_err::create_dir(path)?)
        }),
        file(8, "external-socket", "a socket", |_, path| {
            // The name stays when the listener goes.
            Ok(UnixListener::bind(path).map(drop)?)
        }),
    ]);
    cases.extend(numbers());
    cases.extend(hiding_places());
    cases
}

fn numbers() -> [Case; 11] {
    [
        key(
            9,
            "external-length-2-62",
            "length 2^62 on 16 bytes",
            "4611686018427387904",
            ("length", "4611686018427387904", "8"),
        ),
        key(
            10,
            "external-overflow",
            "offset 2^64 - 1, so that the end wraps",
            PLACE,
            ("offset", "18446744073709551615", "8"),
        ),
        key(
            10,
            "external-beyond-u64",
            "offset 2^64",
            PLACE,
            ("offset", "18446744073709551616", "8"),
        ),
        key(
            10,
            "external-negative",
            "offset -8",
            PLACE,
            ("offset", "-8", "8"),
        ),
        key(
            10,
            "external-hexadecimal",
            "offset 0x8",
            PLACE,
            ("offset", "0x8", "8"),
        ),
        key(
            10,
            "external-beyond-end",
            "offset 9, one byte too far",
            PLACE,
            ("offset", "9", "8"),
        ),
        key(
            11,
            "external-length-of-another-shape",
            "length 12 for 2 float32 values",
            "expected 8 bytes, found 12 bytes",
            ("length", "12", "8"),
        ),
        fourth(
            12,
            "external-unknown-key",
            "the key `__class__`",
            "__class__",
        ),
        fourth(
            12,
            "external-key-twice",
            "the key `offset` for a second time",
            "offset",
        ),
        key(
            12,
            "external-empty-location",
            "an empty location",
            PLACE,
            ("location", "", "weights.bin"),
        ),
        key(
            12,
            "external-checksum",
            "a checksum that the bytes do not have",
            PLACE,
            ("checksum", "0000000000000000000000000000000000000000", SHA1),
        ),
    ]
}

fn hiding_places() -> [Case; 5] {
    [
        hidden(
            "hidden-in-constant",
            "the path in the attribute of a Constant",
            "attribute 'value'",
            |graph, _, tensor| graph.node.push(constant(tensor)),
        ),
        hidden(
            "hidden-in-branch",
            "the path in a branch of an If",
            "attribute 'then_branch'",
            |graph, _, tensor| {
                let branch = |name, tensor| {
                    let mut branch = attribute(name, AttributeType::Graph);
                    branch.g = Some(Box::new(GraphProto {
                        name: Some("inner".to_owned()),
                        initializer: vec![TensorProto {
                            name: Some("t".to_owned()),
                            ..tensor
                        }],
                        output: vec![value("t", &[2])],
                        ..GraphProto::default()
                    }));
                    branch
                };
                graph.initializer.push(TensorProto {
                    dims: Vec::new(),
                    data_type: Some(9),
                    raw_data: Some(vec![1].into()),
                    ..sample::tensor("flag")
                });
                let mut choice = node("If", &["flag"], "c");
                choice.attribute.push(branch("then_branch", tensor));
                let sound = sample::tensor("t");
                choice.attribute.push(branch("else_branch", sound));
                graph.node.push(choice);
            },
        ),
        hidden(
            "hidden-in-function",
            "the path in a function",
            "function",
            |_, functions, tensor| {
                functions.push(FunctionProto {
                    name: Some("f".to_owned()),
                    domain: Some("own".to_owned()),
                    node: vec![constant(tensor)],
                    output: vec!["c".to_owned()],
                    opset_import: vec![opset("", 17)],
                    ..FunctionProto::default()
                });
            },
        ),
        hidden(
            "hidden-in-sparse-values",
            "the path in the values of a sparse initializer",
            "sparse values",
            |graph, _, tensor| {
                let indices = TensorProto {
                    name: None,
                    raw_data: None,
                    data_type: Some(7),
                    int64_data: vec![0, 3],
                    ..sample::tensor("")
                };
                graph.sparse_initializer.push(SparseTensorProto {
                    values: Some(TensorProto {
                        name: Some("s".to_owned()),
                        ..tensor
                    }),
                    indices: Some(indices),
                    dims: vec![4],
                });
            },
        ),
        hidden(
            "hidden-in-list",
            "the path in a list of tensors",
            "attribute 'several'",
            |graph, _, tensor| {
                let mut several = attribute("several", AttributeType::Tensors);
                several.tensors = vec![sample::tensor("first"), tensor];
                let mut custom = node("Several", &[], "c");
                custom.domain = Some("own".to_owned());
                custom.attribute.push(several);
                graph.node.push(custom);
            },
        ),
    ]
}
