//! Which audio track is meant: a number, a language under any of its names, or nothing said. Pure: knows the facts only.

use spindle_shared::language;
use spindle_shared::text::escaped;

use super::error::MediaError;
use super::facts::{Facts, StreamFacts, StreamKind};

/// The tracks to try, best first. Several only where nothing was asked for: then a track that can't be opened gives way.
pub fn choose<'facts>(facts: &'facts Facts, wanted: Option<&str>) -> Result<Vec<&'facts StreamFacts>, MediaError> {
    let tracks: Vec<&StreamFacts> = facts.audio().collect();
    if tracks.is_empty() {
        return Err(MediaError::NoAudio { has: other_streams(facts) });
    }
    let Some(wanted) = wanted.map(str::trim).filter(|wanted| !wanted.is_empty()) else {
        return Ok(in_order(tracks));
    };
    let found = match wanted.parse::<usize>() {
        Ok(number) => number.checked_sub(1).and_then(|at| tracks.get(at)).copied(),
        Err(_) => {
            let spoken = tracks.iter().copied().filter(|track| speaks(track, wanted)).collect();
            in_order(spoken).first().copied()
        }
    };
    match found {
        Some(track) => Ok(vec![track]),
        None => Err(MediaError::NoSuchTrack { wanted: escaped(wanted), tracks: listed(&tracks) }),
    }
}

/// What can be decoded first, then the file's own choice, then plain tracks before commentaries; otherwise the file's order.
fn in_order(mut tracks: Vec<&StreamFacts>) -> Vec<&StreamFacts> {
    tracks.sort_by_key(|track| (!track.decodable, !track.default, track.special));
    tracks
}

fn speaks(track: &StreamFacts, wanted: &str) -> bool {
    let Some(said) = track.language.as_deref() else { return false };
    let (said, wanted) = (said.trim().to_lowercase(), wanted.to_lowercase());
    // `en-US` is English; and a language this list doesn't have is found under the file's own name for it.
    said == wanted || code_of(primary(&said)).is_some_and(|code| code_of(primary(&wanted)) == Some(code))
}

fn primary(tag: &str) -> &str {
    tag.split(['-', '_']).next().unwrap_or(tag)
}

/// whisper's code for any code or name of a language.
fn code_of(text: &str) -> Option<&'static str> {
    ALIASES
        .iter()
        .find(|(_, others)| others.split(' ').any(|other| other == text))
        .map(|(code, _)| *code)
        .or_else(|| language::code_of(text))
}

/// `1 (eng, aac, stereo, default), 2 (fre, ac3, 6 channels)`; a long list is cut.
fn listed(tracks: &[&StreamFacts]) -> String {
    const SHOWN_MAX: usize = 12;
    let mut parts: Vec<String> = tracks.iter().zip(1..).take(SHOWN_MAX).map(|(track, n)| described(track, n)).collect();
    if tracks.len() > SHOWN_MAX {
        parts.push(format!("and {} more", tracks.len() - SHOWN_MAX));
    }
    parts.join(", ")
}

/// One track as people are told of it.
pub fn described(track: &StreamFacts, number: usize) -> String {
    let mut parts =
        vec![track.language.as_deref().map_or_else(|| "no language".to_owned(), escaped), track.codec.clone()];
    match track.channels {
        0 => {}
        1 => parts.push("mono".to_owned()),
        2 => parts.push("stereo".to_owned()),
        channels => parts.push(format!("{channels} channels")),
    }
    if track.default {
        parts.push("default".to_owned());
    }
    if let Some(title) = track.title.as_deref().filter(|title| !title.is_empty()) {
        parts.push(format!("\"{}\"", escaped(&title.chars().take(40).collect::<String>())));
    }
    format!("{number} ({})", parts.join(", "))
}

fn other_streams(facts: &Facts) -> String {
    facts.only([
        (StreamKind::Video, "video stream", "video streams"),
        (StreamKind::Picture, "picture", "pictures"),
        (StreamKind::Subtitle, "subtitle track", "subtitle tracks"),
    ])
}

