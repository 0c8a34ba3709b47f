//! End-to-end tests: one file per subject, all in one program.

mod harness;
mod installation;
mod run;
mod overlay;
mod local_oci;
mod locks;
mod interruptions;
mod combinations;
mod stacking;
mod persistence;
mod upper_and_work;
mod sif;
mod seal;
mod paths;
mod bad_images;
mod places;
mod images;
mod guides;
mod documentation;
mod examples;
mod registries;
mod confinement;
mod site;
mod temporary_sandboxes;
mod user_namespaces;
mod instances;
