//! `generate`: text out of a language model.

use std::collections::BTreeMap;

use amphora_bundle::manifest::{Assets, Framework, Generation, Metadata, Preprocessing};
use amphora_bundle::{Details, Draft, Name, Version};
use amphora_files::RelativePath;
use amphora_onnx::{Limits, Model};
use serde_json::{Value, json};

use crate::scene::{PACK, Scene};

/// Tokenizer files of the fixture.
const TOKENIZER: [&str; 3] = [
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
];

/// A scene with the bundle `lm` of the recorded language model, or `None` where it is absent.
pub(crate) fn with_language_model() -> Option<Scene> {
    with_template(None)
}

/// The same with another chat template.
fn with_template(template: Option<&str>) -> Option<Scene> {
    let fixture = amphora_testing::fixture("qwen3_tiny")?;
    let scene = Scene::new();
    let mut draft = Draft::at(&scene.path("lm")).unwrap();
    for graph in ["prefill", "decode"] {
        let path = fixture.join(format!("{graph}.onnx"));
        let contract = Model::open(&path, &Limits::default())
            .unwrap()
            .contract()
            .unwrap();
        let bytes = fs_err::read(path).unwrap();
        let data = BTreeMap::new();
        draft
            .add_graph(graph, graph, &bytes, &data, &contract)
            .unwrap();
    }
    for name in TOKENIZER {
        let own = template.filter(|_| name == "chat_template.jinja");
        let bytes = match own {
            Some(template) => template.into(),
            None => fs_err::read(fixture.join(name)).unwrap(),
        };
        let place = RelativePath::parse(name).unwrap();
        draft.add_bytes(&place, &bytes).unwrap();
    }
    let tokenizer = RelativePath::parse("tokenizer.json").unwrap();
    let graph = draft.graph_mut("prefill").unwrap();
    graph.io.inputs[0].preprocessing = Some(Preprocessing {
        r#type: "tokenization".into(),
        tokenizer: Some(tokenizer.clone()),
        tokenizer_type: Some("qwen3".into()),
        config: None,
    });
    let name = Name::parse("lm").unwrap();
    let metadata = Metadata::new(&name, Version::parse("1.0.0").unwrap());
    let framework = Framework {
        name: "pytorch".into(),
        version: None,
    };
    let mut details = Details::new(metadata, framework, "pytorch");
    details.entry = "prefill".into();
    details.assets = Assets {
        tokenizer: Some(tokenizer),
        ..Assets::default()
    };
    details.generation = Some(Generation {
        prefill: "prefill".into(),
        decode: "decode".into(),
        context_length: Some(1024),
        positions_per_call: None,
        stop_token_ids: vec![1475],
        pad_token_id: Some(1473),
        chat_template: Some(RelativePath::parse("chat_template.jinja").unwrap()),
        sampling: None,
    });
    draft.seal(details).unwrap().publish().unwrap();
    Some(scene)
}

/// The texts of a command with `--json`.
fn texts(scene: &Scene, arguments: &[&str]) -> Vec<Value> {
    let answer = scene.run(&[&["generate", "lm", "--json"], arguments].concat());
    answer.expect_code(0);
    assert_eq!(answer.stderr, "");
    answer.json()["texts"].as_array().unwrap().clone()
}

const DRAWN: [&str; 6] = [
    "--prompt",
    "The engine reads a",
    "--temperature",
    "1.5",
    "--seed",
    "5",
];

#[test]
fn text_is_written_as_it_comes() {
    let Some(scene) = with_language_model() else {
        return;
    };
    let [text] = &texts(&scene, &DRAWN)[..] else {
        panic!()
    };
    let keys: Vec<&String> = text.as_object().unwrap().keys().collect();
    let expected = [
        "text",
        "token_ids",
        "finish_reason",
        "prompt_tokens",
        "new_tokens",
    ];
    assert_eq!(keys, expected);
    assert!(text["new_tokens"].as_u64().unwrap() <= 128);
    assert!(text["text"].as_str().unwrap().len() > 100, "{text}");
    for isolate in ["auto", "never"] {
        let words = [&["generate", "lm", "--isolate", isolate][..], &DRAWN].concat();
        let answer = scene.run(&words);
        answer.expect_code(0);
        // Another program gets every character, control characters too.
        let whole = text["text"].as_str().unwrap();
        assert_eq!(answer.stdout, format!("{whole}\n"), "{isolate}");
        assert_eq!(answer.stderr, "");
    }
    let again = texts(&scene, &DRAWN);
    assert_eq!(&again[0], text);
    let other = texts(&scene, &[&DRAWN[..5], &["6"]].concat());
    assert_ne!(other[0]["text"], text["text"]);
}

