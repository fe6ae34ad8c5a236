//! Graphics cards: who goes to one, what it costs to be failed by one, and what is told of it.

use spindle_shared::job::Figure;
use spindle_shared::lane::Device;

use super::*;
use crate::gpus::Found;

const ROOMY: u64 = 8_000;

/// A house with these cards, by the MiB they have, two cores, and one run at a time on each card.
fn house(cards: &[u64]) -> House {
    let device = |mib: &u64| Device {
        name: format!("card of {mib}"),
        api: "CUDA".to_owned(),
        memory_bytes: mib << 20,
        free_bytes: mib << 20,
        roles: vec!["speech".to_owned()],
    };
    let devices: Vec<Device> = cards.iter().map(device).collect();
    let mut config = Config { gpus: Found { devices, none: None }, ..config(2) };
    config.slots.extend((0..cards.len() as u8).map(|number| (Lane::Gpu(number), 1)));
    House::of(config, Recovered { boot: 1, next_batch: 1, ..Recovered::default() })
}

/// Recordings that are decoded and wait to be heard.
fn decoded(house: &mut House, model: &str, count: u32) -> BatchId {
    let mut recipe = subtitles();
    if let Some(Stage::Transcribe(transcribe)) = recipe.map.get_mut(2) {
        transcribe.model.name = model.to_owned();
    }
    let next = BatchId(house.batches.keys().last().map_or(1, |last| last.0 + 1));
    for index in 1..=count {
        house.contents.insert(job(next, index), ContentHash::of(format!("{next} {index}").as_bytes()));
    }
    let batch = house.submit_with(1, recipe, 50, 64, &vec![false; count as usize]);
    assert_eq!(batch, next);
    while let Some(at) = house.running.iter().position(|start| start.stage.name() == "decode") {
        house.done(house.running[at].job);
    }
    batch
}

fn listening(house: &House) -> Vec<(u32, Lane)> {
    let heard = house.running.iter().filter(|start| start.stage.name() == "transcribe");
    heard.map(|start| (start.job.index, start.lane)).collect()
}

fn told(house: &mut House, id: JobId) -> String {
    let asked = house.ask(ADMIN, Command::Explain(Target::Job(id)));
    match &house.answers[&asked][0] {
        Response::Explained(explained) => explained[0].why.clone(),
        other => panic!("{other:?}"),
    }
}

/// What the transcript's record says of the device, and why it was no card.
fn device_of(house: &House) -> Vec<(String, Option<String>)> {
    let transcripts = house.artifacts.values().filter(|artifact| artifact.stage == "transcribe");
    let figure = |artifact: &StoredArtifact, name: &str| {
        artifact.detail.figures.iter().find_map(|(known, figure)| match figure {
            Figure::Text(text) if known == name => Some(text.clone()),
            _ => None,
        })
    };
    transcripts.map(|found| (figure(found, "device").unwrap(), figure(found, "fallback_reason"))).collect()
}

/// Of the one transcript that there is, which no card has made.
fn reason_of(house: &House) -> (String, String) {
    let [(device, reason)] = <[_; 1]>::try_from(device_of(house)).unwrap();
    (device, reason.expect("a reason"))
}

#[test]
fn what_cards_can_do_goes_to_cards_one_run_each_and_leaves_the_cores_alone() {
    let mut house = house(&[ROOMY, ROOMY]);
    let batch = decoded(&mut house, "base", 3);
    assert_eq!(listening(&house), [(1, Lane::Gpu(0)), (2, Lane::Gpu(1))]);
    assert_eq!(house.scheduler.used_of(Lane::Cpu), 0);
    let why = told(&mut house, job(batch, 1));
    assert!(why.contains("transcribe runs on gpu:0 card of 8000"), "{why}");
    let why = told(&mut house, job(batch, 3));
    assert!(why.contains("waits for a slot of the lane gpu:0") && why.contains("gpu:1 (1 of 1 busy)"), "{why}");
    // Whichever is free first takes the next, whatever it waited for.
    house.done(job(batch, 2));
    assert_eq!(listening(&house), [(1, Lane::Gpu(0)), (3, Lane::Gpu(1))]);
    assert_eq!(device_of(&house), [("gpu:1 card of 8000".to_owned(), None)]);
    let view = house.scheduler.house(ADMIN);
    assert_eq!(view.lanes[3..], [("gpu:0".to_owned(), 1, 1), ("gpu:1".to_owned(), 1, 1)]);
    let expected = Stage::Transcribe(Default::default()).memory_mib();
    assert_eq!((view.devices[1].used_mib, view.devices[1].memory_mib), (expected, 8_000));
}

