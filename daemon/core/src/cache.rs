//! Addresses: what an artifact was made from, as one hash. Equal address, equal artifact; so retry, resume, cache and re-submission are one
//! mechanism. A stage's input is the artifact before it, by address; so a chain can be looked up from its end without its middle.

use spindle_shared::id::{AddressHasher, ContentHash, JobId};
use spindle_shared::stage::Stage;
use spindle_shared::stage::subtitle::Subtitle;
use spindle_shared::worker::ArtifactFile;

/// The address of each stage's artifact for an input with this content; `None` for stages without one.
/// What was fetched for a job has that job's own: `content` is what it contains, so everything behind it is found by that, wherever it came from.
pub fn addresses(job: JobId, stages: &[Stage], content: ContentHash) -> Vec<Option<ContentHash>> {
    let mut feed = content;
    stages
        .iter()
        .map(|stage| {
            if matches!(stage, Stage::Fetch(_)) {
                return Some(fetched(job));
            }
            stage.facts().artifact.then(|| {
                let mut hasher = AddressHasher::default();
                stage.address_into(&mut hasher);
                hasher.part(&feed.0);
                feed = hasher.finish();
                feed
            })
        })
        .collect()
}

/// Where the input of a job is kept that was fetched for it. What lies at an address differs from day to day, so nobody else's will do.
pub fn fetched(job: JobId) -> ContentHash {
    let mut hasher = AddressHasher::default();
    let stage = Stage::Fetch(Default::default());
    stage.address_into(&mut hasher);
    hasher.part(&job.batch.0.to_le_bytes()).part(&job.index.to_le_bytes());
    hasher.finish()
}

/// Where a job notes what of its outputs an object store has.
pub fn uploaded(job: JobId) -> ContentHash {
    let mut hasher = AddressHasher::default();
    hasher.part(b"upload").part(&job.batch.0.to_le_bytes()).part(&job.index.to_le_bytes());
    hasher.finish()
}

/// Of what was fetched: the content of the input.
pub fn fetched_content(files: &[ArtifactFile]) -> Option<ContentHash> {
    match files {
        [file] => Some(file.content),
        _ => None,
    }
}

/// What an output was made with, the input left out: all parameters that change it. Which other formats were made beside it does not.
pub fn parameters(stages: &[Stage]) -> ContentHash {
    let mut hasher = AddressHasher::default();
    for stage in stages.iter().filter(|stage| stage.facts().artifact && !matches!(stage, Stage::Fetch(_))) {
        match stage {
            Stage::Subtitle(subtitle) => {
                Stage::Subtitle(Subtitle { formats: Vec::new(), ..subtitle.clone() }).address_into(&mut hasher);
            }
            other => other.address_into(&mut hasher),
        }
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use spindle_shared::id::BatchId;
    use spindle_shared::recipe::Recipe;
    use spindle_shared::stage::subtitle::Format;
    use spindle_shared::stage::transcribe::Transcribe;

    const JOB: JobId = JobId { batch: BatchId(1), index: 1 };

    fn subtitles(transcribe: Transcribe, subtitle: Subtitle) -> Vec<Stage> {
        Recipe::subtitles(Default::default(), transcribe, subtitle, Default::default()).map
    }

    #[test]
    fn the_formats_made_beside_it_are_none_of_an_outputs_parameters() {
        let of = |formats| parameters(&subtitles(Default::default(), Subtitle { formats, ..Default::default() }));
        assert_eq!(of(vec![Format::Srt]), of(vec![Format::Srt, Format::Vtt]));
        let short = Subtitle { shape: spindle_shared::stage::subtitle::Shape::SHORT, ..Default::default() };
        assert_ne!(parameters(&subtitles(Default::default(), short)), of(vec![Format::Srt]));
    }

    #[test]
    fn a_parameter_changes_its_own_stage_and_those_after_it() {
        let content = ContentHash::of(b"x");
        let base = addresses(JOB, &subtitles(Default::default(), Default::default()), content);
        assert_eq!(base.iter().map(Option::is_some).collect::<Vec<_>>(), [false, true, true, true, false]);
        let german = Transcribe { language: Some("de".to_owned()), ..Default::default() };
        let german = addresses(JOB, &subtitles(german, Default::default()), content);
        assert_eq!(german[1], base[1]);
        assert_ne!(german[2], base[2]);
        assert_ne!(german[3], base[3]);
        let text = Subtitle { formats: vec![Format::Txt], ..Default::default() };
        let text = addresses(JOB, &subtitles(Default::default(), text), content);
        assert_eq!(text[2], base[2]);
        assert_ne!(text[3], base[3]);
        assert_ne!(
            addresses(JOB, &subtitles(Default::default(), Default::default()), ContentHash::of(b"y"))[1],
            base[1]
        );
    }
}
