//! The catalogue of models: what may be fetched, from where, how large it is and what its content must hash to. Reads no file and opens no connection.

use std::path::{Path, PathBuf};

use thiserror::Error;

/// Where the publisher of the whisper models keeps them; the revision is pinned, so that what is behind an address can't change.
pub const WHISPER_BASE_URL: &str =
    "https://huggingface.co/ggerganov/whisper.cpp/resolve/5359861c739e955e79d9a303bcbc70fb988958b1";

/// Where the publisher of the voice activity models keeps them.
pub const VOICE_ACTIVITY_BASE_URL: &str =
    "https://huggingface.co/ggml-org/whisper-vad/resolve/9ffd54a1e1ee413ddf265af9913beaf518d1639b";

/// Where the makers of rembg keep the ONNX files of models that cut objects out. Files behind a release can be changed: the hash tells.
pub const SEGMENTATION_BASE_URL: &str = "https://github.com/danielgatis/rembg/releases/download/v0.0.0";

/// Environment variable that names a mirror; the configuration key is `models.mirror`.
pub const MIRROR_VARIABLE: &str = "SPINDLE_MODELS__MIRROR";

/// The model taken where none is named.
pub const DEFAULT_MODEL: &str = "base";

/// The voice activity model that goes with every model of speech.
pub const DEFAULT_VOICE_ACTIVITY_MODEL: &str = "silero-v6.2.0";

/// What a model is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose {
    /// Speech to text.
    Speech,
    /// Tells speech from everything else; used beside a model of speech.
    VoiceActivity,
    /// Finds the object in front in a picture.
    Segmentation,
}

impl Purpose {
    pub fn name(self) -> &'static str {
        match self {
            Purpose::Speech => "speech",
            Purpose::VoiceActivity => "voice activity",
            Purpose::Segmentation => "segmentation",
        }
    }
}

/// The architectures; what follows from the size of the network alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Size {
    Tiny,
    Base,
    Small,
    Medium,
    Large,
    /// The large encoder with a decoder of four layers.
    Turbo,
    VoiceActivity,
    /// U²-Net at 320 × 320, of either size.
    U2Net,
    /// IS-Net at 1024 × 1024.
    IsNet,
}

impl Size {
    /// Times faster than the large models, on a processor.
    const fn relative_speed(self) -> u32 {
        match self {
            Size::Tiny => 20,
            Size::Base => 10,
            Size::Small => 5,
            Size::Medium => 2,
            Size::Large => 1,
            Size::Turbo => 4,
            Size::VoiceActivity => 500,
            Size::U2Net | Size::IsNet => 1,
        }
    }

    /// Memory beside the weights: caches and intermediate results of one transcription.
    const fn working_bytes(self) -> u64 {
        let mib = match self {
            Size::Tiny => 190,
            Size::Base => 230,
            Size::Small => 350,
            Size::Medium => 550,
            Size::Large => 800,
            Size::Turbo => 550,
            Size::VoiceActivity => 10,
            Size::U2Net => 300,
            Size::IsNet => 2_000,
        };
        mib << 20
    }
}

/// One model that can be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Model {
    /// What people call it: `base.en-q5_1`.
    pub name: &'static str,
    /// Exact size of its file.
    pub bytes: u64,
    /// SHA-256 of its file: 64 digits, lower case.
    pub sha256: &'static str,
    /// What it is good for, in one line.
    pub good_for: &'static str,
    size: Size,
}

impl Model {
    const fn new(name: &'static str, size: Size, bytes: u64, sha256: &'static str, good_for: &'static str) -> Model {
        Model { name, bytes, sha256, good_for, size }
    }

    /// Its file's name in the model folder and at the publisher's.
    pub fn file(&self) -> String {
        match self.purpose() {
            Purpose::Segmentation => format!("{}.onnx", self.name),
            Purpose::Speech | Purpose::VoiceActivity => file_name_of(self.name),
        }
    }

