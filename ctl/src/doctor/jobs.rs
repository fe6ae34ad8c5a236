//! A tiny real job of each recipe, submitted as a user would: by this very program.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;
use spindle_shared::wire::response::ModelView;

use super::{Finding, Verdict, samples};

/// Longest time for one of them in seconds, with a machine that has other things to do.
const PATIENCE_SECONDS: u32 = 120;

/// Tries all recipes that this installation has what it takes for.
pub fn try_all(socket: &Path, models: &[ModelView], tell: &dyn Fn(&str)) -> Vec<Finding> {
    let made = tempfile::Builder::new().prefix("spindle-doctor-").tempdir().and_then(|folder| {
        std::fs::write(folder.path().join("sound.wav"), samples::sound())?;
        std::fs::write(folder.path().join("video.y4m"), samples::video())?;
        std::fs::write(folder.path().join("picture.bmp"), samples::picture())?;
        Ok(folder)
    });
    let folder = match made {
        Ok(folder) => folder,
        Err(e) => {
            let message = format!("no folder for samples can be made: {e}");
            return vec![Finding::new("jobs", "samples", Verdict::Wrong, message)];
        }
    };
    let speech = models.iter().filter(|model| model.path.is_some() && model.purpose == "speech");
    let speech = speech.min_by_key(|model| model.bytes).map(|model| model.name.clone());
    let subtitles = speech.as_ref().map(|model| vec!["subtitles", "--model", model.as_str(), "sound.wav"]);
    let mut findings = Vec::new();
    if subtitles.is_none() {
        findings.push(
            Finding::new("jobs", "subtitles", Verdict::Limited, "not tried: no model of speech is installed")
                .hint("`spindlectl models pull base`"),
        );
    }
    let others: [&[&str]; 6] = [
        &["compress", "video.y4m"],
        &["convert", "--to", "mp3", "sound.wav"],
        &["preview", "video.y4m"],
        &["highlights", "--target-duration", "5", "video.y4m"],
        &["report", "video.y4m"],
        &["images", "--op", "resize=32x24", "picture.bmp"],
    ];
    for words in subtitles.iter().map(Vec::as_slice).chain(others) {
        tell(&format!("trying {} …", words[0]));
        findings.push(try_one(socket, folder.path(), words));
    }
    findings
}

fn try_one(socket: &Path, folder: &Path, words: &[&str]) -> Finding {
    let (recipe, name) = (words[0], *words.last().unwrap_or(&""));
    let wrong = |message: String| Finding::new("jobs", recipe, Verdict::Wrong, message);
    let Ok(own) = std::env::current_exe() else { return wrong("this program can't be found".to_owned()) };
    let ctl = |words: &[&str]| {
        let mut command = Command::new(&own);
        command.arg("--socket").arg(socket).args(["--json", "--quiet"]).args(words).stdin(Stdio::null());
        command
    };
    let outputs: PathBuf = folder.join(recipe);
    let begun = std::time::Instant::now();
    let submitted =
        ctl(&["submit"]).args(&words[..words.len() - 1]).arg("--output").arg(&outputs).arg(folder.join(name)).output();
    let submitted = match submitted {
        Ok(output) if output.status.success() => output,
        Ok(output) => return wrong(format!("it was not taken: {}", told(&output.stderr))),
        Err(e) => return wrong(e.to_string()),
    };
    let document: Value = serde_json::from_slice(&submitted.stdout).unwrap_or_default();
    let Some(batch) = document["batch_id"].as_u64().map(|id| id.to_string()) else {
        return wrong("the daemon's answer names no batch".to_owned());
    };
    let patience = PATIENCE_SECONDS.to_string();
    let waited = ctl(&["wait", &batch, "--timeout", &patience]).output().ok().and_then(|output| output.status.code());
    let result = ctl(&["result", &batch]).output().map(|output| output.stdout).unwrap_or_default();
    let result: Value = serde_json::from_slice(&result).unwrap_or_default();
    let found = std::fs::read_dir(&outputs).into_iter().flatten().flatten();
    let written = found.filter(|entry| entry.metadata().is_ok_and(|meta| meta.len() > 0)).count();
    if waited == Some(i32::from(spindle_shared::exit::WAIT_TIMEOUT)) {
        let _ = ctl(&["cancel", &batch]).output();
    }
    let _ = ctl(&["remove", &batch, "--purge"]).output();
    match waited {
        Some(0) if written > 0 => {
            Finding::well("jobs", recipe, format!("{written} file(s) in {:.1} s", begun.elapsed().as_secs_f64()))
        }
        Some(0) => wrong("it ended well and wrote nothing".to_owned()),
        Some(code) if code == i32::from(spindle_shared::exit::WAIT_TIMEOUT) => {
            let message = format!("not done within {PATIENCE_SECONDS} s");
            Finding::new("jobs", recipe, Verdict::Limited, message)
                .hint("other work may have gone first: try again later")
        }
        _ => {
            let jobs = result["jobs"].as_array().cloned().unwrap_or_default();
            let failures = jobs.iter().map(|job| &job["failure"]).chain([&result["gather"]["failure"]]);
            let failure = failures.into_iter().find(|failure| failure.is_object()).cloned().unwrap_or_default();
            let finding = wrong(failure["message"].as_str().unwrap_or("it failed").to_owned());
            match failure["advice"].as_str() {
                Some(advice) => finding.hint(advice),
                None => finding,
            }
        }
    }
}

/// The first line of what it said, out of its JSON where it is such.
fn told(said: &[u8]) -> String {
    let said = String::from_utf8_lossy(said);
    let message = serde_json::from_str::<Value>(said.lines().next().unwrap_or_default())
        .ok()
        .and_then(|error| Some(error["error"]["message"].as_str()?.to_owned()));
    message.unwrap_or_else(|| said.lines().next().unwrap_or("it said nothing").to_owned())
}
