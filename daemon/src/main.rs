//! `spindled`: the daemon. Holds the queue, starts the workers, answers the socket; never opens a media file.

mod ages;
mod artifacts;
mod conductor;
mod config;
mod devices;
mod folders;
mod gather;
mod hooks;
mod housekeeping;
mod inbox;
mod lock;
mod logs;
mod machine;
mod manager;
mod models;
mod pressure;
mod profiles;
mod providers;
mod reload;
mod server;
mod spool;
mod store;
mod stores;
mod telemetry;
mod watchman;
mod workers;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

use clap::Parser;
use spindle_core::gpus::{Found, Gpus};
use spindle_core::outbox::Outbox;
use spindle_core::scheduler::{Quota, Scheduler};
use spindle_shared::exit;
use spindle_shared::lane::Role;
use spindle_shared::paths::{self, Service};
use spindle_shared::processor;
use tokio::signal::unix::{SignalKind, signal};

use crate::conductor::{Clock, Conductor, Parts};
use crate::config::Config;
use crate::inbox::{Configured, Inbox, Message};
use crate::reload::Live;

/// Spindle's daemon: keeps the queue and runs the work. Stops gracefully at SIGTERM and SIGINT.
#[derive(Debug, Parser)]
#[command(name = "spindled", version)]
struct Args {
    /// Configuration file; otherwise $SPINDLE_CONFIG, then the usual place
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Check the configuration, say what is wrong, and end
    #[arg(long)]
    check_config: bool,
    /// The only mode there is; accepted for service managers
    #[arg(long)]
    foreground: bool,
    /// The system service's paths instead of the user's
    #[arg(long)]
    system: bool,
    /// Socket to listen on
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
}

fn main() -> ExitCode {
    // What the daemon writes is its user's alone.
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    let args = Args::parse();
    // Its workers would be killed one after another.
    if let Some(why) = processor::refusal(&processor::built_for(), processor::has) {
        eprintln!("error: {why}");
        return ExitCode::from(exit::ERROR);
    }
    let service = if args.system { Service::System } else { Service::User };
    let config = match Config::load(args.config.as_deref(), service) {
        Ok(config) => config,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(exit::USAGE);
        }
    };
    if args.check_config {
        println!("the configuration is right");
        return ExitCode::from(exit::DONE);
    }
    let log = match logs::begin(&config.log, &paths::state(service)) {
        Ok(log) => log,
        Err(error) => {
            eprintln!("error: {error}");
            return ExitCode::from(exit::USAGE);
        }
    };
    match run(&args, service, config, log) {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(exit::ERROR)
        }
    }
}

