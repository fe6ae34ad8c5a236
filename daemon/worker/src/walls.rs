//! The walls around a worker: what of files, sockets and system calls its role leaves it. It never knows a stage.
//!
//! They are put up once, before the first order: [Landlock] for files, TCP and signals, seccomp for system calls, and no new
//! privileges. Landlock only ever tightens, so what differs from run to run comes as open descriptors; a run that writes where its
//! user wants it ([`narrow`]) has its own thread, and the thread walls itself in further. What the kernel can't do is told, and the
//! work goes on within the rest.
//!
//! [Landlock]: https://docs.kernel.org/userspace-api/landlock.html

mod calls;
pub mod probe;

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};
use spindle_shared::lane::Role;

/// The newest that is known here; an older kernel does what it can of it.
const KNOWN: ABI = ABI::V6;

/// Programs, libraries and what they read of the system. No user's file is among them.
const SYSTEM: [&str; 31] = [
    "/usr",
    "/lib",
    "/lib64",
    "/bin",
    "/opt",
    "/etc/ld.so.cache",
    "/etc/ld.so.preload",
    "/etc/localtime",
    "/etc/fonts",
    "/etc/OpenCL",
    "/etc/vulkan",
    "/etc/glvnd",
    "/proc/self",
    "/proc/meminfo",
    "/proc/cpuinfo",
    "/proc/stat",
    "/proc/sys/vm",
    "/proc/sys/kernel",
    "/proc/driver",
    "/proc/devices",
    "/proc/modules",
    "/proc/filesystems",
    "/sys/devices",
    "/sys/class",
    "/sys/bus",
    "/sys/dev",
    "/sys/kernel/mm",
    "/sys/fs/cgroup",
    "/sys/module",
    "/dev/urandom",
    "/dev/random",
];

/// Names, certificates and the way out, for who talks to others.
const NETWORK: [&str; 11] = [
    "/etc/resolv.conf",
    "/etc/hosts",
    "/etc/host.conf",
    "/etc/nsswitch.conf",
    "/etc/gai.conf",
    "/etc/services",
    "/etc/ssl",
    "/etc/pki",
    "/etc/ca-certificates",
    "/run/systemd/resolve",
    "/run/NetworkManager",
];

/// The nodes of graphics cards, for who computes on them.
fn graphics() -> Vec<PathBuf> {
    let of_nvidia = std::fs::read_dir("/dev").into_iter().flatten().flatten().map(|entry| entry.path());
    let of_nvidia =
        of_nvidia.filter(|path| path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("nvidia")));
    ["/dev/dri", "/dev/kfd"].map(PathBuf::from).into_iter().chain(of_nvidia).collect()
}

/// Where in the house a worker may go; what the daemon says at its start.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Places {
    /// The house's state: of it, scratch and checkpoints.
    pub state: PathBuf,
    pub models: PathBuf,
    /// Programs that it may start.
    pub programs: Vec<PathBuf>,
}

/// What a worker is started for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    pub role: Role,
    /// The graphics card to do it on.
    pub device: Option<u8>,
}

/// The role and the places of a command line: `--role NAME [--device NUMBER]`, then `--state DIR --models DIR` and any number of `--program FILE`. Without
/// places there are no walls. `None` where it is anything else: the only caller is the daemon of the same build.
pub fn arguments(mut arguments: impl Iterator<Item = OsString>) -> Option<(Asked, Option<Places>)> {
    let (first, role) = (arguments.next()?, arguments.next()?);
    let role = Role::from_name(role.to_str()?).filter(|_| first == "--role")?;
    let mut asked = Asked { role, device: None };
    let mut places = None::<Places>;
    while let Some(option) = arguments.next() {
        if option == "--device" {
            asked.device = Some(arguments.next()?.to_str()?.parse().ok()?);
            continue;
        }
        let value = PathBuf::from(arguments.next()?);
        let places = places.get_or_insert_default();
        match option.to_str()? {
            "--state" => places.state = value,
            "--models" => places.models = value,
            "--program" => places.programs.push(value),
            _ => return None,
        }
    }
    match &places {
        Some(places) if !places.state.is_absolute() || !places.models.is_absolute() => None,
        _ => Some((asked, places)),
    }
}

