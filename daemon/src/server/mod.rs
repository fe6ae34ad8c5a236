//! The server: one session per client on the local socket. Knows who asks; decides nothing about the queue.

mod chores;
mod connection;
mod folders;
pub mod listener;
mod logs;
mod read;
mod rights;
mod session;
mod submit;
mod transfer;
mod users;
pub mod watch;

pub use chores::clean_regularly;
pub use users::Users;

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use interprocess::local_socket::tokio::{Listener, prelude::*};
use interprocess::local_socket::{GenericFilePath, ListenerOptions};
use interprocess::os::unix::local_socket::ListenerOptionsExt;
use spindle_core::gpus::Gpus;
use spindle_shared::limits;

use crate::housekeeping::Housekeeping;
use crate::inbox::Inbox;
use crate::reload::Live;
use crate::spool::Spool;
use crate::store::Reader;

/// What every session may use.
pub struct House {
    pub inbox: Inbox,
    pub reader: Reader,
    pub config: Arc<Live>,
    /// Reads the configuration again; slow, as it looks at files.
    pub reload: Arc<crate::reload::Reload>,
    pub model_dir: PathBuf,
    pub state_dir: PathBuf,
    /// Of the state folder's disk, so much stays free.
    pub reserve_bytes: u64,
    pub workers: Arc<dyn Fn() -> Vec<crate::workers::WorkerView> + Send + Sync>,
    /// The end of the daemon's own log.
    pub log: Arc<crate::logs::Recent>,
    pub job_logs: crate::logs::jobs::JobLogs,
    /// Whether submissions may name commands to run: in a daemon of one user, as that user.
    pub runs_commands: bool,
    pub folders: Arc<crate::folders::Folders>,
    /// Held by whoever adds one.
    pub folder_lock: tokio::sync::Mutex<()>,
    /// Alerts that hold just now.
    pub firing: Arc<crate::watchman::Firing>,
    pub users: Arc<Users>,
    /// The graphics cards, as if all were in order.
    pub gpus: Gpus,
    /// `None` = files are opened where they lie, for the daemon's own user and root only.
    pub spool: Option<Arc<Spool>>,
    pub clients: AtomicUsize,
    pub housekeeping: Housekeeping,
    /// Held by whoever goes through the whole queue or the whole folder of artifacts; one at a time does.
    pub chore: tokio::sync::Mutex<()>,
}

impl House {
    /// Takes the place of the publishers of models.
    pub fn mirror(&self) -> Option<spindle_shared::catalogue::Mirror> {
        // The configuration was checked.
        self.config
            .get()
            .models
            .mirror
            .as_deref()
            .and_then(|mirror| spindle_shared::catalogue::Mirror::parse(mirror).ok())
    }
}

#[derive(Debug, thiserror::Error)]
pub enum BindError {
    #[error("the folder {} of the socket is not ours or open to others: remove it, or name another with --socket", .0.display())]
    Folder(PathBuf),
    #[error("{} is not a socket: move it away, or name another place with --socket", .0.display())]
    NotSocket(PathBuf),
    #[error("another daemon answers at {}: stop it, or name another place with --socket", .0.display())]
    Answered(PathBuf),
    #[error("daemon.socket_group: {0}")]
    Group(String),
    #[error("failed to make the socket {}: {error}", .path.display())]
    Socket { path: PathBuf, error: io::Error },
}

/// Makes the socket. What lies there already may be a dead daemon's; what is no socket, or is answered at, is somebody else's.
pub fn bind(path: &Path, mode: u32, group: Option<&str>) -> Result<Listener, BindError> {
    let failed = |error: io::Error| BindError::Socket { path: path.to_owned(), error };
    if let Some(folder) = path.parent() {
        if !folder.exists() {
            // Where others may connect they must come as far as to the socket, which lets in whom it should.
            let mode = if mode & 0o077 == 0 { 0o700 } else { 0o755 };
            fs::DirBuilder::new().recursive(true).mode(mode).create(folder).map_err(failed)?;
            fs::set_permissions(folder, fs::Permissions::from_mode(mode)).map_err(failed)?;
        }
        let meta = fs::metadata(folder).map_err(failed)?;
        let ours = meta.uid() == spindle_shared::paths::user_id();
        // Where anyone may write (a folder under /tmp), it must be ours alone; where others connect, at least nobody else's to write.
        let closed_to = if mode & 0o077 == 0 { 0o077 } else { 0o022 };
        if folder.starts_with("/tmp") && (!ours || meta.permissions().mode() & closed_to != 0) {
            return Err(BindError::Folder(folder.to_owned()));
        }
    }
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(meta) if !meta.file_type().is_socket() => return Err(BindError::NotSocket(path.to_owned())),
        Ok(_) if is_answered(path).map_err(failed)? => return Err(BindError::Answered(path.to_owned())),
        Ok(_) => fs::remove_file(path).map_err(failed)?,
    }
    let name = path.to_fs_name::<GenericFilePath>().map_err(failed)?;
    // Nobody comes in before it has its group.
    let listener = ListenerOptions::new().name(name).mode(0o600).create_tokio().map_err(failed)?;
    if let Some(group) = group {
        let group = users::group_id(group).map_err(BindError::Group)?;
        std::os::unix::fs::chown(path, None, Some(group.as_raw())).map_err(failed)?;
    }
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).map_err(failed)?;
    Ok(listener)
}

/// Whether a living daemon has this socket: one of another state folder, which our lock says nothing about.
fn is_answered(path: &Path) -> io::Result<bool> {
    use rustix::io::Errno;
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    match connect(&socket, &SocketAddrUnix::new(path)?) {
        // Alive, and more clients at its door than it has let in yet.
        Ok(()) | Err(Errno::AGAIN) => Ok(true),
        Err(Errno::CONNREFUSED) => Ok(false),
        // A socket of another kind has somebody behind it as well.
        Err(Errno::PROTOTYPE) => Ok(true),
        Err(error) => Err(error.into()),
    }
}

/// Accepts clients for ever.
pub async fn serve(listener: Listener, house: Arc<House>) {
    loop {
        let stream = match listener.accept().await {
            Ok(stream) => stream,
            Err(error) => {
                tracing::warn!("failed to accept a client: {error}");
                // Out of descriptors, most likely: others must end first.
                tokio::time::sleep(std::time::Duration::from_millis(100)).await;
                continue;
            }
        };
        if house.clients.fetch_add(1, Ordering::SeqCst) >= limits::CLIENTS_MAX {
            house.clients.fetch_sub(1, Ordering::SeqCst);
            continue;
        }
        let house = Arc::clone(&house);
        tokio::spawn(async move {
            if let Err(error) = session::run(stream, &house).await {
                tracing::debug!("a client's session ended: {error}");
            }
            house.clients.fetch_sub(1, Ordering::SeqCst);
        });
    }
}
