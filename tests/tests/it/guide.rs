//! The guide and the README: every command in them is run as it stands there, and what they show is what is seen. Knows no verb.
//!
//! A page's ```` ```console ```` blocks hold commands (`$ …`, going on after a `\`) and what comes of them: `…` stands for any text within a line, a
//! line of `…` alone for any lines, spaces count as one. A command ends well, or the next one is `echo $?`. A block `LANGUAGE FILE` is written into
//! the folder where commands run, `spindled.toml` before the daemon starts; `<!-- files: a.mp4 b.wav:9 -->` has media made, of so many seconds.
//! What can't run here says so: ```` ```console not run ````.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use spindle_tests::harness::{Daemon, output_within, program, wav};
use spindle_tests::oracle::{Asked, Oracle, Reply as Answer};
use spindle_tests::site::{Reply, Site};

/// Where commands run, as the pages show it.
const HOME: &str = "/home/mara";
const SITE: &str = "https://media.example";
const API: &str = "https://api.example/v1";
/// A page's commands do real work, on a machine whose cores are all taken by other tests.
const PATIENCE: Duration = Duration::from_secs(180);
/// What begins a block that is shown and not run, and how many of them there may be in all.
const NOT_RUN: &str = "console not run";
const NOT_RUN_MAX: usize = 6;

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// A fenced block: the words after its fence, and its lines.
struct Block {
    info: String,
    lines: Vec<String>,
    /// Number of its first line.
    at: usize,
}

fn blocks(text: &str) -> Vec<Block> {
    let mut found: Vec<Block> = Vec::new();
    let mut open = false;
    for (at, line) in text.lines().enumerate() {
        match (line.strip_prefix("```"), open) {
            (Some(info), false) => {
                found.push(Block { info: info.trim().to_owned(), lines: Vec::new(), at: at + 2 });
                open = true;
            }
            (Some(_), true) => open = false,
            (None, true) => found.last_mut().unwrap().lines.push(line.to_owned()),
            (None, false) => {}
        }
    }
    assert!(!open, "a block is not closed");
    found
}

/// A command and the lines that are shown below it.
struct Step {
    command: String,
    shown: Vec<String>,
    at: usize,
}

fn steps(block: &Block) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut goes_on = false;
    for (offset, line) in block.lines.iter().enumerate() {
        let at = block.at + offset;
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step { command: command.to_owned(), shown: Vec::new(), at });
        } else {
            let step = steps.last_mut().unwrap_or_else(|| panic!("line {at} belongs to no command"));
            if goes_on {
                step.command.push('\n');
                step.command.push_str(line);
            } else {
                step.shown.push(line.clone());
            }
        }
        goes_on = (goes_on || line.starts_with("$ ")) && line.ends_with('\\');
    }
    steps
}

