//! Files that Python's own `pickle` and `zipfile` write, in every protocol.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use amphora_checkpoint::{Checkpoint, Limits};

/// Writes a training checkpoint with stand-ins for the names of PyTorch: one file per protocol,
/// format and compression.
const WRITER: &str = r#"
import collections, io, pickle, struct, sys, types, zipfile

def module(name):
    sys.modules[name] = types.ModuleType(name)
    return sys.modules[name]

torch, utils = module("torch"), module("torch._utils")

def public(owner, name):
    def decorate(thing):
        thing.__module__, thing.__qualname__, thing.__name__ = owner.__name__, name, name
        setattr(owner, name, thing)
        return thing
    return decorate

@public(utils, "_rebuild_tensor_v2")
def rebuild(*arguments): raise AssertionError("built")

@public(torch, "FloatStorage")
class FloatStorage:
    def __init__(self, key, values): self.key, self.values = key, values

@public(torch, "Size")
class Size(tuple):
    def __reduce__(self): return Size, (tuple(self),)

class Tensor:
    def __init__(self, storage, shape, strides): self.description = storage, 0, shape, strides
    def __reduce_ex__(self, protocol):
        return utils._rebuild_tensor_v2, (*self.description, False, collections.OrderedDict())

shared = FloatStorage("0", [float(n) for n in range(6)])
weights = collections.OrderedDict()
weights["caf\u00e9.w"] = Tensor(shared, Size((2, 3)), (3, 1))
weights["t"] = Tensor(shared, (3, 2), (1, 3))
weights["b"] = Tensor(FloatStorage("1", [2.5]), (), ())
weights._metadata = collections.OrderedDict({"": {"version": 1}})
config = {"levels": [8, 6, 5], "rate": 0.1, "big": 1 << 40, "negative": -300, "none": None, "pair": (True, "x" * 300)}
many = list(range(2000))
checkpoint = {"epoch": 12, "model_state_dict": weights, "raw": b"\x00\xff", "config": config, "many": many}

def persistent_id(thing):
    if isinstance(thing, FloatStorage):
        extra = (None,) if legacy else ()
        return ("storage", FloatStorage, thing.key, "cpu", len(thing.values)) + extra

def dump(thing, protocol, pickler):
    out = io.BytesIO()
    writer = pickler(out, protocol=protocol)
    writer.persistent_id = persistent_id
    writer.dump(thing)
    return out.getvalue()

folder, storages = sys.argv[1], {"0": shared.values, "1": [2.5]}
packed = {key: struct.pack("<%df" % len(values), *values) for key, values in storages.items()}
for protocol in range(2, pickle.HIGHEST_PROTOCOL + 1):
    # Bytes have no instruction in protocol 2: Python would write a call of _codecs.encode.
    content = {key: value for key, value in checkpoint.items() if protocol > 2 or key != "raw"}
    for name, pickler in (("c", pickle.Pickler), ("py", pickle._Pickler)):
        legacy = False
        for method in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            with zipfile.ZipFile(f"{folder}/{name}-{protocol}-zip-{method}.pt", "w", method) as archive:
                archive.writestr("m/data.pkl", dump(content, protocol, pickler))
                for key, data in packed.items():
                    archive.writestr(f"m/data/{key}", data)
        legacy = True
        head = (0x1950a86a20f9469cfc6c, 1001, {"little_endian": True, "protocol_version": 1001}, content, sorted(packed))
        with open(f"{folder}/{name}-{protocol}-legacy.pt", "wb") as out:
            for thing in head:
                out.write(dump(thing, protocol, pickler))
            for key in sorted(packed):
                out.write(struct.pack("<Q", len(storages[key])) + packed[key])
"#;

#[test]
fn what_python_writes_reads_in_every_protocol() {
    let Some(python) = amphora_testing::peer("pickle", None) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    python.run(WRITER, &[folder.path().to_str().unwrap()]);
    let files: Vec<_> = fs_err::read_dir(folder.path())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    assert_eq!(files.len(), 4 * 2 * 3);
    amphora_testing::each(&files, |file| {
        let checkpoint =
            Checkpoint::open(file, &Limits::default()).map_err(|error| format!("{error:?}"))?;
        let values = |name: &str| checkpoint.tensors()[name].to_f32().unwrap();
        assert_eq!(checkpoint.tensors().len(), 3);
        assert_eq!(values("caf\u{e9}.w"), [0., 1., 2., 3., 4., 5.]);
        assert_eq!(values("t"), [0., 3., 1., 4., 2., 5.]);
        assert_eq!(values("b"), [2.5]);
        let config = serde_json::Value::Object(checkpoint.config().unwrap().clone());
        let expected = serde_json::json!({
            "levels": [8, 6, 5], "rate": 0.1, "big": 1_u64 << 40, "negative": -300, "none": null,
            "pair": [true, "x".repeat(300)]
        });
        if config == expected {
            Ok(())
        } else {
            Err(config.to_string())
        }
    });
}
