//! The action space of archives.

use amphora_error::{Error, Result};
use amphora_planner::action_space::ActionSpace;
use amphora_planner::history::archives::ArchivedRun;

/// The action space of the stored inputs, none where nothing is stored.
pub(super) fn stored_space(runs: &[ArchivedRun]) -> Result<Option<ActionSpace>> {
    let mut spaces = runs
        .iter()
        .filter_map(|run| run.planner.input.as_ref())
        .map(|input| &input.action_space);
    let Some(first) = spaces.next() else {
        return Ok(None);
    };
    let ruled = with_rules(first);
    let digest = ruled.digest()?;
    for space in spaces {
        if space != first && with_rules(space).digest()? != digest {
            return Err(Error::usage(
                "action-spaces-differ",
                "the archives were made with different action spaces",
            )
            .hint("say which one the dataset is for, with --action-space"));
        }
    }
    Ok(Some(ruled))
}

/// The space, with the documents' rules where its own are words alone, or absent.
fn with_rules(space: &ActionSpace) -> ActionSpace {
    match space.demands() {
        true => space.clone(),
        false => space.clone().with_documented_rules(),
    }
}
