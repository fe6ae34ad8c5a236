//! Pictures of several runs as one tensor: what comes while the network is busy goes out together. Knows tensors and a network, no pictures
//! and no jobs.
//!
//! Nobody waits for company while the network is idle. Whoever finds it idle takes what waits with the same shape, runs it, and hands out the
//! answers; the others sleep until theirs is there. Only right behind a batch those who have announced themselves are waited for, a moment at most.

use std::collections::{HashMap, VecDeque};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::network::{BYTES_PER_INPUT_BYTE, Network, NetworkError, Tensor};

/// Most pictures at once; beyond that nothing is gained, and the first waits for the last.
const SIZE_MAX: usize = 32;
/// How long company is waited for.
const LINGER: Duration = Duration::from_millis(30);

type Answer = Result<Tensor, NetworkError>;

/// One network and those who want something of it.
pub struct Batcher {
    network: Box<dyn Network>,
    /// Most bytes that may be taken for a batch, as things stand; `None` = nobody can tell.
    room: Box<dyn Fn() -> Option<u64> + Send + Sync>,
    desk: Mutex<Desk>,
    changed: Condvar,
}

#[derive(Default)]
struct Desk {
    tickets: u64,
    waiting: VecDeque<(u64, Tensor)>,
    answers: HashMap<u64, Answer>,
    busy: bool,
    /// Somebody had to wait since the network was last idle.
    in_demand: bool,
    /// Who will bring a picture soon.
    announced: usize,
    /// Most at once as out-of-memory has taught, by shape.
    limits: HashMap<Vec<usize>, usize>,
    counts: Counts,
}

/// What has gone through so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub pictures: usize,
    pub batches: usize,
    pub largest: usize,
    /// Times that memory did not suffice.
    pub halved: usize,
}

/// A promise to bring a picture; batches reckon with it until it is kept or dropped.
pub struct Announced {
    batcher: Arc<Batcher>,
    open: bool,
}

impl Batcher {
    pub fn new(network: Box<dyn Network>, room: impl Fn() -> Option<u64> + Send + Sync + 'static) -> Arc<Self> {
        Arc::new(Batcher { network, room: Box::new(room), desk: Mutex::default(), changed: Condvar::new() })
    }

    pub fn announce(self: &Arc<Self>) -> Announced {
        self.desk().announced += 1;
        Announced { batcher: Arc::clone(self), open: true }
    }

    pub fn device(&self) -> String {
        self.network.device()
    }

