//! Inputs that lie elsewhere: fetched, then as any other.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use spindle_shared::failure::FailureKind;
use spindle_shared::id::BatchId;
use spindle_shared::job::{JobState, JobView};
use spindle_tests::harness::{Daemon, Setup, eventually, repeated, wav};
use spindle_tests::site::{Reply, Site};

/// A daemon that may fetch from the site.
fn allowing(setup: Setup, site: &Site) -> Setup {
    setup.env("SPINDLE_REMOTE__ALLOW", &format!("[\"{}\"]", site.host()))
}

fn ran(job: &JobView, stage: &str) -> bool {
    job.timings.iter().any(|(name, _)| name == stage)
}

#[test]
fn an_address_becomes_subtitles_in_the_current_folder() {
    let sound: Arc<[u8]> = wav(2.0, 250.0).into();
    let served = Arc::clone(&sound);
    // The first three connections break.
    let site = Site::start(move |_, number| match number {
        0..3 => Reply::File { bytes: Arc::clone(&served), cut_after: 10_000, holds: false },
        _ => Reply::file(&served),
    });
    let daemon = allowing(Daemon::real(), &site).start();
    let url = site.url("/a%20b/talk%201.wav?sig=s3cret").replace("http://", "http://me:pass-w0rd@");
    daemon.ctl(["submit", "subtitles", "--wait", "--format", "srt", &url]).expect(0);
    assert_eq!(daemon.files("media"), ["talk 1.en.srt"]);
    let asked = site.asked();
    assert_eq!(
        asked.iter().map(|asked| asked.from).collect::<Vec<_>>(),
        [None, Some(10_000), Some(20_000), Some(30_000)]
    );
    assert!(asked.iter().all(|asked| asked.path == "/a%20b/talk%201.wav?sig=s3cret"));
    assert!(asked[0].head.iter().any(|line| line.to_lowercase().starts_with("authorization: basic ")));
    // What was fetched is gone with its job, and its secrets are shown nowhere.
    let left = daemon.files("state/artifacts");
    assert!(left.iter().all(|name| !name.ends_with(".wav")), "{left:?}");
    let shown = site.url("/a%20b/talk%201.wav?…");
    assert_eq!(daemon.json("jobs 1")[0]["input"], shown.as_str());
    for line in [
        "jobs 1",
        "--json jobs 1",
        "result 1/1",
        "--json result 1",
        "explain 1/1",
        "--json status 1",
        "report 1",
        "list",
    ] {
        let said = daemon.say(line);
        assert!(!format!("{}{}", said.out, said.err).contains("s3cret"), "{line}: {said:?}");
        assert!(!format!("{}{}", said.out, said.err).contains("pass-w0rd"), "{line}: {said:?}");
    }
    assert!(!daemon.log().contains("s3cret") && !daemon.log().contains("pass-w0rd"));

    // The same bytes from this machine are known by now, and the other way round.
    fs::write(daemon.media().join("here.wav"), &sound).unwrap();
    daemon.say("submit subtitles --wait --format srt here.wav -o two").expect(0);
    let job = daemon.job(BatchId(2), 1);
    assert!(!ran(&job, "decode") && !ran(&job, "transcribe"), "{job:#?}");
    let line = ["submit", "subtitles", "--wait", "--format", "srt", "-o", "three", &url];
    daemon.ctl(line).expect(0);
    let job = daemon.job(BatchId(3), 1);
    assert!(ran(&job, "fetch") && !ran(&job, "decode") && !ran(&job, "transcribe"), "{job:#?}");
    assert_eq!(daemon.files("media/three"), ["talk 1.en.srt"]);
}

#[test]
fn what_would_be_done_is_told_and_what_is_done_is_skipped() {
    let sound: Arc<[u8]> = wav(2.0, 260.0).into();
    let site = Site::start(move |_, _| Reply::file(&sound));
    let daemon = allowing(Daemon::real(), &site).start();
    let url = site.url("/talk.wav");
    let ran = daemon.ctl(["--json", "submit", "subtitles", "--dry-run", "--language", "en", &url]).expect(0).json();
    let output = daemon.media().canonicalize().unwrap().join("talk.en.srt");
    assert_eq!(ran["jobs"][0]["input"], url.as_str());
    assert_eq!(ran["jobs"][0]["outputs"][0], output.to_str().unwrap(), "{ran}");
    assert!(site.asked().is_empty(), "a dry run asks nobody");
    daemon.ctl(["submit", "subtitles", "--wait", &url]).expect(0);
    daemon.ctl(["submit", "subtitles", &url]).expect(2).says(&["exist already"]);
    daemon.ctl(["submit", "subtitles", "--wait", "--skip-existing", &url]).expect(0);
    assert_eq!(daemon.job(BatchId(2), 1).state, JobState::Skipped);
    assert_eq!(site.asked().len(), 1);
    // What comes of another address is another thing.
    daemon.ctl(["submit", "subtitles", "--wait", "--skip-existing", &site.url("/other/talk.wav")]).expect(0);
    assert_eq!(daemon.job(BatchId(3), 1).state, JobState::Completed);
}

