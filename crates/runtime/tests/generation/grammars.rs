//! JSON Schemas, regular expressions and grammars, under a model that likes every token at random.

use amphora_runtime::generation::{
    Constraint, Finish, Generated, GenerationOptions, Grammar, GrammarCompiler, Progress, Prompt,
};
use serde_json::{Value, json};

use crate::common::engines;
use crate::scene::{Numbers, generator, graphs};

/// Every byte, and some longer tokens, among them halves of characters and a token of no bytes.
fn vocabulary() -> Vec<Option<Vec<u8>>> {
    let bytes = (0..=255_u8).map(|byte| Some(vec![byte]));
    let words = [
        "\":", "\",\"", "{\"", "\"}", "},{", "[]", "true", "alse", "null", "12", "0.", "name",
        "na", "age", " \"", "é", "日本", "e\":", "\"}]", "-1", "ed\"", "re", "green", "\\n",
        "\\\"",
    ];
    let words = words.map(|word| Some(word.as_bytes().to_vec()));
    let halves = [vec![0xe6, 0x97], vec![0xa5, b'"'], vec![0xc3]].map(Some);
    bytes.chain(words).chain(halves).chain([None]).collect()
}

/// The text of at most `most` tokens, and how far it is.
fn write(grammar: &Grammar, seed: u64, most: usize) -> (Vec<u8>, Progress) {
    let vocabulary = vocabulary();
    let mut grammar = grammar.clone();
    let mut numbers = Numbers(seed);
    let mut text = Vec::new();
    for _ in 0..most {
        match grammar.progress() {
            Progress::Ended => break,
            Progress::MayEnd if numbers.below(3) == 0 => break,
            _ => {}
        }
        let mut logits = vec![0.0_f32; vocabulary.len()];
        grammar.mask(&mut logits).unwrap();
        let allowed: Vec<u32> = (0..)
            .zip(&logits)
            .filter(|(_, logit)| logit.is_finite())
            .map(|(token, _)| token)
            .collect();
        if allowed.is_empty() {
            assert_eq!(grammar.progress(), Progress::MayEnd);
            break;
        }
        let token = allowed[numbers.below(allowed.len() as u32) as usize];
        grammar.update(token).unwrap();
        text.extend(vocabulary[token as usize].as_ref().unwrap());
    }
    let progress = grammar.progress();
    (text, progress)
}

#[test]
fn what_is_finished_fits_the_schema() {
    let schemas = [
        json!({"type": "object", "additionalProperties": false, "required": ["name", "age"],
            "properties": {"name": {"type": "string", "maxLength": 12},
                "age": {"type": "integer", "minimum": 0, "maximum": 150}}}),
        json!({"enum": ["red", "green", 12, null, true]}),
        json!({"type": "array", "minItems": 1, "maxItems": 3,
            "items": {"type": "integer", "minimum": -99, "maximum": 120}}),
        json!({"anyOf": [{"type": "boolean"}, {"type": "string", "pattern": "^[a-c]{2,4}$"}]}),
        json!({"type": "object", "additionalProperties": false, "required": ["next"],
            "properties": {"next": {"anyOf": [{"type": "null"}, {"$ref": "#"}]}}}),
    ];
    let compiler = GrammarCompiler::new(vocabulary()).unwrap();
    amphora_testing::each(&schemas, |schema| {
        let grammar = compiler.json_schema(schema).unwrap();
        let validator = jsonschema::validator_for(schema).unwrap();
        let mut finished = 0;
        for seed in 0..60 {
            let (text, progress) = write(&grammar, seed, 200);
            if progress == Progress::Unfinished {
                continue;
            }
            finished += 1;
            let shown = String::from_utf8_lossy(&text).into_owned();
            let value: Value = serde_json::from_slice(&text)
                .map_err(|error| format!("seed {seed}: {shown}: {error}"))?;
            validator
                .validate(&value)
                .map_err(|error| format!("seed {seed}: {shown}: {error}"))?;
        }
        if finished > 10 {
            Ok(())
        } else {
            Err(format!("only {finished} of 60 were finished"))
        }
    });
}

#[test]
fn what_is_finished_matches_the_expression() {
    let expressions = [
        "[0-9]{4}-[0-9]{2}-[0-9]{2}",
        "(yes|no|green)",
        "a+b*",
        "(é|日本)+!",
        "[^\"]{1,5}",
    ];
    let compiler = GrammarCompiler::new(vocabulary()).unwrap();
    amphora_testing::each(&expressions, |expression| {
        let grammar = compiler.regex(expression).unwrap();
        let whole = regex::Regex::new(&format!("^(?s:{expression})$")).unwrap();
        let mut finished = 0;
        for seed in 0..60 {
            let (text, progress) = write(&grammar, seed, 40);
            if progress == Progress::Unfinished {
                continue;
            }
            finished += 1;
            let text = String::from_utf8(text).map_err(|error| error.to_string())?;
            if !whole.is_match(&text) {
                return Err(format!("seed {seed}: {text:?}"));
            }
        }
        if finished > 10 {
            Ok(())
        } else {
            Err(format!("only {finished} of 60 were finished"))
        }
    });
}

