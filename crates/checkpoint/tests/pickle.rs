//! Pickles are data: everything that would run something is refused by name, whatever surrounds it.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

mod support;

use amphora_error::ErrorKind;
use support::pickle::{V, dict, dump, vector};
use support::{read, refused, torch_legacy, torch_zip};

const ONE: &[u8] = &[0, 0, 128, 63];

/// A state dict with one healthy tensor `w` and `extra` under another key.
fn beside(extra: V) -> Vec<u8> {
    dump(&dict(&[("w", vector("0", 1)), ("extra", extra)]))
}

fn raw(bytes: &[u8]) -> V {
    V::Raw(bytes.to_vec())
}

/// The pickle in both formats.
fn files(pickle: &[u8]) -> [Vec<u8>; 2] {
    [
        torch_zip(pickle, &[("0", ONE)]),
        torch_legacy(pickle, &[("0", 1, ONE)]),
    ]
}

fn refused_in_both(pickle: &[u8], rule: &str, needle: &str) -> Result<(), String> {
    files(pickle)
        .iter()
        .try_for_each(|file| refused(file, ErrorKind::Malformed, rule, needle))
}

#[test]
fn the_healthy_twin_reads_in_both_formats() {
    for file in files(&beside(V::None)) {
        let checkpoint = read(&file).unwrap();
        assert_eq!(checkpoint.tensors()["w"].to_f32().unwrap(), [1.0]);
        assert_eq!(checkpoint.tensors().len(), 1);
    }
}

#[test]
fn a_name_outside_the_tensor_building_set_is_refused_by_name() {
    let names = [
        ("os", "system"),
        ("posix", "system"),
        ("nt", "system"),
        ("subprocess", "Popen"),
        ("builtins", "eval"),
        ("builtins", "exec"),
        ("builtins", "getattr"),
        ("__builtin__", "eval"),
        ("numpy.core.multiarray", "_reconstruct"),
        ("numpy", "load"),
        ("torch", "load"),
        ("torch.storage", "_load_from_bytes"),
        ("torch.jit", "load"),
        ("torch._utils", "_rebuild_tensor_v2.__globals__"),
        ("torch._utils", "__dict__"),
        ("torch", "FloatStorage.__init__"),
        ("torch.nn.modules.linear", "Linear"),
        ("argparse", "Namespace"),
        ("collections", "namedtuple"),
        ("runpy", "_run_code"),
    ];
    amphora_testing::each(&names, |(module, name)| {
        let needle = format!("'{module}.{name}'; nothing was executed");
        let call = |global: &[u8]| raw(&[global, b"X\x02\0\0\0id\x85R"].concat());
        let global = format!("c{module}\n{name}\n");
        // Protocol 4 writes both names as text.
        let stack = [
            &[0x8c, module.len() as u8][..],
            module.as_bytes(),
            &[0x8c, name.len() as u8],
            name.as_bytes(),
            &[0x93],
        ]
        .concat();
        let inst = format!("(X\x02\0\0\0idi{module}\n{name}\n");
        for extra in [call(global.as_bytes()), call(&stack), raw(inst.as_bytes())] {
            refused_in_both(&beside(extra), "pickle-name", &needle)?;
        }
        // The name alone, never called.
        refused_in_both(&beside(raw(global.as_bytes())), "pickle-name", &needle)
    });
}

#[test]
fn an_instruction_outside_the_set_is_refused_by_name() {
    let instructions: [(&str, &[u8]); 22] = [
        ("POP", b"N0"),
        ("POP_MARK", b"(N1"),
        ("DUP", b"N2"),
        ("FLOAT", b"F1.0\n"),
        ("INT", b"I1\n"),
        ("LONG", b"L1L\n"),
        ("PERSID", b"Pid\n"),
        ("STRING", b"S'x'\n"),
        ("UNICODE", b"Vx\n"),
        ("DICT", b"(d"),
        ("GET", b"g0\n"),
        ("LIST", b"(l"),
        ("OBJ", b"(ccollections\nOrderedDict\no"),
        ("PUT", b"Np0\n"),
        ("NEWOBJ", b"ccollections\nOrderedDict\n)\x81"),
        ("NEWOBJ_EX", b"ccollections\nOrderedDict\n)}\x92"),
        ("EXT1", b"\x82\x01"),
        ("EXT2", b"\x83\x01\0"),
        ("EXT4", b"\x84\x01\0\0\0"),
        ("NEXT_BUFFER", b"\x97"),
        ("EMPTY_SET", b"\x8f"),
        ("0xff", b"\xff"),
    ];
    amphora_testing::each(&instructions, |(name, bytes)| {
        let needle = format!("the instruction {name}, ");
        refused_in_both(&beside(raw(bytes)), "pickle-opcode", &needle)
    });
}