/// `…` in the pattern is any text, none as well.
fn line_fits(pattern: &str, line: &str) -> bool {
    let squeezed = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (pattern, line) = (squeezed(pattern), squeezed(line));
    let mut parts = pattern.split('…');
    let Some(mut rest) = parts.next().and_then(|first| line.strip_prefix(first)) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

fn fits(pattern: &[String], lines: &[&str]) -> bool {
    match pattern {
        [] => lines.is_empty(),
        [any, rest @ ..] if any.trim() == "…" => (0..=lines.len()).any(|at| fits(rest, &lines[at..])),
        [one, rest @ ..] => lines.split_first().is_some_and(|(line, lines)| line_fits(one, line) && fits(rest, lines)),
    }
}

#[test]
fn what_is_shown_is_compared() {
    assert!(line_fits("a … c", "a  b c") && line_fits("… b", "x b") && line_fits("a…", "a") && line_fits("a", "a"));
    assert!(!line_fits("a … c", "a b d") && !line_fits("a", "ab") && !line_fits("b …", "ab"));
    let pattern = ["a".to_owned(), "…".to_owned(), "z".to_owned()];
    assert!(fits(&pattern, &["a", "z"]) && fits(&pattern, &["a", "b", "c", "z"]));
    assert!(!fits(&pattern, &["a", "b"]) && !fits(&pattern, &["a", "z", "b"]));
}

/// Makes a file by its name: sound, a video, a picture; `broken` ones are none.
fn make(folder: &Path, name: &str) {
    let (name, seconds) = name.split_once(':').unwrap_or((name, "4"));
    let seconds: f64 = seconds.parse().unwrap();
    let path = folder.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let number = name.bytes().map(u32::from).sum::<u32>();
    let (stem, ending) = name.rsplit_once('.').unwrap();
    if stem.contains("broken") {
        fs::write(&path, "This is no recording.\n").unwrap();
        return;
    }
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y"]);
    match ending {
        "wav" => return fs::write(&path, wav(seconds, 180.0 + f64::from(number % 400))).unwrap(),
        "jpg" | "png" | "webp" => {
            // Something on a plain ground, as shops have it.
            let object =
                format!("color=white:s=640x480,drawbox=x={}:y=140:w=220:h=200:c=0x2040a0:t=fill", 150 + number % 100);
            ffmpeg.args(["-f", "lavfi", "-i", &object, "-frames:v", "1"]);
        }
        _ => {
            let sound = folder.join(".sound.wav");
            fs::write(&sound, wav(seconds, 180.0 + f64::from(number % 400))).unwrap();
            let picture = format!("testsrc2=s=640x360:r=25:d={seconds},hue=h={}", number % 360);
            ffmpeg.arg("-i").arg(&sound);
            if ending != "mp3" {
                ffmpeg.args(["-f", "lavfi", "-i", &picture, "-c:v", "libx264", "-preset", "ultrafast", "-crf", "8"]);
                ffmpeg.args(["-pix_fmt", "yuv420p"]);
            }
            ffmpeg.arg("-shortest");
        }
    }
    let output = ffmpeg.arg(&path).stdin(Stdio::null()).output().expect("the program ffmpeg is installed");
    assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
    let _ = fs::remove_file(folder.join(".sound.wav"));
}

/// An answer of a model: a lesson, as its prompt asks for.
fn answer(_: &Asked) -> Answer {
    Answer::json(&serde_json::json!({
        "title": "Gears", "summary": "How gears carry force.", "subject": "Mechanics",
        "content_sections": [{"title": "Why gears", "content": "They turn speed into force.", "timestamp_seconds": 1, "key_points": ["force"]}],
        "important_timestamps": [{"seconds": 1, "description": "the first pair"}], "tags": ["gears"],
    }))
}

/// Runs a page from its first command to its last, with a daemon of its own.
fn run(page: &str) {
    let text = fs::read_to_string(docs().join(page)).unwrap();
    let (site, oracle) = (served(), Oracle::start(answer));
    let daemon = Daemon::real().parrot("small", "en", &[" hello", " world"]);
    let daemon = daemon.env("SPINDLE_REMOTE__ALLOW", &format!("[\"{}\"]", site.host())).env("MY_MODEL_KEY", "k-1");
    let daemon = daemon.env("SHOP_KEY", "k-2").env("SHOP_SECRET", "k-3").stopped();
    let folder = daemon.media();
    let stand_ins = [
        (SITE.to_owned(), site.url("").trim_end_matches('/').to_owned()),
        (API.to_owned(), oracle.endpoint()),
        (HOME.to_owned(), folder.to_str().unwrap().to_owned()),
    ];
    let real = |text: &str| stand_ins.iter().fold(text.to_owned(), |text, (shown, real)| text.replace(shown, real));
    let shown = |text: &str| stand_ins.iter().fold(text.to_owned(), |text, (shown, real)| text.replace(real, shown));

    for line in text.lines() {
        let files = line.strip_prefix("<!-- files: ").and_then(|line| line.strip_suffix(" -->")).unwrap_or_default();
        files.split_whitespace().for_each(|name| make(&folder, name));
    }
    let blocks = blocks(&text);
    let configuration = daemon.root().join("home/config/spindle/spindled.toml");
    fs::create_dir_all(configuration.parent().unwrap()).unwrap();
    for block in blocks.iter().filter(|block| block.info == "toml spindled.toml") {
        fs::write(&configuration, real(&block.lines.join("\n"))).unwrap();
    }
    let mut daemon = daemon;
    daemon.start();
    let programs = program("spindlectl").parent().unwrap().to_owned();
    let path = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap());
    let mut last = 0;
    for block in &blocks {
        match block.info.split_once(' ') {
            _ if block.info == "console" => {}
            _ if block.info == NOT_RUN || block.info == "toml spindled.toml" => continue,
            Some((_, name)) => {
                fs::write(folder.join(name), real(&block.lines.join("\n")) + "\n").unwrap();
                continue;
            }
            None => {
                let shown_only = ["sh", "bash", "shell"].contains(&block.info.as_str()) && page != "README.md";
                assert!(!shown_only, "{page}:{}: use console", block.at);
                continue;
            }
        }
        for step in steps(block) {
            let place = format!("{page}:{}: $ {}", step.at, step.command);
            assert!(last == 0 || step.command == "echo $?", "{place}\nthe command before ended with {last}");
            // What went wrong stands where it happened.
            let line = format!("exec 2>&1; (exit {last}); {}", real(&step.command));
            let mut shell = daemon.command("spindlectl");
            let environment: Vec<_> =
                shell.get_envs().map(|(name, value)| (name.to_owned(), value.unwrap().to_owned())).collect();
            shell = Command::new("bash");
            shell.env_clear().envs(environment).env("PATH", &path).current_dir(&folder).stdin(Stdio::null());
            shell.arg("-c").arg(&line);
            let output = output_within(shell, &place, PATIENCE);
            last = output.status.code().unwrap_or_else(|| panic!("{place}\nended by a signal"));
            let said = shown(&String::from_utf8_lossy(&output.stdout));
            let lines: Vec<&str> = said.lines().collect();
            assert!(
                step.shown.is_empty() || fits(&step.shown, &lines),
                "{place}\nshown is\n{}\nand said was (exit {last})\n{said}",
                step.shown.join("\n")
            );
            assert!(last == 0 || !step.shown.is_empty(), "{place}\nended with {last}:\n{said}");
        }
    }
    assert_eq!(last, 0, "{page}: its last command failed");
}

