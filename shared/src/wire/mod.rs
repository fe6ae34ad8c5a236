//! The wire: how values become bytes and bytes become frames. Knows no socket and no message.

pub mod codec;
pub mod frame;