fn run(args: &Args, service: Service, config: Config, log: logs::Log) -> Result<(), Box<dyn std::error::Error>> {
    let live = Arc::new(Live::new(config.clone()));
    let fetching = config.remote.fetching();
    let stores: Arc<[spindle_shared::object_store::ObjectStore]> = config.stores()?.into();
    let state_dir = paths::state(service);
    let model_dir = paths::models(service);
    let socket = args.socket.clone().unwrap_or_else(|| paths::socket(service));
    std::fs::create_dir_all(&state_dir).map_err(|error| format!("failed to make {}: {error}", state_dir.display()))?;
    std::fs::create_dir_all(&model_dir).map_err(|error| format!("failed to make {}: {error}", model_dir.display()))?;
    let _lock = lock::take(&state_dir)?;
    let workers_lock = state_dir.join("workers.lock");
    if !workers::await_predecessors(&workers_lock, PREDECESSORS_MS)? {
        return Err("workers of an earlier daemon still run after 30 s; end them and start again".into());
    }
    // Not before they are gone: what a killed daemon was just starting may hold its queue until then.
    let mut store = store::Store::open(&state_dir)?;
    let artifacts = artifacts::Artifacts::open(&state_dir)?;
    let clock = Clock::new();
    let now = clock.now();
    let mut recovered = store.load()?;
    let outbox = Outbox::recover(recovered.next_delivery, std::mem::take(&mut recovered.deliveries));
    tracing::info!(
        boot = recovered.boot,
        batches = recovered.batches.len(),
        jobs = recovered.batches.iter().map(|batch| batch.open.len()).sum::<usize>(),
        "recovered what was unfinished"
    );
    let reserve_bytes =
        config.lanes.disk_reserve_mib.map_or_else(|| machine::reserve_bytes(&state_dir), |mib| mib << 20);
    let gpus = devices::find(config.workers.gpu_program.as_deref());
    let (job_log, job_logs) = logs::jobs::open(&state_dir.join("logs").join("batches"), {
        let reader = store.reader();
        // Where nobody knows, nothing is deleted.
        move |batch| reader.batch(batch).map_or(true, |known| known.is_some())
    })?;
    let recent = Arc::clone(&log.recent);
    let core_config = {
        let (state_dir, model_dir, gpus) = (state_dir.clone(), model_dir.clone(), gpus.clone());
        move |config: &Config| core_config(config, gpus.clone(), reserve_bytes, now.wall, &state_dir, &model_dir)
    };
    let (scheduler, effects) = Scheduler::recover(core_config(&config), recovered, now);

    let spool = match config.spools(service) {
        true => Some(Arc::new(spool::Spool::open(&state_dir, reserve_bytes, &config.spool)?)),
        false => None,
    };
    let house_providers = config.providers();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (inbox, receiver) = Inbox::new();
    let capacity = Arc::new(Capacity::of(&config));
    let settings = supervisor_settings(&config, &gpus, &capacity, workers_lock, &state_dir, &model_dir)?;
    let supervisor = workers::Supervisor::new(settings, {
        let inbox = inbox.clone();
        // The conductor has ended when nobody takes this; so does the worker then.
        move |note| drop(inbox.send_blocking(Message::Note(note)))
    })?;
    let supervisor = Arc::new(supervisor);
    let views = {
        let supervisor = Arc::clone(&supervisor);
        move || supervisor.workers()
    };
    let listener = {
        let _entered = runtime.enter();
        server::bind(&socket, config.socket_mode(service), config.daemon.socket_group.as_deref())?
    };
    let reload = reload::Reload::new(Arc::clone(&live), {
        let (inbox, supervisor) = (inbox.clone(), Arc::clone(&supervisor));
        move |config| {
            let configured = Configured {
                core: core_config(config),
                providers: config.providers(),
                fetching: config.remote.fetching(),
                stores: config.stores()?.into(),
                balance: config.remote.balance.into(),
                hooks: hooks::Hooks::of(config),
            };
            log.set_level(&config.log.level)?;
            capacity.set(config);
            // Variables that hold keys may be others now.
            supervisor.send_idle_away();
            let sent = inbox.send_blocking(Message::Configured(Box::new(configured)));
            sent.map_err(|closed| closed.to_string())
        }
    });
    let reload = Arc::new(reload.reading({
        let file = args.config.clone();
        move || Config::load(file.as_deref(), service)
    }));
    let watched = folders::Folders::new()?;
    let firing: Arc<watchman::Firing> = Arc::default();
    let house = Arc::new(server::House {
        inbox: inbox.clone(),
        reader: store.reader(),
        reserve_bytes,
        state_dir: state_dir.clone(),
        model_dir,
        workers: Arc::new(views),
        log: recent,
        job_logs,
        runs_commands: service == Service::User,
        folders: Arc::clone(&watched),
        folder_lock: tokio::sync::Mutex::default(),
        firing: Arc::clone(&firing),
        users: Arc::new(server::Users::new(paths::user_id(), config.admin_group(service))),
        gpus: Gpus::new(gpus),
        spool: spool.clone(),
        clients: AtomicUsize::new(0),
        housekeeping: housekeeping::Housekeeping::new(
            artifacts.clone(),
            (&config.housekeeping).into(),
            ages::Ages::open(&state_dir),
        ),
        chore: tokio::sync::Mutex::default(),
        config: live,
        reload: Arc::clone(&reload),
    });
    let (folder_reader, folder_live) = (store.reader(), Arc::clone(&house.config));
    let watchman = watchman::Watchman {
        inbox: inbox.clone(),
        reader: store.reader(),
        live: Arc::clone(&house.config),
        workers: Arc::new({
            let supervisor = Arc::clone(&supervisor);
            move || supervisor.count()
        }),
        firing,
        every: watchman::EVERY,
    };
    runtime.spawn(watchman.watch());
    runtime.spawn(server::clean_regularly(Arc::clone(&house)));
    runtime.spawn(server::listener::keep_file(Arc::clone(&house)));
    if let Some(metrics) = server::listener::bind(&config.metrics)? {
        runtime.spawn(server::listener::answer(metrics, Arc::clone(&house)));
    }
    runtime.spawn(server::serve(listener, house));
    runtime.spawn(signals(inbox.clone(), reload));
    let pressure = pressure::Pressure {
        state_dir: state_dir.clone(),
        reserve_bytes,
        supervisor: Arc::clone(&supervisor),
        inbox: inbox.clone(),
    };
    pressure.watch()?;
    let folders = folders::Watch {
        folders: watched,
        reader: folder_reader,
        inbox: inbox.clone(),
        live: folder_live,
        socket: socket.clone(),
    };
    folders.start()?;
    tracing::info!(socket = %socket.display(), state = %state_dir.display(), "ready");
    manager::ready();
    runtime.spawn(manager::keep_told(inbox.clone()));

    let known = store.reader().stores()?;
    let parts = Parts {
        scheduler,
        store,
        supervisor,
        artifacts,
        clock,
        inbox: receiver,
        own_inbox: inbox,
        runtime: runtime.handle().clone(),
        house: state_dir.into(),
        spool,
        providers: house_providers,
        fetching,
        stores: stores::Stores::new(stores, config.remote.balance.into(), known),
        log: job_log,
        hooks: hooks::Hooks::of(&config),
        outbox,
    };
    let conductor =
        std::thread::Builder::new().name("conductor".to_owned()).spawn(move || Conductor::new(parts).run(effects))?;
    let result = conductor.join().map_err(|_| "the conductor panicked; what it had told is on disk")?;
    manager::stopping();
    // Answers already given are still on their way out.
    runtime.shutdown_timeout(std::time::Duration::from_millis(500));
    drop(std::fs::remove_file(&socket));
    tracing::info!("stopped");
    Ok(result?)
}

