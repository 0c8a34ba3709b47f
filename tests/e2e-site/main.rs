//! End-to-end tests about the site and the container it grants: every directive of `singularity.conf`, what a
//! container is made of, how it ends, and what it leaves.

mod audit;
mod administration;
mod command_line;
mod configuration_file;
mod refused_images;
mod refused_plans;
mod surroundings;
mod granted;
mod environment;
mod leftovers;
mod mounts;
mod old_kernel;
mod options;
mod process;
