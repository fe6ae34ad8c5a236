//! Placing: which object store the outputs of a job go to, where any will do. Sends nothing there.

use std::collections::BTreeMap;
use std::sync::Arc;

use spindle_core::change::Change;
use spindle_core::effect::{Input, Start};
use spindle_core::turn::Shell;
use spindle_shared::id::JobId;
use spindle_shared::job::{JobSpec, OutputPlan, PathBytes};
use spindle_shared::object_store::{self, ANY};
use spindle_shared::stage::Stage;
use spindle_shared::worker::Outcome;

use super::{Conductor, Fatal};

impl Conductor {
    /// Where outputs for an object store go, settled when their size is known. `Some` = nowhere.
    ///
    /// **Invariant:** which store that is, is durable before anything is sent: whoever goes on after a kill goes on there.
    pub(super) fn place(&mut self, start: &Start) -> Result<Option<Input>, Fatal> {
        let (Stage::Upload(_), Ok(Some(spec))) = (&start.stage, self.reader.job_spec(start.job)) else {
            // What can't be read is told where it is needed.
            return Ok(None);
        };
        let Some((wanted, prefix)) = object_store::folder(&spec.output.directory.0) else { return Ok(None) };
        let bytes = start.feed.iter().flat_map(|(_, files)| files).map(|file| file.bytes).sum();
        let mut on_its_way: BTreeMap<&str, u64> = BTreeMap::new();
        for (bucket, bytes) in self.runs.values().filter_map(|leaves| leaves.bringing.as_ref()) {
            *on_its_way.entry(bucket).or_default() += bytes;
        }
        let before = self.reader.place(start.job).unwrap_or_default();
        // Where it has begun it goes on, while there is room.
        let there = before.as_ref().and_then(|bucket| self.stores.choose(bucket, bytes, &on_its_way).ok());
        let chosen = match there.map_or_else(|| self.stores.choose(wanted, bytes, &on_its_way), Ok) {
            Ok(chosen) => chosen,
            Err(failure) => return Ok(Some(Input::Ended { run: start.run, outcome: Outcome::Failed(failure) })),
        };
        if wanted == ANY && before.as_ref() != Some(&chosen) {
            let placed = Change::Placed(start.job, chosen.clone());
            self.commit(vec![placed])?;
        }
        let directory = PathBytes(format!("s3://{chosen}/{prefix}").into_bytes());
        let output = OutputPlan { directory, ..spec.output.clone() };
        self.specs.insert(start.job, Arc::new(JobSpec { output, ..spec }));
        Ok(None)
    }

    /// With the place that its outputs were given.
    pub(super) fn as_placed(&self, job: JobId, mut spec: JobSpec) -> JobSpec {
        if let Some((ANY, prefix)) = object_store::folder(&spec.output.directory.0)
            && let Ok(Some(bucket)) = self.reader.place(job)
        {
            spec.output.directory = PathBytes(format!("s3://{bucket}/{prefix}").into_bytes());
        }
        spec
    }
}
