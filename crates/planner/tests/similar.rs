//! The index finds what a scan over all runs finds, and no query sees its own future.
#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use std::collections::BTreeSet;

use amphora_planner::contracts::{
    ActionExecuted, Domain, Gate, Outcome, RunStatus, RunSummary, Runtime,
};
use amphora_planner::history::{DecisionKey, History, PastRun, Query};
use proptest::prelude::*;

const DAY: u64 = 86_400_000;

fn run(run_id: &str, started_ms: u64, tags: &[&str]) -> RunSummary {
    RunSummary {
        run_id: run_id.to_owned(),
        started_ms,
        job_type: "code".to_owned(),
        domain: Domain::Code,
        action_executed: ActionExecuted::default(),
        outcome: Outcome {
            status: RunStatus::Success,
            fail_codes: Vec::new(),
            gates: Vec::new(),
        },
        runtime: Runtime { duration_ms: 1_000 },
        cost_usd_est: None,
        tokens_in: None,
        tokens_out: None,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        issue_id: None,
        universe_id: None,
        world_id: None,
        objective_id: None,
    }
}

fn texts(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

fn ids(runs: &[&RunSummary]) -> Vec<String> {
    runs.iter().map(|run| run.run_id.clone()).collect()
}

type Decided = (RunSummary, Option<DecisionKey>);

/// How long after its end a run is known: its decision may last longer.
fn delay_ms(run: &RunSummary) -> u64 {
    [0, 1, 3_600_000, 3 * DAY][run.run_id.len() % 4]
}

/// The definition, over every run: independent of the index and of what it shares with the score.
fn similar_by_scan(runs: &[Decided], query: &Query, n: usize) -> Vec<String> {
    let set = |words: Vec<String>| -> BTreeSet<String> {
        words.into_iter().filter(|word| !word.is_empty()).collect()
    };
    let signals = |run: &RunSummary| {
        let gates = run
            .outcome
            .gates
            .iter()
            .filter(|gate| !gate.passed && !gate.name.is_empty());
        let gates = gates.map(|gate| format!("gate:{}", gate.name));
        set(run
            .outcome
            .fail_codes
            .iter()
            .cloned()
            .chain(gates)
            .collect())
    };
    let alike = |a: &BTreeSet<String>, b: &BTreeSet<String>| match a.union(b).count() {
        0 => 0.0,
        union => a.intersection(b).count() as f64 / union as f64,
    };
    let mut met = BTreeSet::new();
    let mut ordered: Vec<&Decided> = runs.iter().collect();
    ordered.sort_by_key(|(run, _)| run.started_ms);
    ordered.retain(|(run, _)| met.insert(run.run_id.clone()));
    let known: Vec<&RunSummary> = ordered
        .into_iter()
        .filter(|(run, decision)| {
            run.started_ms < query.started_ms
                && run.started_ms + run.runtime.duration_ms + delay_ms(run) <= query.started_ms
                && (query.decision.is_none() || decision.as_ref() != query.decision)
        })
        .map(|(run, _)| run)
        .collect();
    let asked_signals: BTreeSet<String> = known
        .iter()
        .filter(|run| query.issue_id.is_some() && run.issue_id.as_deref() == query.issue_id)
        .flat_map(|run| signals(run))
        .collect();
    let asked_tags = set(query.tags.to_vec());
    let world = query.job_type == "fab-world";
    let mut scored: Vec<(f64, &RunSummary)> = known
        .into_iter()
        .filter(|run| run.job_type == query.job_type)
        .filter(|run| {
            !world || query.world_id.is_none() || run.world_id.as_deref() == query.world_id
        })
        .filter(|run| {
            !world
                || query.objective_id.is_none()
                || run.objective_id.as_deref() == query.objective_id
        })
        .map(|run| {
            let age = (query.started_ms - run.started_ms) as f64 / DAY as f64;
            let bucket = [1.0, 7.0, 30.0].iter().filter(|days| age >= **days).count();
            let score = 0.6 * alike(&asked_tags, &set(run.tags.clone()))
                + 0.3 * alike(&asked_signals, &signals(run))
                + 0.1 * (1.0 / (1.0 + bucket as f64));
            (score, run)
        })
        .collect();
    scored.sort_by(|(a, left), (b, right)| {
        b.total_cmp(a)
            .then(right.started_ms.cmp(&left.started_ms))
            .then(left.run_id.cmp(&right.run_id))
    });
    let mut best: Vec<&RunSummary> = scored.into_iter().take(n).map(|(_, run)| run).collect();
    best.sort_by(|a, b| {
        b.started_ms
            .cmp(&a.started_ms)
            .then(a.run_id.cmp(&b.run_id))
    });
    ids(&best)
}

/// Runs with so few tags, signals, issues and moments that most scores are equal.
fn decided() -> impl Strategy<Value = Decided> {
    let words = |words: &'static [&'static str]| {
        prop::collection::vec(prop::sample::select(words), 0..4).prop_map(|words| texts(&words))
    };
    let id = |words: &'static [&'static str]| prop::option::of(prop::sample::select(words));
    let moment = prop_oneof![
        (0_u64..5).prop_map(|hours| 60 * DAY + hours * 3_600_000),
        (0_u64..64).prop_map(|days| days * DAY),
    ];
    (
        (
            0_u32..2000,
            moment,
            prop::sample::select(&[0_u64, 1, 3_600_000, 2 * DAY][..]),
        ),
        prop::sample::select(&["code", "code", "code", "fab-world", "other"][..]),
        words(&["a", "b", "c", "d", "all", "all", ""]),
        // Signals of every run's own make the others ones that many sets have.
        (
            words(&["x", "y", "z", "gate:test", ""]),
            prop::option::of(0_u32..90),
        )
            .prop_map(|(mut codes, own)| {
                codes.extend(own.map(|own| format!("u{own}")));
                codes
            }),
        words(&["test", "lint", "build", ""]),
        (
            // Issues of many runs ask about many signals, the others about few.
            prop::option::of(prop_oneof![0_u32..3, 0_u32..80]),
            id(&["w1", "w2"]),
            id(&["o1", "o2"]),
        ),
        prop::option::of(0_u64..3),
    )
        .prop_map(
            |(
                (id, started, duration),
                job,
                tags,
                codes,
                gates,
                (issue, world, objective),
                group,
            )| {
                let mut run = run(&format!("r{id}"), started, &[]);
                run.runtime.duration_ms = duration;
                run.job_type = job.to_owned();
                run.tags = tags;
                run.outcome.fail_codes = codes;
                let gates = gates.into_iter().enumerate();
                run.outcome.gates = gates
                    .map(|(place, name)| Gate {
                        name,
                        passed: place % 2 == 0,
                        score: None,
                    })
                    .collect();
                let issue = issue.map(|issue| format!("i{issue}"));
                run.issue_id = issue.clone();
                run.world_id = world.map(str::to_owned);
                run.objective_id = objective.map(str::to_owned);
                let decision = issue.zip(group).map(|(issue, group)| DecisionKey {
                    issue_id: issue,
                    started_ms: group,
                });
                (run, decision)
            },
        )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn the_index_finds_what_a_scan_finds(
        runs in prop_oneof![
            prop::collection::vec(decided(), 0..60),
            prop::collection::vec(decided(), 200..400),
        ],
        queries in prop::collection::vec((decided(), 0_usize..9, any::<bool>()), 1..12),
    ) {
        // Where start and id are equal the first given counts, in both.
        let past = runs.iter().cloned().map(|(summary, decision)| PastRun {
            known_ms: summary.ended_ms() + delay_ms(&summary),
            summary,
            decision,
        });
        let history = History::of_runs(past.collect());
        for ((asked, decision), n, future) in queries {
            let query = Query {
                job_type: &asked.job_type,
                started_ms: asked.started_ms + if future { 40 * DAY } else { 0 },
                tags: &asked.tags,
                world_id: asked.world_id.as_deref(),
                objective_id: asked.objective_id.as_deref(),
                issue_id: asked.issue_id.as_deref(),
                decision: decision.as_ref(),
            };
            let found = ids(&history.similar(&query, n));
            prop_assert_eq!(found, similar_by_scan(&runs, &query, n), "{:?}", query);
        }
    }
}