    /// Under which terms its publisher gives it away.
    pub fn licence(&self) -> &'static str {
        match self.purpose() {
            Purpose::Segmentation => "Apache-2.0",
            Purpose::Speech | Purpose::VoiceActivity => "MIT",
        }
    }

    pub fn purpose(&self) -> Purpose {
        match self.size {
            Size::VoiceActivity => Purpose::VoiceActivity,
            Size::U2Net | Size::IsNet => Purpose::Segmentation,
            _ => Purpose::Speech,
        }
    }

    /// Knows no other language and can't translate.
    pub fn english_only(&self) -> bool {
        self.name.contains(".en")
    }

    /// Times faster than the large models, on a processor; a rule of thumb until this machine has its own figures.
    pub fn relative_speed(&self) -> u32 {
        self.size.relative_speed()
    }

    /// Memory it takes while it works, roughly.
    pub fn memory_bytes(&self) -> u64 {
        self.bytes + self.size.working_bytes()
    }

    /// The address it is fetched from: the mirror's where there is one, the publisher's otherwise.
    pub fn url(&self, mirror: Option<&Mirror>) -> String {
        let base = match (mirror, self.purpose()) {
            (Some(mirror), _) => mirror.0.as_str(),
            (None, Purpose::Speech) => WHISPER_BASE_URL,
            (None, Purpose::VoiceActivity) => VOICE_ACTIVITY_BASE_URL,
            (None, Purpose::Segmentation) => SEGMENTATION_BASE_URL,
        };
        format!("{base}/{}", self.file())
    }
}