/// Puts the walls up, for this thread and all that it starts. Returns what could not be done.
pub fn put_up(role: Role, places: &Places) -> Vec<String> {
    let mut lacks = Vec::new();
    if let Err(e) = rustix::thread::set_no_new_privs(true) {
        lacks.push(format!("no new privileges: {e}"));
    }
    // A files worker writes wherever its users want outputs: each of its runs walls itself in.
    if role != Role::Files {
        lacks.extend(wall_of_files(&of_role(role, places), role == Role::Net).err());
    }
    lacks.extend(calls::forbid(role, !places.programs.is_empty()).err());
    lacks
}

/// The wall around one run of a files worker: the house's own folders, and those that its outputs go into.
pub fn narrow(places: &Places, outputs: &[PathBuf]) -> Result<(), String> {
    let mut rights = of_role(Role::Files, places);
    rights.extend(outputs.iter().map(|folder| (standing(folder).to_owned(), writing())));
    wall_of_files(&rights, false)
}

/// The folder itself, or what there is of the way to it: it will be made.
fn standing(folder: &Path) -> &Path {
    folder.ancestors().find(|way| way.is_dir()).unwrap_or(folder)
}

fn reading() -> BitFlags<AccessFs> {
    AccessFs::ReadFile | AccessFs::ReadDir
}

fn writing() -> BitFlags<AccessFs> {
    reading()
        | AccessFs::WriteFile
        | AccessFs::Truncate
        | AccessFs::MakeReg
        | AccessFs::MakeDir
        | AccessFs::RemoveFile
        | AccessFs::RemoveDir
        | AccessFs::Refer
}

type Rights = Vec<(PathBuf, BitFlags<AccessFs>)>;

fn of_role(role: Role, places: &Places) -> Rights {
    let mut rights: Rights = Vec::new();
    let mut allow = |path: PathBuf, access| rights.push((path, access));
    for path in SYSTEM {
        allow(path.into(), reading());
    }
    // Libraries and data that lie elsewhere, as the environment of the daemon says.
    for variable in ["LD_LIBRARY_PATH", "TESSDATA_PREFIX", "VK_ICD_FILENAMES", "VK_DRIVER_FILES"] {
        for path in env::split_paths(&env::var_os(variable).unwrap_or_default()).filter(|path| path.is_absolute()) {
            allow(path, reading());
        }
    }
    if let Ok(program) = env::current_exe() {
        allow(program, reading());
    }
    for device in ["/dev/null", "/dev/zero"] {
        allow(device.into(), reading() | AccessFs::WriteFile);
    }
    // How it stands in the eyes of the kernel is its own to say.
    for file in ["oom_score_adj", "clear_refs"] {
        allow(Path::new("/proc/self").join(file), AccessFs::ReadFile | AccessFs::WriteFile);
    }
    for folder in ["scratch", "checkpoints"] {
        allow(places.state.join(folder), writing());
    }
    match role {
        Role::Speech | Role::Vision => {
            allow(places.models.clone(), reading());
            for node in graphics() {
                allow(node, reading() | AccessFs::WriteFile | AccessFs::IoctlDev);
            }
        }
        Role::Net => {
            for path in NETWORK {
                allow(path.into(), reading());
            }
            for variable in ["CREDENTIALS_DIRECTORY", "SSL_CERT_FILE", "SSL_CERT_DIR"] {
                allow(env::var_os(variable).unwrap_or_default().into(), reading());
            }
            // `models pull` puts them there.
            allow(places.models.clone(), writing());
            if !places.programs.is_empty() {
                for path in SYSTEM.iter().take(5) {
                    allow(path.into(), reading() | AccessFs::Execute);
                }
            }
            for program in &places.programs {
                for path in installed(program) {
                    allow(path, reading() | AccessFs::Execute);
                }
            }
        }
        Role::Media | Role::Files => {}
    }
    rights
}

