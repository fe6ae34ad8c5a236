//! The server: one session per client on the local socket. Knows who asks; decides nothing about the queue.

mod chores;
mod connection;
pub mod listener;
mod read;
mod session;
mod submit;
pub mod watch;

pub use chores::clean_regularly;

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
    /// Alerts that hold just now.
    pub firing: Arc<crate::watchman::Firing>,
    /// The daemon's own user, who may do everything.
    pub user: u32,
    /// The graphics cards, as if all were in order.
    pub gpus: Gpus,
    pub clients: AtomicUsize,
    pub housekeeping: Housekeeping,
    /// Held by whoever goes through the whole queue or the whole folder of artifacts; one at a time does.
    pub chore: tokio::sync::Mutex<()>,
    /// Outputs that were given to stores in turn.
    pub turns: AtomicUsize,
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
    #[error("failed to make the socket {}: {error}", .path.display())]
    Socket { path: PathBuf, error: io::Error },
}

/// Makes the socket. What lies there already may be a dead daemon's; what is no socket, or is answered at, is somebody else's.
pub fn bind(path: &Path) -> Result<Listener, BindError> {
    let failed = |error: io::Error| BindError::Socket { path: path.to_owned(), error };
    if let Some(folder) = path.parent() {
        if !folder.exists() {
            fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
        }
        let meta = fs::metadata(folder).map_err(failed)?;
        let ours = meta.uid() == spindle_shared::paths::user_id();
        // Where anyone may write (a folder under /tmp), it must be ours alone.
        if folder.starts_with("/tmp") && (!ours || meta.permissions().mode() & 0o077 != 0) {
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
    ListenerOptions::new().name(name).mode(0o600).create_tokio().map_err(failed)
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