/// Every model that can be fetched by name, smallest network first.
#[rustfmt::skip]
pub const MODELS: [Model; 38] = [
    Model::new("tiny", Size::Tiny, 77_691_713, "be07e048e1e599ad46341c8d2a135645097a538221678b7acdd1b1919c6e1b21", "first tries and very slow machines; many mistakes"),
    Model::new("tiny-q5_1", Size::Tiny, 32_152_673, "818710568da3ca15689e31a743197b520007872ff9576237bda97bd1b469c3d7", "tiny where disk and memory are scarce; the smallest there is"),
    Model::new("tiny-q8_0", Size::Tiny, 43_537_433, "c2085835d3f50733e2ff6e4b41ae8a2b8d8110461e18821b09a15c40c42d1cca", "tiny in half the space, hardly less exact"),
    Model::new("tiny.en", Size::Tiny, 77_704_715, "921e4cf8686fdd993dcd081a5da5b6c365bfde1162e72b08d75ac75289920b1f", "English on very slow machines; better at it than tiny"),
    Model::new("tiny.en-q5_1", Size::Tiny, 32_166_155, "c77c5766f1cef09b6b7d47f21b546cbddd4157886b3b5d6d4f709e91e66c7c2b", "tiny.en where disk and memory are scarce"),
    Model::new("tiny.en-q8_0", Size::Tiny, 43_550_795, "5bc2b3860aa151a4c6e7bb095e1fcce7cf12c7b020ca08dcec0c6d018bb7dd94", "tiny.en in half the space, hardly less exact"),
    Model::new("base", Size::Base, 147_951_465, "60ed5bc3dd14eea856493d334349b405782ddcaf0028d4b5df4088345fba2efe", "the default: clear speech in common languages, quick"),
    Model::new("base-q5_1", Size::Base, 59_707_625, "422f1ae452ade6f30a004d7e5c6a43195e4433bc370bf23fac9cc591f01a8898", "base where disk and memory are scarce"),
    Model::new("base-q8_0", Size::Base, 81_768_585, "c577b9a86e7e048a0b7eada054f4dd79a56bbfa911fbdacf900ac5b567cbb7d9", "base in half the space, hardly less exact"),
    Model::new("base.en", Size::Base, 147_964_211, "a03779c86df3323075f5e796cb2ce5029f00ec8869eee3fdfb897afe36c6d002", "clear English, quick; better at it than base"),
    Model::new("base.en-q5_1", Size::Base, 59_721_011, "4baf70dd0d7c4247ba2b81fafd9c01005ac77c2f9ef064e00dcf195d0e2fdd2f", "base.en where disk and memory are scarce"),
    Model::new("base.en-q8_0", Size::Base, 81_781_811, "a4d4a0768075e13cfd7e19df3ae2dbc4a68d37d36a7dad45e8410c9a34f8c87e", "base.en in half the space, hardly less exact"),
    Model::new("small", Size::Small, 487_601_967, "1be3a9b2063867b937e64e2ec7483364a79917e157fa98c5d94b5c1fffea987b", "everyday recordings in many languages; a good middle"),
    Model::new("small-q5_1", Size::Small, 190_085_487, "ae85e4a935d7a567bd102fe55afc16bb595bdb618e11b2fc7591bc08120411bb", "small where disk and memory are scarce"),
    Model::new("small-q8_0", Size::Small, 264_464_607, "49c8fb02b65e6049d5fa6c04f81f53b867b5ec9540406812c643f177317f779f", "small in half the space, hardly less exact"),
    Model::new("small.en", Size::Small, 487_614_201, "c6138d6d58ecc8322097e0f987c32f1be8bb0a18532a3f88f734d1bbf9c41e5d", "everyday English: talks, meetings, interviews"),
    Model::new("small.en-q5_1", Size::Small, 190_098_681, "bfdff4894dcb76bbf647d56263ea2a96645423f1669176f4844a1bf8e478ad30", "small.en where disk and memory are scarce"),
    Model::new("small.en-q8_0", Size::Small, 264_477_561, "67a179f608ea6114bd3fdb9060e762b588a3fb3bd00c4387971be4d177958067", "small.en in half the space, hardly less exact"),
    Model::new("medium", Size::Medium, 1_533_763_059, "6c14d5adee5f86394037b4e4e8b59f1673b6cee10e3cf0b11bbdbee79c156208", "difficult recordings and rarer languages; slow"),
    Model::new("medium-q5_0", Size::Medium, 539_212_467, "19fea4b380c3a618ec4723c3eef2eb785ffba0d0538cf43f8f235e7b3b34220f", "medium in the memory of small"),
    Model::new("medium-q8_0", Size::Medium, 823_369_779, "42a1ffcbe4167d224232443396968db4d02d4e8e87e213d3ee2e03095dea6502", "medium in half the space, hardly less exact"),
    Model::new("medium.en", Size::Medium, 1_533_774_781, "cc37e93478338ec7700281a7ac30a10128929eb8f427dda2e865faa8f6da4356", "difficult English: accents, noise, many speakers; slow"),
    Model::new("medium.en-q5_0", Size::Medium, 539_225_533, "76733e26ad8fe1c7a5bf7531a9d41917b2adc0f20f2e4f5531688a8c6cd88eb0", "medium.en in the memory of small.en"),
    Model::new("medium.en-q8_0", Size::Medium, 823_382_461, "43fa2cd084de5a04399a896a9a7a786064e221365c01700cea4666005218f11c", "medium.en in half the space, hardly less exact"),
    Model::new("large-v1", Size::Large, 3_094_623_691, "7d99f41a10525d0206bddadd86760181fa920438b6b33237e3118ff6c83bb53d", "results to compare with older ones; take large-v3 otherwise"),
    Model::new("large-v2", Size::Large, 3_094_623_691, "9a423fe4d40c82774b6af34115b8b935f34152246eb19e80e376071d3f999487", "translation to English, and where large-v3 repeats itself"),
    Model::new("large-v2-q5_0", Size::Large, 1_080_732_091, "3a214837221e4530dbc1fe8d734f302af393eb30bd0ed046042ebf4baf70f6f2", "large-v2 in a third of the space"),
    Model::new("large-v2-q8_0", Size::Large, 1_656_129_691, "fef54e6d898246a65c8285bfa83bd1807e27fadf54d5d4e81754c47634737e8c", "large-v2 in half the space, hardly less exact"),
    Model::new("large-v3", Size::Large, 3_095_033_483, "64d182b440b98d5203c4f9bd541544d84c605196c4f7b845dfa11fb23594d1e2", "the most exact, in every language; very slow without a graphics card"),
    Model::new("large-v3-q5_0", Size::Large, 1_081_140_203, "d75795ecff3f83b5faa89d1900604ad8c780abd5739fae406de19f23ecd98ad1", "large-v3 in a third of the space"),
    Model::new("large-v3-turbo", Size::Turbo, 1_624_555_275, "1fc70f774d38eb169993ac391eea357ef47c88757ef72ee5943879b7e8e2bc69", "nearly as exact as large-v3 and much quicker; doesn't translate"),
    Model::new("large-v3-turbo-q5_0", Size::Turbo, 574_041_195, "394221709cd5ad1f40c46e6031ca61bce88931e6e088c188294c6d5a55ffa7e2", "the best for its size: turbo in the memory of small"),
    Model::new("large-v3-turbo-q8_0", Size::Turbo, 874_188_075, "317eb69c11673c9de1e1f0d459b253999804ec71ac4c23c17ecf5fbe24e259a1", "turbo in half the space, hardly less exact"),
    Model::new("silero-v5.1.2", Size::VoiceActivity, 885_098, "29940d98d42b91fbd05ce489f3ecf7c72f0a42f027e4875919a28fb4c04ea2cf", "finds where somebody speaks; the generation before silero-v6.2.0"),
    Model::new("silero-v6.2.0", Size::VoiceActivity, 885_098, "2aa269b785eeb53a82983a20501ddf7c1d9c48e33ab63a41391ac6c9f7fb6987", "finds where somebody speaks, so that silence is skipped"),
    Model::new("u2netp", Size::U2Net, 4_574_861, "309c8469258dda742793dce0ebea8e6dd393174f89934733ecc8b14c76f4ddd8", "cuts objects out of pictures; small and quick (U²-Net small)"),
    Model::new("u2net", Size::U2Net, 175_997_641, "8d10d2f3bb75ae3b6d527c77944fc5e7dcd94b29809d47a739a7a728a912b491", "cuts objects out of pictures; a good middle (U²-Net)"),
    Model::new("isnet-general-use", Size::IsNet, 178_648_008, "60920e99c45464f2ba57bee2ad08c919a52bbf852739e96947fbb4358c0d964a", "cuts objects out of pictures with fine borders; slow (IS-Net)"),
];

