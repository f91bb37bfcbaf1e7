//! Proves that decisions keep the rules, without a line of the code that makes them.
//!
//! Everything is read anew from the JSON documents: the action space and its rules, the action, the
//! executed plan. What is not understood is a violation.

use serde_json::Value;

/// What a caller allows at most, whatever a planner wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Caps {
    /// Candidates in parallel.
    pub max_candidates: u64,
    /// Seconds for each.
    pub timeout_seconds: u64,
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
    for (part, entries) in rule.as_object()? {
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