#[test]
fn a_killed_daemon_goes_on_with_what_has_come() {
    let sound: Arc<[u8]> = repeated(140).into();
    assert!(sound.len() > 40 << 20);
    let served = Arc::clone(&sound);
    let site = Site::start(move |_, number| match number {
        0 => Reply::File { bytes: Arc::clone(&served), cut_after: 36 << 20, holds: true },
        _ => Reply::file(&served),
    });
    let mut daemon = allowing(Daemon::real(), &site).start();
    daemon.ctl(["submit", "convert", "--to", "wav", "-o", "out", &site.url("/talk.wav")]).expect(0);
    let part = eventually("most of it has come", || {
        let parts = daemon.files("state/checkpoints").into_iter().filter(|name| name.ends_with(".part"));
        let part = parts.map(|name| daemon.state().join("checkpoints").join(name)).next()?;
        (fs::metadata(&part).ok()?.len() >= 36 << 20).then_some(part)
    });
    daemon.kill();
    assert!(part.is_file());
    daemon.start();
    assert_eq!(daemon.ended_batch(BatchId(1)).counts.completed, 1, "{:#?}", daemon.jobs(BatchId(1)));
    let asked = site.asked();
    assert_eq!(asked.len(), 2);
    // What was flushed and noted is not fetched again.
    assert!(asked[1].from.is_some_and(|from| (32 << 20..=36 << 20).contains(&from)), "{:?}", asked[1]);
    assert_eq!(daemon.files("media/out"), ["talk.converted.wav"]);
    assert_eq!(daemon.files("state/checkpoints"), [""; 0]);
}

#[test]
fn hostile_addresses_fail_with_kind_and_advice() {
    let site = Site::start(|asked, _| match asked.path.as_str() {
        "/page.mp4" => Reply::page("200 OK", "video/mp4", "<!doctype html><h1>Not found</h1>"),
        "/loop" => Reply::Redirect("/loop".to_owned()),
        "/cloud" => Reply::Redirect("http://169.254.169.254/latest/meta-data/".to_owned()),
        "/inside" => Reply::Redirect("http://localhost:9/".to_owned()),
        "/long-head" => {
            Reply::Endless(b"HTTP/1.1 200 OK\r\n".to_vec(), b"X-More: and more and more and more and more\r\n".to_vec())
        }
        "/endless.mp4" => {
            let chunk = [b"10000\r\n".as_slice(), &[7; 0x10000], b"\r\n"].concat();
            Reply::Endless(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec(), chunk)
        }
        "/huge.mp4" => Reply::Raw(b"HTTP/1.1 200 OK\r\nContent-Length: 10737418240\r\n\r\nmedia".to_vec()),
        "/text.mp4" => Reply::page("200 OK", "video/mp4", "this is no recording"),
        _ => Reply::page("404 Not Found", "text/plain", "gone"),
    });
    let daemon = allowing(Daemon::real(), &site).set("remote.input_max_mib", 100).start();
    let cases = [
        ("/page.mp4", FailureKind::Input, "web page"),
        ("/loop", FailureKind::Input, "redirects"),
        ("/cloud", FailureKind::Permission, "169.254.169.254"),
        ("/inside", FailureKind::Permission, "this machine"),
        ("/huge.mp4", FailureKind::Input, "100 MiB are allowed"),
        ("/endless.mp4", FailureKind::Input, "100 MiB are allowed"),
        ("/long-head", FailureKind::Network, "header"),
        ("/text.mp4", FailureKind::Input, "text.mp4"),
        ("/none.mp4", FailureKind::Input, "404"),
    ];
    let urls: Vec<String> = cases.iter().map(|(path, ..)| site.url(path)).collect();
    let line = ["submit", "subtitles", "--retries=0", "--wait"].into_iter().chain(urls.iter().map(String::as_str));
    assert_ne!(daemon.ctl(line).code, 0);
    for (job, (path, kind, says)) in daemon.jobs(BatchId(1)).iter().zip(cases) {
        let failure = job.failure.as_ref().unwrap_or_else(|| panic!("{path}: {job:#?}"));
        assert_eq!(failure.kind, kind, "{path}: {failure}");
        assert!(failure.message.contains(says) && !failure.advice.is_empty(), "{path}: {failure}");
    }
    // A hundred MiB came of the one that never ends, and went past.
    assert!(daemon.peak_kib("net") < 160 << 10, "{} KiB", daemon.peak_kib("net"));
}

