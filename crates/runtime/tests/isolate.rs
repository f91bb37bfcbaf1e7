//! Engines in a process of their own. This program is parent and child: with the argument `child` it
//! serves, else it runs the tests, without the usual harness, whose own output would be in the way.

#![allow(clippy::unwrap_used, reason = "a failing helper fails the test")]

mod common;

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use amphora_error::{Error, ErrorKind, Result};
use amphora_onnx::{Dim, Dtype, Model};
use amphora_runtime::isolate::{Isolation, isolated, serve};
use amphora_runtime::{
    Cache, Engine, EngineChoice, Link, OrtLocation, Outputs, Session, SessionOptions, Tensor,
    engine,
};
use common::graph::{graph, int64s, model, node, value, with_graph, with_int, zeros};

const TESTS: [(&str, fn()); 6] = [
    ("answers are those of the engine itself", same_answers),
    ("a cache stays in the process", cache),
    ("an error of the engine arrives whole", errors_arrive),
    (
        "a model that never ends is ended, and the parent goes on",
        endless,
    ),
    ("memory, crashes and strangers are limits", crashes),
    ("a chat template is held back too", templates),
];

fn main() {
    #[expect(clippy::disallowed_methods, reason = "this program is its own child")]
    let argument = std::env::args().nth(1);
    if argument.as_deref() == Some("child") {
        let served = serve(&mut std::io::stdin().lock(), std::io::stdout());
        std::process::exit(i32::from(served.is_err()));
    }
    for (name, test) in TESTS {
        test();
        let _ = writeln!(std::io::stderr(), "test {name} ... ok");
    }
}

fn isolation() -> Isolation {
    let own = std::env::current_exe().unwrap();
    Isolation {
        wall: Duration::from_secs(60),
        ..Isolation::new(own, vec!["child".into()])
    }
}

fn rten() -> Arc<dyn Engine> {
    engine(EngineChoice::Rten, &OrtLocation::default()).unwrap()
}

fn run(model: &Model, isolation: Isolation, inputs: &BTreeMap<String, Tensor>) -> Result<Outputs> {
    let engine = isolated(rten(), isolation);
    Session::new(model, engine, &SessionOptions::default(), None)?.run(inputs)
}

/// `y = x + x` over int64 [n].
fn doubling(dtype: Dtype) -> Model {
    let n = [Dim::Symbol("n".to_owned())];
    let nodes = vec![node("Add", &["x", "x"], &["y"])];
    model(graph(
        nodes,
        vec![],
        vec![value("x", dtype, &n)],
        vec![value("y", dtype, &n)],
    ))
}

fn x(values: Vec<i64>) -> BTreeMap<String, Tensor> {
    BTreeMap::from([("x".to_owned(), Tensor::new([values.len()], values).unwrap())])
}

fn same_answers() {
    for inner in common::engines() {
        if inner.name() == "tract" {
            continue;
        }
        let engine = isolated(inner.clone(), isolation());
        assert_eq!(
            (engine.name(), engine.version()),
            (inner.name(), inner.version())
        );
        let options = SessionOptions::default();
        let model = doubling(Dtype::Int64);
        let mut session = Session::new(&model, engine.clone(), &options, None).unwrap();
        for values in [vec![1, 2, -3], vec![7]] {
            let doubled: Vec<i64> = values.iter().map(|v| v * 2).collect();
            let outputs = session.run(&x(values)).unwrap();
            assert_eq!(outputs.get("y").unwrap().as_slice(), Some(&doubled[..]));
        }
        let Some(path) = amphora_testing::fixture("external_data/subfolder_aligned/model.onnx")
        else {
            continue;
        };
        let model = Model::open(&path, &amphora_onnx::Limits::default()).unwrap();
        let input = Tensor::new([2, 64], (0..128).map(|i| i as f32 / 64.0).collect()).unwrap();
        let inputs = BTreeMap::from([("input".to_owned(), input)]);
        let mut apart = Session::new(&model, engine, &options, None).unwrap();
        let mut here = Session::new(&model, inner, &options, None).unwrap();
        assert_eq!(apart.run(&inputs).unwrap(), here.run(&inputs).unwrap());
    }
}

fn floats(name: &str, length: &str) -> amphora_onnx::proto::ValueInfoProto {
    let dims = [Dim::Fixed(2), Dim::Symbol(length.to_owned()), Dim::Fixed(3)];
    value(name, Dtype::Float32, &dims)
}

