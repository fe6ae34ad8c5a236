//! Profiles of compression: the built-in ones and the configuration's; names to settings. Knows no video.

use spindle_shared::stage::Stage;
use spindle_shared::stage::compress::{DYNAMIC, Profile};
use spindle_shared::wire::response::{Refusal, RefusalKind};

/// All that can be named, the built-in ones first.
pub fn all(own: &[Profile]) -> Vec<Profile> {
    Profile::built_in().into_iter().chain(own.iter().cloned()).collect()
}

/// Fills in what each stage's profile is; `dynamic` is chosen when the length is known.
pub fn resolve(stages: &mut [Stage], own: &[Profile]) -> Result<(), Refusal> {
    for stage in stages {
        let Stage::Compress(compress) = stage else { continue };
        // What a client says of a profile doesn't count: the name does; and what it says of stores it can't know.
        compress.upload_bytes = None;
        compress.settings = match compress.profile.as_str() {
            DYNAMIC => None,
            name => Some(find(name, own)?),
        };
    }
    Ok(())
}

fn find(name: &str, own: &[Profile]) -> Result<Profile, Refusal> {
    let known = all(own);
    match known.iter().find(|profile| profile.name == name) {
        Some(profile) => Ok(profile.clone()),
        None => {
            let names: Vec<&str> = known.iter().map(|profile| profile.name.as_str()).chain([DYNAMIC]).collect();
            let shown = spindle_shared::text::escaped(name);
            let refusal = Refusal::new(
                RefusalKind::Usage,
                format!("there is no profile `{shown}`: known are {}", names.join(", ")),
            );
            Err(refusal.hint("own profiles stand in the daemon's configuration, as [profiles.NAME]"))
        }
    }
}