#[test]
fn a_text_that_is_cut_off_is_the_beginning_of_an_allowed_one() {
    let compiler = GrammarCompiler::new(vocabulary()).unwrap();
    let grammar = compiler
        .json_schema(&json!({"type": "object", "additionalProperties": false,
            "required": ["name"], "properties": {"name": {"const": "green é日本"}}}))
        .unwrap();
    for seed in 0..40 {
        for most in 0..8 {
            let (text, progress) = write(&grammar, seed, most);
            let shown = String::from_utf8_lossy(&text).into_owned();
            assert_eq!(progress, Progress::Unfinished, "{shown}");
            // The blanks that JSON allows between its parts aside.
            let squeezed: Vec<u8> = text
                .iter()
                .copied()
                .filter(|byte| !byte.is_ascii_whitespace())
                .collect();
            let whole = r#"{"name":"greené日本"}"#.as_bytes();
            assert!(whole.starts_with(&squeezed), "{shown}");
        }
    }
}

#[test]
fn a_grammar_of_lark_is_kept() {
    let compiler = GrammarCompiler::new(vocabulary()).unwrap();
    let grammar = compiler
        .lark("start: (\"a\" | pair)+ \".\"\npair: \"(\" start \")\"")
        .unwrap();
    let mut finished = 0;
    for seed in 0..40 {
        let (text, progress) = write(&grammar, seed, 60);
        if progress == Progress::Unfinished {
            continue;
        }
        finished += 1;
        let text = String::from_utf8(text).unwrap();
        let opened = text.matches('(').count();
        assert_eq!(opened, text.matches(')').count(), "{text}");
        assert!(text.ends_with('.'), "{text}");
    }
    assert!(finished > 10, "{finished}");
}

#[test]
fn what_cannot_be_followed_is_refused() {
    let compiler = GrammarCompiler::new(vocabulary()).unwrap();
    let schemas = [
        json!(false),
        json!({"type": "strin"}),
        json!({"type": "string", "pattern": "("}),
        json!({"$ref": "#/nowhere"}),
        json!({"type": "integer", "minimum": 3, "maximum": 1}),
        json!({"not": {"type": "string"}}),
    ];
    amphora_testing::each(&schemas, |schema| match compiler.json_schema(schema) {
        Err(error) if error.rule() == "json-schema" => Ok(()),
        Err(error) => Err(format!("{error:?}")),
        Ok(_) => Err("was taken".to_owned()),
    });
    let nested = "(".repeat(5000) + &")".repeat(5000);
    amphora_testing::each(
        &["(", "a**b(", "[z-a]", &nested],
        |expression| match compiler.regex(expression) {
            Err(error) if error.rule() == "regex" => Ok(()),
            Err(error) => Err(format!("{error:?}")),
            Ok(_) => Err("was taken".to_owned()),
        },
    );
    assert_eq!(compiler.lark("start: nothing").unwrap_err().rule(), "lark");
    let mut grammar = compiler.regex("ab").unwrap();
    let error = grammar.update(u32::from(b'b')).unwrap_err();
    assert_eq!(error.rule(), "constraint-token");
}

/// A model of these tokens that likes the first best, and none of them ends a text.
fn follow(expression: &str, words: &[&str]) -> amphora_error::Result<Generated> {
    let words = words.iter().map(|word| Some(word.as_bytes().to_vec()));
    let compiler = GrammarCompiler::new(words.collect())?;
    let grammar = compiler.regex(expression)?;
    let graphs = graphs().unwrap();
    let mut generator = generator(&graphs, &engines()[0]);
    let prompt = Prompt {
        tokens: vec![5, 6],
        constraint: Some(Box::new(grammar)),
        ..Prompt::default()
    };
    let options = GenerationOptions {
        max_new_tokens: 8,
        ..GenerationOptions::default()
    };
    let texts = generator.generate(vec![prompt], &options, &mut |_| Ok(()));
    texts.map(|mut texts| texts.remove(0))
}

#[test]
fn a_text_ends_where_no_token_can_continue_it() {
    if graphs().is_none() {
        return;
    }
    // A text that is whole, and could go on with a character that no token writes.
    let text = follow("ab?", &["a", "c"]).unwrap();
    assert_eq!(
        (text.token_ids.as_slice(), text.complete),
        (&[0][..], Some(true))
    );
    assert_eq!(text.finish_reason, Finish::Constraint);
    // One that is not, and one that never was.
    let error = follow("ab", &["a", "c"]).unwrap_err();
    assert_eq!(error.rule(), "grammar-step", "{error}");
    let error = follow("b", &["a", "c"]).unwrap_err();
    assert_eq!(error.rule(), "regex", "{error}");
}