#[test]
fn this_machine_is_out_of_reach_unless_the_configuration_says_so() {
    let site = Site::start(|_, _| Reply::page("200 OK", "text/plain", "secret of this machine"));
    let daemon = Daemon::real().start();
    daemon.ctl(["submit", "subtitles", "--wait", &site.url("/talk.wav")]);
    let failure = daemon.job(BatchId(1), 1).failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Permission, "{failure}");
    assert!(failure.advice.contains(&format!("allow = [\"{}\"]", site.host())), "{failure}");
    assert!(site.asked().is_empty());
}

#[test]
fn highlights_cut_from_what_was_fetched() {
    let folder = tempfile::tempdir().unwrap();
    let made = |name: &str, source: &str| -> Arc<[u8]> {
        let path = folder.path().join(name);
        let made = std::process::Command::new("ffmpeg")
            .args(["-v", "error", "-f", "lavfi", "-i", source, "-f", "lavfi", "-i", "sine=d=12", "-shortest"])
            .args(["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        fs::read(path).unwrap().into()
    };
    let (one, two) =
        (made("1.mp4", "testsrc2=s=320x180:r=24:d=12"), made("2.mp4", "mandelbrot=s=320x180:r=24,trim=end=12"));
    let site = Site::start(move |asked, _| Reply::file(if asked.path.contains("one") { &one } else { &two }));
    let daemon = allowing(Daemon::real(), &site).start();
    daemon.ctl(["submit", "highlights", "--wait", "-o", "out", &site.url("/one.mp4"), &site.url("/two.mp4")]).expect(0);
    assert!(daemon.files("media/out").iter().any(|name| name.ends_with(".mp4")), "{:?}", daemon.files("media/out"));
}

/// A program in yt-dlp's place: writes down how it was called, and does as the address says.
fn stand_in(folder: &Path) -> PathBuf {
    let path = folder.join("reader");
    let sound = folder.join("sound.wav");
    fs::write(&sound, wav(2.0, 280.0)).unwrap();
    let script = format!(
        r#"#!/bin/bash
printf '%s\n' "$@" > {folder}/arguments
env > {folder}/environment
case "${{@: -1}}" in
    */hangs*)
        sleep 1000 &
        echo $$ $! > {folder}/pids.new
        mv {folder}/pids.new {folder}/pids
        wait ;;
    */large*) head -c 5000000 /dev/zero > recording.part; sleep 1000 ;;
    */fails*) echo 'ERROR: [tube] 7: Unsupported URL; please report this' >&2; exit 1 ;;
    */nothing*) exit 0 ;;
    */inside*)
        proxy=${{http_proxy#http://}}
        exec 3<>"/dev/tcp/${{proxy%:*}}/${{proxy#*:}}"
        printf 'GET http://169.254.169.254/latest/ HTTP/1.1\r\n\r\n' >&3
        cat <&3 >&2
        exit 1 ;;
    *)
        echo '40000 64044 NA'
        cp {sound} recording ;;
esac
"#,
        folder = folder.display(),
        sound = sound.display(),
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

#[test]
fn what_plays_on_a_page_is_found_by_a_program_that_gets_no_shell_and_no_keys() {
    let folder = tempfile::tempdir().unwrap();
    let program = stand_in(folder.path());
    let setup = Daemon::real();
    // It writes down how it was called beside itself, where no worker's child may write.
    let configuration = format!(
        "[workers]\nsandbox = false\n[remote]\ninput_max_mib = 2\nytdlp = [\"tube.example\"]\nytdlp_program = \"{}\"\n",
        program.display()
    );
    let path = setup.state().with_file_name("spindled.toml");
    fs::write(&path, configuration).unwrap();
    let daemon = setup.env("SPINDLE_CONFIG", path.to_str().unwrap()).env("SOME_API_KEY", "sk-0123456789").start();
    let told = |name: &str| fs::read_to_string(folder.path().join(name)).unwrap();
    let url = "https://www.tube.example/watch?list=$(touch%20x)&v=--exec=touch%20x;`id`";
    daemon.ctl(["submit", "convert", "--to", "wav", "--wait", "-o", "out", url]).expect(0);
    assert_eq!(daemon.files("media/out"), ["exec=touch x;`id`.wav"]);
    let arguments = told("arguments");
    let arguments: Vec<&str> = arguments.lines().collect();
    let [options @ .., end, address] = arguments.as_slice() else { panic!("{arguments:?}") };
    // The address came whole, quoted as addresses are, and behind the end of options.
    assert_eq!(
        (*end, *address),
        ("--", "https://www.tube.example/watch?list=$(touch%20x)&v=--exec=touch%20x;%60id%60")
    );
    assert!(options.iter().all(|option| option.starts_with("--")), "{options:?}");
    for option in ["--ignore-config", "--no-exec", "--no-playlist", "--output=recording", "--max-filesize=2097152"] {
        assert!(options.contains(&option), "{option}: {options:?}");
    }
    let environment = told("environment");
    assert!(!environment.contains("sk-0123456789") && !environment.contains("SPINDLE_"), "{environment}");
    assert!(environment.contains("https_proxy=http://127.0.0.1:"), "{environment}");
    // Fetched like any other, and gone with its job.
    assert!(ran(&daemon.job(BatchId(1), 1), "fetch"));
    assert!(daemon.files("state/artifacts").iter().all(|name| !name.contains("exec")), "{:?}", daemon.files("state"));

    for (path, kind, says) in [
        ("fails?sig=s3cret", FailureKind::Input, "Unsupported URL"),
        ("nothing", FailureKind::Input, "no recording"),
        ("large", FailureKind::Input, "2 MiB"),
        ("inside", FailureKind::Permission, "169.254.169.254"),
    ] {
        let url = format!("https://tube.example/{path}");
        let batch = daemon.submit_to("convert", ["--to", "wav", "--retries", "0", "-o", "out", &url]);
        daemon.ended_batch(batch);
        let failure = daemon.job(batch, 1).failure.unwrap();
        assert_eq!(failure.kind, kind, "{path}: {failure}");
        assert!(failure.message.contains(says) && !failure.message.contains("s3cret"), "{path}: {failure}");
        assert!(!failure.advice.is_empty(), "{path}: {failure}");
    }
    // A wish to stop ends it with all that it has started.
    let batch = daemon.submit_to("convert", ["--to", "wav", "-o", "out", "https://tube.example/hangs"]);
    let pids = eventually("it hangs", || fs::read_to_string(folder.path().join("pids")).ok());
    daemon.say(&format!("cancel {batch}")).expect(0);
    for pid in pids.split_whitespace() {
        eventually(&format!("{pid} is gone"), || {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            (stat.is_empty() || stat.contains(") Z ")).then_some(())
        });
    }
    // Other sites' addresses are files.
    let arguments = told("arguments");
    daemon.ctl(["submit", "convert", "--to", "wav", "--wait", "-o", "out", "http://127.0.0.1:9/fails"]);
    assert_eq!(told("arguments"), arguments);
}

#[test]
fn without_the_program_a_page_is_refused_at_once() {
    let daemon = Daemon::real().env("SPINDLE_REMOTE__YTDLP_PROGRAM", "/nonexistent/reader").start();
    let ran = daemon.ctl(["submit", "subtitles", "https://www.youtube.com/watch?v=dQw4w9WgXcQ"]).expect(9);
    ran.says(&["/nonexistent/reader", "not installed", "hint:"]);
    // Within its walls it works, too.
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("bin/reader");
    fs::create_dir(program.parent().unwrap()).unwrap();
    // Of where it is installed it sees its libraries, and nothing else.
    fs::create_dir(folder.path().join("lib")).unwrap();
    fs::write(folder.path().join("lib/sound.wav"), wav(2.0, 290.0)).unwrap();
    fs::write(folder.path().join("diary"), "mine").unwrap();
    let script =
        format!("#!/bin/bash\ncat {0}/diary && exit 1\ncp {0}/lib/sound.wav recording\n", folder.path().display());
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let daemon = Daemon::real().env("SPINDLE_REMOTE__YTDLP_PROGRAM", program.to_str().unwrap()).start();
    daemon.ctl(["submit", "convert", "--to=mp3", "--wait", "https://youtu.be/dQw4w9WgXcQ"]).expect(0);
    assert_eq!(daemon.files("media"), ["dQw4w9WgXcQ.mp3"]);
    // Where it is there, but vanishes, the job says so.
    let folder = tempfile::tempdir().unwrap();
    let program = stand_in(folder.path());
    let daemon = Daemon::real().env("SPINDLE_REMOTE__YTDLP_PROGRAM", program.to_str().unwrap()).start();
    daemon.say("pause").expect(0);
    let batch = daemon.submit_to("convert", ["--to=wav", "--retries=0", "https://youtu.be/x"]);
    fs::remove_file(program).unwrap();
    daemon.say("resume").expect(0);
    daemon.ended_batch(batch);
    let failure = daemon.job(batch, 1).failure.unwrap();
    assert_eq!(failure.kind, FailureKind::ModelMissing, "{failure}");
    assert!(failure.advice.contains("ytdlp_program"), "{failure}");
}