/// How long a new daemon waits for the workers of the one before.
const PREDECESSORS_MS: u64 = 30_000;

fn core_config(
    config: &Config,
    gpus: Found,
    disk_reserve_bytes: u64,
    started_at: spindle_shared::time::WallMs,
    state_dir: &Path,
    model_dir: &Path,
) -> spindle_core::scheduler::Config {
    spindle_core::scheduler::Config {
        slots: config.slots(gpus.devices.len() as u8),
        quota: Quota {
            batches: config.limits.user_batches,
            jobs: config.limits.user_jobs,
            media_hours: config.limits.user_media_hours,
        },
        providers: config.providers().iter().map(|provider| (provider.name.clone(), provider.api())).collect(),
        memory_mib: u32::try_from(config.lanes.memory_mib.unwrap_or_else(|| (machine::memory_bytes() / 4 * 3) >> 20))
            .unwrap_or(u32::MAX),
        gpus,
        disk_reserve_bytes,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_at,
        state_dir: state_dir.into(),
        model_dir: model_dir.into(),
    }
}

/// What the supervisor asks of the configuration again and again.
struct Capacity {
    cpu: AtomicUsize,
    io: AtomicUsize,
    gpu: AtomicUsize,
    net: AtomicUsize,
    recycle_after: AtomicU32,
}

impl Capacity {
    fn of(config: &Config) -> Self {
        let capacity = Capacity {
            cpu: AtomicUsize::new(1),
            io: AtomicUsize::new(1),
            gpu: AtomicUsize::new(1),
            net: AtomicUsize::new(1),
            recycle_after: AtomicU32::new(1),
        };
        capacity.set(config);
        capacity
    }

    fn set(&self, config: &Config) {
        self.cpu.store(config.cpu_slots() as usize, Ordering::Relaxed);
        self.io.store(config.io_slots() as usize, Ordering::Relaxed);
        self.gpu.store(config.gpu_slots() as usize, Ordering::Relaxed);
        self.net.store((config.net_slots() + config.api_slots()) as usize, Ordering::Relaxed);
        self.recycle_after.store(config.workers.recycle_after, Ordering::Relaxed);
    }
}

fn supervisor_settings(
    config: &Config,
    gpus: &Found,
    capacity: &Arc<Capacity>,
    lock_file: PathBuf,
    state_dir: &Path,
    model_dir: &Path,
) -> std::io::Result<workers::Settings> {
    let mut settings = workers::Settings::new(workers::worker_program()?, lock_file);
    settings.walls = config.workers.sandbox.then(|| workers::Walls {
        state_dir: state_dir.to_owned(),
        model_dir: model_dir.to_owned(),
        programs: config.remote.programs(),
    });
    let at_once = Arc::clone(capacity);
    settings.gpu_binary = config.workers.gpu_program.clone().filter(|_| !gpus.devices.is_empty());
    settings.capacity = Box::new(move |role, device| match role {
        _ if device.is_some() => at_once.gpu.load(Ordering::Relaxed),
        // One process, one model, a state and a thread per run.
        Role::Speech | Role::Vision => at_once.cpu.load(Ordering::Relaxed),
        // A decoder that crashes takes nobody along.
        Role::Media => 1,
        Role::Files => at_once.io.load(Ordering::Relaxed),
        Role::Net => at_once.net.load(Ordering::Relaxed),
    });
    settings.secret_variables = providers::secret_variables(&config.providers());
    settings.idle_ms = config.workers.idle_seconds * 1_000;
    let capacity = Arc::clone(capacity);
    settings.runs_before_recycle = Box::new(move |role| match role {
        // They decode what comes from anywhere, in libraries that leak a little at each run.
        Role::Speech | Role::Vision | Role::Media => capacity.recycle_after.load(Ordering::Relaxed),
        // Our own code, for runs of milliseconds, of which a fresh process would cost more than all of them; if it grows it goes.
        Role::Files | Role::Net => u32::MAX,
    });
    settings.memory_growth_bytes = config.workers.memory_growth_mib << 20;
    settings.memory_limit_bytes =
        config.workers.memory_limit_mib.map_or_else(|| machine::memory_bytes() / 4 * 3, |mib| mib << 20);
    Ok(settings)
}

async fn signals(inbox: Inbox, reload: Arc<reload::Reload>) {
    let (Ok(mut term), Ok(mut int), Ok(mut hangup)) =
        (signal(SignalKind::terminate()), signal(SignalKind::interrupt()), signal(SignalKind::hangup()))
    else {
        tracing::error!("failed to listen for signals");
        return;
    };
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = int.recv() => break,
            // A terminal that closes must not take the work along either. What comes of it the reload itself tells the log.
            _ = hangup.recv() => {
                let reload = Arc::clone(&reload);
                drop(tokio::task::spawn_blocking(move || drop(reload.run())));
            }
        }
    }
    tracing::info!("stopping: running work goes to its checkpoint");
    manager::stopping();
    drop(inbox.send(Message::Stop).await);
}
