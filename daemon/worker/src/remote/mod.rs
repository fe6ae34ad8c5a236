//! What comes from other machines: HTTP, wrapped once, and pages, by a program of others behind a gate of ours. Knows no decoder and no model.

pub mod chat;
pub mod download;
pub mod gate;
pub mod http;
pub mod page;
pub mod s3;
#[cfg(test)]
pub mod scripted;
mod signature;
pub mod webhook;