    pub fn counts(&self) -> Counts {
        self.desk().counts
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answers to pictures (each `shape` begins with 1), alone or in company.
    fn ask(&self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, NetworkError> {
        let mut desk = self.desk();
        desk.announced = desk.announced.saturating_sub(1);
        let tickets: Vec<u64> = (desk.tickets..).take(inputs.len()).collect();
        desk.tickets += tickets.len() as u64;
        desk.waiting.extend(tickets.iter().copied().zip(inputs));
        desk.in_demand |= desk.busy;
        self.changed.notify_all();
        loop {
            if tickets.iter().all(|ticket| desk.answers.contains_key(ticket)) {
                return tickets.iter().filter_map(|ticket| desk.answers.remove(ticket)).collect();
            }
            if desk.busy {
                desk = self.changed.wait(desk).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            desk.busy = true;
            if desk.in_demand {
                desk = self.linger(desk);
            }
            desk = self.serve(desk);
            desk.busy = false;
            if desk.waiting.is_empty() {
                desk.in_demand = false;
            }
            self.changed.notify_all();
        }
    }

    /// Waits for those on their way, as long as that fills the batch.
    fn linger<'d>(&'d self, mut desk: MutexGuard<'d, Desk>) -> MutexGuard<'d, Desk> {
        let until = Instant::now() + LINGER;
        while desk.announced > 0 && desk.waiting.len() < self.most(&desk) {
            let Some(left) = until.checked_duration_since(Instant::now()) else { break };
            desk = self.changed.wait_timeout(desk, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        desk
    }

    /// Most pictures at once of the shape that is next.
    fn most(&self, desk: &Desk) -> usize {
        let Some((_, first)) = desk.waiting.front() else { return 1 };
        let taught = desk.limits.get(&first.shape).copied().unwrap_or(SIZE_MAX);
        let each = (first.values.len() as u64 * 4 * BYTES_PER_INPUT_BYTE).max(1);
        let fits = (self.room)().map_or(SIZE_MAX, |bytes| (bytes / each) as usize);
        taught.min(fits).min(self.network.batch_max()).clamp(1, SIZE_MAX)
    }

    /// One batch: the first in the queue and all of its shape that fit.
    fn serve<'d>(&'d self, mut desk: MutexGuard<'d, Desk>) -> MutexGuard<'d, Desk> {
        let most = self.most(&desk);
        let Some(shape) = desk.waiting.front().map(|(_, input)| input.shape.clone()) else { return desk };
        let (mut tickets, mut inputs) = (Vec::new(), Vec::new());
        let mut at = 0;
        while tickets.len() < most && at < desk.waiting.len() {
            if desk.waiting[at].1.shape == shape
                && let Some((ticket, input)) = desk.waiting.remove(at)
            {
                tickets.push(ticket);
                inputs.push(input);
            } else {
                at += 1;
            }
        }
        drop(desk);
        let count = tickets.len();
        let joined = join(&shape, &inputs);
        let answer = catch_unwind(AssertUnwindSafe(|| self.network.run(&joined)))
            .unwrap_or_else(|_| Err(NetworkError::Failed("the runtime gave up on it".to_owned())))
            .and_then(|answer| split(answer, count));
        let mut desk = self.desk();
        match answer {
            Err(NetworkError::OutOfMemory(_)) if count > 1 => {
                desk.limits.insert(shape, count / 2);
                desk.counts.halved += 1;
                // Back to where they were: before all who came later.
                for waiting in tickets.into_iter().zip(inputs).rev() {
                    desk.waiting.push_front(waiting);
                }
            }
            Err(e) => desk.answers.extend(tickets.into_iter().map(|ticket| (ticket, Err(e.clone())))),
            Ok(answers) => {
                desk.counts.pictures += count;
                desk.counts.batches += 1;
                desk.counts.largest = desk.counts.largest.max(count);
                desk.answers.extend(tickets.into_iter().zip(answers.into_iter().map(Ok)));
            }
        }
        desk
    }
}

impl Announced {
    pub fn ask(mut self, input: Tensor) -> Answer {
        self.open = false;
        let mut answers = self.batcher.ask(vec![input])?;
        answers.pop().ok_or_else(|| NetworkError::Failed("it gave no answer".to_owned()))
    }

    /// All of one run's at once: pieces of a picture, say.
    pub fn ask_all(mut self, inputs: Vec<Tensor>) -> Result<Vec<Tensor>, NetworkError> {
        self.open = false;
        self.batcher.ask(inputs)
    }
}

impl Drop for Announced {
    fn drop(&mut self) {
        if self.open {
            let mut desk = self.batcher.desk();
            desk.announced = desk.announced.saturating_sub(1);
            drop(desk);
            self.batcher.changed.notify_all();
        }
    }
}

fn join(shape: &[usize], inputs: &[Tensor]) -> Tensor {
    let mut shape = shape.to_vec();
    if let Some(first) = shape.first_mut() {
        *first = inputs.len();
    }
    let mut values = Vec::with_capacity(inputs.iter().map(|input| input.values.len()).sum());
    for input in inputs {
        values.extend_from_slice(&input.values);
    }
    Tensor { shape, values }
}

fn split(answer: Tensor, count: usize) -> Result<Vec<Tensor>, NetworkError> {
    let each = answer.values.len() / count;
    if answer.pictures() != count || each * count != answer.values.len() || each == 0 {
        let shape = &answer.shape;
        return Err(NetworkError::Failed(format!("its answer to {count} pictures has the shape {shape:?}")));
    }
    let mut shape = answer.shape;
    if let Some(first) = shape.first_mut() {
        *first = 1;
    }
    Ok(answer.values.chunks(each).map(|values| Tensor { shape: shape.clone(), values: values.to_vec() }).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    /// Doubles what it gets; has memory for so many; its first run lasts until the others have come.
    struct Doubler {
        fits: usize,
        batch_max: usize,
        begun: AtomicUsize,
        gate: Arc<(Mutex<bool>, Condvar)>,
    }

    impl Network for Doubler {
        fn run(&self, input: &Tensor) -> Answer {
            if self.begun.fetch_add(1, Ordering::Relaxed) == 0 {
                let (open, changed) = &*self.gate;
                drop(changed.wait_while(open.lock().unwrap(), |open| !*open).unwrap());
            }
            if input.pictures() > self.fits {
                return Err(NetworkError::OutOfMemory(input.pictures()));
            }
            match input.values.contains(&-1.0) {
                true => panic!("what no runtime should do"),
                false => {
                    Ok(Tensor { shape: input.shape.clone(), values: input.values.iter().map(|v| v * 2.0).collect() })
                }
            }
        }

        fn batch_max(&self) -> usize {
            self.batch_max
        }

        fn device(&self) -> String {
            "fake".to_owned()
        }
    }

    /// One picture occupies the network, `count` come meanwhile, of these values; what they got, and what was counted.
    fn crowd(fits: usize, batch_max: usize, room: Option<u64>, values: &[f32]) -> (Vec<Answer>, Counts) {
        let gate = Arc::new((Mutex::new(false), Condvar::new()));
        let network = Doubler { fits, batch_max, begun: AtomicUsize::new(0), gate: Arc::clone(&gate) };
        let batcher = Batcher::new(Box::new(network), move || room);
        let one = |value: f32| Tensor { shape: vec![1, 2], values: vec![value, value + 0.5] };
        let all_here = Barrier::new(values.len() + 1);
        let answers = thread::scope(|scope| {
            let first = scope.spawn(|| batcher.announce().ask(one(1000.0)));
            let others: Vec<_> = values
                .iter()
                .map(|&value| {
                    let (batcher, all_here) = (&batcher, &all_here);
                    scope.spawn(move || {
                        let announced = batcher.announce();
                        all_here.wait();
                        announced.ask(one(value))
                    })
                })
                .collect();
            all_here.wait();
            // The first holds the network until everybody else waits.
            while batcher.desk().waiting.len() < values.len() {
                thread::yield_now();
            }
            *gate.0.lock().unwrap() = true;
            gate.1.notify_all();
            let first = first.join().unwrap().unwrap();
            assert_eq!(first.values, [2000.0, 2001.0]);
            others.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        (answers, batcher.counts())
    }

    fn right(values: &[f32], answers: &[Answer]) -> bool {
        values.iter().zip(answers).all(|(value, answer)| {
            matches!(answer, Ok(tensor) if tensor.values == [value * 2.0, value * 2.0 + 1.0] && tensor.shape == [1, 2])
        })
    }

    #[test]
    fn what_comes_while_it_is_busy_goes_out_together_and_each_gets_its_own() {
        let values: Vec<f32> = (0..8).map(|n| n as f32).collect();
        let (answers, counts) = crowd(100, 100, None, &values);
        assert!(right(&values, &answers));
        assert_eq!(counts, Counts { pictures: 9, batches: 2, largest: 8, halved: 0 });
    }

    #[test]
    fn want_of_memory_halves_until_it_fits_and_is_remembered() {
        let values: Vec<f32> = (0..8).map(|n| n as f32).collect();
        let (answers, counts) = crowd(3, 100, None, &values);
        assert!(right(&values, &answers));
        // 8 and 4 are too many; then 2 at a time, without another try.
        assert_eq!(counts, Counts { pictures: 9, batches: 5, largest: 2, halved: 2 });
    }

    #[test]
    fn a_model_made_for_one_gets_one_and_little_room_is_kept_to() {
        let values: Vec<f32> = (0..6).map(|n| n as f32).collect();
        let (answers, counts) = crowd(100, 1, None, &values);
        assert!(right(&values, &answers));
        assert_eq!((counts.batches, counts.largest), (7, 1));
        let (answers, counts) = crowd(100, 100, Some(2 * 2 * 4 * BYTES_PER_INPUT_BYTE), &values);
        assert!(right(&values, &answers));
        assert_eq!((counts.batches, counts.largest), (4, 2));
    }

    #[test]
    fn one_that_does_not_fit_alone_fails_and_a_panic_harms_nobody_later() {
        let (answers, counts) = crowd(100, 1, None, &[1.0, -1.0, 2.0]);
        assert!(right(&[1.0], &answers[..1]) && right(&[2.0], &answers[2..]));
        assert_eq!(answers[1], Err(NetworkError::Failed("the runtime gave up on it".to_owned())));
        assert_eq!(counts.pictures, 3);
        let gate = Arc::new((Mutex::new(true), Condvar::new()));
        let network = Doubler { fits: 0, batch_max: 9, begun: AtomicUsize::new(0), gate };
        let batcher = Batcher::new(Box::new(network), || None);
        let answer = batcher.announce().ask(Tensor { shape: vec![1, 1], values: vec![1.0] });
        assert_eq!(answer, Err(NetworkError::OutOfMemory(1)));
    }

    #[test]
    fn shapes_are_not_mixed() {
        let network = Doubler {
            fits: 9,
            batch_max: 9,
            begun: AtomicUsize::new(1),
            gate: Arc::new((Mutex::new(true), Condvar::new())),
        };
        let batcher = Batcher::new(Box::new(network), || None);
        let mut desk = batcher.desk();
        for (ticket, shape) in [vec![1, 1], vec![1, 2], vec![1, 1]].into_iter().enumerate() {
            let values = vec![ticket as f32; shape.iter().product()];
            desk.waiting.push_back((ticket as u64, Tensor { shape, values }));
        }
        let desk = batcher.serve(desk);
        assert_eq!(desk.waiting.len(), 1);
        assert_eq!(desk.answers.len(), 2);
    }
}
