//! One piece of work after another on several threads, each with tools of its own. Knows nothing of the work.

use std::io;
use std::panic;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use crate::RUN_STACK_BYTES;

/// Does `work` for each number below `pieces`, in as many threads as there are tools, and hands each result to `take` on this thread as it
/// comes. The first error ends it all; what is being worked on then is lost. An `io::Error` is that of a thread that can't be had.
pub fn spread<T: Send, R: Send, E: Send + From<io::Error>>(
    tools: &mut [T],
    pieces: usize,
    work: impl Fn(&mut T, usize) -> Result<R, E> + Sync,
    mut take: impl FnMut(usize, R) -> Result<(), E>,
) -> Result<(), E> {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        let (sender, results) = mpsc::channel();
        let (next, work) = (&next, &work);
        let mut threads = Vec::with_capacity(tools.len());
        let mut result = Ok(());
        for tool in tools {
            let sender = sender.clone();
            let body = move || {
                loop {
                    let piece = next.fetch_add(1, Ordering::Relaxed);
                    if piece >= pieces || sender.send((piece, work(tool, piece))).is_err() {
                        break;
                    }
                }
            };
            match thread::Builder::new().stack_size(RUN_STACK_BYTES).spawn_scoped(scope, body) {
                Ok(thread) => threads.push(thread),
                Err(e) => result = Err(e.into()),
            }
        }
        drop(sender);
        let result = result.and_then(|()| results.iter().try_for_each(|(piece, result)| take(piece, result?)));
        // Nobody begins another piece.
        next.store(pieces, Ordering::Relaxed);
        drop(results);
        for thread in threads {
            if let Err(payload) = thread.join() {
                panic::resume_unwind(payload);
            }
        }
        result
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::sync::Mutex;

    use super::*;

    #[derive(Debug, PartialEq)]
    struct Refused(&'static str);

    impl From<io::Error> for Refused {
        fn from(_: io::Error) -> Self {
            Refused("a thread")
        }
    }

    #[test]
    fn each_piece_is_done_once_and_by_any_number_of_hands() {
        for hands in [1, 3, 50] {
            let mut done = BTreeSet::new();
            let mut tools = vec![0; hands];
            spread(
                &mut tools,
                20,
                |tool, piece| {
                    *tool += 1;
                    Ok::<_, Refused>(piece * piece)
                },
                |piece, square| {
                    assert!(square == piece * piece && done.insert(piece));
                    Ok(())
                },
            )
            .unwrap();
            assert_eq!((done.len(), tools.iter().sum::<usize>()), (20, 20));
        }
    }

    #[test]
    fn an_error_on_either_side_ends_it() {
        let begun = Mutex::new(0);
        let work = |_: &mut (), piece| {
            *begun.lock().unwrap() += 1;
            if piece == 3 { Err(Refused("of the work")) } else { Ok(()) }
        };
        assert_eq!(spread(&mut [(); 2], 1_000_000, work, |_, ()| Ok(())), Err(Refused("of the work")));
        assert!(*begun.lock().unwrap() < 1_000_000);
        let taken = spread(&mut [(); 2], 1_000_000, |_, _| Ok(()), |_, ()| Err(Refused("of the taker")));
        assert_eq!(taken, Err(Refused("of the taker")));
    }

    #[test]
    #[should_panic(expected = "in the middle")]
    fn a_panic_of_the_work_is_one_of_the_caller() {
        let _ = spread(&mut [()], 1, |_, _| -> Result<(), Refused> { panic!("in the middle") }, |_, ()| Ok(()));
    }
}