#[test]
fn a_model_goes_to_a_card_that_has_the_memory_for_it_and_else_to_the_processor() {
    let mut house = house(&[900, ROOMY]);
    decoded(&mut house, "large-v3", 1);
    decoded(&mut house, "tiny", 2);
    // The large card is taken by the model that no other has room for.
    assert_eq!(listening(&house), [(1, Lane::Gpu(1)), (1, Lane::Gpu(0))]);
    let mut small = self::house(&[900]);
    let batch = decoded(&mut small, "large-v3", 1);
    assert_eq!(listening(&small), [(1, Lane::Cpu)]);
    let why = told(&mut small, job(batch, 1));
    assert!(why.contains("on cpu, not on a graphics card (gpu:0 card of 900:"), "{why}");
    small.done(job(batch, 1));
    let (device, reason) = reason_of(&small);
    assert!(device == "cpu" && reason.contains("and it has 900"), "{device}: {reason}");
}

#[test]
fn the_smallest_card_that_will_do_is_taken_first() {
    let mut house = house(&[ROOMY, 900]);
    decoded(&mut house, "tiny", 3);
    assert_eq!(listening(&house), [(1, Lane::Gpu(1)), (2, Lane::Gpu(0))]);
}

#[test]
fn a_card_with_several_slots_gives_them_as_the_processor_does() {
    let mut house = house(&[ROOMY]);
    house.scheduler.config.slots.insert(Lane::Gpu(0), 4);
    let batch = decoded(&mut house, "base", 1);
    assert_eq!(house.running[0].slots, 4, "all for one that is alone");
    house.done(job(batch, 1));
    house.running.clear();
    let batch = decoded(&mut house, "base", 2);
    let slots: u32 = house.running.iter().map(|start| start.slots).sum();
    assert_eq!((listening(&house).len(), slots), (2, 4), "{batch}: and a share where there are others");
}

#[test]
fn what_a_card_fails_costs_no_try_and_is_done_by_the_processor() {
    let mut house = house(&[ROOMY]);
    let batch = decoded(&mut house, "base", 3);
    house.die(job(batch, 1));
    // The card goes on with the next; who was failed has the processor.
    assert_eq!(listening(&house), [(1, Lane::Cpu), (2, Lane::Gpu(0))]);
    assert!(house.alerts[0].contains(&format!("job {} goes on on the processor: gpu:0 card of 8000", job(batch, 1))));
    let why = told(&mut house, job(batch, 1));
    assert!(why.contains("on cpu, not on a graphics card (gpu:0 card of 8000: signal 11)"), "{why}");
    house.fail(job(batch, 2), FailureKind::Internal);
    // Twice in a row: it is left alone, and who waited for it waits for the cores, which the first has.
    assert_eq!(listening(&house), [(1, Lane::Cpu)]);
    assert_eq!(house.alerts.len(), 2);
    assert!(house.alerts[1].contains("left alone for a while"), "{:?}", house.alerts);
    assert!(house.scheduler.house(ADMIN).devices[0].closed.is_some());
    // On the processor a failure is one like any other.
    house.fail(job(batch, 1), FailureKind::Input);
    assert_eq!(house.ended[&job(batch, 1)], (JobState::Failed, Some(FailureKind::Input)));
    assert_eq!(listening(&house), [(2, Lane::Cpu), (3, Lane::Cpu)]);
    house.done(job(batch, 2));
    let (device, reason) = reason_of(&house);
    assert_eq!((device.as_str(), reason.as_str()), ("cpu", "gpu:0 card of 8000: as told"));
    let open = house.scheduler.batches[&batch].job(3).unwrap().open.attempts;
    assert_eq!(open, 1);
}

