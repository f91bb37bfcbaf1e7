//! Conversations as prompts, against transformers' recordings and against Jinja itself.

use amphora_error::ErrorKind;
use amphora_runtime::text::chat::{ChatTemplate, Conversation};
use amphora_runtime::text::{TextConfig, TextProcessor};
use amphora_testing::{each, fixture, peer};
use serde_json::{Map, Value, json};

use super::{files, ids, made, rows, same};

fn conversation(row: &Value) -> Conversation {
    let list = |name: &str| row[name].as_array().cloned().unwrap_or_default();
    let known = [
        "name",
        "messages",
        "tools",
        "add_generation_prompt",
        "continue_final_message",
        "rendered",
        "ids",
        "template",
    ];
    let others = row.as_object().unwrap().clone().into_iter();
    Conversation {
        messages: list("messages"),
        tools: list("tools"),
        add_generation_prompt: row["add_generation_prompt"].as_bool().unwrap_or(false),
        continue_final_message: row["continue_final_message"].as_bool().unwrap_or(false),
        variables: others
            .filter(|(name, _)| !known.contains(&name.as_str()))
            .collect(),
        ..Conversation::default()
    }
}

fn template(source: &str) -> ChatTemplate {
    let files = made(&[("chat_template.jinja", source.as_bytes())]);
    ChatTemplate::read(&files).unwrap().unwrap()
}

fn user(text: &str) -> Conversation {
    Conversation {
        messages: vec![json!({"role": "user", "content": text})],
        ..Conversation::default()
    }
}

#[test]
fn recorded_prompts() {
    let Some(directory) = fixture("qwen3_tiny") else {
        return;
    };
    let prompts = rows(&directory.join("chat_prompts.json"));
    let all = files(&directory, |_| true);
    let processor = TextProcessor::new(&all, &TextConfig::default()).unwrap();
    let embedded = files(&directory, |name| name != "chat_template.jinja");
    for files in [all, embedded] {
        let template = ChatTemplate::read(&files).unwrap().unwrap();
        each(&prompts, |row| {
            let rendered = template
                .render(&conversation(row))
                .map_err(|e| e.to_string())?;
            same(json!(rendered), row["rendered"].clone())?;
            let encoded = processor.encode(&[rendered.as_str().into()]).unwrap();
            same(encoded.ids(0).to_vec(), ids(&row["ids"]))
        });
    }
}

/// The prompt of document 002's simple mode, which its implementations render in two ways.
#[test]
fn the_prompt_of_the_music_planner() {
    let Some(directory) = fixture("qwen3_tiny") else {
        return;
    };
    let template = ChatTemplate::read(&files(&directory, |_| true))
        .unwrap()
        .unwrap();
    let system = "# Instruction\nExpand the user's input into a more detailed and specific musical description:\n\n";
    let query = "a slow waltz for two cellos";
    let rendered = template.render(&Conversation {
        messages: vec![
            json!({"role": "system", "content": system}),
            json!({"role": "user", "content": format!("{query}\n\ninstrumental: true")}),
        ],
        add_generation_prompt: true,
        ..Conversation::default()
    });
    let expected = "<|im_start|>system\n# Instruction\nExpand the user's input into a more detailed and specific musical \
        description:\n\n<|im_end|>\n<|im_start|>user\na slow waltz for two cellos\n\ninstrumental: true<|im_end|>\n\
        <|im_start|>assistant\n";
    assert_eq!(rendered.unwrap(), expected);
}

