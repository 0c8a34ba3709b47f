//! Images from what is on the machine.
