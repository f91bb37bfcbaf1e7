//! Rows 42 and 43: pickles, which are programs.

use amphora_error::ErrorKind::{Limit, Malformed, Unsupported};

use super::{hostile_or_sound, parameters, save};
use crate::bundle::zip::{self, Entry};
use crate::case::{Answer, Case, Form, Outcome};

const REFUSED: Answer = Answer::Refused(&[Malformed]);
const EXPORT: &str = "export model.pt --config config.json -o out.onnx";
/// `os.system('touch executed')`, as `__reduce__` writes it.
const PAYLOAD: &[u8] = b"cposix\nsystem\n(X\x0e\0\0\0touch executedtR";
const PROTOCOL: &[u8] = b"\x80\x02";
const STOP: &[u8] = b".";

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(b'X');
    out.extend((text.len() as u32).to_le_bytes());
    out.extend(text.as_bytes());
}

fn int(out: &mut Vec<u8>, value: usize) {
    out.push(b'J');
    out.extend((value as u32).to_le_bytes());
}

/// The state dict as a pickle, and the storages that it names. `rebuild` is the name that makes a
/// tensor; `before` stands before the end.
fn state_dict(rebuild: &str, before: &[u8]) -> Outcome<(Vec<u8>, Vec<Vec<u8>>)> {
    let mut out = PROTOCOL.to_vec();
    let mut storages = Vec::new();
    out.extend(b"}(");
    for (name, tensor) in &parameters()?.tensors {
        text(&mut out, name);
        out.extend(format!("c{rebuild}\n((").as_bytes());
        text(&mut out, "storage");
        out.extend(b"ctorch\nFloatStorage\n");
        text(&mut out, &storages.len().to_string());
        text(&mut out, "cpu");
        int(&mut out, tensor.elements() as usize);
        out.extend(b"tQ");
        int(&mut out, 0);
        let mut strides = Vec::new();
        let mut stride = 1;
        for extent in tensor.shape().iter().rev() {
            strides.insert(0, stride);
            stride *= extent;
        }
        for list in [tensor.shape(), &strides] {
            out.push(b'(');
            for value in list {
                int(&mut out, *value as usize);
            }
            out.push(b't');
        }
        out.extend(b"\x89ccollections\nOrderedDict\n)RtR");
        storages.push(tensor.data()?.to_vec());
    }
    out.push(b'u');
    out.extend(before);
    out.extend(STOP);
    Ok((out, storages))
}

const REBUILD: &str = "torch._utils\n_rebuild_tensor_v2";

/// PyTorch's zip format.
fn torch_zip(pickle: &[u8], storages: &[Vec<u8>]) -> Vec<u8> {
    let mut entries = vec![
        Entry::stored("archive/data.pkl", pickle),
        Entry::stored("archive/byteorder", b"little"),
    ];
    for (key, data) in storages.iter().enumerate() {
        entries.push(Entry::stored(&format!("archive/data/{key}"), data));
    }
    entries.push(Entry::stored("archive/version", b"3\n"));
    zip::write(&entries)
}

/// PyTorch's stream format: magic number, protocol 1001, system information, the object, the keys
/// of its storages, then each storage after its count.
fn torch_stream(pickle: &[u8], storages: &[Vec<u8>]) -> Vec<u8> {
    let mut out = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.".to_vec();
    out.extend(b"\x80\x02M\xe9\x03.");
    out.extend(b"\x80\x02}(");
    text(&mut out, "protocol_version");
    out.extend(b"M\xe9\x03");
    text(&mut out, "little_endian");
    out.extend(b"\x88u.");
    out.extend(pickle);
    out.extend(b"\x80\x02](");
    for key in 0..storages.len() {
        text(&mut out, &key.to_string());
    }
    out.extend(b"e.");
    for data in storages {
        out.extend((data.len() as u64 / 4).to_le_bytes());
        out.extend(data);
    }
    out
}

fn case(
    row: u8,
    name: &'static str,
    writes: &'static str,
    place: &'static str,
    write: fn(Form) -> Outcome<Vec<u8>>,
) -> Case {
    Case {
        row,
        name,
        writes,
        command: EXPORT,
        answer: REFUSED,
        place,
        unopened: None,
        write: Box::new(move |root, form| save(root, "model.pt", &write(form)?)),
    }
}