/// A history in which each score is known by hand.
fn history() -> Vec<RunSummary> {
    let now = 100 * DAY;
    let mut failed = run("same-issue", now - 40 * DAY, &[]);
    failed.issue_id = Some("42".to_owned());
    failed.outcome.fail_codes = texts(&["oom"]);
    failed.outcome.gates = vec![
        Gate {
            name: "test".to_owned(),
            passed: false,
            score: None,
        },
        Gate {
            name: "lint".to_owned(),
            passed: true,
            score: None,
        },
    ];
    let mut alike = run("fails-alike", now - 40 * DAY, &["other"]);
    alike.outcome.fail_codes = texts(&["gate:test", "oom"]);
    let mut passed = run("gate-passed", now - 41 * DAY, &["other"]);
    passed.outcome.gates = vec![Gate {
        name: "test".to_owned(),
        passed: true,
        score: None,
    }];
    vec![
        run("three-days", now - 3 * DAY, &["kernel"]),
        run("both-tags", now - 50 * DAY, &["cache", "kernel", "kernel"]),
        failed,
        alike,
        passed,
    ]
}

fn query(tags: &[String]) -> Query<'_> {
    Query {
        job_type: "code",
        started_ms: 100 * DAY,
        tags,
        issue_id: Some("42"),
        ..Query::default()
    }
}

