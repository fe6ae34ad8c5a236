//! Graphics cards of this machine, as the worker program for them finds them. Asked once at the start; whatever goes wrong means that there is none.

use std::io::Read;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use spindle_core::gpus::Found;
use spindle_shared::lane::Device;
use spindle_shared::limits::{DEVICES_MAX, DEVICES_TEXT_BYTES_MAX};
use spindle_shared::object_store::names_a_key;
use spindle_shared::text::escaped;

/// How long the program may take: the first use of a driver compiles, and reads disks that have slept.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The cards that this program can use, if one is named.
pub fn find(program: Option<&Path>) -> Found {
    let Some(program) = program else { return Found::default() };
    match ask(program, PATIENCE) {
        Ok(devices) if devices.is_empty() => {
            none(format!("{} finds no graphics card on this machine", program.display()))
        }
        Ok(devices) => {
            for (device, number) in devices.iter().zip(0..) {
                let Device { name, api, free_bytes, memory_bytes, roles } = device;
                let (free, memory, roles) = (free_bytes >> 20, memory_bytes >> 20, roles.join(", "));
                tracing::info!("gpu:{number} is {name} ({api}), {free} of {memory} MiB free, for: {roles}");
            }
            Found { devices, none: None }
        }
        Err(why) => none(format!("{} {why}", program.display())),
    }
}

fn none(why: String) -> Found {
    tracing::warn!("no graphics card is used, and the processor does all work: {why}");
    Found { devices: Vec::new(), none: Some(why) }
}

/// `Err` goes on after the program's name.
fn ask(program: &Path, patience: Duration) -> Result<Vec<Device>, String> {
    let mut command = Command::new(program);
    command.arg("--devices").current_dir("/");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| names_a_key(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    for own in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "CREDENTIALS_DIRECTORY"] {
        command.env_remove(own);
    }
    let mut child = command.spawn().map_err(|e| format!("can't be started: {e}"))?;
    // Read beside, so that one that says much isn't kept from ending.
    let said = child.stdout.take().map(|out| {
        thread::spawn(move || {
            let mut text = String::new();
            out.take(DEVICES_TEXT_BYTES_MAX).read_to_string(&mut text).map(|_| text)
        })
    });
    let until = Instant::now() + patience;
    let status = loop {
        match child.try_wait() {
            Ok(Some(status)) => break status,
            Ok(None) if Instant::now() < until => thread::sleep(LOOK_EVERY),
            ended => {
                let _ = child.kill();
                let _ = child.wait();
                return Err(match ended {
                    Err(e) => format!("can't be waited for: {e}"),
                    Ok(_) => format!("did not tell its cards within {} s", patience.as_secs_f32()),
                });
            }
        }
    };
    if !status.success() {
        return Err(format!("ended with {status} when it was asked for its cards"));
    }
    let text = said.and_then(|said| said.join().ok()?.ok()).unwrap_or_default();
    let devices: Vec<Device> =
        serde_json::from_str(&text).map_err(|e| format!("told its cards in a way that can't be read: {e}"))?;
    let tidy = |device: Device| Device { name: escaped(&device.name), api: escaped(&device.api), ..device };
    Ok(devices.into_iter().take(DEVICES_MAX).map(tidy).collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// What is found by a program with this body.
    fn found(body: &str, patience: Duration) -> Result<Vec<Device>, String> {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join("worker");
        std::fs::write(&program, format!("#!/bin/sh\n{body}\n")).unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        ask(&program, patience)
    }

    const LONG: Duration = Duration::from_secs(60);

    #[test]
    fn cards_are_taken_as_told() {
        let card = r#"{"name":"A\u001b[31mCard","api":"CUDA","memory_bytes":8589934592,"free_bytes":1073741824,"roles":["speech"]}"#;
        let [device] = found(&format!("echo '[{card}]'"), LONG).unwrap().try_into().unwrap();
        assert!(!device.name.contains('\u{1b}') && device.name.ends_with("Card"), "{}", device.name);
        assert_eq!((device.free_bytes >> 20, device.roles), (1_024, vec!["speech".to_owned()]));
        assert_eq!(found("test \"$1\" = --devices && echo []", LONG), Ok(Vec::new()));
    }

    #[test]
    fn whatever_goes_wrong_is_told() {
        for (body, told) in [
            ("exit 3", "exit status: 3"),
            ("kill -SEGV $$", "signal: 11"),
            ("echo no cards today", "can't be read"),
            ("echo '[{}]'", "missing field"),
        ] {
            let why = found(body, LONG).unwrap_err();
            assert!(why.contains(told), "{body}: {why}");
        }
        let why = found("exec sleep 600", Duration::from_millis(50)).unwrap_err();
        assert!(why.contains("within 0.05 s"), "{why}");
        let why = find(Some(Path::new("/nowhere/worker"))).none.unwrap();
        assert!(why.starts_with("/nowhere/worker can't be started"), "{why}");
        assert_eq!(find(None), Found::default());
    }
}
