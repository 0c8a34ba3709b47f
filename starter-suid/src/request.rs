//! What is asked: one frame from the plan pipe. All of it is claims.

use crate::refusal::{Refusal, Step};
use crate::sys;
use protocol::frame::{self, FRAME_BYTES_MAX};
use protocol::{PLAN_FD, Request};
use rustix::fs::{FileType, OFlags};

/// Reads and decodes the frame. The frontend wrote it whole before it started this program, so a single read that
/// does not wait gets all there will ever be.
pub fn receive() -> Result<Request, Refusal> {
    let pipe = sys::adopt(PLAN_FD)?;
    let kind = FileType::from_raw_mode(rustix::fs::fstat(&pipe).step("looking at the plan")?.st_mode);
    if kind != FileType::Fifo {
        return Err(
            Refusal::new("the plan must come through a pipe").hint("start containers with the frontend")
        );
    }
    rustix::fs::fcntl_setfl(&pipe, OFlags::NONBLOCK).step("preparing to read the plan")?;
    let mut bytes = Vec::with_capacity(FRAME_BYTES_MAX + 1);
    rustix::io::read(&pipe, rustix::buffer::spare_capacity(&mut bytes)).step("reading the plan")?;
    frame::decode(&bytes).map_err(|error| Refusal::new(error.to_string()))
}
