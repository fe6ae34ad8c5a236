//! Identify: the content hash of an input.

use std::fs::File;
use std::io;

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::FileIdentity;
use spindle_shared::worker::Done;

use crate::context::{Context, Halt};
use crate::files::hash::{Hashed, ReadError, hash_pieces};

/// A file that changed under the first reading is read once more; one that changes again is still being written.
const READINGS_MAX: usize = 2;

pub fn run(context: &Context) -> Result<Done, Halt> {
    let (file, name) = context.input()?;
    steadily(file, &name, |bytes| read(context, file, &name, bytes))
}

/// The result of a reading during which the file stayed as it was.
fn steadily(file: &File, name: &str, mut read: impl FnMut(u64) -> Result<Hashed, Halt>) -> Result<Done, Halt> {
    for _ in 0..READINGS_MAX {
        let before = identity_of(file, name)?;
        let hashed = read(before.bytes)?;
        if identity_of(file, name)? == before && hashed.bytes == before.bytes {
            return Ok(Done {
                content: Some(hashed.content),
                identity: Some(before),
                work: hashed.bytes as f64,
                ..Done::default()
            });
        }
    }
    Err(Failure::new(FailureKind::Input, format!("{name} is being written to"))
        .advise("wait until the file is complete, then `spindlectl retry` the job")
        .into())
}

fn read(context: &Context, file: &File, name: &str, bytes: u64) -> Result<Hashed, Halt> {
    context.go_on()?;
    let mut done = 0;
    hash_pieces(file, bytes, |piece| {
        context.go_on()?;
        done += piece.len() as u64;
        context.progress((done as f64 / bytes.max(1) as f64) as f32);
        Ok(())
    })
    .map_err(|error| match error {
        ReadError::Io(error) => unreadable(name, &error).into(),
        ReadError::Halted(halt) => halt,
    })
}

fn identity_of(file: &File, name: &str) -> Result<FileIdentity, Failure> {
    file.metadata().map(|meta| FileIdentity::of(&meta)).map_err(|error| unreadable(name, &error))
}

fn unreadable(name: &str, error: &io::Error) -> Failure {
    let kind = match error.kind() {
        io::ErrorKind::PermissionDenied => FailureKind::Permission,
        _ => FailureKind::Input,
    };
    Failure::new(kind, format!("failed to read {name}: {error}"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::FileExt;
    use std::sync::Arc;
    use std::sync::atomic::AtomicBool;

    use spindle_shared::id::{ContentHash, RunId};
    use spindle_shared::job::PathBytes;
    use spindle_shared::stage::Stage;
    use spindle_shared::stage::identify::Identify;
    use spindle_shared::worker::{Assignment, InputFile};

    use super::*;

    fn identify(file: &File, cancelled: bool) -> Result<Done, Halt> {
        let assignment = Assignment {
            inputs: vec![InputFile::new(PathBytes(b"/v/talk.mp4".to_vec()), 0)],
            ..Assignment::of(RunId { boot: 1, counter: 1 }, Stage::Identify(Identify {}))
        };
        let descriptor = file.try_clone().unwrap().into();
        run(&Context::new(assignment, vec![descriptor], Arc::new(AtomicBool::new(cancelled)), Arc::new(|_| ())))
    }

    #[test]
    fn an_input_is_known_by_its_bytes() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(b"some media", 0).unwrap();
        let done = identify(&file, false).unwrap();
        assert_eq!(done.content, Some(ContentHash::of(b"some media")));
        assert_eq!(done.identity, Some(FileIdentity::of(&file.metadata().unwrap())));
        assert_eq!(done.work, 10.0);
    }

    #[test]
    fn an_empty_file_has_a_hash() {
        let file = tempfile::tempfile().unwrap();
        assert_eq!(identify(&file, false).unwrap().content, Some(ContentHash::of(b"")));
    }

    #[test]
    fn a_file_that_grows_while_it_is_read_is_read_again_but_not_for_ever() {
        for growths in 0..3 {
            let file = tempfile::tempfile().unwrap();
            let mut readings = 0;
            let outcome = steadily(&file, "/v/talk.mp4", |bytes| {
                let hashed = hash_pieces(&file, bytes, |_| Ok(())).map_err(|_| Halt::Stopped)?;
                readings += 1;
                if readings <= growths {
                    file.write_all_at(b"more", bytes).unwrap();
                }
                Ok(hashed)
            });
            match outcome {
                Ok(done) => assert_eq!(done.work, 4.0 * f64::from(growths), "after {growths}"),
                Err(Halt::Failed(failure)) => {
                    assert_eq!(failure.kind, FailureKind::Input);
                    assert_eq!(failure.message, "/v/talk.mp4 is being written to");
                    assert_eq!(growths, 2);
                }
                Err(Halt::Stopped) => panic!("nobody asked to stop"),
            }
            assert_eq!(readings, if growths == 0 { 1 } else { 2 });
        }
    }

    #[test]
    fn a_wish_to_stop_is_heard() {
        let file = tempfile::tempfile().unwrap();
        assert!(matches!(identify(&file, true), Err(Halt::Stopped)));
    }
}
