//! Speech: whisper wrapped once, where speech is, how it is cut into windows, and what of a model's answer is believed. Knows no run.

pub mod belief;
pub mod device;
pub mod header;
pub mod hear;
pub mod model;
pub mod recording;
pub mod spread;
pub mod voice;
pub mod window;
pub mod words;