/// Templates in the manner of several model families, and what each does with odd values.
fn cases() -> Vec<Value> {
    let llama2 = "{% if messages[0]['role'] == 'system' %}{% set loop_messages = messages[1:] %}{% set system_message = messages[0]['content'] %}{% else %}{% set loop_messages = messages %}{% set system_message = false %}{% endif %}{% for message in loop_messages %}{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}{% endif %}{% if loop.index0 == 0 and system_message != false %}{% set content = '<<SYS>>\\n' + system_message + '\\n<</SYS>>\\n\\n' + message['content'] %}{% else %}{% set content = message['content'] %}{% endif %}{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content.strip() + ' [/INST]' }}{% elif message['role'] == 'assistant' %}{{ ' ' + content.strip() + ' ' + eos_token }}{% endif %}{% endfor %}";
    let llama3 = "{{- bos_token }}\n{%- if not date_string is defined %}\n    {%- set date_string = \"26 Jul 2024\" %}\n{%- endif %}\n{{- \"Today Date: \" + date_string + \"\\n\\n\" }}\n{%- for message in messages %}\n    {%- if message.role == 'ipython' or 'tool_calls' in message %}\n        {{- message.tool_calls | tojson(indent=4) }}\n    {%- else %}\n        {{- '<|start_header_id|>' + message['role'] + '<|end_header_id|>\\n\\n'+ message['content'] | trim + '<|eot_id|>' }}\n    {%- endif %}\n{%- endfor %}\n{%- if add_generation_prompt %}\n    {{- '<|start_header_id|>assistant<|end_header_id|>\\n\\n' }}\n{%- endif %}";
    let gemma = "{{ bos_token }}{% for message in messages %}{% if (message['role'] == 'assistant') %}{% set role = 'model' %}{% else %}{% set role = message['role'] %}{% endif %}{{ '<start_of_turn>' + role + '\n' + message['content'] | trim + '<end_of_turn>\n' }}{% endfor %}{% if add_generation_prompt %}{{'<start_of_turn>model\n'}}{% endif %}";
    let blocks = "  {% for message in messages %}\n    {% if loop.first %}\n  first {{ message.role }}\n    {% else %}\n  then {{ message.role|upper }} {{ loop.index }}/{{ loop.length }}\n    {% endif %}\n  {% endfor %}\n\nend\n";
    let macros = "{%- macro show(value, depth=0) -%}{%- if value is mapping -%}{% for key, item in value.items() %}{{ '  ' * depth }}{{ key }}:{{ show(item, depth + 1) }};{% endfor %}{%- elif value is iterable and value is not string -%}[{% for item in value %}{{ show(item, depth) }}{% if not loop.last %}, {% endif %}{% endfor %}]{%- else -%}{{ value }}{%- endif -%}{%- endmacro -%}{{ show(messages) }}{% for m in messages if m.role == 'user' %}{% if loop.index > 2 %}{% break %}{% endif %}{{ m.content.split(' ')[-1] }}|{{ m.content | length }}|{{ m.content[:3] }}|{{ m.content.replace('e', 'E').title() }}{% endfor %}";
    let json_forms = "{{ messages | tojson }}\n{{ messages | tojson(indent=2) }}\n{{ odd | tojson }}\n{{ odd | tojson(sort_keys=true) }}\n{{ odd | tojson(ensure_ascii=true) }}\n{{ odd | tojson(separators=(',', ':')) }}";
    let values = "{{ true }} {{ none }} {{ 1 }} {{ 1.5 }} {{ missing }} {{ messages[0].missing }} {{ 'a' ~ 1 ~ true }} {{ [1, 'a'] | join('-') }} {{ messages | map(attribute='role') | list | length }} {{ messages | selectattr('role', 'equalto', 'user') | list | length }} {{ (messages | last).role }} {{ 7 // 2 }} {{ 'x' if messages else 'y' }} {{ messages[-1]['content'] | default('none') }} {{ ['a', 'b'][::-1] | join }} {{ missing | length }} {{ missing | count }} {{ '' | default('x', boolean=true) }} {{ missing | d(default_value='y') }} {{ 1e20 }} {{ 1e-7 | string }} {{ 2.0 }} {{ 0.1 | string }} {{ ['a', \"it's\", none, {'k': 1.5}] }}";
    let odd = json!({"z": [], "a": {}, "f": [1.0, 1e-5, 1.5e16, -0.0, 123456.789, 1e100], "i": -12345678901234_i64,
        "s": "<é \"q\" \\ \n \u{7f} 😀>", "b": [true, false, null]});
    let turns = json!([{"role": "system", "content": " Be terse. "}, {"role": "user", "content": "Hello there  friend"},
        {"role": "assistant", "content": "Hi\n"}, {"role": "user", "content": "naïve 😀?"}]);
    let tools = json!([{"role": "user", "content": "x"}, {"role": "assistant", "content": "",
        "tool_calls": [{"function": {"name": "f", "arguments": {"q": [1, 2.5, "z"], "e": []}}}]}]);
    let wrong = json!([{"role": "assistant", "content": "I start"}]);
    let mut cases = Vec::new();
    for source in [llama2, llama3, gemma, blocks, macros, json_forms, values] {
        for (messages, prompt) in [
            (&turns, true),
            (&turns, false),
            (&tools, true),
            (&wrong, false),
        ] {
            cases.push(json!({"template": source, "messages": messages, "add_generation_prompt": prompt, "odd": odd,
                "bos_token": "<s>", "eos_token": "</s>"}));
        }
    }
    cases
}

