//! Inputs to decide on, and a seeded source of numbers.

use amphora_planner::action_space::ActionSpace;
use amphora_planner::contracts::{
    HistoryBlock, InputVersion, IssueFields, ModelReference, PlannerInput, Priority, Risk, Size,
    UniverseDefaults,
};

/// An input of an easy issue with the documents' action space.
pub(crate) fn input(job_type: &str) -> PlannerInput {
    PlannerInput {
        schema_version: InputVersion,
        created_at: "2026-02-03T09:00:00Z".to_owned(),
        universe_id: "workshop".to_owned(),
        job_type: job_type.to_owned(),
        universe_defaults: UniverseDefaults::default(),
        issue: IssueFields {
            issue_id: "42".to_owned(),
            dk_priority: Priority::P1,
            dk_risk: Risk::Low,
            dk_size: Size::S,
            dk_tool_hint: None,
            dk_attempts: 0,
            tags: vec!["kernel".to_owned()],
            title: None,
            description: None,
            keywords: None,
            extra: serde_json::Map::new(),
        },
        history: HistoryBlock::default(),
        action_space: ActionSpace::default(),
        system_state: None,
    }
}

pub(crate) fn model(checkpoint_id: &str) -> ModelReference {
    ModelReference {
        checkpoint_id: checkpoint_id.to_owned(),
        version: None,
        git_sha: None,
    }
}

/// SplitMix64.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(crate) fn pick<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
