//! The order of a turn: what was decided becomes durable, and only then is it told and done. Knows no disk, no client and no worker.

use crate::change::Change;
use crate::effect::{Effect, Input};

/// What surrounds the scheduler: the conductor's store, clients and workers, or the simulator's.
pub trait Shell {
    type Error;

    /// Makes all of these durable, or fails: then nothing that depends on them may be told, and the daemon ends.
    fn commit(&mut self, changes: Vec<Change>) -> Result<(), Self::Error>;

    /// Does one effect that is no commit. A look-up gives its answer.
    fn act(&mut self, effect: Effect) -> Result<Option<Input>, Self::Error>;

    /// Lets the scheduler decide what follows from an answer.
    fn step(&mut self, input: Input) -> Result<Vec<Effect>, Self::Error>;
}

/// Brings what was decided to its end, with all that follows from it at once.
///
/// **Invariant:** nothing is told to anybody (reply, event, output recorded) before the change behind it is durable.
pub fn settle<S: Shell>(shell: &mut S, mut effects: Vec<Effect>) -> Result<(), S::Error> {
    while !effects.is_empty() {
        let mut changes = Vec::new();
        let mut rest = Vec::with_capacity(effects.len());
        for effect in std::mem::take(&mut effects) {
            match effect {
                Effect::Commit(more) => changes.extend(more),
                other => rest.push(other),
            }
        }
        if !changes.is_empty() {
            shell.commit(changes)?;
        }
        for effect in rest {
            if let Some(answer) = shell.act(effect)? {
                effects.extend(shell.step(answer)?);
            }
        }
    }
    Ok(())
}
