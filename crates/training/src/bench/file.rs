//! Benches on disk.

use std::path::Path;

use amphora_error::{Error, Result};
use amphora_files::{Directory, RelativePath, json};
use amphora_planner::contracts::{BenchCandidate, BenchRecord, BenchSummary};
use serde::Deserialize as _;
use serde_json::{Map, Value};

use super::{StageB, StageBRow};
use crate::dataset::{sorted_line, value_of};
use amphora_files::durable::publish_directory;

/// The rows with a winner.
const EXAMPLES: &str = "best_of_k_dataset.jsonl";
/// The rows without.
const NO_WINNER: &str = "no_winner.jsonl";
/// Every decision as a record, without its input.
const RECORDS: &str = "results/best_of_k.json";
/// What was found.
const SUMMARY: &str = "summary.json";
/// The largest file of rows that is read, in bytes.
const MAX_BYTES: u64 = 8 << 30;

impl StageB {
    /// Writes the new directory `out`, whole or not at all: `best_of_k_dataset.jsonl` (the rows with a
    /// winner), `no_winner.jsonl` (those without), `results/best_of_k.json`, `summary.json`.
    ///
    /// # Errors
    ///
    /// Something is already there (`output-exists`), or it cannot be written.
    pub fn write(&self, out: &Path) -> Result<()> {
        publish_directory(out, |staging| {
            let write =
                |name: &str, bytes: &[u8]| staging.write(&RelativePath::parse(name)?, bytes);
            let (mut examples, mut others) = (Vec::new(), Vec::new());
            for row in &self.rows {
                let lines = match row.label_action {
                    Some(_) => &mut examples,
                    None => &mut others,
                };
                lines.extend(sorted_line(&value_of(row)?)?);
            }
            write(EXAMPLES, &examples)?;
            write(NO_WINNER, &others)?;
            let records: Vec<BenchRecord> = self.rows.iter().map(record).collect();
            write(RECORDS, &json::to_pretty_bytes(&records)?)?;
            write(SUMMARY, &json::to_pretty_bytes(&self.summary)?)
        })
    }

    /// Reads what [`StageB::write`] wrote.
    ///
    /// # Errors
    ///
    /// A file is missing or is not the JSON expected there, with its line.
    pub fn read(directory: &Path) -> Result<Self> {
        let opened = Directory::open(directory)?;
        let contents = |name: &str, limit: u64| {
            opened
                .open_file(&RelativePath::parse(name)?)?
                .contents(limit)
        };
        let summary: BenchSummary = json::parse_into(&contents(SUMMARY, json::MAX_BYTES)?)
            .map_err(|error| error.in_file(directory.join(SUMMARY)))?;
        let mut rows: Vec<StageBRow> = Vec::new();
        for name in [EXAMPLES, NO_WINNER] {
            let bytes = contents(name, MAX_BYTES)?;
            let lines = (1..).zip(bytes.split(|byte| *byte == b'\n'));
            for (number, line) in lines.filter(|(_, line)| !line.is_empty()) {
                let row = json::parse(line).and_then(|value| {
                    StageBRow::deserialize(&value).map_err(|source| {
                        Error::malformed("bench-row", format!("this is no row: {source}"))
                    })
                });
                rows.push(row.map_err(|error| {
                    error
                        .at(format!("line {number}"))
                        .in_file(directory.join(name))
                })?);
            }
        }
        rows.sort_by(|a, b| (a.started_ms, &a.run_id).cmp(&(b.started_ms, &b.run_id)));
        Ok(Self { rows, summary })
    }
}

fn record(row: &StageBRow) -> BenchRecord {
    let candidates: Vec<BenchCandidate> = row
        .candidates
        .iter()
        .map(|candidate| {
            let outcome = &candidate.outcome;
            let mut details = Map::new();
            details.insert("agent_ms".to_owned(), Value::from(outcome.agent_ms));
            details.insert("runs".to_owned(), Value::from(outcome.runs));
            BenchCandidate {
                action: (
                    candidate.action.swarm_id.clone(),
                    candidate.action.max_candidates_bin,
                    candidate.action.max_minutes_bin,
                    candidate.action.max_iterations_bin,
                ),
                verified: outcome.all_gates_passed,
                status: outcome.status.word().to_owned(),
                duration_ms: Some(outcome.duration_ms),
                cost_usd: None,
                workcell_id: None,
                details,
            }
        })
        .collect();
    let winner = row
        .candidates
        .iter()
        .zip(&candidates)
        .find_map(|(candidate, record)| candidate.is_winner.then(|| record.clone()));
    BenchRecord {
        bench_config_hash: row.bench_metadata.bench_config_hash.clone(),
        issue_id: row.issue_id.clone(),
        title: row.planner_input.issue.title.clone(),
        job_type: row.planner_input.job_type.clone(),
        candidates,
        winner,
        skipped: false,
        skip_reason: None,
    }
}
