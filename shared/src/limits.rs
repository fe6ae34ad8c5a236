//! Every limit in one place: frames, texts, lists, queues. Nothing that comes from outside grows past these.

/// One frame on the local socket, length field excluded.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// One piece of a file on its way through the socket: all are as long, but a file's last.
pub const PIECE_BYTES: usize = 256 << 10;
/// Rows in one frame of a listing.
pub const ROWS_PER_FRAME_MAX: usize = 1_000;
/// Inputs in one frame of a submission; a frame also ends when it is half full in bytes.
pub const INPUTS_PER_FRAME_MAX: usize = 1_000;
/// Inputs of one batch.
pub const INPUTS_MAX: usize = 1_000_000;
/// A list of inputs (`--from`): room for as many inputs as a batch may have.
pub const LIST_BYTES_MAX: usize = 512 << 20;
/// One path, as the kernel has it (PATH_MAX).
pub const PATH_BYTES_MAX: usize = 4_096;
/// A message or an advice of a failure.
pub const FAILURE_TEXT_BYTES_MAX: usize = 2_000;
/// A batch's name, a tag's key or value, an idempotency key.
pub const NAME_BYTES_MAX: usize = 200;
/// Tags of one batch.
pub const TAGS_MAX: usize = 20;
/// Jobs of one batch at work at the same time (`--parallel`).
pub const PARALLEL_MAX: u32 = 64;
/// One message between daemon and worker.
pub const WORKER_MESSAGE_BYTES_MAX: usize = 128 << 10;
/// Seconds of one recording (some thirty years): what a file claims beyond it is not believed.
pub const MEDIA_SECONDS_MAX: f64 = 1e9;
/// Descriptors in one message to a worker (the kernel's own limit is 253).
pub const DESCRIPTORS_PER_MESSAGE_MAX: usize = 16;
/// What is kept of a worker's standard error, for the text of a failure.
pub const STDERR_TAIL_BYTES_MAX: usize = 8 << 10;
/// Messages waiting for the conductor; senders wait beyond it.
pub const INBOX_LEN_MAX: usize = 4_096;
/// Messages that one turn of the conductor takes into one commit.
pub const TURN_INPUTS_MAX: usize = 512;
/// Clients connected at once.
pub const CLIENTS_MAX: usize = 1_000;
/// Of them, those of one user who keeps no daemon.
pub const CLIENTS_OF_ONE_MAX: usize = 200;
/// Events waiting for one watcher before it is cut with `lagged`.
pub const WATCHER_EVENTS_MAX: usize = 10_000;
/// Jobs in one window of a batch.
pub const WINDOW_JOBS_MAX: u32 = 10_000;
/// A screen's watcher is told no more often than this; what comes meanwhile goes together.
pub const SCREEN_PACE_MS: u64 = 50;
/// Ids named in one request.
pub const TARGETS_MAX: usize = 10_000;
/// A prompt for a model of speech.
pub const PROMPT_BYTES_MAX: usize = 4_000;
/// A transcript as JSON; a day of speech with its words has some 20 MB.
pub const TRANSCRIPT_BYTES_MAX: u64 = 256 << 20;
/// A client says hello within this time or is gone.
pub const HELLO_TIMEOUT_MS: u64 = 5_000;
/// A client that takes none of our bytes for this long is gone.
pub const WRITE_TIMEOUT_MS: u64 = 30_000;
/// Kinds of work (stage and model) whose pace is remembered; beyond it the one learned longest ago is forgotten.
pub const RATES_MAX: usize = 500;
/// Graphics cards of one machine, and bytes that the worker for them says about them.
pub const DEVICES_MAX: usize = 64;
pub const DEVICES_TEXT_BYTES_MAX: u64 = 1 << 20;
/// Inputs of a batch whose results are gathered: their files are open at the same time.
pub const GATHERED_MAX: usize = 10_000;
/// The rows of what is gathered: some hundred bytes for each input, and its notes.
pub const RESULTS_BYTES_MAX: usize = 64 << 20;
/// Batches that one batch waits for.
pub const AFTER_MAX: usize = 100;
/// Figures that a job's stages leave.
pub const FIGURES_MAX: usize = 64;
/// Profiles of the configuration.
pub const PROFILES_MAX: usize = 100;
/// The analysis of a video, and a plan with all of its analyses.
pub const ANALYSIS_BYTES_MAX: u64 = 64 << 20;
/// A template of reports: prompt and layout together.
pub const TEMPLATE_BYTES_MAX: usize = 64 << 10;
pub const TEMPLATE_PARAMETERS_MAX: usize = 32;
/// Providers of the configuration, and keys of one of them.
pub const PROVIDERS_MAX: usize = 50;
pub const KEYS_MAX: usize = 16;
/// The body of a model's answer, and what it may send before it.
pub const API_ANSWER_BYTES_MAX: usize = 8 << 20;
pub const API_HEAD_BYTES_MAX: usize = 64 << 10;
/// What is sent to a model at once, pictures included.
pub const API_QUESTION_BYTES_MAX: usize = 24 << 20;
/// Of a transcript, so much is sent to a model; the middle of a longer one is left out.
pub const API_TRANSCRIPT_CHARS_MAX: usize = 120_000;
/// A key's file.
pub const KEY_BYTES_MAX: usize = 4 << 10;
/// Rules in a file of rules for clips.
pub const RULES_MAX: usize = 100;
/// Texts that one rule looks for.
pub const RULE_TEXTS_MAX: usize = 100;
/// Stages of one recipe.
pub const STAGES_MAX: usize = 16;
/// Batches or jobs in one answer where no limit is named.
pub const LIST_DEFAULT: u32 = 50;
/// Causes that failures are told apart by; beyond it the rest of a kind goes together.
pub const CAUSES_MAX: usize = 1_000;
/// Failed jobs that a batch's report names one by one; of the rest it counts.
pub const REPORT_JOBS_MAX: usize = 10_000;
/// Reasons and remarks that a batch's report tells apart.
pub const REPORT_REMARKS_MAX: usize = 1_000;
/// Jobs asked for at a time by whoever goes through a whole batch.
pub const PAGE_JOBS: u32 = 10_000;
/// Recipes or stages that statistics tell apart.
pub const STATS_ROWS_MAX: usize = 100;
/// Old things of one kind that one cleaning takes; the next takes the rest.
pub const SWEEP_MAX: usize = 1_000_000;
/// Settings of the clock that are told apart; of older ones what is known is less exact.
pub const LEAPS_MAX: usize = 256;
/// Artifacts that one command removes: their files go within the conductor's turn.
pub const PURGE_MAX: usize = 16;
/// Operations on one picture.
pub const OPERATIONS_MAX: usize = 64;
/// Width or height that a picture can be asked to have.
pub const PICTURE_SIDE_MAX: u32 = 4_096;
/// Bytes of a file that is read as one picture: it is held in memory while it is decoded.
pub const PICTURE_FILE_BYTES_MAX: u64 = 512 << 20;
/// Pixels of a picture that is decoded; cameras' largest have some 200 million.
pub const PICTURE_PIXELS_MAX: u64 = 256 << 20;
/// Bytes that a decoded picture may take, and what its decoder takes beside them.
pub const PICTURE_BYTES_MAX: u64 = 1 << 30;
/// Width or height of a picture that is read, as JPEG has it.
pub const PICTURE_READ_SIDE_MAX: u32 = 65_535;
/// Passes over one progressive JPEG: more make a small file take minutes.
pub const JPEG_SCANS_MAX: u32 = 500;
/// An address of an input; signed ones have some two thousand.
pub const URL_BYTES_MAX: usize = 8_192;
/// Hosts that inputs may come from although they are not public.
pub const ALLOWED_HOSTS_MAX: usize = 100;
/// A command that is told: its words, and their bytes together.
pub const COMMAND_WORDS_MAX: usize = 64;
pub const COMMAND_BYTES_MAX: usize = 8 << 10;
/// Whom one batch tells, and hooks of the configuration.
pub const NOTIFY_MAX: usize = 10;
pub const HOOKS_MAX: usize = 50;
/// Watched folders; files that one of them may hold, and submit together; folders below one another.
pub const FOLDERS_MAX: usize = 100;
pub const FOLDER_FILES_MAX: usize = 100_000;
pub const FOLDER_BATCH_FILES_MAX: usize = 1_000;
pub const FOLDER_DEPTH_MAX: usize = 16;
/// Notifications that wait, and those on their way at the same time.
pub const DELIVERIES_MAX: usize = 100_000;
pub const DELIVERIES_AT_ONCE_MAX: usize = 8;
/// Lines of the daemon's log that are kept in memory, and bytes of one text in a line.
pub const LOG_LINES_MAX: usize = 2_000;
pub const LOG_LINE_BYTES_MAX: usize = 8 << 10;
/// Files of log that one day may fill.
pub const LOG_FILES_A_DAY_MAX: u32 = 1_000;
/// The log of one batch; logs of batches that are open at the same time; lines that wait to be written.
pub const BATCH_LOG_BYTES_MAX: u64 = 32 << 20;
pub const BATCH_LOGS_OPEN_MAX: usize = 64;
pub const JOB_LOG_WAITING_MAX: usize = 10_000;
/// Whoever collects metrics at the listener, at the same time; and what of a request is read.
pub const METRICS_CLIENTS_MAX: usize = 16;
pub const METRICS_REQUEST_BYTES_MAX: usize = 8 << 10;
/// Sites whose pages are read.
pub const SITES_MAX: usize = 200;
/// EXIF, XMP or IPTC of one picture.
pub const METADATA_BYTES_MAX: usize = 16 << 20;