#[test]
fn the_published_example_and_its_neighbours() {
    let tags = texts(&["kernel", "cache"]);
    let history = History::new(history());
    // Scores: both-tags 0.6 + 0.025; three-days 0.3 + 0.05; same-issue and fails-alike 0.3 + 0.025;
    // gate-passed 0.025.
    let rows = [
        (1, vec!["both-tags"]),
        (2, vec!["three-days", "both-tags"]),
        (3, vec!["three-days", "fails-alike", "both-tags"]),
        (
            4,
            vec!["three-days", "fails-alike", "same-issue", "both-tags"],
        ),
        (
            9,
            vec![
                "three-days",
                "fails-alike",
                "same-issue",
                "gate-passed",
                "both-tags",
            ],
        ),
        (0, vec![]),
    ];
    amphora_testing::each(&rows, |(n, expected)| {
        match ids(&history.similar(&query(&tags), *n)) {
            found if found == *expected => Ok(()),
            found => Err(format!("found {found:?}")),
        }
    });
}

#[test]
fn without_anything_in_common_the_latest_runs_are_chosen() {
    let tags = texts(&["unheard-of"]);
    let history = History::new(history());
    let asked = Query {
        issue_id: None,
        ..query(&tags)
    };
    assert_eq!(
        ids(&history.similar(&asked, 2)),
        ["three-days", "fails-alike"]
    );
    let other_job = Query {
        job_type: "fab-world",
        ..asked
    };
    assert!(history.similar(&other_job, 2).is_empty());
}

/// What is planted, and what a query would have found if it were used.
#[test]
fn a_planted_future_run_sibling_or_duplicate_is_not_used_and_would_change_the_answer() {
    let tags = texts(&["kernel", "cache"]);
    let now = 100 * DAY;
    let decision = DecisionKey {
        issue_id: "42".to_owned(),
        started_ms: now,
    };
    let alone = |runs: Vec<RunSummary>| -> Vec<Decided> {
        runs.into_iter().map(|run| (run, None)).collect()
    };
    let clean = ids(&History::of_decisions(alone(history())).similar(&query(&tags), 2));

    let perfect = |started_ms: u64| run("planted", started_ms, &["kernel", "cache"]);
    let mut under_way = perfect(now - 2 * DAY);
    under_way.runtime.duration_ms = 2 * DAY + 1;
    let mut ended = under_way.clone();
    ended.runtime.duration_ms = 2 * DAY;
    let mut copy = perfect(now - DAY);
    copy.run_id = "both-tags".to_owned();
    let mut copy_of_own_id = copy.clone();
    copy_of_own_id.run_id = "another".to_owned();
    let rows: [(&str, Decided, Option<Decided>); 4] = [
        (
            "starts after",
            (perfect(now + 1), None),
            Some((perfect(now - 1_001), None)),
        ),
        ("starts at the same moment", (perfect(now), None), None),
        ("has not ended", (under_way, None), Some((ended, None))),
        ("duplicate", (copy, None), Some((copy_of_own_id, None))),
    ];
    amphora_testing::each(&rows, |(_, planted, used)| {
        let answer = |planted: &Decided| {
            let mut runs = alone(history());
            runs.push(planted.clone());
            ids(&History::of_decisions(runs).similar(&query(&tags), 2))
        };
        match used {
            _ if answer(planted) != clean => Err("the planted run is used"),
            Some(used) if answer(used) == clean => Err("it would not matter"),
            _ => Ok(()),
        }
    });

    let mut runs = alone(history());
    let mut sibling = perfect(now - 2_000);
    sibling.issue_id = Some("42".to_owned());
    sibling.outcome.fail_codes = texts(&["only the sibling failed so"]);
    runs.push((sibling, Some(decision.clone())));
    let history = History::of_decisions(runs);
    let asked = Query {
        decision: Some(&decision),
        ..query(&tags)
    };
    assert_eq!(ids(&history.similar(&asked, 2)), clean);
    assert_ne!(ids(&history.similar(&query(&tags), 2)), clean);
    assert_eq!(history.attempts("42", now, Some(&decision)), 1);
    assert_eq!(history.attempts("42", now, None), 2);
}

