//! Decoding against a brute force over plain softmaxes.

use amphora_planner::action_space::{Action, ActionSpace, Head, HeadLogits, masks};
use amphora_planner::decode::{Distribution, Temperatures, autoregressive};
use amphora_testing::each;

use crate::support::Random;

fn logits(random: &mut Random, scale: f64) -> HeadLogits {
    [2, 4, 6, 5].map(|width| {
        (0..width)
            .map(|_| ((random.unit() - 0.5) * scale) as f32)
            .collect()
    })
}

/// The softmax over the allowed classes, term by term.
fn softmax(logits: &[f32], mask: &[bool], temperature: f64) -> Vec<f64> {
    let scaled: Vec<f64> = logits.iter().map(|l| f64::from(*l) / temperature).collect();
    let largest = scaled
        .iter()
        .zip(mask)
        .filter(|(_, allowed)| **allowed)
        .map(|(value, _)| *value)
        .fold(f64::NEG_INFINITY, f64::max);
    let terms: Vec<f64> = scaled
        .iter()
        .zip(mask)
        .map(|(value, allowed)| {
            if *allowed {
                (value - largest).exp()
            } else {
                0.0
            }
        })
        .collect();
    let sum: f64 = terms.iter().sum();
    terms.iter().map(|term| term / sum).collect()
}

/// The winner among all tuples of classes that are in `valid`, by a scan of every tuple.
fn brute_force(probabilities: &[Vec<f64>; 4], valid: &[Action]) -> (Action, f64) {
    let mut best: Option<(Action, f64)> = None;
    for action in valid {
        let score: f64 = (0..4)
            .map(|head| probabilities[head][action.classes()[head]].max(1e-12).ln())
            .sum();
        if best.is_none_or(|(_, least)| score > least + 1e-9) {
            best = Some((*action, score));
        }
    }
    best.unwrap()
}

#[test]
fn the_joint_argmax_is_the_brute_force_and_the_confidence_the_smallest_probability() {
    let space = ActionSpace::default();
    let mut random = Random(1);
    for round in 0..3000 {
        let job_type = *random.pick(&["code", "fab-world", "anything"]);
        let scale = *random.pick(&[1.0, 10.0, 100.0, 1e6]);
        let temperatures = [0; 4].map(|_| 0.05 + random.unit() * 5.0);
        let logits = logits(&mut random, scale);
        let valid = space.valid_actions(job_type);
        let masks = masks(space.widths(), &valid);
        let distribution =
            Distribution::new(&logits, &masks, &Temperatures::new(temperatures).unwrap()).unwrap();
        let found = distribution.best(&valid).unwrap();
        let expected: [Vec<f64>; 4] =
            [0, 1, 2, 3].map(|h| softmax(&logits[h], &masks[h], temperatures[h]));
        let (action, score) = brute_force(&expected, &valid);
        assert_eq!(found.action, action, "round {round}");
        assert!((found.log_probability - score).abs() < 1e-9 * score.abs().max(1.0));
        let least = (0..4)
            .map(|head| expected[head][action.classes()[head]])
            .fold(1.0, f64::min);
        assert!((found.confidence - least).abs() < 1e-12, "round {round}");
        for head in Head::ALL {
            for (class, probability) in expected[head.position()].iter().enumerate() {
                assert!((distribution.probability(head, class) - probability).abs() < 1e-12);
            }
        }
    }
}

#[test]
fn equal_sums_go_to_the_first_action_and_noise_below_the_tolerance_changes_nothing() {
    let space = ActionSpace::default();
    let valid = space.valid_actions("code");
    let masks = masks(space.widths(), &valid);
    let flat: HeadLogits = [2, 4, 6, 5].map(|width| vec![0.5; width]);
    let best = |logits: &HeadLogits| {
        Distribution::new(logits, &masks, &Temperatures::ONE)
            .unwrap()
            .best(&valid)
            .unwrap()
            .action
    };
    assert_eq!(best(&flat), valid[0]);
    let mut noisy = flat.clone();
    noisy[2][5] += f32::EPSILON / 4.0;
    let nearly = Temperatures::new([1.0, 1.0, 1000.0, 1.0]).unwrap();
    noisy[2][4] = 0.5 + f32::EPSILON;
    let distribution = Distribution::new(&noisy, &masks, &nearly).unwrap();
    assert_eq!(distribution.best(&valid).unwrap().action, valid[0]);
    let mut clear = flat;
    clear[2][4] += 1e-3;
    assert_eq!(best(&clear), valid[4]);
}

#[test]
fn only_candidates_are_chosen_and_ranked() {
    let space = ActionSpace::default();
    let mut random = Random(3);
    for _ in 0..300 {
        let valid = space.valid_actions("code");
        let candidates: Vec<Action> = valid
            .iter()
            .filter(|_| random.below(4) == 0)
            .copied()
            .collect();
        let distribution = Distribution::new(
            &logits(&mut random, 8.0),
            &space.masks("code"),
            &Temperatures::ONE,
        )
        .unwrap();
        let best = distribution.best(&candidates);
        assert_eq!(best.is_none(), candidates.is_empty());
        let ranked = distribution.ranked(&candidates, usize::MAX);
        assert_eq!(ranked.len(), candidates.len());
        if let Some(best) = best {
            assert!(candidates.contains(&best.action));
            assert!((ranked[0].log_probability - best.log_probability).abs() <= 1e-9);
        }
    }
}

