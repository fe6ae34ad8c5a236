//! The job's state machine: the only code that assigns a state.
//!
//! The drawing is made from the table by a test, which fails where the two differ:
//!
//! ```mermaid
//! stateDiagram-v2
//!     Pending --> Cancelled: Cancel
//!     Pending --> Completed: Finish
//!     Pending --> Failed: Fail
//!     Pending --> Running: Start
//!     Running --> Completed: Finish
//!     Running --> Failed: Fail
//!     Running --> Pending: NextStage, TryAgain
//!     Running --> StoppingCancel: Stop(Cancel)
//!     Running --> StoppingDrain: Stop(Drain)
//!     Running --> StoppingPause: Stop(Pause)
//!     StoppingCancel --> Cancelled: NextStage, TryAgain, Stopped
//!     StoppingCancel --> Completed: Finish
//!     StoppingCancel --> Failed: Fail
//!     StoppingCancel --> StoppingCancel: Stop(Cancel), Stop(Pause), Stop(Drain)
//!     StoppingPause --> Completed: Finish
//!     StoppingPause --> Failed: Fail
//!     StoppingPause --> Pending: NextStage, TryAgain, Stopped
//!     StoppingPause --> StoppingCancel: Stop(Cancel)
//!     StoppingPause --> StoppingDrain: Stop(Drain)
//!     StoppingPause --> StoppingPause: Stop(Pause)
//!     StoppingDrain --> Completed: Finish
//!     StoppingDrain --> Failed: Fail
//!     StoppingDrain --> Pending: NextStage, TryAgain, Stopped
//!     StoppingDrain --> StoppingCancel: Stop(Cancel)
//!     StoppingDrain --> StoppingDrain: Stop(Drain)
//!     StoppingDrain --> StoppingPause: Stop(Pause)
//!     Failed --> Pending: Retry
//!     Cancelled --> Pending: Retry
//! ```

use spindle_shared::id::RunId;

/// Why a run is being stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    Cancel,
    Pause,
    Drain,
}

/// Where a job stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    Pending,
    Running { run: RunId },
    Stopping { run: RunId, why: Why },
    Completed,
    Failed,
    Cancelled,
}

/// What can happen to a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Start(RunId),
    /// A stage has ended well and another follows.
    NextStage,
    /// The last stage has ended well, or none is left to do.
    Finish,
    /// A try has failed, or was lost, and there will be another.
    TryAgain,
    /// A try has failed and was the last.
    Fail,
    Stop(Why),
    /// The stopped run is over.
    Stopped,
    Cancel,
    Retry,
}

/// A step that doesn't fit the state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Illegal {
    pub state: State,
    pub step: Step,
}

impl State {
    pub fn run(self) -> Option<RunId> {
        match self {
            State::Running { run } | State::Stopping { run, .. } => Some(run),
            _ => None,
        }
    }

    pub fn is_terminal(self) -> bool {
        matches!(self, State::Completed | State::Failed | State::Cancelled)
    }

    /// The table. Anything not in it is an error that names both.
    pub fn after(self, step: Step) -> Result<State, Illegal> {
        let illegal = Err(Illegal { state: self, step });
        Ok(match (self, step) {
            (State::Pending, Step::Start(run)) => State::Running { run },
            // Everything was there already.
            (State::Pending, Step::Finish) => State::Completed,
            (State::Pending, Step::Fail) => State::Failed,
            (State::Pending, Step::Cancel) => State::Cancelled,

            (State::Running { .. }, Step::NextStage | Step::TryAgain) => State::Pending,
            (State::Running { .. }, Step::Finish) => State::Completed,
            (State::Running { .. }, Step::Fail) => State::Failed,
            (State::Running { run }, Step::Stop(why)) => State::Stopping { run, why },

            // What finished before the wish to stop reached it stays finished.
            (State::Stopping { why: Why::Cancel, .. }, Step::Stopped | Step::NextStage | Step::TryAgain) => {
                State::Cancelled
            }
            (State::Stopping { .. }, Step::Stopped | Step::NextStage | Step::TryAgain) => State::Pending,
            (State::Stopping { .. }, Step::Finish) => State::Completed,
            (State::Stopping { .. }, Step::Fail) => State::Failed,
            // A cancel outranks a pause; nothing outranks a cancel.
            (State::Stopping { run, why: Why::Pause | Why::Drain }, Step::Stop(why)) => State::Stopping { run, why },
            (State::Stopping { run, why: Why::Cancel }, Step::Stop(_)) => State::Stopping { run, why: Why::Cancel },

            (State::Failed | State::Cancelled, Step::Retry) => State::Pending,
            _ => return illegal,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    const RUN: RunId = RunId { boot: 1, counter: 1 };

    /// The whole matrix, so that any change of the table is seen in a review.
    #[test]
    fn the_table() {
        let states = [
            State::Pending,
            State::Running { run: RUN },
            State::Stopping { run: RUN, why: Why::Cancel },
            State::Stopping { run: RUN, why: Why::Pause },
            State::Stopping { run: RUN, why: Why::Drain },
            State::Completed,
            State::Failed,
            State::Cancelled,
        ];
        let steps = [
            Step::Start(RUN),
            Step::NextStage,
            Step::Finish,
            Step::TryAgain,
            Step::Fail,
            Step::Stop(Why::Cancel),
            Step::Stop(Why::Pause),
            Step::Stop(Why::Drain),
            Step::Stopped,
            Step::Cancel,
            Step::Retry,
        ];
        let name = |state: State| match state {
            State::Running { .. } => "Running".to_owned(),
            State::Stopping { why, .. } => format!("Stopping({why:?})"),
            other => format!("{other:?}"),
        };
        let mut table = String::new();
        let mut ways: BTreeMap<(usize, String), Vec<String>> = BTreeMap::new();
        for (at, state) in states.into_iter().enumerate() {
            for step in steps {
                let shown = match step {
                    Step::Start(_) => "Start".to_owned(),
                    other => format!("{other:?}"),
                };
                let after = state.after(step).map_or("-".to_owned(), name);
                table.push_str(&format!("{:<17} {:<13} {after}\n", name(state), shown));
                if after != "-" {
                    ways.entry((at, after)).or_default().push(shown);
                }
            }
        }
        insta::assert_snapshot!(table);

        let node = |name: &str| name.replace(['(', ')'], "");
        let ways = ways.iter().map(|((from, to), steps)| {
            format!("//!     {} --> {}: {}\n", node(&name(states[*from])), node(to), steps.join(", "))
        });
        let drawing = format!("//! ```mermaid\n//! stateDiagram-v2\n{}//! ```\n", ways.collect::<String>());
        assert!(include_str!("job.rs").contains(&drawing), "the drawing above is out of date; it should be\n{drawing}");
    }

    #[test]
    fn a_terminal_state_is_left_only_by_retry() {
        for state in [State::Completed, State::Failed, State::Cancelled] {
            for step in [
                Step::Start(RUN),
                Step::NextStage,
                Step::Finish,
                Step::TryAgain,
                Step::Fail,
                Step::Stopped,
                Step::Cancel,
            ] {
                assert!(state.after(step).is_err());
            }
        }
        assert!(State::Completed.after(Step::Retry).is_err());
    }
}