/// ISO 639-2 and 639-3 codes, and second names, of the languages whisper knows; what is in `shared::language` isn't repeated.
const ALIASES: [(&str, &str); 101] = [
    ("en", "eng"),
    ("zh", "zho chi cmn mandarin"),
    ("de", "deu ger"),
    ("es", "spa castilian"),
    ("ru", "rus"),
    ("ko", "kor"),
    ("fr", "fra fre"),
    ("ja", "jpn"),
    ("pt", "por"),
    ("tr", "tur"),
    ("pl", "pol"),
    ("ca", "cat valencian"),
    ("nl", "nld dut flemish"),
    ("ar", "ara arb"),
    ("sv", "swe"),
    ("it", "ita"),
    ("id", "ind"),
    ("hi", "hin"),
    ("fi", "fin"),
    ("vi", "vie"),
    ("he", "heb iw"),
    ("uk", "ukr"),
    ("el", "ell gre"),
    ("ms", "msa may zsm"),
    ("cs", "ces cze"),
    ("ro", "ron rum mol moldavian moldovan"),
    ("da", "dan"),
    ("hu", "hun"),
    ("ta", "tam"),
    ("no", "nor nb nob bokmål"),
    ("th", "tha"),
    ("ur", "urd"),
    ("hr", "hrv scr"),
    ("bg", "bul"),
    ("lt", "lit"),
    ("la", "lat"),
    ("mi", "mri mao"),
    ("ml", "mal"),
    ("cy", "cym wel"),
    ("sk", "slk slo"),
    ("te", "tel"),
    ("fa", "fas per pes farsi"),
    ("lv", "lav lvs"),
    ("bn", "ben"),
    ("sr", "srp scc"),
    ("az", "aze"),
    ("sl", "slv"),
    ("kn", "kan"),
    ("et", "est ekk"),
    ("mk", "mkd mac"),
    ("br", "bre"),
    ("eu", "eus baq"),
    ("is", "isl ice"),
    ("hy", "hye arm"),
    ("ne", "nep npi"),
    ("mn", "mon khk"),
    ("bs", "bos"),
    ("kk", "kaz"),
    ("sq", "sqi alb"),
    ("sw", "swa swh"),
    ("gl", "glg"),
    ("mr", "mar"),
    ("pa", "pan panjabi"),
    ("si", "sin sinhalese"),
    ("km", "khm"),
    ("sn", "sna"),
    ("yo", "yor"),
    ("so", "som"),
    ("af", "afr"),
    ("oc", "oci"),
    ("ka", "kat geo"),
    ("be", "bel"),
    ("tg", "tgk"),
    ("sd", "snd"),
    ("gu", "guj"),
    ("am", "amh"),
    ("yi", "yid ji"),
    ("lo", "lao"),
    ("uz", "uzb"),
    ("fo", "fao"),
    ("ht", "hat haitian"),
    ("ps", "pus pushto"),
    ("tk", "tuk"),
    ("nn", "nno"),
    ("mt", "mlt"),
    ("sa", "san"),
    ("lb", "ltz letzeburgesch"),
    ("my", "mya bur burmese"),
    ("bo", "bod tib"),
    ("tl", "tgl fil filipino"),
    ("mg", "mlg"),
    ("as", "asm"),
    ("tt", "tat"),
    ("haw", "haw"),
    ("ln", "lin"),
    ("ha", "hau"),
    ("ba", "bak"),
    ("jw", "jav jv"),
    ("su", "sun"),
    ("yue", "yue"),
    // Not whisper's, but what files say where they say nothing.
    ("und", "und undetermined unknown mis"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn track(language: Option<&str>, default: bool) -> StreamFacts {
        StreamFacts {
            index: 0,
            kind: StreamKind::Audio,
            codec: "aac".to_owned(),
            decodable: true,
            encrypted: None,
            language: language.map(str::to_owned),
            title: None,
            default,
            special: false,
            channels: 2,
            sample_rate: 48_000,
            bits: 0,
            width: 0,
            height: 0,
            start_us: None,
            duration_seconds: None,
            picture: None,
        }
    }

    fn file(tracks: Vec<StreamFacts>) -> Facts {
        let streams = tracks.into_iter().zip(1..).map(|(track, index)| StreamFacts { index, ..track }).collect();
        Facts { streams, ..Facts::default() }
    }

    fn chosen(facts: &Facts, wanted: Option<&str>) -> Result<Vec<usize>, String> {
        choose(facts, wanted).map(|t| t.iter().map(|t| t.index).collect()).map_err(|e| e.to_string())
    }

    #[test]
    fn a_language_is_found_under_any_of_its_names() {
        for (said, wanted) in [
            ("ger", "de"),
            ("ger", "deu"),
            ("deu", "german"),
            ("de", "German"),
            ("de-AT", "ger"),
            ("DEU", "de"),
            ("chi", "zh"),
            ("zh-Hans", "chinese"),
            ("cmn", "zho"),
            ("fre", "fra"),
            ("tlh", "TLH"),
            ("jpn", "ja"),
        ] {
            let facts = file(vec![track(None, false), track(Some("eng"), true), track(Some(said), false)]);
            assert_eq!(chosen(&facts, Some(wanted)), Ok(vec![3]), "{said} {wanted}");
        }
    }

    #[test]
    fn a_number_counts_audio_tracks_from_one() {
        let video = StreamFacts { kind: StreamKind::Video, ..track(None, true) };
        let facts = file(vec![video, track(None, false), track(None, false)]);
        assert_eq!(chosen(&facts, Some("1")), Ok(vec![2]));
        assert_eq!(chosen(&facts, Some(" 2 ")), Ok(vec![3]));
        for wrong in ["0", "3", "18446744073709551615"] {
            assert!(chosen(&facts, Some(wrong)).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_track_that_is_not_there_names_those_that_are() {
        let facts = file(vec![track(Some("eng"), true), StreamFacts { channels: 6, ..track(Some("fra"), false) }]);
        assert_eq!(
            chosen(&facts, Some("de")).unwrap_err(),
            "no audio track `de`; the file has 1 (eng, aac, stereo, default), 2 (fra, aac, 6 channels)"
        );
    }

    #[test]
    fn without_a_wish_the_file_s_own_choice_comes_first() {
        let undecodable = StreamFacts { decodable: false, ..track(None, true) };
        let commentary = StreamFacts { special: true, ..track(None, false) };
        let facts = file(vec![commentary, undecodable, track(None, false), track(None, true)]);
        assert_eq!(chosen(&facts, None), Ok(vec![4, 3, 1, 2]));
        assert_eq!(chosen(&facts, Some("")), Ok(vec![4, 3, 1, 2]));
    }

    #[test]
    fn a_file_without_audio_says_what_it_has() {
        let picture = StreamFacts { kind: StreamKind::Picture, ..track(None, false) };
        let video = StreamFacts { kind: StreamKind::Video, ..track(None, false) };
        assert_eq!(
            chosen(&file(vec![video, picture]), None).unwrap_err(),
            "no audio track; the file has 1 video stream, 1 picture only"
        );
    }

    #[test]
    fn every_language_of_whisper_has_its_aliases() {
        for (code, name) in language::LANGUAGES {
            assert!(ALIASES.iter().any(|(known, _)| *known == code), "{code}");
            assert_eq!(code_of(name), Some(code), "{name}");
        }
    }
}
