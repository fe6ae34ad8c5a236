//! Questions to the daemon, one connection each, with answers of the type that was asked for. Prints nothing.

use std::cell::RefCell;
use std::path::PathBuf;

use spindle_shared::batch::BatchView;
use spindle_shared::client::{Client, ClientError, Fetched, Which};
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::job::{JobState, JobView};
use spindle_shared::limits::PAGE_JOBS;
use spindle_shared::object_store::StoreView;
use spindle_shared::provider::ProviderView;
use spindle_shared::stage::compress::Profile;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::{HouseView, Response};

use crate::fault::Fault;

#[derive(Debug)]
pub struct Daemon {
    which: Which,
    /// Found once: all questions of one command go to one daemon.
    found: RefCell<Option<PathBuf>>,
}

impl Daemon {
    pub fn new(which: Which) -> Self {
        Daemon { which, found: RefCell::new(None) }
    }

    /// Where the daemon was found; `None` before the first question.
    pub fn socket(&self) -> Option<PathBuf> {
        self.found.borrow().clone()
    }

    pub fn connect(&self) -> Result<Client, ClientError> {
        let known = self.found.borrow().clone();
        match known {
            Some(path) => Client::connect(&path),
            None => {
                let (path, client) = self.which.connect()?;
                self.found.replace(Some(path));
                Ok(client)
            }
        }
    }

    pub fn ask(&self, request: &Request) -> Result<Vec<Response>, Fault> {
        Ok(self.connect()?.call(request)?)
    }

    /// Whether outputs wait at this daemon until they are fetched.
    pub fn spools(&self) -> Result<bool, Fault> {
        Ok(self.ask(&Request::Spool)?.iter().any(|response| matches!(response, Response::Spool(Some(_)))))
    }

    /// One output of a job, by its place in the job's list.
    pub fn fetch(&self, job: JobId, output: u32) -> Result<Fetched, Fault> {
        Ok(self.connect()?.fetch(job, output)?)
    }

    pub fn house(&self) -> Result<HouseView, Fault> {
        self.ask(&Request::House)?
            .into_iter()
            .find_map(|response| match response {
                Response::House(house) => Some(house),
                _ => None,
            })
            .ok_or_else(|| Fault::unexpected("the daemon's state"))
    }

    /// These batches, in the order named; one that isn't there is a fault.
    pub fn batches(&self, ids: &[BatchId]) -> Result<Vec<BatchView>, Fault> {
        let mut views = batches_of(self.ask(&Request::Batches(ids.to_vec()))?);
        let mut named = Vec::with_capacity(ids.len());
        for id in ids {
            let at = views.iter().position(|view| view.id == *id);
            named.push(views.swap_remove(at.ok_or_else(|| Fault::not_found(format!("there is no batch {id}")))?));
        }
        Ok(named)
    }

    /// What videos can be made into, the built-in profiles first.
    pub fn profiles(&self) -> Result<Vec<Profile>, Fault> {
        let profiles = self.ask(&Request::Profiles)?.into_iter().filter_map(|response| match response {
            Response::Profiles(profiles) => Some(profiles),
            _ => None,
        });
        Ok(profiles.flatten().collect())
    }

    /// Which model APIs can be named.
    pub fn providers(&self) -> Result<Vec<ProviderView>, Fault> {
        let providers = self.ask(&Request::Providers)?.into_iter().filter_map(|response| match response {
            Response::Providers(providers) => Some(providers),
            _ => None,
        });
        Ok(providers.flatten().collect())
    }

    /// Which object stores there are.
    pub fn stores(&self) -> Result<Vec<StoreView>, Fault> {
        let stores = self.ask(&Request::Stores)?.into_iter().filter_map(|response| match response {
            Response::Stores(stores) => Some(stores),
            _ => None,
        });
        Ok(stores.flatten().collect())
    }

    pub fn batch(&self, id: BatchId) -> Result<BatchView, Fault> {
        self.batches(&[id])?.pop().ok_or_else(|| Fault::not_found(format!("there is no batch {id}")))
    }

    /// All jobs of a batch in these states (none = all), in input order.
    pub fn jobs(&self, batch: BatchId, states: Vec<JobState>) -> Result<Vec<JobView>, Fault> {
        Ok(jobs_of(self.ask(&Request::Jobs { batch, states, from: 1, limit: u32::MAX })?))
    }

    /// All jobs of a batch, in input order and one by one: a batch of any size costs the memory of one page.
    pub fn each_job(&self, batch: BatchId, mut take: impl FnMut(&JobView)) -> Result<(), Fault> {
        let mut from = 1;
        loop {
            let page = jobs_of(self.ask(&Request::Jobs { batch, states: Vec::new(), from, limit: PAGE_JOBS })?);
            page.iter().for_each(&mut take);
            match page.last() {
                Some(last) if page.len() >= PAGE_JOBS as usize => from = last.id.index.saturating_add(1),
                _ => return Ok(()),
            }
        }
    }

    pub fn job(&self, id: JobId) -> Result<JobView, Fault> {
        jobs_of(self.ask(&Request::Job(id))?).pop().ok_or_else(|| Fault::not_found(format!("there is no job {id}")))
    }
}

pub fn batches_of(responses: Vec<Response>) -> Vec<BatchView> {
    responses
        .into_iter()
        .filter_map(|response| match response {
            Response::Batches(batches) => Some(batches),
            _ => None,
        })
        .flatten()
        .collect()
}

pub fn jobs_of(responses: Vec<Response>) -> Vec<JobView> {
    responses
        .into_iter()
        .filter_map(|response| match response {
            Response::Jobs(jobs) => Some(jobs),
            _ => None,
        })
        .flatten()
        .collect()
}
