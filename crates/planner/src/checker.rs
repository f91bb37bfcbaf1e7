//! Proves that decisions keep the rules, without a line of the code that makes them.
//!
//! Everything is read anew from the JSON documents: the action space and its rules, the action, the
//! executed plan. What is not understood is a violation.

use serde_json::Value;

/// What a caller allows at most, whatever a planner wants; `None` where it sets no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caps {
    /// Candidates in parallel.
    pub max_candidates: Option<u64>,
    /// Seconds for each.
    pub timeout_seconds: Option<u64>,
    /// Iterations of each.
    pub max_iterations: Option<u64>,
}

/// Every reason that a plan may give for falling back.
const FALLBACKS: [&str; 13] = [
    "log_only",
    "model_unavailable",
    "schema_mismatch",
    "inference_failed",
    "inference_timeout",
    "low_confidence",
    "malformed_prediction",
    "prediction_out_of_space",
    "prediction_invalid",
    "swarm_mismatch",
    "max_candidates_exceeds_cap",
    "timeout_exceeds_cap",
    "toolchain_unavailable",
];

/// What an `executed_plan.v1` breaks of its own contract or of `caps`; empty when it may be executed.
/// A plan without a limit where `caps` sets one breaks it.
pub fn plan_violations(plan: &Value, caps: Caps) -> Vec<String> {
    let mut violations = Vec::new();
    if plan.get("schema_version").and_then(Value::as_str) != Some("cyntra.executed_plan.v1") {
        violations.push("schema_version is another".to_owned());
    }
    let swarm = plan.get("swarm_id_executed").and_then(Value::as_str);
    if swarm.is_none_or(str::is_empty) {
        violations.push("swarm_id_executed names no swarm".to_owned());
    }
    let limits = [
        ("max_candidates_executed", caps.max_candidates),
        ("timeout_seconds_executed", caps.timeout_seconds),
        ("max_iterations_executed", caps.max_iterations),
    ];
    for (field, cap) in limits {
        let stated = plan.get(field).filter(|stated| !stated.is_null());
        match (stated.map(Value::as_u64), cap) {
            (Some(None | Some(0)), _) => violations.push(format!("{field} is no count from 1 on")),
            (Some(Some(count)), Some(cap)) if count > cap => {
                violations.push(format!("{field} is {count}, at most {cap}"));
            }
            (None, Some(cap)) => violations.push(format!("{field} is open, at most {cap}")),
            _ => {}
        }
    }
    let reason = plan
        .get("fallback_reason")
        .filter(|reason| !reason.is_null());
    let known = |reason: &Value| {
        reason
            .as_str()
            .is_some_and(|name| FALLBACKS.contains(&name))
    };
    match (
        plan.get("fallback_applied").and_then(Value::as_bool),
        reason,
    ) {
        (Some(true), Some(reason)) if known(reason) => {}
        (Some(false), None) => {}
        (None, _) => violations.push("fallback_applied is neither true nor false".to_owned()),
        (Some(true), _) => violations.push("a fallback has no reason of the list".to_owned()),
        (Some(false), Some(_)) => violations.push("no fallback, but a reason for one".to_owned()),
    }
    violations
}

/// The action fields and the lists of the space that they come from.
const FIELDS: [(&str, &str); 4] = [
    ("swarm_id", "swarm_ids"),
    ("max_candidates_bin", "max_candidates_bins"),
    ("max_minutes_bin", "max_minutes_bins"),
    ("max_iterations_bin", "max_iterations_bins"),
];

/// What an action of four fields breaks in `space` (an `action_space.json`) for `job_type`; empty
/// when it is valid.
pub fn action_violations(space: &Value, job_type: &str, action: &Value) -> Vec<String> {
    let mut violations = Vec::new();
    for (field, list) in FIELDS {
        let Some(value) = action.get(field) else {
            violations.push(format!("{field} is missing"));
            continue;
        };
        let listed = space.get(list).and_then(Value::as_array);
        if !listed.is_some_and(|listed| listed.contains(value)) {
            violations.push(format!("{field} is not one of {list}"));
        }
        if value.as_f64().is_some_and(|count| count < 1.0) {
            violations.push(format!("{field} is less than 1"));
        }
    }
    let Some(rules) = space.get("validity_rules").and_then(Value::as_array) else {
        violations.push("the space has no validity_rules".to_owned());
        return violations;
    };
    for (place, rule) in rules.iter().enumerate() {
        if let Some(violation) = rule_violation(rule, job_type, action) {
            violations.push(format!("validity_rules[{place}]: {violation}"));
        }
    }
    violations
}

fn rule_violation(rule: &Value, job_type: &str, action: &Value) -> Option<String> {
    let job = Value::from(job_type);
    let mut applies = true;
    let mut broken = None;
    let Some(parts) = rule.as_object() else {
        return Some("the rule is no object".to_owned());
    };
    for (part, entries) in parts {
        if part == "description" {
            continue;
        }
        let Some(entries) = entries.as_object() else {
            return Some(format!("{part} is no object"));
        };
        for (field, wanted) in entries {
            let found = match field.as_str() {
                "job_type" if part == "if" => &job,
                other => match action.get(other) {
                    Some(found) => found,
                    None => return Some(format!("{part} asks for an unknown field")),
                },
            };
            match part.as_str() {
                "if" => applies &= found == wanted,
                "then" if found == wanted => {}
                "then_in" if wanted.as_array().is_some_and(|all| all.contains(found)) => {}
                "then" | "then_in" => broken = Some(format!("{field} is not what {part} demands")),
                _ => return Some("a part of the rule is unknown".to_owned()),
            }
        }
    }
    broken.filter(|_| applies)
}
