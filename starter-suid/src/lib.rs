//! The engine of both starters: makes the mounts a container needs, gives everything up, and hands over. The file
//! list below is the reading order; `README.md` says what each phase promises.

// Only `run` and the two sources are for the programs; `pub` elsewhere marks what a module offers its siblings.
#![allow(unreachable_pub)]

mod source;
mod setuid;
mod user_namespace;
mod caller;
mod proc;
mod sanitize;
mod request;
mod site_config;
mod superblock;
mod evidence;
mod policy;
mod namespaces;
mod loopback;
mod mounter;
mod instance;
mod drop_root;
mod hand_over;
mod refusal;
mod audit_log;
#[allow(unsafe_code)]
mod sys;

pub use setuid::Setuid;
pub use user_namespace::UserNamespace;

use audit_log::Decision;
use caller::Caller;
use evidence::Evidence;
use hand_over::Monitor;
use instance::{Identity, Instance};
use policy::Permit;
use proc::HostProc;
use protocol::Request;
use refusal::Refusal;
use source::PrivilegeSource;
use std::convert::Infallible;
use sys::Forked;

/// A whole program: with the privilege of `Source`, and with no way to another.
#[allow(private_bounds)]
pub fn run<Source: PrivilegeSource>() {
    let (caller, refusal) = match Source::identify() {
        Ok(caller) => {
            let Err(refusal) = start::<Source>(&caller);
            (caller, refusal)
        }
        Err(unfit) => unfit,
    };
    refusal.leave(&caller)
}

/// What was asked for and may be.
enum Permitted {
    /// A container.
    Start(Box<Permit>, Evidence),
    /// A process in an instance.
    Join(Instance),
}

/// The whole run. Each value can only be made by the phase before it.
fn start<Source: PrivilegeSource>(caller: &Caller) -> Result<Infallible, Refusal> {
    sanitize::clean_process()?;
    match decide::<Source>(caller) {
        Ok(Permitted::Start(permit, evidence)) => {
            Source::record(caller, &Decision::Accepted(&permit.description));
            make_container(caller, &permit, evidence)
        }
        Ok(Permitted::Join(instance)) => {
            Source::record(caller, &Decision::Accepted(&instance.description()));
            join(caller, &instance)
        }
        Err(refusal) => {
            Source::record(caller, &Decision::Refused(&refusal.to_string()));
            Err(refusal)
        }
    }
}

/// From a permit to the user's program in a container of its own.
fn make_container(caller: &Caller, permit: &Permit, evidence: Evidence) -> Result<Infallible, Refusal> {
    let init = hand_over::open_init()?;
    let materials = namespaces::prepare(permit, evidence)?;
    namespaces::enter(permit)?;
    let mut monitor = None;
    if permit.plan.namespaces.pid {
        let (outside, arrival) = Monitor::this()?;
        // The first child is process 1 of the new PID namespace; this process stays outside and waits for it.
        if let Forked::Parent(container) = sys::fork()? {
            drop((materials, outside));
            sanitize::lift_deadline();
            return hand_over::monitor(drop_root::give_up(caller)?, &init, container, arrival);
        }
        monitor = Some(outside);
    }
    sanitize::lift_deadline();
    let proc = permit.plan.instance.then(HostProc::open).transpose()?;
    let (built, mounter) = mounter::build(caller, permit, materials)?;
    let record = proc.map(|proc| Identity::here(&proc, caller)?.record()).transpose()?;
    let proof = drop_root::give_up(caller)?;
    mounter.end()?;
    if let Some(monitor) = &monitor {
        monitor.tie(&proof)?;
    }
    hand_over::warn(&proof, permit, &built.warnings);
    hand_over::enter_container(proof, &init, built.account_files, record)
}

/// Into an instance: its namespaces instead of new ones, and then the same way out of all privilege.
fn join(caller: &Caller, instance: &Instance) -> Result<Infallible, Refusal> {
    let init = hand_over::open_init()?;
    instance.enter(caller)?;
    let (monitor, arrival) = Monitor::this()?;
    sanitize::lift_deadline();
    if let Forked::Parent(joined) = sys::fork()? {
        drop(monitor);
        return hand_over::monitor(drop_root::give_up(caller)?, &init, joined, arrival);
    }
    let proof = drop_root::give_up(caller)?;
    monitor.tie(&proof)?;
    hand_over::enter_container(proof, &init, Vec::new(), None)
}

/// What is asked, by whom, of what, and whether it may be.
fn decide<Source: PrivilegeSource>(caller: &Caller) -> Result<Permitted, Refusal> {
    Source::require_namespace()?;
    let request = request::receive()?;
    let site = Source::site()?;
    match request {
        Request::Start(plan) => {
            let evidence = Evidence::gather(&plan)?;
            let permit = Source::permit(caller, &site, *plan, &evidence.facts())?;
            Ok(Permitted::Start(Box::new(permit), evidence))
        }
        Request::Join => {
            Source::permit_join(caller, &site)?;
            Ok(Permitted::Join(Instance::claimed(caller, Source::author(caller))?))
        }
    }
}