#[test]
fn attempts_are_the_runs_of_the_issue_that_had_ended() {
    let of_issue = |run_id: &str, started_ms: u64| {
        let mut run = run(run_id, started_ms, &[]);
        run.issue_id = Some("42".to_owned());
        run
    };
    let mut endless = of_issue("endless", 5);
    endless.runtime.duration_ms = u64::MAX;
    let mut instant = of_issue("instant", 9_000);
    instant.runtime.duration_ms = 0;
    let history = History::new(vec![
        of_issue("a", 10),
        of_issue("b", 3_000),
        endless,
        instant,
    ]);
    let rows = [
        (0, 0),
        (1_009, 0),
        (1_010, 1),
        (3_999, 1),
        (4_000, 2),
        (9_000, 2),
        (9_001, 3),
    ];
    amphora_testing::each(&rows, |(now, attempts)| {
        match history.attempts("42", *now, None) {
            found if found == *attempts => Ok(()),
            found => Err(format!("found {found}")),
        }
    });
    assert_eq!(history.attempts("another", u64::MAX, None), 0);
}

#[test]
fn world_runs_are_filtered_by_world_and_objective_where_asked() {
    let world = |run_id: &str, world: Option<&str>, objective: Option<&str>| {
        let mut run = run(run_id, 10, &[]);
        run.job_type = "fab-world".to_owned();
        run.world_id = world.map(str::to_owned);
        run.objective_id = objective.map(str::to_owned);
        run
    };
    let history = History::new(vec![
        world("a", Some("w1"), Some("o1")),
        world("b", Some("w1"), Some("o2")),
        world("c", Some("w2"), Some("o1")),
        world("d", None, None),
    ]);
    let rows = [
        (None, None, "abcd"),
        (Some("w1"), None, "ab"),
        (None, Some("o1"), "ac"),
        (Some("w1"), Some("o1"), "a"),
        (Some("w3"), None, ""),
    ];
    amphora_testing::each(&rows, |(world_id, objective_id, expected)| {
        let query = Query {
            job_type: "fab-world",
            started_ms: DAY,
            world_id: *world_id,
            objective_id: *objective_id,
            ..Query::default()
        };
        match ids(&history.similar(&query, 8)).concat() {
            found if found == *expected => Ok(()),
            found => Err(found),
        }
    });
}

/// A signal in so many sets that the index treats it apart.
#[test]
fn a_signal_of_many_sets_still_counts() {
    let now = 100 * DAY;
    let fails = |run_id: &str, started_ms: u64, tags: &[&str], codes: &[&str]| {
        let mut run = run(run_id, started_ms, tags);
        run.outcome.fail_codes = texts(codes);
        run
    };
    let mut runs: Vec<RunSummary> = (0..100)
        .map(|n| {
            fails(
                &format!("z{n}"),
                now - 50 * DAY,
                &["other"],
                &["common", &format!("own {n}")],
            )
        })
        .collect();
    let mut own = fails("own", now - 60 * DAY, &[], &["common"]);
    own.issue_id = Some("42".to_owned());
    runs.push(own);
    // Scores for the tag and the signal: 0.625; 0.3 + 0.3 + 0.1; 0 + 0.3 + 0.1; 0.3 + 0.1.
    runs.push(run("tag-alone", now - 40 * DAY, &["kernel"]));
    runs.push(fails("both", now - 5_000, &["kernel", "b"], &["common"]));
    runs.push(fails("signal-alone", now - 4_000, &["c"], &["common"]));
    runs.push(run("half-the-tags", now - 3_000, &["kernel", "d"]));
    let history = History::new(runs);
    let tags = texts(&["kernel"]);
    let rows = [
        (1, vec!["both"]),
        (2, vec!["both", "tag-alone"]),
        (3, vec!["half-the-tags", "both", "tag-alone"]),
        (
            4,
            vec!["half-the-tags", "signal-alone", "both", "tag-alone"],
        ),
    ];
    amphora_testing::each(&rows, |(n, expected)| {
        match ids(&history.similar(&query(&tags), *n)) {
            found if found == *expected => Ok(()),
            found => Err(format!("found {found:?}")),
        }
    });
}
