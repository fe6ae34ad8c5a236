//! The three strategies: which pieces make the highlights, from what the analyses say. Knows no file.

use spindle_shared::rules::{Measured, Rules};
use spindle_shared::stage::plan::{Plan, Strategy, TARGET_SECONDS};

use super::analysis::{Analysis, Scene};
use super::plan::{ClipPlan, Piece, Source};

/// A video with its analysis.
pub struct Analysed<'a> {
    pub video_index: u32,
    pub analysis: &'a Analysis,
}

/// About as long as a piece is wanted, and its bounds.
const PIECE_SECONDS: f64 = 8.0;
const PIECE_SECONDS_MIN: f64 = 2.0;
const PIECE_SECONDS_MAX: f64 = 12.0;
/// Of a piece, what is shown before its moment.
const LEAD_SHARE: f64 = 0.35;
/// A scene that begins this near to a piece's beginning is its beginning; else a key picture is, from which on it can be copied.
const SNAP_SECONDS: f64 = 1.0;
/// What is added to a piece at a time while there is room and need.
const GROWTH_SECONDS: f64 = 2.0;
/// Less than this is not missed.
const ENOUGH_SECONDS: f64 = 0.005;

/// What the pieces aim at: what was asked for, and never more than there is.
pub fn target(stage: &Plan, videos: &[Analysed<'_>]) -> f64 {
    let all: f64 = videos.iter().map(|video| video.analysis.video.seconds).sum();
    stage.target_duration.unwrap_or(TARGET_SECONDS).min(all)
}

/// A plan that keeps to the strategy, or the default one and why.
pub fn choose(stage: &Plan, videos: &[Analysed<'_>]) -> (ClipPlan, Option<String>) {
    let target = target(stage, videos);
    let sources: Vec<Source> = videos
        .iter()
        .map(|video| Source { video_index: video.video_index, seconds: video.analysis.video.seconds })
        .collect();
    let plan = match (stage.strategy, &stage.rules) {
        (Strategy::Summary, _) => summary(videos, target),
        (Strategy::Custom, Some(rules)) => custom(rules, videos, target),
        (Strategy::Highlights | Strategy::Custom, _) => highlights(videos, target),
    };
    match plan.check(&sources) {
        Ok(()) => (plan, None),
        Err(_) if plan.segments.is_empty() => {
            let why = "nothing in them is what was asked for";
            (ClipPlan::default_of(&sources, why), Some(why.to_owned()))
        }
        Err(why) => (ClipPlan::default_of(&sources, &why), Some(why)),
    }
}

/// The best moments: of each video its best one, then the best of all, until it is enough.
fn highlights(videos: &[Analysed<'_>], target: f64) -> ClipPlan {
    let wanted = (videos.len() as f64).max((target / PIECE_SECONDS).ceil()).max(1.0);
    let length = (target / wanted).clamp(PIECE_SECONDS_MIN, PIECE_SECONDS_MAX);
    let mut moments: Vec<(bool, usize, &crate::language::moments::Moment)> = Vec::new();
    for (at, video) in videos.iter().enumerate() {
        let best = video
            .analysis
            .key_moments
            .iter()
            .max_by(|a, b| a.confidence.total_cmp(&b.confidence).then(b.seconds.total_cmp(&a.seconds)));
        moments.extend(
            video
                .analysis
                .key_moments
                .iter()
                .map(|moment| (best.is_some_and(|best| std::ptr::eq(best, moment)), at, moment)),
        );
    }
    moments.sort_by(|a, b| b.0.cmp(&a.0).then(b.2.confidence.total_cmp(&a.2.confidence)).then(a.1.cmp(&b.1)));
    let mut board = Board::new(videos);
    for (_, at, moment) in moments {
        let left = target - board.seconds;
        if left < PIECE_SECONDS_MIN && board.seconds > 0.0 {
            break;
        }
        let length = length.min(left);
        let weight = (1.0 + 9.0 * moment.confidence).round().clamp(1.0, 10.0);
        let start = board.snapped(at, moment.seconds - LEAD_SHARE * length, moment.seconds);
        board.put(at, moment.seconds, start, length, &moment.description, weight);
    }
    board.fill(target, length);
    let reasoning =
        format!("The highlights of {}: the surest key moment of each, then the surest of all.", counted(videos.len()));
    ClipPlan::new(Strategy::Highlights.name(), board.pieces(), reasoning)
}

/// Something of everything: each video by its length, its pieces spread evenly, each around the best moment of its part.
fn summary(videos: &[Analysed<'_>], target: f64) -> ClipPlan {
    let all: f64 = videos.iter().map(|video| video.analysis.video.seconds).sum();
    let mut board = Board::new(videos);
    for (at, video) in videos.iter().enumerate() {
        let seconds = video.analysis.video.seconds;
        let share = target * seconds / all.max(f64::MIN_POSITIVE);
        let count = (share / PIECE_SECONDS).ceil().max(1.0);
        let (part, length) = (seconds / count, share / count);
        for number in 0..count as usize {
            let (from, to) = (number as f64 * part, (number + 1) as f64 * part);
            let inside = video.analysis.key_moments.iter().filter(|moment| (from..to).contains(&moment.seconds));
            let best = inside.max_by(|a, b| a.confidence.total_cmp(&b.confidence));
            let middle = best.map_or((from + to) / 2.0, |moment| moment.seconds);
            let reason = best.map_or("what is in the middle", |moment| moment.description.as_str());
            let start = board.snapped(at, middle - length / 2.0, middle).clamp(from, (to - length).max(from));
            board.put(at, start + length / 2.0, start, length, reason, 5.0);
        }
    }
    board.fill(target, PIECE_SECONDS);
    let reasoning = format!(
        "A summary of {}: pieces spread evenly over all of their time, each around a key moment.",
        counted(videos.len())
    );
    ClipPlan::new(Strategy::Summary.name(), board.pieces(), reasoning)
}

/// What the rules take, heaviest first, until it is enough.
fn custom(rules: &Rules, videos: &[Analysed<'_>], target: f64) -> ClipPlan {
    let mut found: Vec<(usize, &Scene, &spindle_shared::rules::ClipRule)> = Vec::new();
    for (at, video) in videos.iter().enumerate() {
        let scenes = &video.analysis.scenes;
        found
            .extend(scenes.iter().filter_map(|scene| Some((at, scene, rules.take(&measured(scene, video.analysis))?))));
    }
    found.sort_by(|a, b| {
        b.2.weight.total_cmp(&a.2.weight).then(a.0.cmp(&b.0)).then(a.1.start_time.total_cmp(&b.1.start_time))
    });
    let mut board = Board::new(videos);
    for (at, scene, rule) in found {
        let left = target - board.seconds;
        let length = (scene.end_time - scene.start_time).min(rule.longest).min(left);
        if left <= ENOUGH_SECONDS {
            break;
        }
        let start = (scene.peak_time - LEAD_SHARE * length)
            .clamp(scene.start_time, (scene.end_time - length).max(scene.start_time));
        board.put(at, start + length / 2.0, start, length, &rule.name, rule.weight);
    }
    let taken: Vec<&str> = rules.clips.iter().map(|rule| rule.name.as_str()).collect();
    let reasoning = format!("What own rules take of {}: {}.", counted(videos.len()), taken.join(", "));
    ClipPlan::new(Strategy::Custom.name(), board.pieces(), reasoning)
}

fn measured<'a>(scene: &'a Scene, analysis: &Analysis) -> Measured<'a> {
    Measured {
        sound: scene.loudness,
        sound_rise: scene.loudness_rise,
        speech: scene.speech_share,
        motion: Some(scene.motion),
        length: scene.end_time - scene.start_time,
        position: scene.start_time / analysis.video.seconds.max(f64::MIN_POSITIVE),
        text: scene.text.as_deref(),
    }
}

fn counted(videos: usize) -> String {
    if videos == 1 { "1 video".to_owned() } else { format!("{videos} videos") }
}

/// Pieces chosen so far: of each video in order of time, never overlapping.
struct Board<'a> {
    videos: &'a [Analysed<'a>],
    chosen: Vec<Vec<Chosen>>,
    seconds: f64,
}

#[derive(Debug, Clone)]
struct Chosen {
    start: f64,
    end: f64,
    reason: String,
    weight: f64,
}

impl<'a> Board<'a> {
    fn new(videos: &'a [Analysed<'a>]) -> Self {
        Board { videos, chosen: vec![Vec::new(); videos.len()], seconds: 0.0 }
    }

    /// What is free around a time of a video; `None` where a piece is there.
    fn room(&self, video: usize, time: f64) -> Option<(f64, f64)> {
        let mut room = (0.0, self.videos[video].analysis.video.seconds);
        for piece in &self.chosen[video] {
            if piece.end <= time {
                room.0 = piece.end;
            } else if piece.start > time {
                room.1 = piece.start;
                break;
            } else {
                return None;
            }
        }
        Some(room)
    }

    /// A beginning, at that of a scene or with a key picture where one is near and the moment stays inside.
    fn snapped(&self, video: usize, start: f64, moment: f64) -> f64 {
        let nearest = |places: &mut dyn Iterator<Item = f64>| {
            let near = places.filter(|place| (place - start).abs() <= SNAP_SECONDS && *place <= moment);
            near.min_by(|a, b| (a - start).abs().total_cmp(&(b - start).abs()))
        };
        let analysis = self.videos[video].analysis;
        let scene = nearest(&mut analysis.scenes.iter().map(|scene| scene.start_time));
        scene.or_else(|| nearest(&mut analysis.key_pictures.iter().copied())).unwrap_or(start)
    }

    /// A piece around a time, of this length or what room there is.
    fn put(&mut self, video: usize, around: f64, start: f64, length: f64, reason: &str, weight: f64) {
        let last = self.videos[video].analysis.video.seconds - f64::EPSILON;
        let Some((from, to)) = self.room(video, around.clamp(0.0, last.max(0.0))) else { return };
        let length = length.min(to - from);
        let shortest = PIECE_SECONDS_MIN.min(self.videos[video].analysis.video.seconds) / 2.0;
        if length < shortest.min(to) || length <= 0.0 {
            return;
        }
        let start = start.clamp(from, to - length);
        let pieces = &mut self.chosen[video];
        let at = pieces.iter().position(|piece| piece.start > start).unwrap_or(pieces.len());
        pieces.insert(at, Chosen { start, end: start + length, reason: reason.to_owned(), weight });
        self.seconds += length;
    }

    /// Until it is enough: lets pieces grow into the room around them, the heaviest first, and begins what has none.
    fn fill(&mut self, target: f64, length: f64) {
        let mut order: Vec<usize> = (0..self.chosen.len()).collect();
        order.sort_by(|a, b| self.heaviest(*b).total_cmp(&self.heaviest(*a)));
        // At the end first: a beginning was chosen with care.
        let mut both_ways = false;
        loop {
            let before = self.seconds;
            for video in order.iter().copied() {
                for at in 0..self.chosen[video].len() {
                    let end = self.videos[video].analysis.video.seconds;
                    let pieces = &self.chosen[video];
                    let after = pieces.get(at + 1).map_or(end, |next| next.start) - pieces[at].end;
                    let earlier = pieces[at].start - if at == 0 { 0.0 } else { pieces[at - 1].end };
                    let more = after.min(GROWTH_SECONDS).min(target - self.seconds).max(0.0);
                    self.chosen[video][at].end += more;
                    self.seconds += more;
                    let more =
                        if both_ways { earlier.min(GROWTH_SECONDS).min(target - self.seconds).max(0.0) } else { 0.0 };
                    self.chosen[video][at].start -= more;
                    self.seconds += more;
                }
                let left = target - self.seconds;
                if self.chosen[video].is_empty() && left > ENOUGH_SECONDS {
                    self.put(video, 0.0, 0.0, length.min(left).max(0.0), "the beginning", 1.0);
                }
            }
            match target - self.seconds > ENOUGH_SECONDS {
                true if self.seconds - before > ENOUGH_SECONDS => {}
                true if !both_ways => both_ways = true,
                _ => return,
            }
        }
    }

    fn heaviest(&self, video: usize) -> f64 {
        self.chosen[video].iter().map(|piece| piece.weight).fold(0.0, f64::max)
    }

    /// What touches is one piece.
    fn pieces(self) -> Vec<Piece> {
        let mut pieces = Vec::new();
        for (video, chosen) in self.videos.iter().zip(self.chosen) {
            let mut joined: Vec<Chosen> = Vec::new();
            for piece in chosen {
                match joined.last_mut() {
                    Some(before) if piece.start - before.end < 1e-6 => {
                        before.end = piece.end;
                        if piece.weight > before.weight {
                            (before.weight, before.reason) = (piece.weight, piece.reason);
                        }
                    }
                    _ => joined.push(piece),
                }
            }
            let piece =
                |piece: Chosen| Piece::new(video.video_index, piece.start, piece.end, piece.reason, piece.weight);
            pieces.extend(joined.into_iter().map(piece));
        }
        pieces
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};

    use super::super::analysis::Video;
    use super::*;
    use crate::language::moments::Moment;

    fn analysis(seconds: f64, moments: &[(f64, f64)], cuts: &[f64]) -> Analysis {
        let borders: Vec<f64> = [0.0].into_iter().chain(cuts.iter().copied()).chain([seconds]).collect();
        let scene = |pair: &[f64]| Scene {
            start_time: pair[0],
            end_time: pair[1],
            loudness: Some(-pair[0]),
            peak_time: (pair[0] + pair[1]) / 2.0,
            ..Scene::default()
        };
        Analysis {
            video: Video { seconds, ..Video::default() },
            key_moments: moments
                .iter()
                .map(|(seconds, confidence)| Moment {
                    seconds: *seconds,
                    description: "a moment".to_owned(),
                    confidence: *confidence,
                })
                .collect(),
            scenes: borders.windows(2).map(scene).collect(),
            ..Analysis::default()
        }
    }

    fn chosen(stage: Plan, analyses: &[Analysis]) -> (ClipPlan, Option<String>) {
        let videos: Vec<Analysed<'_>> =
            (1..).zip(analyses).map(|(video_index, analysis)| Analysed { video_index, analysis }).collect();
        choose(&stage, &videos)
    }

    fn plan(target: f64, strategy: Strategy) -> Plan {
        Plan { target_duration: Some(target), strategy, rules: None }
    }

    fn times(plan: &ClipPlan) -> Vec<(u32, f64, f64)> {
        plan.segments.iter().map(|piece| (piece.video_index, piece.start_time, piece.end_time)).collect()
    }

    #[test]
    fn highlights_are_the_surest_moments_from_the_beginning_of_their_scene() {
        let analyses =
            [analysis(60.0, &[(10.0, 0.4), (30.0, 0.9)], &[26.5, 40.0]), analysis(40.0, &[(20.0, 0.6)], &[])];
        let (plan, odd) = chosen(plan(16.0, Strategy::Highlights), &analyses);
        assert_eq!((times(&plan), odd), (vec![(1, 26.5, 34.5), (2, 17.2, 25.2)], None));
        assert_eq!(plan.segments[0].weight, 9.0);
        assert_eq!(plan.total_duration, 16.0);
    }

    #[test]
    fn a_summary_has_something_of_every_part_of_every_video() {
        let analyses = [analysis(60.0, &[(10.0, 0.4), (30.0, 0.9)], &[]), analysis(20.0, &[], &[])];
        let (plan, _) = chosen(plan(20.0, Strategy::Summary), &analyses);
        assert_eq!(times(&plan), [(1, 6.25, 13.75), (1, 30.0, 37.5), (2, 7.5, 12.5)]);
    }

    #[test]
    fn own_rules_take_scenes_and_where_they_take_none_the_default_is_taken() {
        let rules = spindle_shared::rules::Rules {
            clips: vec![spindle_shared::rules::ClipRule {
                name: "late".to_owned(),
                weight: 7.0,
                longest: 6.0,
                sound: None,
                sound_rise: None,
                speech: None,
                motion: None,
                length: None,
                position: Some(spindle_shared::rules::Range { min: Some(0.5), max: None }),
                text: Vec::new(),
                without_text: Vec::new(),
            }],
        };
        let of = |rules: &Rules, target| Plan {
            target_duration: Some(target),
            strategy: Strategy::Custom,
            rules: Some(rules.clone()),
        };
        let analyses = [analysis(60.0, &[], &[20.0, 40.0, 44.0]), analysis(20.0, &[], &[])];
        let (plan, odd) = chosen(of(&rules, 30.0), &analyses);
        assert_eq!((times(&plan), odd), (vec![(1, 40.0, 44.0), (1, 49.9, 55.9)], None));
        let (plan, _) = chosen(of(&rules, 7.0), &analyses);
        assert_eq!(plan.total_duration, 7.0, "no longer than asked for");
        let mut none = rules;
        none.clips[0].position = Some(spindle_shared::rules::Range { min: Some(1.0), max: None });
        let (plan, odd) = chosen(of(&none, 30.0), &analyses);
        assert_eq!(times(&plan), [(1, 0.0, 30.0), (2, 0.0, 20.0)]);
        assert_eq!(odd.as_deref(), Some("nothing in them is what was asked for"));
    }

    #[test]
    fn who_asks_for_more_than_there_is_gets_all() {
        let analyses = [
            analysis(10.0, &[(3.0, 0.5)], &[4.0]),
            analysis(0.4, &[], &[]),
            analysis(7.0, &[(1.0, 0.5), (6.5, 0.9)], &[]),
        ];
        for strategy in [Strategy::Highlights, Strategy::Summary] {
            let (plan, odd) = chosen(plan(1_000.0, strategy), &analyses);
            assert_eq!(odd, None);
            let mut times = times(&plan);
            times.sort_by_key(|piece| piece.0);
            assert_eq!(times, [(1, 0.0, 10.0), (2, 0.0, 0.4), (3, 0.0, 7.0)], "{strategy:?}");
        }
    }

    proptest! {
        #[test]
        fn every_plan_can_be_cut_and_is_as_long_as_asked_for(
            videos in proptest::collection::vec(
                (0.2..700.0f64, proptest::collection::vec((0.0..1.0f64, 0.0..1.0f64), 0..25), proptest::collection::vec(0.01..0.99f64, 0..10)),
                1..8,
            ),
            target in 1.0..2_000.0f64,
            summary in any::<bool>(),
        ) {
            let analyses: Vec<Analysis> = videos
                .iter()
                .map(|(seconds, moments, cuts)| {
                    let moments: Vec<_> = moments.iter().map(|(at, confidence)| (at * seconds, *confidence)).collect();
                    let mut cuts: Vec<f64> = cuts.iter().map(|at| at * seconds).collect();
                    cuts.sort_by(f64::total_cmp);
                    analysis(*seconds, &moments, &cuts)
                })
                .collect();
            let (plan, odd) = chosen(plan(target, if summary { Strategy::Summary } else { Strategy::Highlights }), &analyses);
            prop_assert_eq!(odd, None);
            let all: f64 = videos.iter().map(|video| video.0).sum();
            let target = target.min(all);
            prop_assert!((plan.total_duration - target).abs() <= 0.1 * target, "{} of {target}", plan.total_duration);
            let mut times = times(&plan);
            times.sort_by(|a, b| a.0.cmp(&b.0).then(a.1.total_cmp(&b.1)));
            prop_assert!(times.windows(2).all(|pair| pair[0].0 != pair[1].0 || pair[0].2 <= pair[1].1 + 0.0011), "{:?}", times);
        }
    }
}
