//! The setuid starter: makes the mounts a container needs, under the site's rules, gives everything up, and hands
//! over. The file list below is the reading order; `README.md` says what each phase promises.

// Nothing of a program is reachable from outside; `pub` marks what a module offers its siblings.
#![allow(unreachable_pub)]

mod caller;
mod sanitize;
mod request;
mod site_config;
mod superblock;
mod evidence;
mod policy;
mod namespaces;
mod mounter;
mod drop_root;
mod hand_over;
mod refusal;
mod audit_log;
#[allow(unsafe_code)]
mod sys;

use audit_log::Decision;
use caller::Caller;
use evidence::Evidence;
use hand_over::Monitor;
use policy::Permit;
use refusal::Refusal;
use std::convert::Infallible;
use sys::Forked;

fn main() {
    let (caller, refusal) = match Caller::identify() {
        Ok(caller) => {
            let Err(refusal) = start(&caller);
            (caller, refusal)
        }
        Err(unfit) => unfit,
    };
    refusal.leave(&caller)
}

/// The whole run. Each value can only be made by the phase before it.
fn start(caller: &Caller) -> Result<Infallible, Refusal> {
    sanitize::clean_process()?;
    let (permit, evidence) = match decide(caller) {
        Ok((permit, evidence)) => {
            audit_log::record(caller, &Decision::Accepted(&permit.description));
            (permit, evidence)
        }
        Err(refusal) => {
            audit_log::record(caller, &Decision::Refused(&refusal.to_string()));
            return Err(refusal);
        }
    };
    let init = hand_over::open_init()?;
    let materials = namespaces::prepare(&permit, evidence)?;
    namespaces::enter(&permit)?;
    let mut monitor = None;
    if permit.plan.namespaces.pid {
        monitor = Some(Monitor::this()?);
        // The first child is process 1 of the new PID namespace; this process stays outside and waits for it.
        if let Forked::Parent(container) = sys::fork()? {
            drop(materials);
            sanitize::lift_deadline();
            return hand_over::monitor(drop_root::give_up(caller)?, &init, container);
        }
    }
    sanitize::lift_deadline();
    let (built, mounter) = mounter::build(caller, &permit, materials)?;
    let proof = drop_root::give_up(caller)?;
    mounter.end()?;
    if let Some(monitor) = monitor {
        monitor.tie(&proof)?;
    }
    hand_over::warn(&proof, &permit, &built.warnings);
    hand_over::enter_container(proof, &init, built.account_files)
}

/// What is asked, by whom, of what, and whether the site allows it.
fn decide(caller: &Caller) -> Result<(Permit, Evidence), Refusal> {
    sanitize::require_initial_user_namespace()?;
    let plan = request::receive()?;
    let site = site_config::load()?;
    let limits = site_config::limits(&site)?;
    let evidence = Evidence::gather(&plan)?;
    let permit = policy::judge(caller, &site, &limits, plan, &evidence.facts())?;
    Ok((permit, evidence))
}
