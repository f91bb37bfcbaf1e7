//! The `schema_version` of each document: one value, written always and demanded on load.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

macro_rules! versions {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
        pub struct $name;

        impl $name {
            /// The text.
            pub const TEXT: &'static str = $text;
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(Self::TEXT)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let found = Cow::<'de, str>::deserialize(deserializer)?;
                if found == Self::TEXT {
                    return Ok(Self);
                }
                Err(serde::de::Error::custom(format_args!(
                    "the schema_version is not {}",
                    Self::TEXT
                )))
            }
        }

        impl JsonSchema for $name {
            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }
            fn inline_schema() -> bool {
                true
            }
            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                json_schema!({"const": Self::TEXT})
            }
        }
    )*};
}

versions! {
    /// Of [`super::PlannerInput`].
    InputVersion = "cyntra.planner_input.v1";
    /// Of [`super::PlannerAction`].
    ActionVersion = "cyntra.planner_action.v1";
    /// Of [`super::ExecutedPlan`].
    PlanVersion = "cyntra.executed_plan.v1";
    /// Of [`super::PolicyTrace`].
    TraceVersion = "amphora.policy_trace.v1";
    /// Of [`super::DatasetMeta`].
    DatasetVersion = "cyntra.planner_dataset.v1";
    /// Of [`super::BenchConfig`].
    BenchConfigVersion = "cyntra.planner_bench.v1";
    /// Of [`super::BenchReport`].
    BenchReportVersion = "cyntra.planner_best_of_k_bench.v1";
    /// Of [`super::BenchSummary`].
    BenchSummaryVersion = "cyntra.planner_bench_summary.v1";
}