/// transformers' environment for chat templates, on Jinja.
const PEER: &str = r#"
import json, sys
import jinja2, jinja2.ext
from jinja2.sandbox import ImmutableSandboxedEnvironment
def tojson(x, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(x, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)
def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)
environment = ImmutableSandboxedEnvironment(trim_blocks=True, lstrip_blocks=True, extensions=[jinja2.ext.loopcontrols])
environment.filters['tojson'] = tojson
environment.globals['raise_exception'] = raise_exception
answers = []
for case in json.load(open(sys.argv[1])):
    try:
        variables = {k: v for k, v in case.items() if k != 'template'}
        answers.append(environment.from_string(case['template']).render(tools=None, documents=None, **variables))
    except jinja2.exceptions.TemplateError as error:
        answers.append({'raised': str(error)})
print(json.dumps(answers))
"#;

#[test]
fn as_jinja_renders() {
    let Some(peer) = peer("jinja2", None) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let cases = cases();
    let path = folder.path().join("cases.json");
    fs_err::write(&path, serde_json::to_vec(&cases).unwrap()).unwrap();
    let answers = peer.run(PEER, &[&path.to_string_lossy()]);
    let answers: Vec<Value> = serde_json::from_str(&answers).unwrap();
    let pairs: Vec<(Value, Value)> = cases.into_iter().zip(answers).collect();
    each(&pairs, |(case, answer)| {
        let template = template(case["template"].as_str().unwrap());
        match template.render(&conversation(case)) {
            Ok(prompt) => same(json!(prompt), answer.clone()),
            Err(error) if answer["raised"].is_string() => same(error.kind(), ErrorKind::Usage),
            Err(error) => Err(format!("{error:?}, Jinja: {answer}")),
        }
    });
}

/// transformers itself, at the evening of 2026-11-21.
const TRANSFORMERS: &str = r#"
import datetime, json, os, pathlib, sys
os.environ['TRANSFORMERS_VERBOSITY'] = 'error'
os.environ['HF_HUB_OFFLINE'] = '1'
import transformers.utils.chat_template_utils as utilities
from transformers import AutoTokenizer
class Evening(datetime.datetime):
    @classmethod
    def now(cls, tz=None): return cls(2026, 11, 21, 18, 30, 5)
utilities.datetime = Evening
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
answers = []
for case in json.loads(pathlib.Path(sys.argv[2]).read_text()):
    template = case.pop('template')
    if case.pop('new', False) and not hasattr(utilities, '_alias_reasoning_fields'):
        answers.append(None)
        continue
    try:
        answers.append(tokenizer.apply_chat_template(case.pop('messages'), chat_template=template, tokenize=False, **case))
    except Exception as error:
        answers.append({'raised': str(error)})
print(json.dumps(answers))
"#;

