//! whisper, wrapped once.
