//! libav, wrapped once.