#[test]
fn a_card_is_tried_again_after_a_minute_by_whoever_waits() {
    let mut house = house(&[ROOMY]);
    let batch = decoded(&mut house, "base", 6);
    let other = decoded(&mut house, "tiny", 1);
    house.fail(job(batch, 1), FailureKind::OutOfMemory);
    let on_card = |house: &House| listening(house).into_iter().find(|(_, lane)| *lane == Lane::Gpu(0));
    assert_eq!(on_card(&house), Some((1, Lane::Gpu(0))));
    house.done(job(other, 1));
    assert_eq!(on_card(&house), None, "a model that did not fit is not tried again: the other one was");
    assert!(!listening(&house).is_empty());
    assert!(house.scheduler.next_wakeup() <= Some(house.now.mono.plus(60_000)));
    house.wait(60_000);
    let (index, _) = on_card(&house).expect("who waited for a core has the card");
    house.done(job(batch, index));
    assert_eq!(house.scheduler.house(ADMIN).devices[0].closed, None);
}

#[test]
fn what_is_the_inputs_doing_or_a_wish_is_no_fault_of_the_card() {
    let mut house = house(&[ROOMY]);
    let batch = decoded(&mut house, "base", 2);
    house.fail(job(batch, 1), FailureKind::Input);
    assert_eq!(house.ended[&job(batch, 1)], (JobState::Failed, Some(FailureKind::Input)));
    house.ask(ADMIN, Command::Cancel(one(batch)));
    house.die(job(batch, 2));
    assert_eq!(house.ended[&job(batch, 2)], (JobState::Cancelled, None));
    assert!(house.alerts.is_empty(), "{:?}", house.alerts);
}

#[test]
fn speeds_are_learned_by_what_the_work_was_done_on() {
    let mut house = house(&[ROOMY]);
    let batch = decoded(&mut house, "base", 2);
    house.die(job(batch, 1));
    let hear = |house: &mut House, index: u32, ms: u64| {
        house.wait(ms);
        let files = vec![ArtifactFile { name: "a".to_owned(), bytes: 1, content: ContentHash::of(b"a") }];
        let done = Done { files, work: 600.0, ..Done::default() };
        house.end(job(batch, index), Outcome::Done(Box::new(done)));
    };
    hear(&mut house, 2, 1_000);
    hear(&mut house, 1, 59_000);
    // Both cores for a minute.
    let stage = Stage::Transcribe(Default::default());
    let seconds = |lane: Lane| {
        let rate = house.scheduler.rates.get(&house.scheduler.gpus.rate_key(&stage, lane)).copied();
        rate.map(|rate| (rate.count, rate.y))
    };
    assert_eq!((seconds(Lane::Gpu(0)), seconds(Lane::Cpu)), (Some((1, 1.0)), Some((1, 120.0))));
}

#[test]
fn where_none_was_found_the_reason_is_told_and_where_none_is_asked_for_nothing() {
    let found = Found { devices: Vec::new(), none: Some("the program did not start".to_owned()) };
    let config = Config { gpus: found, ..config(2) };
    let mut house = House::of(config, Recovered { boot: 1, next_batch: 1, ..Recovered::default() });
    let batch = decoded(&mut house, "base", 1);
    house.done(job(batch, 1));
    assert_eq!(device_of(&house), [("cpu".to_owned(), Some("the program did not start".to_owned()))]);
    let mut plain = House::new(2);
    let batch = decoded(&mut plain, "base", 1);
    plain.done(job(batch, 1));
    let transcript = plain.artifacts.values().find(|artifact| artifact.stage == "transcribe").unwrap();
    assert_eq!(transcript.detail.figures, []);
}