/// The model of this name; `large` and `turbo` mean the newest of their kind.
pub fn find(name: &str) -> Option<&'static Model> {
    let name = canonical(name);
    MODELS.iter().find(|model| model.name == name)
}

/// The name behind a short one.
pub fn canonical(name: &str) -> &str {
    match name {
        "large" => "large-v3",
        "turbo" => "large-v3-turbo",
        other => other,
    }
}

/// The file that holds the model of this name: `base` → `ggml-base.bin`. Also for names the catalogue doesn't have.
pub fn file_name_of(name: &str) -> String {
    format!("ggml-{}.bin", canonical(name))
}

/// The name of the model in a file of this name: `ggml-base.bin` → `base`.
pub fn name_of_file(file: &str) -> Option<&str> {
    file.strip_prefix("ggml-")?.strip_suffix(".bin").filter(|name| is_name(name))
}

/// Whether this can be a model's name; anything else is a path or a mistake.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && name.len() <= crate::limits::NAME_BYTES_MAX
        && name.starts_with(|c: char| c.is_ascii_alphanumeric())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_'))
}

/// A base address that stands in place of the publisher's: below it lie the files by their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror(String);

impl Mirror {
    /// Takes `https://…`, and `http://…` on this machine only.
    pub fn parse(url: &str) -> Result<Mirror, UrlError> {
        check_url(url)?;
        if url.contains(['?', '#']) {
            return Err(UrlError::Malformed { url: shown(url) });
        }
        Ok(Mirror(url.trim_end_matches('/').to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Why nothing is fetched from an address.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum UrlError {
    #[error("`{url}` is no address for models: write https://HOST/PATH")]
    Malformed { url: String },
    #[error("`{url}` is not encrypted: http is allowed on this machine only (localhost, 127.0.0.1), take https")]
    NotEncrypted { url: String },
}

/// Whether models may be fetched from here: https anywhere, http only on this machine.
pub fn check_url(url: &str) -> Result<(), UrlError> {
    let malformed = || UrlError::Malformed { url: shown(url) };
    let (scheme, rest) = url.split_once("://").ok_or_else(malformed)?;
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    // Login data, blanks and backslashes are where two readers of one address disagree about its host.
    if authority.is_empty() || url.contains(['\\', '@']) || url.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err(malformed());
    }
    match scheme.to_ascii_lowercase().as_str() {
        "https" => Ok(()),
        "http" if is_this_machine(authority) => Ok(()),
        "http" => Err(UrlError::NotEncrypted { url: shown(url) }),
        _ => Err(malformed()),
    }
}

/// `HOST` or `HOST:PORT`, with IPv6 in brackets.
fn is_this_machine(authority: &str) -> bool {
    let (host, port) = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, after)) => (host, after.strip_prefix(':').or(after.is_empty().then_some("0"))),
        None => match authority.split_once(':') {
            Some((host, port)) => (host, Some(port)),
            None => (authority, Some("0")),
        },
    };
    let port_is_sound = port.is_some_and(|port| port.parse::<u16>().is_ok());
    port_is_sound
        && (host.eq_ignore_ascii_case("localhost")
            || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback()))
}

