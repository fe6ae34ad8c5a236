//! Reload: the configuration read again, and what of it can change taken up. A wrong one changes nothing.

use std::sync::{Arc, Mutex, PoisonError};

use spindle_shared::wire::response::ConfigChange;

use crate::config::{Config, ConfigError, changes};

/// The configuration that counts now. Whoever needs it takes it anew each time; who must act on a change waits for it.
#[derive(Debug)]
pub struct Live(tokio::sync::watch::Sender<Arc<Config>>);

impl Live {
    pub fn new(config: Config) -> Self {
        Live(tokio::sync::watch::Sender::new(Arc::new(config)))
    }

    pub fn get(&self) -> Arc<Config> {
        Arc::clone(&self.0.borrow())
    }

    pub fn set(&self, config: Config) {
        self.0.send_replace(Arc::new(config));
    }

    pub fn changes(&self) -> tokio::sync::watch::Receiver<Arc<Config>> {
        self.0.subscribe()
    }
}

#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// It reads well, and can't be gone by: a key is not where it says, or the daemon is stopping.
    #[error("{0}")]
    TakeUp(String),
}

type Load = dyn Fn() -> Result<Config, ConfigError> + Send + Sync;
type TakeUp = dyn Fn(&Config) -> Result<(), String> + Send + Sync;

/// One reload at a time.
pub struct Reload {
    /// What the daemon began with.
    started: Arc<Config>,
    live: Arc<Live>,
    load: Box<Load>,
    take_up: Box<TakeUp>,
    one: Mutex<()>,
}

impl Reload {
    /// `take_up` hands a configuration on to whoever holds a part of it; `Err` = to nobody.
    pub fn new(live: Arc<Live>, take_up: impl Fn(&Config) -> Result<(), String> + Send + Sync + 'static) -> Self {
        let started = live.get();
        let same = (*started).clone();
        Reload {
            started,
            live,
            load: Box::new(move || Ok(same.clone())),
            take_up: Box::new(take_up),
            one: Mutex::new(()),
        }
    }

    /// Where it is read from.
    pub fn reading(mut self, load: impl Fn() -> Result<Config, ConfigError> + Send + Sync + 'static) -> Self {
        self.load = Box::new(load);
        self
    }

    /// What has changed, each key with whether it counts already.
    pub fn run(&self) -> Result<Vec<ConfigChange>, ReloadError> {
        let _one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        let next = (self.load)().inspect_err(|error| tracing::error!("the configuration is not reloaded: {error}"))?;
        let changes = changes::between(&self.started, &self.live.get(), &next);
        // Keys that lie elsewhere may be others behind the same names.
        (self.take_up)(&next).map_err(|why| {
            tracing::error!("the configuration is not reloaded: {why}");
            ReloadError::TakeUp(why)
        })?;
        self.live.set(next);
        for ConfigChange { key, before, after, restart } in &changes {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "(nothing)".to_owned());
            let (before, after) = (shown(before), shown(after));
            match restart {
                true => tracing::warn!(key, before, after, "a change of the configuration waits for a restart"),
                false => tracing::info!(key, before, after, "the configuration has changed"),
            }
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_taken_up_changes_nothing() {
        let live = Arc::new(Live::new(Config::default()));
        let other = || {
            let mut config = Config::default();
            config.lanes.io = 7;
            config.workers.idle_seconds = 7;
            Ok(config)
        };
        let refused = Reload::new(Arc::clone(&live), |_| Err("no such key".to_owned())).reading(other);
        assert_eq!(refused.run().unwrap_err().to_string(), "no such key");
        let wrong = Reload::new(Arc::clone(&live), |_| panic!("it is wrong")).reading(|| {
            Config::load(Some(std::path::Path::new("/nonexistent/x.toml")), spindle_shared::paths::Service::User)
        });
        assert!(matches!(wrong.run(), Err(ReloadError::Config(_))));
        assert_eq!(*live.get(), Config::default());

        let reload = Reload::new(Arc::clone(&live), |config| {
            assert_eq!(config.lanes.io, 7);
            Ok(())
        })
        .reading(other);
        let told: Vec<_> = reload.run().unwrap().into_iter().map(|change| (change.key, change.restart)).collect();
        assert_eq!(told, [("lanes.io".to_owned(), false), ("workers.idle_seconds".to_owned(), true)]);
        assert_eq!(live.get().lanes.io, 7);
        let again: Vec<_> = reload.run().unwrap().into_iter().map(|change| change.key).collect();
        assert_eq!(again, ["workers.idle_seconds"], "until it is restarted");
    }
}
