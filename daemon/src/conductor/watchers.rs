//! Watchers: every event goes to those who may hear of it. Knows no session, and waits for none.

use std::sync::Arc;

use spindle_shared::event::{Event, Fact};
use spindle_shared::id::Owner;
use spindle_shared::job::JobState;

use super::Conductor;
use crate::server::watch::Told;

impl Conductor {
    pub(super) fn publish(&mut self, mut event: Event) {
        if let Fact::Alert(text) = &event.fact {
            tracing::warn!("{text}");
        }
        if let Fact::Job(view) = &mut event.fact {
            if view.input.is_none() {
                view.input = self.specs.get(&view.id).map(|spec| spec.input.clone());
            }
            if view.state.is_terminal() {
                self.gathered.remove(&view.id);
            }
            if view.state.is_terminal()
                && let Some(spec) = self.specs.remove(&view.id)
                && view.state == JobState::Cancelled
            {
                self.drop_parts(view.id, &spec);
            }
        }
        if self.watchers.is_empty() {
            return;
        }
        if let (Some(spool), Fact::Job(view)) = (&self.spool, &mut event.fact) {
            spool.show_job(view);
        }
        let owner = self.owner_of(&event.fact);
        let told = Arc::new(Told::new(event, owner));
        self.watchers.retain(|watcher| watcher.push(&told));
    }

    /// Whose batch a fact is about, where somebody watches who must not hear of others'.
    fn owner_of(&mut self, fact: &Fact) -> Option<Owner> {
        let batch = fact.batch().filter(|_| self.watchers.iter().any(|watcher| watcher.only().is_some()))?;
        if self.owners.len() > OWNERS_MAX {
            self.owners.clear();
        }
        match fact {
            Fact::Removed(_) => return self.owners.remove(&batch),
            Fact::Batch(view) => drop(self.owners.insert(batch, view.owner)),
            _ if self.owners.contains_key(&batch) => {}
            _ => {
                let found = self.reader.batch(batch).ok().flatten();
                self.owners.extend(found.map(|view| (batch, view.owner)));
            }
        }
        self.owners.get(&batch).copied()
    }
}

/// Owners that are remembered; of others the store is asked again.
const OWNERS_MAX: usize = 10_000;
