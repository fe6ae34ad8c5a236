//! The job's state machine: the only code that assigns a state.
//!
//! ```text
//!              start                    finish (last stage)
//!   Pending ───────────▶ Running ─────────────────────────────▶ Completed
//!    ▲ ▲ │  ◀─────────── │  │ │
//!    │ │ │  stage done,   │  │ └──── fail, no try left ─────────▶ Failed
//!    │ │ │  failed try,   │  │                                     ▲
//!    │ │ │  run lost      │  └─ stop ─▶ Stopping ── cancel ──▶ Cancelled
//!    │ │ │                │                │  └─ timeout, last ──▶ Failed
//!    │ │ │                │                └──── pause, drain ──▶ Pending
//!    │ │ └── cancel ───────────────────────────────────────────▶ Cancelled
//!    │ └──── retry ◀──── Failed | Cancelled
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
        for state in states {
            for step in steps {
                let shown = match step {
                    Step::Start(_) => "Start".to_owned(),
                    other => format!("{other:?}"),
                };
                let after = state.after(step).map_or("-".to_owned(), name);
                table.push_str(&format!("{:<17} {:<13} {after}\n", name(state), shown));
            }
        }
        insta::assert_snapshot!(table);
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
