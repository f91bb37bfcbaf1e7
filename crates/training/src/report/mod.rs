//! One page for one evaluation: a self-contained HTML file with SVG plots, no script, nothing fetched.

mod ablation;
mod page;
mod plots;
mod svg;

pub use ablation::ablation_page;
pub use page::page;