/// A pickle in PyTorch's zip format: the sound one but for `rebuild` and `before`.
fn zipped(rebuild: &str, before: &[u8]) -> Outcome<Vec<u8>> {
    let (pickle, storages) = state_dict(rebuild, before)?;
    Ok(torch_zip(&pickle, &storages))
}

pub(crate) fn cases() -> Vec<Case> {
    let bare = [PROTOCOL, PAYLOAD, STOP].concat();
    let mut cases = vec![
        case(
            42,
            "pickle-in-zip",
            "a call of `posix.system` after the tensors",
            "posix.system",
            |form| {
                // The result is dropped again: the state dict stays what the pickle makes.
                let call = [PAYLOAD, b"0"].concat();
                zipped(REBUILD, form.pick(&call, &[]))
            },
        ),
        case(
            42,
            "pickle-other-name",
            "`builtins.eval` in the place of the name that makes a tensor",
            "builtins.eval",
            |form| zipped(form.pick("builtins\neval", REBUILD), &[]),
        ),
        case(
            42,
            "pickle-torch-name",
            "a function of torch that is not needed for tensors",
            "torch.hub.load",
            |form| zipped(form.pick("torch.hub\nload", REBUILD), &[]),
        ),
        Case {
            answer: Answer::Refused(&[Malformed, Limit, Unsupported]),
            ..case(
                42,
                "pickle-deep",
                "300,000 tuples inside one another",
                "data.pkl",
                |form| {
                    let deep = [&b"N"[..], &b"\x85".repeat(300_000), b"0"].concat();
                    zipped(REBUILD, form.pick(&deep, &[]))
                },
            )
        },
        Case {
            answer: Answer::Refused(&[Malformed, Limit]),
            ..case(
                42,
                "pickle-doubling",
                "a list that is doubled 40 times by reference",
                "data.pkl",
                |form| {
                    // Each round: a list of the last one twice, stored under the next number.
                    let mut rounds = b"]q\0".to_vec();
                    for round in 0..40 {
                        rounds.extend(
                            [b"](h", &[round][..], b"h", &[round], b"eq", &[round + 1]].concat(),
                        );
                    }
                    rounds.extend(b"0".repeat(41));
                    zipped(REBUILD, form.pick(&rounds, &[]))
                },
            )
        },
        case(
            43,
            "pickle-broken-after-payload",
            "a payload, then bytes that are no instruction",
            "posix.system",
            |form| {
                let broken = [PAYLOAD, b"\xff\xff\xff"].concat();
                zipped(REBUILD, form.pick(&broken, &[]))
            },
        ),
        case(
            43,
            "pickle-cut-after-payload",
            "a payload, then the end of the file",
            "posix.system",
            |form| {
                let (mut pickle, storages) = state_dict(REBUILD, &[])?;
                if form == Form::Hostile {
                    pickle = [PROTOCOL, PAYLOAD].concat();
                }
                Ok(torch_zip(&pickle, &storages))
            },
        ),
        case(
            42,
            "pickle-in-stream",
            "a call of `posix.system` in the stream format",
            "posix.system",
            |form| {
                let call = [PAYLOAD, b"0"].concat();
                let (pickle, storages) = state_dict(REBUILD, form.pick(&call, &[]))?;
                Ok(torch_stream(&pickle, &storages))
            },
        ),
    ];
    for (name, file, command) in [
        ("pickle-bare", "model.pt", EXPORT),
        (
            "pickle-as-safetensors",
            "model.safetensors",
            "export model.safetensors --config config.json -o out.onnx",
        ),
    ] {
        let bare = bare.clone();
        cases.push(Case {
            command,
            write: Box::new(move |root, form| {
                save(root, file, &hostile_or_sound(form, || Ok(bare.clone()))?)
            }),
            ..case(42, name, "a bare pickle", "this is a pickle", |_| {
                Ok(Vec::new())
            })
        });
    }
    cases.push(Case {
        command: "inspect model.onnx",
        write: Box::new(move |root, form| {
            let healthy = amphora_onnx::write::to_bytes(&crate::onnx::sample::model());
            Ok(fs_err::write(
                root.join("model.onnx"),
                form.pick(bare.clone(), healthy),
            )?)
        }),
        ..case(42, "pickle-as-onnx", "a bare pickle", "pickle", |_| {
            Ok(Vec::new())
        })
    });
    cases
}