/// `present_0 = x`.
fn beginning() -> Model {
    let identity = node("Identity", &["x"], &["present_0"]);
    let (x, present) = (floats("x", "new"), floats("present_0", "new"));
    model(graph(vec![identity], vec![], vec![x], vec![present]))
}

/// `present_0 = past_0 ++ x` along axis 1, and `y` is its sum.
fn growing() -> Model {
    let concat = node("Concat", &["past_0", "x"], &["present_0"]);
    let sum = node("ReduceSum", &["present_0"], &["y"]);
    model(graph(
        vec![with_int(concat, "axis", 1), with_int(sum, "keepdims", 0)],
        vec![],
        vec![floats("past_0", "past"), floats("x", "new")],
        vec![
            floats("present_0", "total"),
            value("y", Dtype::Float32, &[]),
        ],
    ))
}

fn cache() {
    let ones = Tensor::new([2, 1, 3], vec![1.0_f32; 6]).unwrap();
    let x = BTreeMap::from([("x".to_owned(), ones)]);
    for inner in common::engines() {
        if inner.name() == "tract" {
            continue;
        }
        let open = |model: &Model| {
            let engine = isolated(inner.clone(), isolation());
            Session::new(model, engine, &SessionOptions::default(), None).unwrap()
        };
        let (mut start, mut first, mut second) =
            (open(&beginning()), open(&growing()), open(&growing()));
        let mut cache = Cache::new(Link::by_name(first.contract()));
        assert_eq!(cache.links()[0].axis, 1);
        let outputs = start.run_cached(&x, &mut cache).unwrap();
        assert_eq!(outputs.iter().count(), 0);
        let mut copied = Vec::new();
        for step in 2..8_usize {
            // In the fourth step the cache moves to yet another process.
            let session = if step < 5 { &mut first } else { &mut second };
            cache.reserve(step, 100);
            let outputs = session.run_cached(&x, &mut cache).unwrap();
            let sum = outputs.get("y").unwrap().as_slice::<f32>().unwrap()[0];
            assert_eq!(sum, (6 * step) as f32, "{}", inner.name());
            assert_eq!(cache.positions(), step);
            copied.push(cache.copied_bytes());
        }
        let (name, steps) = (inner.name(), copied);
        assert!(steps[0] > 0 && steps[0] == steps[2], "{name}: {steps:?}");
        assert!(
            steps[3] > steps[2] && steps[3] == steps[5],
            "{name}: {steps:?}"
        );
    }
}

fn errors_arrive() {
    let error = run(&doubling(Dtype::Float64), isolation(), &BTreeMap::new()).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Unsupported, "engine-dtype")
    );
    assert_eq!(error.fault_list().len(), 2, "{error}");
    assert!(error.hint_text().unwrap().contains("ort"));
    let error = run(&doubling(Dtype::Int64), isolation(), &x(vec![1 << 40])).unwrap_err();
    assert_eq!(error.rule(), "engine-range");
}

/// A `Loop` whose condition is always true.
fn forever() -> Model {
    let scalar = |name: &str, dtype| value(name, dtype, &[]);
    let mut condition = zeros("true", Dtype::Bool, &[]);
    condition.raw_data = Some(vec![1_u8].into());
    let body = graph(
        vec![
            node("Identity", &["going"], &["on"]),
            node("Add", &["v", "v"], &["w"]),
        ],
        vec![],
        vec![
            scalar("i", Dtype::Int64),
            scalar("going", Dtype::Bool),
            scalar("v", Dtype::Float32),
        ],
        vec![scalar("on", Dtype::Bool), scalar("w", Dtype::Float32)],
    );
    let nodes = vec![with_graph(
        node("Loop", &["", "true", "x"], &["y"]),
        "body",
        body,
    )];
    let inputs = vec![scalar("x", Dtype::Float32)];
    model(graph(
        nodes,
        vec![condition],
        inputs,
        vec![scalar("y", Dtype::Float32)],
    ))
}

fn endless() {
    let inputs = BTreeMap::from([("x".to_owned(), Tensor::scalar(1.0_f32))]);
    let short = Isolation {
        wall: Duration::from_secs(3),
        ..isolation()
    };
    let engine = isolated(rten(), short);
    let mut session = Session::new(&forever(), engine, &SessionOptions::default(), None).unwrap();
    let error = session.run(&inputs).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Busy, "isolated-deadline")
    );
    let again = session.run(&inputs).unwrap_err();
    assert_eq!(again.kind(), ErrorKind::Limit);

    let little = Isolation {
        processor: Duration::ZERO,
        ..isolation()
    };
    let error = run(&forever(), little, &inputs).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Busy, "isolated-deadline")
    );
    assert!(error.to_string().contains("processor time"), "{error}");
}