/// A program with the libraries that it is installed with, and nothing else of the folder above: that may be a user's home.
fn installed(program: &Path) -> Vec<PathBuf> {
    let real = program.canonicalize().unwrap_or_else(|_| program.to_owned());
    let prefix = real.parent().filter(|folder| folder.ends_with("bin")).and_then(Path::parent);
    let beside = prefix.map(|prefix| ["lib", "lib64", "pyvenv.cfg"].map(|name| prefix.join(name)));
    std::iter::once(real.clone()).chain(beside.into_iter().flatten()).collect()
}

/// `Err` says what of it the kernel doesn't do.
fn wall_of_files(rights: &Rights, network: bool) -> Result<(), String> {
    let failed = |e: &dyn std::fmt::Display| format!("Landlock: {e}");
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::BestEffort)
        .handle_access(AccessFs::from_all(KNOWN))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(KNOWN)))
        .map_err(|e| failed(&e))?;
    if !network {
        ruleset = ruleset.handle_access(AccessNet::from_all(KNOWN)).map_err(|e| failed(&e))?;
    }
    let mut created = ruleset.create().map_err(|e| failed(&e))?;
    for (path, access) in rights {
        created = allow(created, path, *access).map_err(|e| failed(&e))?;
    }
    let status = created.restrict_self().map_err(|e| failed(&e))?;
    match status.ruleset {
        RulesetStatus::FullyEnforced => Ok(()),
        RulesetStatus::PartiallyEnforced => Err("Landlock: this kernel knows a part of it only".to_owned()),
        RulesetStatus::NotEnforced => {
            Err("Landlock: this kernel has none, or it is switched off at its start".to_owned())
        }
    }
}

/// What isn't there needs no right.
fn allow(
    ruleset: RulesetCreated,
    path: &Path,
    access: BitFlags<AccessFs>,
) -> Result<RulesetCreated, landlock::RulesetError> {
    let Ok(place) = PathFd::new(path) else { return Ok(ruleset) };
    let access = if path.is_dir() { access } else { access & AccessFs::from_file(KNOWN) };
    ruleset.add_rule(PathBeneath::new(place, access))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(arguments: &[&str]) -> Option<(Asked, Option<Places>)> {
        super::arguments(arguments.iter().map(OsString::from))
    }

    #[test]
    fn a_role_and_places_start_a_worker_and_nothing_else() {
        let asked = |role, device| Asked { role, device };
        assert_eq!(read(&["--role", "speech"]), Some((asked(Role::Speech, None), None)));
        assert_eq!(read(&["--role", "speech", "--device", "1"]), Some((asked(Role::Speech, Some(1)), None)));
        let places = Places { state: "/s".into(), models: "/m".into(), programs: vec!["/p".into()] };
        let all = ["--role", "net", "--state", "/s", "--models", "/m", "--program", "/p"];
        assert_eq!(read(&all), Some((asked(Role::Net, None), Some(places))));
        let bad: [&[&str]; 10] = [
            &[],
            &["--role"],
            &["--role", "king"],
            &["speech"],
            &["--role", "speech", "--device"],
            &["--role", "speech", "--device", "-1"],
            &["--role", "net", "more"],
            &["--role", "net", "--state", "/s"],
            &["--role", "net", "--state", "s", "--models", "/m"],
            &["--role", "net", "--sate", "/s", "--models", "/m"],
        ];
        for bad in bad {
            assert_eq!(read(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_program_opens_no_more_than_its_own_installation() {
        let paths = |program: &str| installed(Path::new(program));
        assert_eq!(paths("/home/ann/no-such-program"), [PathBuf::from("/home/ann/no-such-program")]);
        let all = ["bin/x", "lib", "lib64", "pyvenv.cfg"].map(|name| Path::new("/no-such/venv").join(name));
        assert_eq!(paths("/no-such/venv/bin/x"), all);
    }
}