#[test]
fn what_python_would_do_with_an_allowed_name_is_refused_too() {
    let rows: [(&str, &[u8], &str); 9] = [
        (
            "a storage class called",
            b"ctorch\nFloatStorage\nK\x08\x85R",
            "pickle-call",
        ),
        ("a dtype called", b"ctorch\nfloat32\n)R", "pickle-call"),
        ("a number called", b"K\x01)R", "pickle-call"),
        (
            "arguments that are no tuple",
            b"ctorch\nSize\n]R",
            "pickle-call",
        ),
        (
            "OrderedDict from text",
            b"ccollections\nOrderedDict\nX\x02\0\0\0ab\x85R",
            "pickle-call",
        ),
        (
            "attributes on a dictionary",
            b"}}X\x0c\0\0\0__setstate__Nsb",
            "pickle-build",
        ),
        (
            "__setstate__ on an OrderedDict",
            b"ccollections\nOrderedDict\n)R}X\x0c\0\0\0__setstate__Nsb",
            "pickle-build",
        ),
        (
            "state on a tensor's class",
            b"ctorch._utils\n_rebuild_tensor_v2\n}b",
            "pickle-build",
        ),
        (
            "slots",
            b"ccollections\nOrderedDict\n)RN}\x86b",
            "pickle-build",
        ),
    ];
    amphora_testing::each(&rows, |(_, bytes, rule)| {
        refused_in_both(&beside(raw(bytes)), rule, "")
    });
}

#[test]
fn a_broken_pickle_is_refused_and_a_payload_before_the_break_is_named() {
    let rows: [(&str, &[u8], &str, &str); 14] = [
        (
            "payload, then garbage",
            b"\x80\x02cposix\nsystem\nX\x02\0\0\0id\x85R\xff\xff",
            "pickle-name",
            "posix.system",
        ),
        (
            "payload, then the end",
            b"\x80\x02cposix\nsystem\n",
            "pickle-name",
            "posix.system",
        ),
        ("no stop", b"\x80\x02}", "pickle-truncated", ""),
        (
            "text cut off",
            b"\x80\x02X\x05\0\0\0ab",
            "pickle-truncated",
            "",
        ),
        (
            "text of 2^63 bytes",
            b"\x80\x04\x8d\0\0\0\0\0\0\0\x80ab.",
            "pickle-truncated",
            "",
        ),
        (
            "frame beyond the end",
            b"\x80\x04\x95\xff\0\0\0\0\0\0\0N.",
            "pickle-truncated",
            "",
        ),
        (
            "a name without its end",
            b"\x80\x02cos",
            "pickle-truncated",
            "",
        ),
        ("empty stack", b"\x80\x02.", "pickle-stack", ""),
        ("two values", b"\x80\x02NN.", "pickle-stack", ""),
        ("an open mark", b"\x80\x02(N.", "pickle-stack", ""),
        (
            "a tuple across a mark",
            b"\x80\x02N(\x85.",
            "pickle-stack",
            "",
        ),
        ("append to a tuple", b"\x80\x02)Na.", "pickle-stack", ""),
        (
            "a key without a value",
            b"\x80\x02}(Nu.",
            "pickle-stack",
            "",
        ),
        (
            "a memo entry never made",
            b"\x80\x02h\x07.",
            "pickle-memo",
            "",
        ),
    ];
    amphora_testing::each(&rows, |(_, bytes, rule, needle)| {
        refused(&torch_zip(bytes, &[]), ErrorKind::Malformed, rule, needle)
    });
}