fn shown(url: &str) -> String {
    crate::text::escaped(url).chars().take(200).collect()
}

/// Bytes of a model's file that [`header`] needs.
pub const HEADER_BYTES: usize = 48;

const MAGIC: u32 = 0x6767_6d6c;
/// The English vocabulary; from one more on a model knows the languages.
const ENGLISH_VOCABULARY: u32 = 51_864;

/// What the first bytes of a whisper model say of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ModelHeader {
    /// Number of tokens.
    pub vocabulary: u32,
    /// Positions of the encoder: 1500 for a window of 30 s.
    pub audio_context: u32,
    /// Width of the encoder.
    pub audio_state: u32,
    pub audio_heads: u32,
    pub audio_layers: u32,
    /// Positions of the decoder.
    pub text_context: u32,
    /// Width of the decoder.
    pub text_state: u32,
    pub text_heads: u32,
    pub text_layers: u32,
    /// Bands of the spectrum: 80, or 128 from large-v3 on.
    pub mels: u32,
    /// Number format of the weights; thousands are the version of the quantisation.
    pub file_type: u32,
}

impl ModelHeader {
    /// Knows English and nothing else.
    pub fn english_only(&self) -> bool {
        self.vocabulary <= ENGLISH_VOCABULARY
    }
}

/// Why a file is no whisper model.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum HeaderError {
    #[error("the file ends before a model's header does")]
    Short,
    #[error("this is a web page, not a model: the download went wrong")]
    WebPage,
    #[error("this is a pointer to a large file, not the file itself")]
    LargeFilePointer,
    #[error("this is a model in {0} format; whisper.cpp's own (ggml) is needed")]
    OtherFormat(&'static str),
    #[error("this is a voice activity model, not one of speech")]
    VoiceActivity,
    #[error("this is no whisper model")]
    Unknown,
    #[error("this is no sound whisper model: its header says {field} = {value}")]
    Implausible { field: &'static str, value: u32 },
}

/// Reads the header of a whisper model from the first [`HEADER_BYTES`] of its file.
pub fn header(bytes: &[u8]) -> Result<ModelHeader, HeaderError> {
    let field = |at: usize| {
        let raw = bytes.get(at * 4..at * 4 + 4).ok_or(HeaderError::Short)?;
        Ok(u32::from_le_bytes([raw[0], raw[1], raw[2], raw[3]]))
    };
    if field(0)? != MAGIC {
        return Err(foreign(bytes));
    }
    // A voice activity model says so in a text right after the magic number.
    if bytes.get(8..14) == Some(b"silero".as_slice()) {
        return Err(HeaderError::VoiceActivity);
    }
    let header = ModelHeader {
        vocabulary: field(1)?,
        audio_context: field(2)?,
        audio_state: field(3)?,
        audio_heads: field(4)?,
        audio_layers: field(5)?,
        text_context: field(6)?,
        text_state: field(7)?,
        text_heads: field(8)?,
        text_layers: field(9)?,
        mels: field(10)?,
        file_type: field(11)?,
    };
    // The library allocates by these numbers and divides by some of them.
    let plausible = [
        ("the vocabulary", header.vocabulary, 1_000..=200_000),
        ("the audio context", header.audio_context, 1..=10_000),
        ("the audio width", header.audio_state, 8..=16_384),
        ("the audio heads", header.audio_heads, 1..=256),
        ("the audio layers", header.audio_layers, 1..=256),
        ("the text context", header.text_context, 1..=10_000),
        ("the text width", header.text_state, 8..=16_384),
        ("the text heads", header.text_heads, 1..=256),
        ("the text layers", header.text_layers, 1..=256),
        ("the mel bands", header.mels, 1..=1_024),
        ("the number format", header.file_type, 0..=99_999),
    ];
    match plausible.into_iter().find(|(_, value, range)| !range.contains(value)) {
        Some((field, value, _)) => Err(HeaderError::Implausible { field, value }),
        None => Ok(header),
    }
}

/// What a file without the magic number is, as far as a person can use it.
fn foreign(bytes: &[u8]) -> HeaderError {
    let text = bytes.trim_ascii_start();
    if is_web_page(text) {
        HeaderError::WebPage
    } else if text.starts_with(b"version https://git-lfs") {
        HeaderError::LargeFilePointer
    } else if bytes.starts_with(b"GGUF") {
        HeaderError::OtherFormat("GGUF")
    } else if bytes.starts_with(b"PK\x03\x04") {
        HeaderError::OtherFormat("PyTorch or zip")
    } else if bytes.get(8) == Some(&b'{') && bytes.get(1..8).is_some_and(|size| size.ends_with(&[0, 0])) {
        HeaderError::OtherFormat("safetensors")
    } else {
        HeaderError::Unknown
    }
}

/// Whether a file begins like HTML: what portals and error pages send in a model's place.
pub fn is_web_page(bytes: &[u8]) -> bool {
    let start: Vec<u8> = bytes.trim_ascii_start().iter().take(16).map(u8::to_ascii_lowercase).collect();
    [b"<!doctype".as_slice(), b"<html", b"<?xml", b"<head", b"<!--", b"<body"].iter().any(|tag| start.starts_with(tag))
}

/// The model in this folder that finds where somebody speaks: the newest by name.
pub fn newest_voice_model(folder: &Path) -> Option<PathBuf> {
    let paths = std::fs::read_dir(folder).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| is_voice_model(path)).max()
}

