//! `spindled`: the daemon. Holds the queue, starts the workers, answers the socket; never opens a media file.

mod artifacts;
mod conductor;
mod config;
mod gather;
mod housekeeping;
mod inbox;
mod lock;
mod machine;
mod manager;
mod models;
mod pressure;
mod profiles;
mod providers;
mod server;
mod store;
mod telemetry;
mod workers;

use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;

use clap::Parser;
use spindle_core::scheduler::{Quota, Scheduler};
use spindle_shared::catalogue::Mirror;
use spindle_shared::exit;
use spindle_shared::lane::Role;
use spindle_shared::paths::{self, Service};
use spindle_shared::processor;
use tokio::signal::unix::{SignalKind, signal};
use tracing_subscriber::EnvFilter;

use crate::conductor::{Clock, Conductor, Parts};
use crate::config::Config;
use crate::inbox::{Inbox, Message};

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
    let filter = EnvFilter::try_from_env("SPINDLE_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .init();
    match run(&args, service, config) {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(exit::ERROR)
        }
    }
}

fn run(args: &Args, service: Service, config: Config) -> Result<(), Box<dyn std::error::Error>> {
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
    let recovered = store.load()?;
    tracing::info!(
        boot = recovered.boot,
        batches = recovered.batches.len(),
        jobs = recovered.batches.iter().map(|batch| batch.open.len()).sum::<usize>(),
        "recovered what was unfinished"
    );
    let reserve_bytes =
        config.lanes.disk_reserve_mib.map_or_else(|| machine::reserve_bytes(&state_dir), |mib| mib << 20);
    let core_config = core_config(&config, reserve_bytes, now.wall, &state_dir, &model_dir);
    let (scheduler, effects) = Scheduler::recover(core_config, recovered, now);

    let house_providers = config.providers();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let (inbox, receiver) = Inbox::new();
    let supervisor = workers::Supervisor::new(supervisor_settings(&config, workers_lock)?, {
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
        server::bind(&socket)?
    };
    let house = Arc::new(server::House {
        inbox: inbox.clone(),
        reader: store.reader(),
        reserve_bytes,
        state_dir: state_dir.clone(),
        mirror: config.models.mirror.as_deref().map(Mirror::parse).transpose()?,
        model_dir,
        workers: Arc::new(views),
        user: paths::user_id(),
        clients: AtomicUsize::new(0),
        housekeeping: housekeeping::Housekeeping::new(artifacts.clone(), (&config.housekeeping).into(), now.wall),
        chore: tokio::sync::Mutex::default(),
        config,
    });
    runtime.spawn(server::clean_regularly(Arc::clone(&house)));
    runtime.spawn(server::serve(listener, house));
    runtime.spawn(signals(inbox.clone()));
    let pressure = pressure::Pressure {
        state_dir: state_dir.clone(),
        reserve_bytes,
        supervisor: Arc::clone(&supervisor),
        inbox: inbox.clone(),
    };
    pressure.watch()?;
    tracing::info!(socket = %socket.display(), state = %state_dir.display(), "ready");
    manager::ready();
    runtime.spawn(manager::keep_told(inbox.clone()));

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
        providers: house_providers,
        fetching,
        stores: Arc::clone(&stores),
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
    disk_reserve_bytes: u64,
    started_at: spindle_shared::time::WallMs,
    state_dir: &Path,
    model_dir: &Path,
) -> spindle_core::scheduler::Config {
    spindle_core::scheduler::Config {
        slots: config.slots(),
        quota: Quota {
            batches: config.limits.user_batches,
            jobs: config.limits.user_jobs,
            media_hours: config.limits.user_media_hours,
        },
        providers: config.providers().iter().map(|provider| (provider.name.clone(), provider.api())).collect(),
        memory_mib: u32::try_from(config.lanes.memory_mib.unwrap_or_else(|| (machine::memory_bytes() / 4 * 3) >> 20))
            .unwrap_or(u32::MAX),
        disk_reserve_bytes,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        started_at,
        state_dir: state_dir.into(),
        model_dir: model_dir.into(),
    }
}

fn supervisor_settings(config: &Config, lock_file: PathBuf) -> std::io::Result<workers::Settings> {
    let mut settings = workers::Settings::new(workers::worker_program()?, lock_file);
    let cpu = config.cpu_slots() as usize;
    let net = (config.net_slots() + config.api_slots()) as usize;
    let io = config.io_slots() as usize;
    settings.capacity = Box::new(move |role| match role {
        // One process, one model, a state and a thread per run.
        Role::Speech | Role::Vision => cpu,
        // A decoder that crashes takes nobody along.
        Role::Media => 1,
        Role::Files => io,
        Role::Net => net,
    });
    settings.secret_variables = providers::secret_variables(&config.providers());
    settings.idle_ms = config.workers.idle_seconds * 1_000;
    let recycle_after = config.workers.recycle_after;
    settings.runs_before_recycle = Box::new(move |role| match role {
        // They decode what comes from anywhere, in libraries that leak a little at each run.
        Role::Speech | Role::Vision | Role::Media => recycle_after,
        // Our own code, for runs of milliseconds, of which a fresh process would cost more than all of them; if it grows it goes.
        Role::Files | Role::Net => u32::MAX,
    });
    settings.memory_growth_bytes = config.workers.memory_growth_mib << 20;
    settings.memory_limit_bytes =
        config.workers.memory_limit_mib.map_or_else(|| machine::memory_bytes() / 4 * 3, |mib| mib << 20);
    Ok(settings)
}

async fn signals(inbox: Inbox) {
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
            // A terminal that closes must not take the work along.
            _ = hangup.recv() => tracing::warn!("this version reads its configuration at its start only: restart it for changes"),
        }
    }
    tracing::info!("stopping: running work goes to its checkpoint");
    manager::stopping();
    drop(inbox.send(Message::Stop).await);
}