#[test]
fn as_transformers_applies_templates() {
    let Some(tokenizer) = fixture("qwen3_tiny") else {
        return;
    };
    let Some(peer) = peer("transformers", None) else {
        return;
    };
    let plain = "{% for m in messages %}<{{ m.role }}>{{ m.content }}</{{ m.role }}>\n{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}";
    let trimmed = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}</>{% endfor %}";
    let parts = "{% for m in messages %}{% for part in m.content %}[{{ part.text | default('-') }}]{% endfor %};{% endfor %}";
    let deaf = "{% for m in messages %}<{{ m.role }}>{% endfor %}{{ messages[0].content }}";
    let dated = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}|{{ strftime_now('%Y-%m-%d %H:%M:%S') }}|{{ strftime_now('%A %d %B %y, %I %p, %j') }}{% endif %}";
    let fields = "{% for m in messages %}{{ m | tojson }}{{ m.content is defined }}{{ m.thinking }}{{ m.reasoning_content }}{% endfor %}";
    let begun = |answer: &str| json!([{"role": "user", "content": "Sum?"}, {"role": "assistant", "content": answer}]);
    let listed = json!([{"role": "user", "content": [{"type": "text", "text": "one"}, {"type": "text", "text": "two"}, {"type": "image"}]}]);
    let nulls = json!([{"role": "user", "content": "Q", "name": null},
        {"role": "assistant", "content": null, "tool_calls": [{"id": null}], "reasoning": "why"},
        {"role": "assistant", "content": "A", "thinking": "old", "reasoning_content": null}]);
    let rows = [
        json!({"template": plain, "messages": begun("It is "), "continue_final_message": true}),
        json!({"template": plain, "messages": begun("It is"), "continue_final_message": true}),
        json!({"template": plain, "messages": begun("It is"), "continue_final_message": true, "add_generation_prompt": true}),
        json!({"template": trimmed, "messages": begun(" It is "), "continue_final_message": true}),
        json!({"template": parts, "messages": listed, "continue_final_message": true}),
        json!({"template": deaf, "messages": begun("It is"), "continue_final_message": true}),
        json!({"template": plain, "messages": [nulls[0], nulls[1]], "continue_final_message": true}),
        json!({"template": dated, "messages": begun("")}),
        json!({"template": fields, "messages": nulls, "new": true}),
    ];
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cases.json");
    fs_err::write(&path, serde_json::to_vec(&rows).unwrap()).unwrap();
    let answers = peer.run(
        TRANSFORMERS,
        &[&tokenizer.to_string_lossy(), &path.to_string_lossy()],
    );
    let answers: Vec<Value> = serde_json::from_str(&answers).unwrap();
    let pairs: Vec<(&Value, Value)> = rows.iter().zip(answers).collect();
    each(&pairs, |(row, answer)| {
        let conversation = Conversation {
            date: Some("2026-11-21T18:30:05".into()),
            ..conversation(row)
        };
        match template(row["template"].as_str().unwrap()).render(&conversation) {
            _ if answer.is_null() => Ok(()),
            Ok(prompt) => same(json!(prompt), answer.clone()),
            Err(error) if answer["raised"].is_string() => same(error.rule(), "chat-continue"),
            Err(error) => Err(format!("{error:?}, transformers: {answer}")),
        }
    });
}

#[test]
fn a_template_is_told_the_date_and_no_clock() {
    let on = |date: Option<&str>, source: &str| {
        let conversation = Conversation {
            date: date.map(str::to_owned),
            ..user("x")
        };
        template(source).render(&conversation)
    };
    let asking = "{{ strftime_now('%d %B %Y') }}";
    assert_eq!(on(Some("2024-02-29"), asking).unwrap(), "29 February 2024");
    let error = on(None, asking).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Usage, "chat-date")
    );
    assert!(error.hint_text().unwrap().contains("--date"));
    for wrong in ["yesterday", "2023-02-29", "2024-02-29T25:00:00"] {
        assert_eq!(on(Some(wrong), asking).unwrap_err().rule(), "chat-date");
    }
    let careful = "{{ strftime_now('%Y') if strftime_now is defined else 'some year' }}";
    assert_eq!(on(None, careful).unwrap(), "some year");
    let odd = on(Some("2024-02-29"), "{{ strftime_now('%Q') }}").unwrap_err();
    assert_eq!(odd.rule(), "chat-template");
}

