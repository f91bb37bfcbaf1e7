//! Stop strings, however the text is cut.

use amphora_runtime::generation::StopStrings;

#[derive(Debug)]
struct Case {
    stops: &'static [&'static str],
    pieces: &'static [&'static str],
    text: &'static str,
    stopped: Option<usize>,
}

#[test]
fn a_stop_string_is_found_across_pieces_and_not_shown() {
    let cases = [
        Case {
            stops: &["END"],
            pieces: &["one E", "N", "D two"],
            text: "one ",
            stopped: Some(0),
        },
        Case {
            stops: &["END"],
            pieces: &["one E", "N", "C"],
            text: "one ENC",
            stopped: None,
        },
        Case {
            stops: &["END"],
            pieces: &["one EN"],
            text: "one EN",
            stopped: None,
        },
        Case {
            stops: &["aab"],
            pieces: &["aa", "a", "b"],
            text: "a",
            stopped: Some(0),
        },
        Case {
            stops: &["\n\n", "User:"],
            pieces: &["yes\nUs", "er", ":", "\n\n"],
            text: "yes\n",
            stopped: Some(1),
        },
        Case {
            stops: &["b", "abc"],
            pieces: &["xabcd"],
            text: "x",
            stopped: Some(1),
        },
        Case {
            stops: &["ab", "abc"],
            pieces: &["xabcd"],
            text: "x",
            stopped: Some(1),
        },
        Case {
            stops: &["né", "é!"],
            pieces: &["an", "é!"],
            text: "a",
            stopped: Some(0),
        },
        Case {
            stops: &[],
            pieces: &["all ", "of it"],
            text: "all of it",
            stopped: None,
        },
    ];
    amphora_testing::each(&cases, |case| {
        let stops: Vec<String> = case.stops.iter().map(|&stop| stop.into()).collect();
        let mut search = StopStrings::new(&stops).unwrap();
        let mut text = String::new();
        for piece in case.pieces {
            let scanned = search.push(piece);
            text.push_str(&scanned.text);
            if scanned.stopped.is_some() {
                if scanned.stopped != case.stopped || text != case.text {
                    return Err(format!("found {text:?}, {:?}", scanned.stopped));
                }
                return Ok(());
            }
        }
        text.push_str(&search.finish());
        if case.stopped.is_none() && text == case.text {
            return Ok(());
        }
        Err(format!("found {text:?}"))
    });
}

#[test]
fn text_is_held_back_only_while_it_may_become_a_stop() {
    let mut search = StopStrings::new(&["stop".into()]).unwrap();
    assert_eq!(search.push("sto").text, "");
    assert_eq!(search.push("re st").text, "store ");
    assert_eq!(search.push("ay").text, "stay");
    let error = StopStrings::new(&["x".into(), String::new()]).unwrap_err();
    assert_eq!(error.rule(), "stop-empty");
}
