//! Listen: as `decode`; where a recording has no sound it leaves no samples, and says so.

use spindle_shared::stage::listen::Listen;
use spindle_shared::worker::Done;

use super::decode;
use crate::context::{Context, Halt};

pub fn run(context: &Context, stage: &Listen) -> Result<Done, Halt> {
    decode::run_or_silence(context, &stage.decode, true)
}