/// By its name alone.
pub fn is_voice_model(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with("ggml-silero") && name.ends_with(".bin")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_model_can_be_named_fetched_and_checked() {
        let names: BTreeSet<_> = MODELS.iter().map(|model| model.name).collect();
        assert_eq!(names.len(), MODELS.len());
        let hashes: BTreeSet<_> = MODELS.iter().map(|model| model.sha256).collect();
        assert_eq!(hashes.len(), MODELS.len());
        for model in &MODELS {
            assert!(is_name(model.name), "{}", model.name);
            match model.purpose() {
                Purpose::Segmentation => assert_eq!(model.file(), format!("{}.onnx", model.name)),
                _ => assert_eq!(name_of_file(&model.file()), Some(model.name)),
            }
            assert!(!model.licence().is_empty());
            assert_eq!(find(model.name), Some(model));
            assert_eq!(model.sha256.len(), 64, "{}", model.name);
            assert!(model.sha256.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')), "{}", model.name);
            assert_eq!(check_url(&model.url(None)), Ok(()));
            assert!(!model.good_for.is_empty() && model.good_for.len() <= 80, "{}", model.name);
            assert!(model.memory_bytes() > model.bytes);
        }
    }

    #[test]
    fn sizes_follow_the_network_and_the_quantisation() {
        let bytes = |name: &str| find(name).unwrap().bytes;
        for sizes in [["tiny", "base", "small"], ["base", "small", "medium"], ["small", "medium", "large-v3"]] {
            assert!(sizes.windows(2).all(|pair| bytes(pair[0]) < bytes(pair[1])), "{sizes:?}");
        }
        for model in MODELS.iter().filter(|model| model.purpose() == Purpose::Speech) {
            let whole = model.name.split("-q").next().unwrap();
            let share = model.bytes as f64 / bytes(whole) as f64;
            let expected = if model.name.contains("-q5") {
                0.3..0.5
            } else if model.name.contains("-q8") {
                0.5..0.6
            } else {
                1.0..1.1
            };
            assert!(expected.contains(&share), "{}: {share}", model.name);
        }
    }

    #[test]
    fn the_sources_models_are_all_there() {
        for name in [
            "tiny",
            "tiny.en",
            "base",
            "base.en",
            "small",
            "small.en",
            "medium",
            "medium.en",
            "large-v1",
            "large-v2",
            "large-v3",
            "large-v3-turbo",
            "large",
            "turbo",
            DEFAULT_MODEL,
            DEFAULT_VOICE_ACTIVITY_MODEL,
        ] {
            assert!(find(name).is_some(), "{name}");
        }
        assert_eq!(find("mini-tts.en"), None);
        assert_eq!(find(""), None);
    }

    #[test]
    fn names_and_files_are_two_sides_of_one_thing() {
        assert_eq!(file_name_of("base"), "ggml-base.bin");
        assert_eq!(file_name_of("turbo"), "ggml-large-v3-turbo.bin");
        assert_eq!(file_name_of("mini-tts.en"), "ggml-mini-tts.en.bin");
        assert_eq!(name_of_file("ggml-mini-tts.en.bin"), Some("mini-tts.en"));
        for no_model in ["base.bin", "ggml-.bin", "ggml-base.bin.part", "ggml-a/b.bin", ".ggml-base.bin", "ggml-..bin"]
        {
            assert_eq!(name_of_file(no_model), None, "{no_model}");
        }
        for no_name in ["", ".", "..", "../base", "a b", "base/", "-base", "bäse", "base\n"] {
            assert!(!is_name(no_name), "{no_name:?}");
        }
    }

    #[test]
    fn a_mirror_takes_the_publishers_place() {
        let model = find("base").unwrap();
        assert_eq!(model.url(None), format!("{WHISPER_BASE_URL}/ggml-base.bin"));
        let mirror = Mirror::parse("http://127.0.0.1:8000/models/").unwrap();
        assert_eq!(model.url(Some(&mirror)), "http://127.0.0.1:8000/models/ggml-base.bin");
        let vad = find(DEFAULT_VOICE_ACTIVITY_MODEL).unwrap();
        assert_eq!(vad.url(None), format!("{VOICE_ACTIVITY_BASE_URL}/ggml-silero-v6.2.0.bin"));
        assert_eq!(vad.url(Some(&mirror)), "http://127.0.0.1:8000/models/ggml-silero-v6.2.0.bin");
    }

    #[test]
    fn only_encrypted_addresses_leave_the_machine() {
        for good in [
            "https://example.org",
            "HTTPS://example.org:8443/a/b",
            "http://localhost/x",
            "http://localhost:9000",
            "http://127.0.0.1:1/x",
            "http://127.3.2.1",
            "http://[::1]:80/x",
            "http://[::1]",
        ] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for open in [
            "http://example.org/x",
            "http://127.0.0.1.example.org/",
            "http://localhost.example.org",
            "http://[::2]/",
            "http://10.0.0.1/",
            "http://127.0.0.1:port/",
        ] {
            assert!(matches!(check_url(open), Err(UrlError::NotEncrypted { .. })), "{open}");
        }
        for bad in [
            "",
            "example.org",
            "ftp://example.org/",
            "file:///etc/passwd",
            "https://",
            "https:///x",
            "http://127.0.0.1@example.org/",
            "http://127.0.0.1\\@example.org/",
            "https://exa mple.org/",
            "https://example.org/\n",
        ] {
            assert!(matches!(check_url(bad), Err(UrlError::Malformed { .. })), "{bad}");
        }
        assert!(Mirror::parse("https://example.org/?a=b").is_err());
    }

    /// A header as the publisher writes it, little-endian.
    fn written(fields: [u32; 12]) -> Vec<u8> {
        fields.iter().flat_map(|field| field.to_le_bytes()).collect()
    }

    const BASE: [u32; 12] = [MAGIC, 51_865, 1500, 512, 8, 6, 448, 512, 8, 6, 80, 1];

    #[test]
    fn a_header_tells_the_languages() {
        let mut fields = BASE;
        let header_of = |fields| header(&written(fields)).unwrap();
        assert!(!header_of(fields).english_only());
        assert_eq!((header_of(fields).audio_state, header_of(fields).mels), (512, 80));
        fields[1] = 51_864;
        assert!(header_of(fields).english_only());
        fields[1] = 51_866;
        assert!(!header_of(fields).english_only());
    }

    #[test]
    fn what_is_no_model_is_told_as_what_it_is() {
        assert_eq!(header(b""), Err(HeaderError::Short));
        assert_eq!(header(&written(BASE)[..HEADER_BYTES - 1]), Err(HeaderError::Short));
        assert_eq!(header(b"\n <!DOCTYPE html><html>"), Err(HeaderError::WebPage));
        assert_eq!(header(b"version https://git-lfs.github.com/spec/v1\n"), Err(HeaderError::LargeFilePointer));
        assert_eq!(header(b"GGUF\x03\0\0\0"), Err(HeaderError::OtherFormat("GGUF")));
        assert_eq!(header(b"PK\x03\x04 rest"), Err(HeaderError::OtherFormat("PyTorch or zip")));
        assert_eq!(header(&[0x5a; 64]), Err(HeaderError::Unknown));
        let silero = [&MAGIC.to_le_bytes()[..], &10u32.to_le_bytes(), b"silero-16k", &[0; 40]].concat();
        assert_eq!(header(&silero), Err(HeaderError::VoiceActivity));
    }

    #[test]
    fn numbers_no_model_can_have_are_refused() {
        for at in 1..BASE.len() {
            for value in [0, u32::MAX] {
                let mut fields = BASE;
                fields[at] = value;
                let read = header(&written(fields));
                let may_be_zero = at == 11 && value == 0;
                assert_eq!(read.is_ok(), may_be_zero, "field {at} = {value}: {read:?}");
            }
        }
    }

    #[test]
    fn real_files_are_read_as_what_they_are() {
        let Some(assets) = std::env::var_os("SPINDLE_TEST_ASSETS").map(std::path::PathBuf::from) else {
            println!("skipped: SPINDLE_TEST_ASSETS is not set");
            return;
        };
        let read = |path: &str| header(&std::fs::read(assets.join(path)).unwrap());
        let mini = read("speech-models/ggml-mini-tts.en.bin").unwrap();
        assert!(mini.english_only());
        assert_eq!((mini.audio_layers, mini.text_layers, mini.audio_state), (4, 3, 128));
        assert!(read("models/for-tests-ggml-tiny.en.bin").unwrap().english_only());
        assert!(!read("models/for-tests-ggml-tiny.bin").unwrap().english_only());
        assert_eq!(read("models/ggml-silero-v6.2.0.bin"), Err(HeaderError::VoiceActivity));
        for page in std::fs::read_dir(assets.join("models/bad")).unwrap() {
            let page = page.unwrap().path();
            assert!(header(&std::fs::read(&page).unwrap()).is_err(), "{page:?}");
        }
    }
}
