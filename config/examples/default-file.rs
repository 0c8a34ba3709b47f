//! Prints the default `singularity.conf`.

fn main() {
    print!("{}", config::default_file());
}