#[test]
fn several_prompts_are_written_together_and_each_as_if_alone() {
    let Some(scene) = with_language_model() else {
        return;
    };
    scene.write(
        "prompt.txt",
        "A much longer beginning, out of a file of its own:",
    );
    let both = [
        "--prompt",
        "The engine reads a",
        "--prompt-file",
        "prompt.txt",
        "--max-new-tokens",
        "20",
    ];
    let both = texts(&scene, &both);
    let first = ["--prompt", "The engine reads a", "--max-new-tokens", "20"];
    let second = ["--prompt-file", "prompt.txt", "--max-new-tokens", "20"];
    assert_eq!(both[0], texts(&scene, &first)[0]);
    assert_eq!(both[1], texts(&scene, &second)[0]);
}

#[test]
fn a_stop_string_ends_a_text_wherever_tokens_are_cut() {
    let Some(scene) = with_language_model() else {
        return;
    };
    let whole = texts(&scene, &DRAWN);
    let whole = whole[0]["text"].as_str().unwrap();
    // Three characters from the middle, wherever they begin.
    let middle = whole.chars().count() / 2;
    for start in middle..middle + 6 {
        let stop: String = whole.chars().skip(start).take(3).collect();
        let end = whole.find(&stop).unwrap();
        let stopped = texts(&scene, &[&DRAWN[..], &["--stop", &stop]].concat());
        assert_eq!(stopped[0]["text"], whole[..end], "{stop:?}");
        assert_eq!(stopped[0]["finish_reason"], "stop_string");
    }
}

#[test]
fn what_is_complete_keeps_the_pattern() {
    let Some(scene) = with_language_model() else {
        return;
    };
    let schema = json!({"type": "object", "additionalProperties": false,
        "required": ["name", "kind"], "properties": {
            "name": {"type": "string", "maxLength": 8}, "kind": {"enum": ["tool", "agent"]}}});
    scene.write("schema.json", schema.to_string());
    let validator = jsonschema::validator_for(&schema).unwrap();
    for seed in ["1", "2", "3"] {
        let options = ["--json-schema", "schema.json", "--max-new-tokens", "200"];
        let drawn = ["--prompt", "JSON:", "--temperature", "1", "--seed", seed];
        let text = &texts(&scene, &[&drawn[..], &options].concat())[0];
        if text["complete"] == false {
            assert_eq!(text["finish_reason"], "max_new_tokens");
            continue;
        }
        assert_eq!(text["complete"], true);
        let value: Value = serde_json::from_str(text["text"].as_str().unwrap()).unwrap();
        assert!(validator.is_valid(&value), "{value}");
    }
    let regex = ["--prompt", "a date:", "--regex", "[0-9]{4}-[0-9]{2}"];
    let text = &texts(&scene, &regex)[0];
    assert_eq!(text["complete"], true);
    let date = text["text"].as_str().unwrap();
    let (year, month) = date.split_once('-').unwrap();
    assert!(year.len() == 4 && month.len() == 2, "{date}");
    assert!(
        date.chars().all(|c| c == '-' || c.is_ascii_digit()),
        "{date}"
    );
    let cut = [&regex[..], &["--max-new-tokens", "2"]].concat();
    assert_eq!(texts(&scene, &cut)[0]["complete"], false);
}

