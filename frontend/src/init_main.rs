//! `lamina-init`: the first program inside the container, and the one that waits outside a PID namespace.

fn main() -> ! {
    frontend::init::main()
}
