//! Highlights: what happens in a video, and which pieces of many are the best. Decodes nothing and cuts nothing.
//!
//! `scenes` and `sound` measure what decoders give, `analysis` says what a provider makes of it ([`analysis::Analyzer`]), `local` is the
//! provider that needs nobody; `plan` is what is to be cut, checked and repaired, `choose` makes one.

pub mod analysis;
pub mod choose;
pub mod local;
pub mod plan;
pub mod scenes;
pub mod sound;