#[test]
fn heads_by_themselves_may_contradict_each_other_and_jointly_never() {
    let space = ActionSpace::default();
    let logits = [
        vec![5.0, 0.0],
        vec![0.0, 0.0, 9.0, 0.0],
        vec![0.0; 6],
        vec![0.0; 5],
    ];
    let valid = space.valid_actions("code");
    let distribution =
        Distribution::new(&logits, &space.masks("code"), &Temperatures::ONE).unwrap();
    assert!(!valid.contains(&distribution.independent().action));
    assert!(valid.contains(&distribution.best(&valid).unwrap().action));
}

#[test]
fn head_by_head_every_choice_is_valid_and_conditioned_on_those_before() {
    let space = ActionSpace::default();
    let mut random = Random(5);
    for _ in 0..1000 {
        let job_type = *random.pick(&["code", "fab-world", "anything"]);
        let valid = space.valid_actions(job_type);
        let logits = logits(&mut random, 10.0);
        let mut asked = Vec::new();
        let decoded = autoregressive(
            &valid,
            space.widths(),
            &Temperatures::ONE,
            |head, before| {
                asked.push((head, before.to_vec()));
                Ok(logits[head.position()].clone())
            },
        )
        .unwrap()
        .unwrap();
        assert!(valid.contains(&decoded.action));
        assert!((0.0..=1.0).contains(&decoded.confidence));
        let classes = decoded.action.classes();
        let expected: Vec<_> = Head::ALL
            .iter()
            .map(|head| (*head, classes[..head.position()].to_vec()))
            .collect();
        assert_eq!(asked, expected);
        // By hand: the largest logit among the classes that are left.
        let mut left = valid;
        for head in Head::ALL {
            let row = &logits[head.position()];
            let best = left
                .iter()
                .map(|action| action.class(head))
                .max_by(|a, b| row[*a].total_cmp(&row[*b]))
                .unwrap();
            assert_eq!(row[classes[head.position()]], row[best]);
            left.retain(|action| action.class(head) == classes[head.position()]);
        }
    }
    let none = autoregressive(&[], [2, 4, 6, 5], &Temperatures::ONE, |_, _| unreachable!());
    assert_eq!(none.unwrap(), None);
}

#[test]
fn logits_that_make_no_sense_are_refused() {
    let space = ActionSpace::default();
    let masks = space.masks("code");
    let healthy: HeadLogits = [2, 4, 6, 5].map(|width| vec![0.0; width]);
    type Break = fn(&mut HeadLogits);
    let rows: [(&str, Break, &str); 6] = [
        ("NaN", |l| l[0][1] = f32::NAN, "logits-not-finite"),
        ("infinite", |l| l[2][0] = f32::INFINITY, "logits-not-finite"),
        (
            "NaN where it is masked",
            |l| l[3][0] = f32::NAN,
            "logits-not-finite",
        ),
        ("too few", |l| l[1].truncate(1), "logits-width"),
        ("too many", |l| l[3].push(0.0), "logits-width"),
        ("none", |l| l[0].clear(), "logits-width"),
    ];
    each(&rows, |(_, break_it, rule)| {
        let mut logits = healthy.clone();
        break_it(&mut logits);
        let error = Distribution::new(&logits, &masks, &Temperatures::ONE).unwrap_err();
        (error.rule() == *rule).then_some(()).ok_or(error)
    });
    for wrong in [f64::NAN, f64::INFINITY, -1.0] {
        assert!(Temperatures::new([1.0, wrong, 1.0, 1.0]).is_err());
    }
}

#[test]
fn extreme_logits_and_temperatures_stay_probabilities() {
    let space = ActionSpace::default();
    let valid = space.valid_actions("anything");
    let masks = masks(space.widths(), &valid);
    let values = [
        f32::MAX,
        f32::MIN,
        0.0,
        -0.0,
        f32::MIN_POSITIVE,
        1e30,
        -1e30,
    ];
    let mut random = Random(9);
    for _ in 0..2000 {
        let logits: HeadLogits =
            [2, 4, 6, 5].map(|width| (0..width).map(|_| *random.pick(&values)).collect());
        let temperatures = [0; 4].map(|_| *random.pick(&[0.0, 1e-9, 1.0, 1e12]));
        let temperatures = Temperatures::new(temperatures).unwrap();
        let best = Distribution::new(&logits, &masks, &temperatures)
            .unwrap()
            .best(&valid)
            .unwrap();
        assert!((0.0..=1.0).contains(&best.confidence), "{best:?}");
        assert!(best.log_probability.is_finite());
    }
}