#[test]
fn a_conversation_becomes_the_recorded_prompt() {
    let Some(scene) = with_language_model() else {
        return;
    };
    let recorded = amphora_testing::fixture("qwen3_tiny/chat_prompts.json").unwrap();
    let recorded: Value = serde_json::from_slice(&fs_err::read(recorded).unwrap()).unwrap();
    let length = |text: &Value| text["prompt_tokens"].as_u64().unwrap() as usize;
    let short = ["--max-new-tokens", "1"];
    let mut arguments = Vec::new();
    let cases = recorded.as_array().unwrap();
    for (number, case) in cases.iter().enumerate() {
        let mut conversation = case.as_object().unwrap().clone();
        for key in ["name", "rendered", "ids"] {
            conversation.remove(key);
        }
        let file = format!("{number}.json");
        scene.write(&file, Value::from(conversation).to_string());
        arguments.extend(["--messages".to_owned(), file]);
    }
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let texts_of_all = texts(&scene, &[&arguments[..], &short].concat());
    for (case, text) in cases.iter().zip(&texts_of_all) {
        let ids = case["ids"].as_array().unwrap().len();
        assert_eq!(length(text), ids, "{}", case["name"]);
    }
    let said = ["--chat", "--prompt", "Hello"];
    let said = texts(&scene, &[&said[..], &short].concat());
    assert_eq!(
        cases[0]["messages"],
        json!([{"role": "user", "content": "Hello"}])
    );
    assert_eq!(said[0], texts_of_all[0]);
    let system = [
        "--chat",
        "--system",
        "You are terse.",
        "--prompt",
        "Sum 2 and 3.",
    ];
    let system = texts(&scene, &[&system[..], &short].concat());
    assert_eq!(system[0], texts_of_all[1]);
    for (file, content) in [("a.json", "[]"), ("b.json", "7"), ("c.json", "[1]")] {
        scene.write(file, content);
        let answer = scene.run(&["generate", "lm", "--messages", file]);
        answer.expect_code(3);
        assert!(answer.stderr.contains(file), "{}", answer.stderr);
    }
}

#[test]
fn a_conversation_says_how_its_prompt_ends() {
    let plain = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}\
        {{ strftime_now('%Y-%m-%d') if dated }}";
    let Some(scene) = with_template(Some(plain)) else {
        return;
    };
    let messages =
        json!([{"role": "user", "content": "a"}, {"role": "assistant", "content": "b "}]);
    let length = |arguments: &[&str]| {
        let short = ["--max-new-tokens", "0"];
        let text = texts(&scene, &[arguments, &short].concat()).remove(0);
        text["prompt_tokens"].as_u64().unwrap()
    };
    let rows = [
        (
            json!({"messages": messages}),
            "<user>a<assistant>b <assistant>",
        ),
        (
            json!({"messages": messages, "add_generation_prompt": false}),
            "<user>a<assistant>b ",
        ),
        (
            json!({"messages": messages, "continue_final_message": true}),
            "<user>a<assistant>b ",
        ),
        (
            json!({"messages": messages, "continue_final_message": true, "dated": true}),
            "<user>a<assistant>b ",
        ),
        (
            json!({"messages": messages, "add_generation_prompt": false, "dated": true}),
            "<user>a<assistant>b 2026-11-21",
        ),
    ];
    amphora_testing::each(&rows, |(conversation, prompt)| {
        scene.write("conversation.json", conversation.to_string());
        let found = length(&["--messages", "conversation.json", "--date", "2026-11-21"]);
        let expected = length(&["--prompt", prompt]);
        match found == expected {
            true => Ok(()),
            false => Err(format!("{found} tokens, not {expected}")),
        }
    });
    let refused = [
        (
            json!({"continue_final_message": 1}),
            3,
            "continue_final_message",
        ),
        (
            json!({"add_generation_prompt": "no"}),
            3,
            "add_generation_prompt",
        ),
        (
            json!({"continue_final_message": true, "add_generation_prompt": true}),
            2,
            "not with both",
        ),
        (json!({"dated": true}), 2, "hint: say which: --date"),
    ];
    amphora_testing::each(&refused, |(more, code, words)| {
        let mut conversation = more.clone();
        conversation["messages"] = messages.clone();
        scene.write("conversation.json", conversation.to_string());
        for isolate in ["auto", "never"] {
            let answer = scene.run(&[
                "generate",
                "lm",
                "--messages",
                "conversation.json",
                "--isolate",
                isolate,
            ]);
            if answer.code != Some(*code) || !answer.stderr.contains(words) {
                return Err(format!("{:?}: {}", answer.code, answer.stderr));
            }
        }
        Ok(())
    });
}

