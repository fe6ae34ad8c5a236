//! Who asks: a client's user as the kernel tells it, and whether that is an administrator. Knows no request.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, PoisonError};

use nix::unistd::{Gid, Group, Uid, User, getgrouplist};
use spindle_core::effect::Peer;
use spindle_shared::id::Owner;
use spindle_shared::limits::CLIENTS_OF_ONE_MAX;

/// Whose daemon it is, and who is connected.
pub struct Users {
    /// The daemon's own user.
    own: u32,
    /// Whoever is in it may act on everybody's batches.
    admin_group: Option<String>,
    connected: Mutex<HashMap<u32, usize>>,
}

impl Users {
    pub fn new(own: u32, admin_group: Option<String>) -> Self {
        Users { own, admin_group, connected: Mutex::default() }
    }

    /// The daemon's own user.
    pub fn keeper(&self) -> u32 {
        self.own
    }

    /// The daemon's own user and root: whatever the daemon may read and write, they may.
    pub fn is_keeper(&self, peer: Peer) -> bool {
        peer.owner.0 == 0 || peer.owner.0 == self.own
    }

    /// Asked anew for each client: who is taken out of the group is out with the next request.
    pub async fn peer(self: &Arc<Self>, user: u32) -> Peer {
        let peer = Peer { owner: Owner(user), admin: false };
        let Some(group) = self.admin_group.clone().filter(|_| !self.is_keeper(peer)) else {
            return Peer { admin: self.is_keeper(peer), ..peer };
        };
        // The database may be a directory on the network.
        let admin = tokio::task::spawn_blocking(move || is_member(user, &group)).await.unwrap_or(false);
        Peer { admin, ..peer }
    }

    /// Lets a client in; `None` = its user has enough of them. It is let out when this is dropped.
    pub fn enter(self: &Arc<Self>, user: u32) -> Option<Guest> {
        let mut connected = self.connected.lock().unwrap_or_else(PoisonError::into_inner);
        let count = connected.entry(user).or_default();
        let keeper = user == 0 || user == self.own;
        if *count >= CLIENTS_OF_ONE_MAX && !keeper {
            return None;
        }
        *count += 1;
        Some(Guest { users: Arc::clone(self), user })
    }
}

/// A client that is connected.
pub struct Guest {
    users: Arc<Users>,
    user: u32,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut connected = self.users.connected.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = connected.get_mut(&self.user) {
            *count -= 1;
            if *count == 0 {
                connected.remove(&self.user);
            }
        }
    }
}

/// By the system's database of users and groups, primary group included. Whoever isn't in it is in no group.
fn is_member(user: u32, group: &str) -> bool {
    let looked_up = || -> nix::Result<bool> {
        let (Some(user), Some(group)) = (User::from_uid(Uid::from_raw(user))?, Group::from_name(group)?) else {
            return Ok(false);
        };
        let Ok(name) = CString::new(user.name) else { return Ok(false) };
        Ok(getgrouplist(&name, user.gid)?.contains(&group.gid))
    };
    looked_up().unwrap_or_else(|error| {
        tracing::warn!(user, group, "failed to look up who is in the administrators' group: {error}");
        false
    })
}

/// The number of a group of this machine; `Err` says why there is none.
pub fn group_id(name: &str) -> Result<Gid, String> {
    match Group::from_name(name) {
        Ok(Some(group)) => Ok(group.gid),
        Ok(None) => Err(format!("there is no group `{}` on this machine", spindle_shared::text::escaped(name))),
        Err(error) => Err(format!("failed to look up the group `{}`: {error}", spindle_shared::text::escaped(name))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn keepers_and_members_are_administrators_and_nobody_else() {
        // `daemon` is user and group 1 of every Debian, the one in the other.
        let users = Arc::new(Users::new(60_000, Some("daemon".to_owned())));
        let mut admins = Vec::new();
        for user in [0, 1, 2, 60_000, 60_001] {
            admins.push(users.peer(user).await.admin);
        }
        assert_eq!(admins, [true, true, false, true, false]);
        for group in [None, Some("no-such-group".to_owned())] {
            let users = Arc::new(Users::new(60_000, group));
            assert!(!users.peer(1).await.admin && users.peer(0).await.admin);
        }
        assert_eq!(group_id("daemon").map(Gid::as_raw), Ok(1));
        assert!(group_id("no\tsuch").unwrap_err().contains("no\\tsuch"));
    }

    #[test]
    fn one_user_takes_no_more_than_a_share_of_the_doors() {
        let users = Arc::new(Users::new(60_000, None));
        let mut guests: Vec<Guest> = (0..CLIENTS_OF_ONE_MAX).map(|_| users.enter(60_001).unwrap()).collect();
        assert!(users.enter(60_001).is_none());
        assert!(users.enter(60_002).is_some() && users.enter(0).is_some());
        guests.pop();
        assert!(users.enter(60_001).is_some());
        drop(guests);
        assert!(users.connected.lock().unwrap().is_empty());
    }
}