/// A site with a recording wherever one looks.
fn served() -> Site {
    let sound: Arc<[u8]> = wav(3.0, 333.0).into();
    Site::start(move |_, _| Reply::file(&sound))
}

macro_rules! pages {
    ($($name:ident)*) => {
        const PAGES: &[&str] = &[$(stringify!($name)),*];
        $(#[test] fn $name() { run(concat!("docs/guide/", stringify!($name), ".md")); })*
    };
}

pages! { compress convert dashboard elsewhere highlights images order recipes reports scripts subtitles watching }

#[test]
fn readme() {
    run("README.md");
}

/// Blocks without their comments, commands in tables, and where links lead.
fn skeleton(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    for block in blocks(text) {
        found.push(block.info);
        found.extend(block.lines.iter().map(|line| line.split("  #").next().unwrap_or(line).trim_end().to_owned()));
    }
    for row in text.lines().filter(|line| line.starts_with('|')) {
        found.extend(row.split('`').skip(1).step_by(2).map(str::to_owned));
    }
    let links = text.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    found.extend(links.filter(|link| !link.starts_with("README")).map(str::to_owned));
    found.push(format!("{} parts", text.matches("\n## ").count()));
    found
}

#[test]
fn the_chinese_readme_has_the_same_commands() {
    let read = |name: &str| fs::read_to_string(docs().join(name)).unwrap();
    assert_eq!(skeleton(&read("README.zh.md")), skeleton(&read("README.md")));
}

#[test]
fn links_lead_to_what_is_there() {
    let pages =
        ["README.md", "README.zh.md", "ARCHITECTURE.md", "CHANGELOG.md", "docs/operations.md", "docs/image-models.md"];
    let mut pages: Vec<PathBuf> = pages.iter().map(|page| docs().join(page)).collect();
    for folder in ["docs/guide", "docs/reference"] {
        pages.extend(fs::read_dir(docs().join(folder)).unwrap().map(|entry| entry.unwrap().path()));
    }
    for page in pages {
        let text = fs::read_to_string(&page).unwrap();
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap();
            if file.is_empty() || file.contains("://") || file.contains(' ') {
                continue;
            }
            assert!(page.parent().unwrap().join(file).exists(), "{}: {link} leads nowhere", page.display());
        }
    }
}

#[test]
fn every_page_is_run_and_few_blocks_are_not() {
    let mut found = Vec::new();
    let mut left_out = 0;
    for entry in fs::read_dir(docs().join("docs/guide")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        let text = fs::read_to_string(entry.path()).unwrap();
        left_out += blocks(&text).iter().filter(|block| block.info == NOT_RUN).count();
        match name.strip_suffix(".md") {
            Some("README") => {}
            Some(page) => found.push(page.to_owned()),
            None => panic!("{name} is no page"),
        }
    }
    found.sort();
    let mut pages = PAGES.to_vec();
    pages.sort();
    assert_eq!(found, pages);
    assert!(left_out <= NOT_RUN_MAX, "{left_out} blocks are not run");
}