#[test]
fn a_template_that_eats_memory_is_ended() {
    let doubling = "{% set ns = namespace(s='x') %}{% for i in range(60) %}{% set ns.s = ns.s ~ ns.s %}{% endfor %}{{ ns.s }}";
    let Some(scene) = with_template(Some(doubling)) else {
        return;
    };
    let answer = scene.run(&[
        "generate",
        "lm",
        "--chat",
        "--prompt",
        "x",
        "--engine-memory",
        "1024",
    ]);
    answer.expect_code(4);
    let said = "the chat template needs more memory than it may use";
    assert!(answer.stderr.contains(said), "{}", answer.stderr);
    assert!(
        answer.stderr.contains("--engine-memory"),
        "{}",
        answer.stderr
    );
}

#[test]
fn special_tokens_are_shown_when_asked() {
    let Some(scene) = with_language_model() else {
        return;
    };
    // So hot and so many that some are drawn.
    let mut drawn = ["--prompt", "One"].repeat(12);
    drawn.extend(["--temperature", "9", "--max-new-tokens", "400"]);
    let written = |more: &[&str]| -> (Vec<Value>, String) {
        let all = texts(&scene, &[&drawn[..], more].concat());
        let words = all.iter().map(|text| text["text"].as_str().unwrap());
        let words = words.collect();
        (
            all.iter().map(|text| text["token_ids"].clone()).collect(),
            words,
        )
    };
    let (hidden, shown) = (written(&[]), written(&["--special-tokens"]));
    assert_eq!(hidden.0, shown.0);
    assert!(!hidden.1.contains("<|") && shown.1.contains("<|"));
    let marks = ["<|im_start|>", "<|endoftext|>"];
    let without = marks
        .iter()
        .fold(shown.1, |text, mark| text.replace(mark, ""));
    assert_eq!(hidden.1, without);
}

#[test]
fn what_was_done_is_said_on_stderr_when_asked() {
    let Some(scene) = with_language_model() else {
        return;
    };
    let words = ["generate", "lm", "--prompt", "One", "--max-new-tokens", "3"];
    let answer = scene.run(&[&words[..], &["--verbose"]].concat());
    answer.expect_code(0);
    let said = "tokens read, 3 written, ended by max_new_tokens";
    assert!(answer.stderr.contains(said), "{}", answer.stderr);
    assert!(answer.stderr.contains("tokens a second, rten "));
}

#[test]
fn what_cannot_be_written_is_refused() {
    let Some(scene) = with_language_model() else {
        return;
    };
    scene.run(PACK).expect_code(0);
    scene.write("no.json", "{");
    let directory = amphora_testing::fixture("qwen3_tiny").unwrap();
    let directory = directory.to_string_lossy();
    let rows: [(&[&str], i32, &str); 10] = [
        (
            &["conv2d_fsq", "--prompt", "x"],
            2,
            "hint: amphora run conv2d_fsq",
        ),
        (
            &[&directory, "--prompt", "x"],
            2,
            "hint: amphora pack --model ",
        ),
        (&["lm"], 2, "--prompt"),
        (&["lm", "--prompt", ""], 2, "prompt 0 has no token"),
        (
            &["lm", "--prompt", "x", "--temperature", "-1"],
            2,
            "temperature",
        ),
        (&["lm", "--prompt", "x", "--stop", ""], 2, "empty string"),
        (
            &["lm", "--prompt", "x", "--regex", "("],
            2,
            "regular expression",
        ),
        (
            &["lm", "--prompt", "x", "--json-schema", "no.json"],
            3,
            "no.json",
        ),
        (&["lm", "--prompt-file", "nothing.txt"], 6, "nothing.txt"),
        (&["elsewhere", "--prompt", "x"], 6, "elsewhere"),
    ];
    amphora_testing::each(&rows, |(arguments, code, words)| {
        let answer = scene.run(&[&["generate"], *arguments].concat());
        if answer.code == Some(*code) && answer.stderr.contains(words) {
            return Ok(());
        }
        Err(format!("{:?}: {}", answer.code, answer.stderr))
    });
    let long = "word ".repeat(2000);
    scene.write("long.txt", long);
    let answer = scene.run(&["generate", "lm", "--prompt-file", "long.txt"]);
    answer.expect_code(2);
    assert!(
        answer.stderr.contains("the model takes 1024"),
        "{}",
        answer.stderr
    );
}