#[test]
fn further_faults_of_one_pickle_each_have_a_rule() {
    let mut tail = beside(V::None);
    tail.push(b'.');
    let rows: [(&str, Vec<u8>, ErrorKind, &str); 6] = [
        (
            "bytes after the end",
            tail,
            ErrorKind::Malformed,
            "pickle-tail",
        ),
        (
            "protocol 0",
            b"(dp0\n.".to_vec(),
            ErrorKind::Malformed,
            "pickle-protocol",
        ),
        (
            "protocol 6",
            b"\x80\x06}.".to_vec(),
            ErrorKind::Malformed,
            "pickle-protocol",
        ),
        (
            "no bytes",
            Vec::new(),
            ErrorKind::Malformed,
            "pickle-truncated",
        ),
        (
            "text that is not UTF-8",
            b"\x80\x02X\x01\0\0\0\xff.".to_vec(),
            ErrorKind::Malformed,
            "pickle-text",
        ),
        (
            "an integer of 255 bytes",
            [&b"\x80\x02\x8a\xff"[..], &[1; 255], b"."].concat(),
            ErrorKind::Limit,
            "pickle-integer",
        ),
    ];
    amphora_testing::each(&rows, |(_, pickle, kind, rule)| {
        refused(&torch_zip(pickle, &[("0", ONE)]), *kind, rule, "")
    });
}

#[test]
fn depth_sharing_and_cycles_cost_nothing() {
    let deep_tuple = [&b")"[..], &b"\x85".repeat(300_000)].concat();
    let deep_list = [&b"]".repeat(300_000)[..], &b"a".repeat(299_999)].concat();
    // Each level is a tuple that holds the level before twice: 2^10,000 leaves if they were copied.
    let doubled = [&b")q\0"[..], &b"h\0\x86q\0".repeat(10_000)].concat();
    let cycle = b"]q\0h\0a".to_vec();
    let own_value = b"}q\0X\x01\0\0\0ah\0s".to_vec();
    let rows = [
        ("300,000 tuples", deep_tuple),
        ("300,000 lists", deep_list),
        ("10,000 doublings", doubled),
        ("a list in itself", cycle),
        ("a dictionary in itself", own_value),
    ];
    amphora_testing::each(&rows, |(_, bytes)| {
        for file in files(&beside(raw(bytes))) {
            let checkpoint = read(&file).map_err(|error| error.to_string())?;
            if checkpoint.tensors().len() != 1 {
                return Err(format!("{} tensors", checkpoint.tensors().len()));
            }
        }
        Ok(())
    });
    // As a configuration, which is turned into JSON, and as the state dict itself.
    amphora_testing::each(&rows, |(_, bytes)| {
        let config = dict(&[("c", raw(bytes))]);
        let pickle = dump(&dict(&[("w", vector("0", 1)), ("config", config)]));
        let checkpoint =
            read(&torch_zip(&pickle, &[("0", ONE)])).map_err(|error| error.to_string())?;
        match checkpoint.config() {
            None => Ok(()),
            Some(_) => Err("the configuration was copied".to_owned()),
        }
    });
    amphora_testing::each(&rows, |(_, bytes)| {
        refused(
            &torch_zip(&dump(&raw(bytes)), &[]),
            ErrorKind::Malformed,
            "state-dict-missing",
            "",
        )
    });
}

#[test]
fn more_values_than_the_limit_are_refused() {
    let limits = amphora_checkpoint::Limits {
        pickle_values: 1000,
        ..Default::default()
    };
    let rows: [(&str, &[u8], usize); 4] = [
        ("values", b"N", 1000),
        ("marks", b"(", 1000),
        ("memo", b"r\0\0\0\0", 1000),
        ("uses", b"h\0", 1000),
    ];
    amphora_testing::each(&rows, |(_, instruction, times)| {
        let pickle = [b"\x80\x02}q\0", &instruction.repeat(*times)[..]].concat();
        let file = torch_zip(&pickle, &[]);
        match amphora_checkpoint::Checkpoint::from_bytes(file.into(), &limits) {
            Err(error) if error.rule() == "pickle-values" && error.kind() == ErrorKind::Limit => {
                Ok(())
            }
            answer => Err(format!("{answer:?}")),
        }
    });
}

#[test]
fn more_tensors_than_the_limit_are_refused() {
    let limits = amphora_checkpoint::Limits {
        tensors: 2,
        ..Default::default()
    };
    let names = ["a", "b", "c"];
    let read = |count: usize| {
        let entries: Vec<_> = names[..count]
            .iter()
            .map(|name| (*name, vector("0", 1)))
            .collect();
        let file = torch_zip(&dump(&dict(&entries)), &[("0", ONE)]);
        amphora_checkpoint::Checkpoint::from_bytes(file.into(), &limits)
    };
    assert_eq!(read(2).unwrap().tensors().len(), 2);
    assert_eq!(read(3).unwrap_err().rule(), "tensors");
}
