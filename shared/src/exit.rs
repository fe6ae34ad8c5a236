//! Exit codes: an interface.

/// Every job completed or was skipped; the request was done.
pub const DONE: u8 = 0;
/// An error at run time.
pub const ERROR: u8 = 1;
/// Usage or configuration.
pub const USAGE: u8 = 2;
pub const SOME_FAILED: u8 = 3;
pub const ALL_FAILED: u8 = 4;
/// The daemon is not reachable.
pub const UNREACHABLE: u8 = 5;
/// Refused: a limit, a quota, a full queue.
pub const REFUSED: u8 = 6;
/// No such batch, job, model.
pub const NOT_FOUND: u8 = 7;
pub const CANCELLED: u8 = 8;
/// A model or a tool is missing.
pub const MISSING: u8 = 9;
pub const NOT_FINISHED: u8 = 10;
pub const NOT_PERMITTED: u8 = 11;
/// `wait --timeout` ran out.
pub const WAIT_TIMEOUT: u8 = 124;
pub const INTERRUPTED: u8 = 130;

/// Every code with what it means, for help and reference.
pub const ALL: [(u8, &str); 14] = [
    (DONE, "done: every job completed or was skipped"),
    (ERROR, "an error at run time"),
    (USAGE, "usage or configuration"),
    (SOME_FAILED, "some jobs failed"),
    (ALL_FAILED, "all jobs failed"),
    (UNREACHABLE, "no daemon answers"),
    (REFUSED, "refused: a limit, a quota, a full queue"),
    (NOT_FOUND, "no such batch, job or model"),
    (CANCELLED, "cancelled"),
    (MISSING, "a model or a tool is missing"),
    (NOT_FINISHED, "not finished yet"),
    (NOT_PERMITTED, "not permitted"),
    (WAIT_TIMEOUT, "`wait --timeout` ran out"),
    (INTERRUPTED, "interrupted"),
];
