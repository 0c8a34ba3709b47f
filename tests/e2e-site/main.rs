//! End-to-end tests about the site and the container it grants: every directive of `singularity.conf`, what a
//! container is made of, how it ends, and what it leaves.

mod plan;
mod refused_plans;
mod refused_images;
