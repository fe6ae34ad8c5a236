//! The wire: how values become bytes and bytes become frames, and what is said in them. Knows no socket.

pub mod codec;
pub mod frame;
pub mod hello;
pub mod piece;
pub mod request;
pub mod response;