/// `y` of 2^32 elements.
fn vast() -> Model {
    let nodes = vec![
        with_int(node("Cast", &["x"], &["f"]), "to", 1),
        node("Expand", &["f", "shape"], &["y"]),
    ];
    let n = [Dim::Symbol("n".to_owned())];
    let inputs = vec![value("x", Dtype::Int64, &n)];
    let outputs = vec![value("y", Dtype::Float32, &[Dim::Unknown, Dim::Unknown])];
    model(graph(
        nodes,
        vec![int64s("shape", &[1 << 16, 1 << 16])],
        inputs,
        outputs,
    ))
}

fn crashes() {
    let shell = |script: &str| Isolation {
        program: PathBuf::from("/bin/sh"),
        arguments: vec!["-c".into(), script.into()],
        ..isolation()
    };
    let rows: [(&str, Model, Isolation, &str, &str); 5] = [
        ("memory", vast(), isolation(), "isolated-memory", "memory"),
        (
            "signal",
            doubling(Dtype::Int64),
            shell("kill -SEGV $$"),
            "isolated-crash",
            "signal 11",
        ),
        (
            "exit",
            doubling(Dtype::Int64),
            shell("echo oops >&2; exit 3"),
            "isolated-crash",
            "3, oops",
        ),
        (
            "noise",
            doubling(Dtype::Int64),
            shell("head -c 999 /dev/zero"),
            "isolated-answer",
            "unreadable",
        ),
        (
            "words",
            doubling(Dtype::Int64),
            shell("echo 'this is no answer at all'; cat >/dev/null"),
            "isolated-crash",
            "broke off",
        ),
    ];
    amphora_testing::each(&rows, |(_, model, isolation, rule, needle)| {
        match run(model, isolation.clone(), &x(vec![1])) {
            Err(e) if e.kind() == ErrorKind::Limit && e.rule() == *rule => {
                let text = e.to_string();
                if text.contains(needle) {
                    Ok(())
                } else {
                    Err(text)
                }
            }
            other => Err(format!("{other:?}")),
        }
    });
    let absent = Isolation::new("/nonexistent/program", vec![]);
    let error: Error = run(&doubling(Dtype::Int64), absent, &x(vec![1])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[cfg(not(feature = "generation"))]
fn templates() {}

#[cfg(feature = "generation")]
fn templates() {
    use amphora_runtime::isolate::render;
    use amphora_runtime::text::TokenizerFiles;
    use amphora_runtime::text::chat::{ChatTemplate, Conversation};

    let conversation = Conversation {
        messages: vec![serde_json::json!({"role": "user", "content": "1 < 2 is 0.1 😀"})],
        add_generation_prompt: true,
        date: Some("2026-11-21".into()),
        ..Conversation::default()
    };
    let template = |source: &str| {
        let files = TokenizerFiles::gather(|name| {
            Ok((name == "chat_template.jinja").then(|| source.to_owned().into()))
        });
        ChatTemplate::read(&files.unwrap()).unwrap().unwrap()
    };
    let plain =
        template("{{ messages | tojson }}{{ add_generation_prompt }}{{ strftime_now('%Y') }}");
    let expected = plain.render(&conversation).unwrap();
    assert_eq!(
        render(&isolation(), &plain, &conversation).unwrap(),
        expected
    );

    let isolation = Isolation {
        memory_bytes: 1 << 30,
        wall: Duration::from_secs(20),
        ..isolation()
    };
    let rows = [
        (
            "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}",
            "isolated-memory",
        ),
        (
            "{{ [1] | slice(4000000000) | list | length }}",
            "isolated-memory",
        ),
        (
            "{{ ('a' * 100000).replace('a', 'b' * 1000000) | length }}",
            "isolated-memory",
        ),
        ("{{ 'x' | indent(4000000000) }}", "isolated-memory"),
        ("{{ raise_exception('never') }}", "chat-refused"),
        ("{{ 1 + 'x' }}", "chat-template"),
    ];
    amphora_testing::each(&rows, |(source, rule)| {
        let error = render(&isolation, &template(source), &conversation).unwrap_err();
        match error.rule() == *rule && !error.to_string().contains("engine") {
            true => Ok(()),
            false => Err(format!("{error:?}")),
        }
    });
}
