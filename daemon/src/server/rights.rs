//! Who may ask what: each request is about nothing in particular, about batches that must be the asker's own, or for administrators only.
//! Answers nothing itself; what a request may see of what it isn't refused, its answer filters.

use std::sync::Arc;

use spindle_core::effect::Peer;
use spindle_shared::id::BatchId;
use spindle_shared::limits::TARGETS_MAX;
use spindle_shared::wire::request::{Request, Scope, Selection};
use spindle_shared::wire::response::{Refusal, RefusalKind};

use super::House;
use super::connection::Broken;
use super::read::on_store;

/// What a request is about.
enum About {
    /// Nobody's, or filtered by whoever answers.
    All,
    /// These batches, which must be the asker's own.
    Own(Vec<BatchId>),
    /// Everybody's things. What goes on "only administrators may …".
    Admin(&'static str),
    /// Files of this machine by their path: whoever asks must have no fewer rights than the daemon.
    Keeper(&'static str),
}

/// **Invariant:** no request is left out: one that is new has to say whose it is.
fn about(request: &Request) -> About {
    match request {
        Request::Health
        | Request::Inputs(_)
        | Request::List { .. }
        | Request::House
        | Request::Failures { .. }
        | Request::Models
        | Request::Workers
        | Request::Stats { .. }
        | Request::Profiles
        | Request::Providers
        | Request::Stores
        | Request::Spool
        // Into the asker's own folder.
        | Request::Upload(_)
        | Request::Piece(_)
        | Request::Sent(_) => About::All,
        Request::Fetch { job, .. } => About::Own(vec![job.batch]),
        Request::Drain => About::Admin("drain the daemon"),
        Request::Shutdown => About::Admin("stop the daemon"),
        Request::Metrics => About::Admin("read what is measured of everybody's work"),
        Request::Collect { .. } => About::Admin("clean"),
        // A job's and a batch's own log is looked at by whoever answers.
        Request::Logs { of: None, .. } => About::Admin("read the daemon's log"),
        Request::Logs { of: Some(target), .. } => About::Own(vec![target.batch()]),
        Request::Folders => About::All,
        Request::FolderAdd { .. } => About::Keeper("have a folder watched"),
        Request::FolderRemove(_) => About::Keeper("end the watching of a folder"),
        Request::Reload => About::Admin("reload the configuration"),
        Request::Backup(_) => About::Keeper("copy the queue"),
        Request::Submit { spec, .. } => About::Own(spec.terms.after.iter().map(|after| after.batch).collect()),
        Request::Batches(ids) => About::Own(ids.clone()),
        Request::Jobs { batch, .. } => About::Own(vec![*batch]),
        Request::Job(job) => About::Own(vec![job.batch]),
        Request::Explain(target) => About::Own(vec![target.batch()]),
        Request::Pause { what: Selection::House, .. } => About::Admin("pause the whole daemon"),
        Request::Resume(Selection::House) => About::Admin("resume the whole daemon"),
        Request::Cancel(what)
        | Request::Pause { what, .. }
        | Request::Resume(what)
        | Request::Retry(what)
        | Request::Prioritize { what, .. }
        | Request::Remove { what, .. } => match what {
            Selection::Targets(targets) => About::Own(targets.iter().map(|target| target.batch()).collect()),
            Selection::House | Selection::Matching(_) => About::All,
        },
        Request::Watch { scope, .. } => match scope {
            Scope::House | Scope::Overview => About::All,
            Scope::Batches(ids) => About::Own(ids.clone()),
            Scope::Window { batch, .. } => About::Own(vec![*batch]),
        },
    }
}

/// Why this peer may not ask this; `None` = it may.
pub async fn refusal(house: &Arc<House>, peer: Peer, request: &Request) -> Result<Option<Refusal>, Broken> {
    let mut ids = match about(request) {
        About::All => return Ok(None),
        About::Admin(what) => return Ok(peer.must_be_admin(what).err()),
        About::Keeper(what) if !house.users.is_keeper(peer) => {
            let message = format!("only the daemon's user and root may {what}");
            return Ok(Some(Refusal::new(RefusalKind::NotPermitted, message)));
        }
        About::Keeper(_) => return Ok(None),
        About::Own(_) if peer.admin => return Ok(None),
        About::Own(ids) => ids,
    };
    ids.dedup();
    if ids.len() > TARGETS_MAX {
        let message = format!("{} ids are more than {TARGETS_MAX}", ids.len());
        return Ok(Some(Refusal::new(RefusalKind::Limit, message)));
    }
    on_store(house, move |house| {
        for id in ids {
            // Not there yet is not there: what comes to be meanwhile is somebody else's.
            match house.reader.batch(id)?.map(|view| view.owner) {
                Some(owner) if owner == peer.owner => {}
                Some(_) => return Ok(Some(somebody_elses(id))),
                None => return Ok(Some(Refusal::new(RefusalKind::NotFound, format!("there is no batch {id}")))),
            }
        }
        Ok(None)
    })
    .await
}

fn somebody_elses(id: BatchId) -> Refusal {
    Refusal::new(RefusalKind::NotPermitted, format!("batch {id} is somebody else's"))
}