#[test]
fn several_templates() {
    let config = json!({
        "chat_template": [
            {"name": "default", "template": "plain {{ eos_token }}"},
            {"name": "tool_use", "template": "tools {{ tools | length }}"},
            {"name": "rag", "template": "{% generation %}rag{% endgeneration %}"},
        ],
        "eos_token": {"__type": "AddedToken", "content": "</s>", "lstrip": false},
    });
    let config = serde_json::to_vec(&config).unwrap();
    let templates = ChatTemplate::read(&made(&[("tokenizer_config.json", &config)]))
        .unwrap()
        .unwrap();
    assert_eq!(
        templates.names().collect::<Vec<_>>(),
        ["default", "rag", "tool_use"]
    );
    assert_eq!(templates.render(&user("x")).unwrap(), "plain </s>");
    let with_tools = Conversation {
        tools: vec![json!({}), json!({})],
        ..user("x")
    };
    assert_eq!(templates.render(&with_tools).unwrap(), "tools 2");
    let named = |name: &str| Conversation {
        template: Some(name.into()),
        ..user("x")
    };
    assert_eq!(templates.render(&named("rag")).unwrap(), "rag");
    let error = templates.render(&named("other")).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Usage, "chat-template-name")
    );
    let variables: Map<String, Value> = json!({"eos_token": "<end>"}).as_object().unwrap().clone();
    let own = Conversation {
        variables,
        ..user("x")
    };
    assert_eq!(templates.render(&own).unwrap(), "plain <end>");
    assert!(ChatTemplate::read(&made(&[])).unwrap().is_none());
}

#[test]
fn hostile_templates() {
    let nested = "{% set ns = namespace(x=[]) %}{% for a in range(900) %}{% for b in range(900) %}{% set ns.x = [ns.x] %}{% endfor %}{% endfor %}";
    let rows: Vec<(&str, ErrorKind, &str)> = vec![
        (
            "{{ raise_exception('roles must alternate') }}",
            ErrorKind::Usage,
            "chat-refused",
        ),
        (
            "{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}",
            ErrorKind::Limit,
            "chat-template-steps",
        ),
        (
            "{% macro f() %}{{ f() }}{% endmacro %}{{ f() }}",
            ErrorKind::Malformed,
            "chat-template",
        ),
        (nested, ErrorKind::Limit, "chat-template-steps"),
        (
            "{{ 'x' * 99999999999 }}",
            ErrorKind::Malformed,
            "chat-template",
        ),
        (
            "{% for i in range(99) %}{{ 'x' * 1000000 }}{% endfor %}",
            ErrorKind::Limit,
            "chat-prompt-size",
        ),
        (
            "{{ messages.missing.missing }}",
            ErrorKind::Malformed,
            "chat-template",
        ),
        ("{{ strftime_now('%Y') }}", ErrorKind::Usage, "chat-date"),
        (
            "{% include 'other' %}",
            ErrorKind::Malformed,
            "chat-template",
        ),
        (
            "{{ messages.append(1) }}",
            ErrorKind::Malformed,
            "chat-template",
        ),
    ];
    each(&rows, |(source, kind, rule)| {
        let result = template(source).render(&user("x"));
        let error = result.err().ok_or("it was rendered")?;
        same((error.kind(), error.rule()), (*kind, *rule)).map_err(|e| format!("{e}\n{error:?}"))
    });
    let broken = made(&[("chat_template.jinja", b"line\n{% if %}")]);
    let error = ChatTemplate::read(&broken).unwrap_err();
    assert_eq!(
        (error.kind(), error.rule()),
        (ErrorKind::Malformed, "chat-template")
    );
    assert!(error.to_string().contains("line 2"), "{error}");
    let refused = template("{{ raise_exception('roles must alternate') }}").render(&user("x"));
    assert!(
        refused
            .unwrap_err()
            .to_string()
            .contains("roles must alternate")
    );
}
