//! Tokens become text as they come.

use amphora_bundle::manifest::Sampling;
use amphora_runtime::generation::{Finish, GenerationOptions, Prompt};
use amphora_runtime::text::{Text, TextConfig, TextProcessor, TokenizerFiles};

use crate::common::engines;
use crate::scene::{generator, graphs};

fn processor() -> Option<TextProcessor> {
    let folder = amphora_testing::fixture("qwen3_tiny")?;
    let files = TokenizerFiles::gather(|name| {
        let path = folder.join(name);
        Ok(path.is_file().then(|| fs_err::read(path).unwrap().into()))
    });
    Some(TextProcessor::new(&files.unwrap(), &TextConfig::default()).unwrap())
}

/// Hot enough that characters are cut in the middle now and then.
fn drawn(seed: u64, stop: &[String]) -> GenerationOptions {
    GenerationOptions {
        max_new_tokens: 300,
        sampling: Some(Sampling {
            temperature: Some(2.0),
            ..Sampling::default()
        }),
        seed,
        stop: stop.to_vec(),
        ..GenerationOptions::default()
    }
}

#[test]
fn three_hundred_tokens_stream_the_bytes_of_the_whole() {
    let (Some(graphs), Some(text)) = (graphs(), processor()) else {
        return;
    };
    let engine = &engines()[0];
    let mut generator = generator(&graphs, engine);
    let encoded = text
        .encode(&[Text::from("Once, a 日本 tool 🙂 said")])
        .unwrap();
    let mut broken = 0;
    for seed in 0..3 {
        let prompt = Prompt {
            tokens: encoded.ids(0).to_vec(),
            constraint: None,
            text: Some(text.stream(true)),
        };
        let mut streamed = String::new();
        let written = generator.generate(vec![prompt], &drawn(seed, &[]), &mut |step| {
            streamed.push_str(step.text);
            Ok(())
        });
        let written = written.unwrap().remove(0);
        assert_eq!(written.new_tokens, 300);
        let whole = text.decode(&written.token_ids, true).unwrap();
        assert_eq!(streamed, whole, "seed {seed}");
        assert_eq!(written.text, whole, "seed {seed}");
        broken += whole.matches('\u{fffd}').count();
    }
    assert!(broken > 0, "no token was a part of a character");
}

#[test]
fn a_stop_string_across_tokens_ends_the_text_before_it() {
    let (Some(graphs), Some(text)) = (graphs(), processor()) else {
        return;
    };
    let mut generator = generator(&graphs, &engines()[0]);
    let mut write = |stop: &[String]| {
        let prompt = Prompt {
            tokens: text.encode(&[Text::from("One")]).unwrap().ids(0).to_vec(),
            constraint: None,
            text: Some(text.stream(true)),
        };
        let mut pieces = Vec::new();
        let written = generator.generate(vec![prompt], &drawn(8, stop), &mut |step| {
            pieces.push(step.text.to_owned());
            Ok(())
        });
        (written.unwrap().remove(0), pieces)
    };
    let (whole, pieces) = write(&[]);
    // The end of one piece and the start of the next.
    let cut = (40..pieces.len() - 1).find(|&place| {
        let long = |piece: &str| piece.is_ascii() && piece.len() > 1;
        long(&pieces[place]) && long(&pieces[place + 1])
    });
    let cut = cut.unwrap();
    let (before, after) = (&pieces[cut], &pieces[cut + 1]);
    let stop = format!("{}{}", &before[before.len() - 1..], &after[..1]);
    let end = whole.text.find(&stop).unwrap();
    let (stopped, pieces) = write(std::slice::from_ref(&stop));
    assert_eq!(stopped.finish_reason, Finish::StopString);
    assert_eq!(stopped.text, whole.text[..end]);
    assert_eq!(pieces.concat(), stopped.text);
    assert!(whole.token_ids.starts_with(&stopped.token_ids));
}
