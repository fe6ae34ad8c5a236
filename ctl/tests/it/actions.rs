//! Verbs that change something: what they ask, and what they tell.

use serde_json::json;
use spindle_shared::batch::{BatchState, Priority};
use spindle_shared::id::{BatchId, Target};
use spindle_shared::wire::request::{BatchFilter, Request, Selection};
use spindle_shared::wire::response::{Acted, Response};

use crate::scripted::*;

fn targets(texts: &[&str]) -> Selection {
    Selection::Targets(texts.iter().map(|text| text.parse().unwrap()).collect())
}

#[test]
fn each_verb_asks_for_what_was_chosen() {
    let matching = |filter| Selection::Matching(filter);
    for (arguments, request) in [
        (&["cancel", "3", "5-6", "12/2"][..], Request::Cancel(targets(&["3", "5", "6", "12/2"]))),
        (&["cancel", "--all"], Request::Cancel(matching(BatchFilter::default()))),
        (
            &["retry", "--state", "failed", "--tag", "a=b"],
            Request::Retry(matching(BatchFilter {
                states: vec![BatchState::Failed],
                tags: vec![("a".to_owned(), "b".to_owned())],
                ..BatchFilter::default()
            })),
        ),
        (&["pause"], Request::Pause { what: Selection::House, now: false }),
        (&["pause", "--now", "3"], Request::Pause { what: targets(&["3"]), now: true }),
        (&["resume"], Request::Resume(Selection::House)),
        (&["resume", "3"], Request::Resume(targets(&["3"]))),
        (
            &["prioritize", "3", "5-6", "high"],
            Request::Prioritize { what: targets(&["3", "5", "6"]), priority: Priority(25) },
        ),
        (
            &["prioritize", "--all", "7"],
            Request::Prioritize { what: matching(BatchFilter::default()), priority: Priority(7) },
        ),
        (&["remove", "3", "--purge"], Request::Remove { what: targets(&["3"]), purge: true }),
        (&["drain"], Request::Drain),
    ] {
        let daemon = Daemon::saying(vec![]);
        daemon.run(arguments).with(0);
        assert_eq!(daemon.requests(), [request], "{arguments:?}");
    }
}

#[test]
fn what_happened_to_each_is_told() {
    let acted = vec![
        Acted { target: Target::Batch(BatchId(3)), what: "cancelled".to_owned() },
        Acted { target: "4/2".parse().unwrap(), what: "nothing done: it is finished".to_owned() },
    ];
    let daemon = Daemon::saying(vec![Response::Acted(acted)]);
    assert_eq!(daemon.run(&["cancel", "3", "4/2"]).with(0).out, "3: cancelled\n4/2: nothing done: it is finished\n");
    assert_eq!(daemon.run(&["-q", "cancel", "3", "4/2"]).with(0).out, "");
    let told = daemon.run(&["--json", "cancel", "3", "4/2"]).with(0).json();
    assert_eq!(told[0], json!({"id": "3", "batch_id": 3, "job_id": null, "what": "cancelled"}));
    assert_eq!(told[1]["job_id"], json!("4/2"));
}

#[test]
fn a_shutdown_asks_whom_it_waits_for() {
    let daemon = Daemon::saying(vec![]);
    daemon.run(&["shutdown"]).with(0);
    assert_eq!(daemon.requests(), [Request::House, Request::Shutdown]);
}

#[test]
fn a_daemon_that_is_gone_before_its_answer_was_shut_down() {
    let daemon = Daemon::start(|_| {});
    assert_eq!(daemon.run(&["--json", "shutdown"]).with(0).json(), json!({"state": "stopped"}));
    daemon.run(&["drain"]).with(5);
}
